//! Keeps the shape of the tree: who may use whom, who may spawn, read a clock or the environment, and how long a file is.
//! Reads text, not syntax: a rule here must be simple enough to be seen in a line.

use brokerwarden::model::families;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// Left may use right only, and names in one row never use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["lib"],
    &["cli"],
    &["app", "bench", "ruletest"],
    &["config"],
    &["control"],
    &["actions", "demo", "http", "jmx", "kafka", "rules"],
    &["deliver"],
    &["page", "pipeline", "recording"],
    &["store"],
    &["alerts", "history"],
    &["client", "snapshot"],
    &["model"],
];

/// Anyone may use these; they use `model` only, and each other not at all.
const LEAVES: &[&str] = &["clock", "crash", "events", "files", "supervise"];

/// What only one place may do: words, where they are allowed (beginnings of paths below src), and why.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (
        &["tokio::spawn", "task::spawn", "thread::spawn", "thread::Builder", "thread::scope", "JoinSet"],
        &["supervise.rs"],
        "tasks and threads are spawned by supervise::Tasks, which names them and waits for them",
    ),
    (
        &["Command::new", "process::Command"],
        &["actions/program.rs", "actions/spawn.rs", "rules/compile.rs"],
        "child processes are the one that compiles, and those of actions",
    ),
    (
        &["env::var", "env::vars", "env::args", "env::temp_dir"],
        &["config/", "main.rs", "cli/", "cli.rs", "crash.rs"],
        "only config reads the environment (and, in tests, what is to be killed)",
    ),
    (
        &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe_code"],
        &["kafka/ffi.rs", "kafka/ffi/", "rules/evaluate.rs"],
        "unsafe code is in few files, each of which says why",
    ),
];

/// Beginnings of paths of files that never read a clock: `now` is an argument there.
const PURE: &[&str] = &[
    "actions/argument",
    "actions/lane",
    "actions/message",
    "actions/settings",
    "actions/silence",
    "alerts/",
    "cli/doctor/expiry",
    "cli/doctor/finding",
    "cli/doctor/places",
    "cli/doctor/skew",
    "cli/migrate/",
    "deliver/context",
    "deliver/email",
    "deliver/humanize",
    "deliver/interest",
    "deliver/pagerduty",
    "deliver/slack",
    "deliver/template",
    "deliver/text",
    "deliver/wording",
    "history",
    "http/api",
    "http/throttle",
    "http/web_config",
    "kafka/held",
    "kafka/hints",
    "kafka/kinds",
    "kafka/names",
    "kafka/oauth",
    "kafka/offsets",
    "kafka/polled",
    "kafka/produced",
    "kafka/properties",
    "kafka/records",
    "kafka/replays",
    "kafka/source",
    "kafka/view",
    "model/",
    "page/encode",
    "page/foreign",
    "page/kafka",
    "page/segments",
    "pipeline/book",
    "pipeline/own.rs",
    "pipeline/saved",
    "pipeline/tick",
    "recording/",
    "ruletest/",
    "snapshot/",
];

/// Crates of which a second version would cost minutes of build and megabytes of binary.
const HEAVY: &[&str] = &["hyper", "rdkafka", "rdkafka-sys", "rustls", "serde", "tokio", "wasmtime", "wit-component"];

/// Lines at which a file is worth splitting, and at which it must be.
const LONG: usize = 400;
const TOO_LONG: usize = 600;

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A source file: its path below src, all its text, and the code that is shipped: no comments, no tests.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    code: Vec<(usize, String)>,
}

pub(super) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    let sources: Vec<_> = found.iter().map(|path| read(path)).collect();
    assert!(sources.len() > 20, "only {} files below src", sources.len());
    sources
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
    let code = if is_test(&path) { Vec::new() } else { shipped(&text) };
    Source { path, text, code }
}

/// Files of tests: `tests.rs`, `…_tests.rs`, and what is below a folder `tests`.
pub(super) fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("tests/")
}

/// Numbered lines of code up to the tests, which stand last; without comments and without what is in string literals.
fn shipped(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    let code = lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    code.map(|(number, line)| (number, without_comment_and_strings(line))).collect()
}

fn without_comment_and_strings(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => {
                chars.next();
            }
            // The character literal '"' opens no string.
            '"' if !(code.ends_with('\'') && chars.peek() == Some(&'\'')) => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            c if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

/// The modules of this crate that a piece of code names by `crate::`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let pieces: Vec<_> = code.split("crate::").collect();
    for pair in pieces.windows(2) {
        if pair[0].ends_with(is_name) || pair[0].ends_with('$') {
            continue;
        }
        let rest = pair[1].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(rest.chars().take_while(|c| is_name(*c)).collect());
            continue;
        };
        // The first name after the brace and after each comma that is in no inner brace.
        let (mut depth, mut expected, mut name) = (0_usize, true, String::new());
        for c in group.chars() {
            if expected && is_name(c) {
                name.push(c);
                continue;
            }
            if !name.is_empty() {
                used.insert(std::mem::take(&mut name));
                expected = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expected = true,
                _ => {}
            }
        }
    }
    used
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// May `user` use `used`?
fn may_use(user: &str, used: &str) -> Result<bool, String> {
    let rank = |module: &str| layer(module).ok_or(format!("{module} is in no layer"));
    if user == used {
        return Ok(true);
    }
    if LEAVES.contains(&user) {
        return Ok(used == "model");
    }
    if LEAVES.contains(&used) {
        return Ok(true);
    }
    Ok(rank(user)? < rank(used)?)
}

#[test]
fn imports_go_one_way() {
    let mut faults = Vec::new();
    for source in sources() {
        let module = source.path.split(['/', '.']).next().unwrap();
        // As one text: a `use` often spans lines. What is no module in a `crate::` path is an item of lib.rs.
        let code = source.code.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
        for used in used_modules(&code) {
            match may_use(module, &used) {
                Ok(true) => {}
                Ok(false) => faults.push(format!("{}: {module} uses {used}", source.path)),
                Err(fault) => faults.push(format!("{}: {fault}", source.path)),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_judge_of_imports_judges() {
    let used = |code: &str| used_modules(code).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(used("use crate::model::Labels;"), "model");
    assert_eq!(
        used("use crate::{\n    alerts::{Alert, Phase},\n    model, snapshot::Snapshot,\n};"),
        "alerts model snapshot"
    );
    assert_eq!(used("fn f(x: crate::rules::Config) { $crate::model::x(); my_crate::y() }"), "rules");
    assert_eq!(used(&without_comment_and_strings(r#"let s = "crate::a"; // crate::b"#)), "");
    assert_eq!(used(&without_comment_and_strings(r#"let c = '"'; crate::c::d('"');"#)), "c");
    assert_eq!(may_use("kafka", "jmx"), Ok(false));
    assert_eq!(may_use("kafka", "snapshot"), Ok(true));
    assert_eq!(may_use("snapshot", "kafka"), Ok(false));
    assert_eq!(may_use("supervise", "events"), Ok(false));
    assert!(may_use("kafka", "helpers").is_err());
}

#[test]
fn every_file_says_what_it_does_and_is_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if !is_test(&source.path) && !source.text.starts_with("//! ") {
            faults.push(format!("{}: line 1 is not `//!`", source.path));
        }
        if lines > TOO_LONG {
            faults.push(format!("{}: {lines} lines", source.path));
        } else if lines > LONG {
            println!("worth splitting: {} ({lines} lines)", source.path);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn some_things_are_done_in_one_place_only() {
    let mut faults = Vec::new();
    for source in sources() {
        for (words, allowed, reason) in RESERVED {
            if allowed.iter().any(|beginning| source.path.starts_with(beginning)) {
                continue;
            }
            for (number, line) in &source.code {
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    faults.push(format!("src/{}:{number}: `{word}`: {reason}", source.path));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pure_files_never_read_a_clock() {
    let clocks = ["clock::", "Instant::now", "SystemTime", ".elapsed()"];
    let sources = sources();
    let pure: Vec<_> =
        sources.iter().filter(|source| PURE.iter().any(|beginning| source.path.starts_with(beginning))).collect();
    for beginning in PURE {
        assert!(pure.iter().any(|source| source.path.starts_with(beginning)), "nothing is at {beginning} any more");
    }
    let reads = pure.iter().flat_map(|source| source.code.iter().map(move |(number, line)| (source, number, line)));
    let faults: Vec<_> = reads
        .filter(|(_, _, line)| clocks.iter().any(|clock| line.contains(clock)))
        .map(|(source, number, line)| format!("src/{}:{number}: {}", source.path, line.trim()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Written so that this file does not find itself.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), "unimplemented!", concat!("todo", "!(")];
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) || line.contains("#[ignore") {
                faults.push(format!("src/{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn heavy_crates_are_there_once() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for name in lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) {
        *versions.entry(name).or_default() += 1;
    }
    for name in HEAVY {
        assert_eq!(versions.get(name), Some(&1), "{name} is not there once");
    }
}

#[test]
fn every_family_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with('|')).collect();
    let missing: Vec<_> = families::ALL
        .iter()
        .filter(|family| !rows.iter().any(|row| row.contains(&format!("`{}`", family.name))))
        .map(|family| family.name)
        .collect();
    assert!(missing.is_empty(), "not in a table of README.md: {missing:?}");
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = deny.split_once("[licenses]").and_then(|(_, rest)| rest.split_once("allow = [")).unwrap().1;
    let allowed: BTreeSet<_> = list.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect();
    assert!(allowed.contains("MIT"), "{allowed:?}");
    let cargo = std::env::var_os("CARGO").unwrap();
    let rustc = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let rustc = String::from_utf8(rustc).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // What was built for this host is here already: no need to ask a registry.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{} is under {licence}", package["name"]);
    }
}

/// SPDX expressions as crates write them: OR (or `/`) of ANDs of names, with brackets.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ");
    let split = |word: &str| {
        let mut parts = vec![String::new()];
        let mut depth = 0;
        for token in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
            depth += i32::from(token == "(") - i32::from(token == ")");
            if depth == 0 && token == word {
                parts.push(String::new());
            } else {
                let part = parts.last_mut().unwrap();
                part.push(' ');
                part.push_str(token);
            }
        }
        parts
    };
    let (any, all) = (split("OR"), split("AND"));
    if any.len() > 1 {
        any.iter().any(|part| is_allowed(part, allowed))
    } else if all.len() > 1 {
        all.iter().all(|part| is_allowed(part, allowed))
    } else {
        let inner = expression.trim();
        match inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => is_allowed(inner, allowed),
            None => allowed.contains(inner),
        }
    }
}

#[test]
fn the_judge_of_licences_judges() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"]);
    for (expression, verdict) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND ISC", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), verdict, "{expression}");
    }
}
