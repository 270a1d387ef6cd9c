//! `rule check` and `rule new`, as an author of rules calls them.

use crate::harness::{daemon::Home, guests};
use std::fs;

/// Bad usage, by the manual.
const USAGE: Option<i32> = Some(64);
const FAILED: Option<i32> = Some(1);

/// A folder with the rule in C that is held, and its YAML.
fn home() -> Home {
    let home = Home::new();
    let held = fs::File::open("tests/data/held/c.wasm.gz").unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(held), &mut bytes).unwrap();
    home.write("rule.wasm", bytes);
    home.write("good.yaml", "config: {thresholds: {orders: 100}}");
    home
}

fn check(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    home.command(&[&["rule", "check"], arguments].concat())
}

#[test]
fn a_good_rule_is_shown_with_what_it_needs() {
    let home = home();
    let (code, said) = check(&home, &["rule.wasm", "--config", "good.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "core module, made a component at load",
        "imports brokerwarden:rule/snapshot@",
        "exports brokerwarden:rule/evaluator@",
        "compiled in ",
        "dry run on a snapshot without Kafka: unavailable: Kafka was not observed lately",
        "dry run on a cluster without groups: 0 alerts",
        "of memory (limits: 100ms, 64 MiB)",
        "it can go live",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
}

#[test]
fn settings_are_read_from_beside_the_module_and_all_that_is_wrong_with_them_is_told() {
    let home = home();
    home.write("rule.yaml", "config: {thresholds: {orders: 100}}");
    assert_eq!(check(&home, &["rule.wasm"]).0, Some(0));
    home.write("rule.yaml", "config: {thresholds: {orders: -1}}\n");
    let (code, said) = check(&home, &["rule.wasm"]);
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("rule.wasm: config: config.thresholds.orders: must be a whole number"), "{said}");
    home.write("bad.yaml", "config: {thresholds: {orders: 1}}\nfor: soon\nlimits: {}\n");
    let (code, said) = check(&home, &["rule.wasm", "--config", "bad.yaml"]);
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("bad.yaml: ") && said.contains("soon") && said.contains("limits"), "{said}");
}

#[test]
fn what_is_no_rule_is_refused_in_the_words_of_its_author() {
    let home = home();
    let sockets =
        r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)) (import "wasi:http/types@0.2.0" (instance)))"#;
    home.write("sockets.wasm", wat::parse_str(sockets).unwrap());
    let (code, said) = check(&home, &["sockets.wasm"]);
    assert_eq!(code, FAILED, "{said}");
    for words in [
        "sockets.wasm: imports wasi:sockets/tcp@0.2.0, which rules do not have: rules reach no network; build with --stub-wasi",
        "sockets.wasm: imports wasi:http/types@0.2.0, which rules do not have",
        "sockets.wasm: does not export brokerwarden:rule/evaluator@",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    home.write("trap.wasm", guests::trapping());
    let (code, said) = check(&home, &["trap.wasm"]);
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("dry run on a snapshot without Kafka failed (trap)"), "{said}");
    assert!(said.contains("dry run on a cluster without groups failed (trap)"), "{said}");
    home.write("endless.wasm", guests::endless_start());
    let (code, said) = check(&home, &["endless.wasm"]);
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("failed (time)") || said.contains("more than its 100ms of CPU time"), "{said}");
    home.write("text.wasm", "no WebAssembly at all");
    let (code, said) = check(&home, &["text.wasm"]);
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains("text.wasm: it is not a WebAssembly component"), "{said}");
    let (code, said) = check(&home, &["nowhere.wasm"]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("nowhere.wasm") && said.to_lowercase().contains("no such file"), "{said}");
}

#[test]
fn a_new_rule_is_written_once_with_what_to_do_next() {
    let home = Home::new();
    for (language, file, build) in [
        ("rust", "src/lib.rs", "cargo build --release --target wasm32-wasip2"),
        ("go", "decide/decide.go", "go build"),
        ("js", "src/rule.js", "npm run build"),
        ("ts", "src/rule.ts", "npm run build"),
        ("python", "app.py", "componentize-py"),
        ("c", "rule.c", "make"),
    ] {
        let name = format!("in-{language}");
        let (code, said) = home.command(&["rule", "new", &name, "--lang", language]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(build) && said.contains(&format!("cd {name}")), "{said}");
        for file in [file, "README.md", "cases.yaml", "rule.yaml"] {
            let text = fs::read_to_string(home.path(&name).join(file)).unwrap();
            assert!(!text.is_empty(), "{name}/{file}");
        }
        let (code, said) = home.command(&["rule", "new", &name, "--lang", language]);
        assert_eq!(code, USAGE, "{said}");
        assert!(said.contains("nothing was written"), "{said}");
    }
    let (code, said) = home.command(&["rule", "new", "x", "--lang", "cobol"]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("python"), "{said}");
    let (code, _) = home.command(&["rule", "new", "elsewhere", "--lang", "c", "--path", "a/b"]);
    assert_eq!((code, home.path("a/b/rule.c").is_file()), (Some(0), true));
}
