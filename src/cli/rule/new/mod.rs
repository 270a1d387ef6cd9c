//! `brokerwarden rule new`: writes a project that builds with its language's ordinary commands, tests included.

mod templates;

use crate::cli::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE};
use clap::ValueEnum;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Bytes of a project's name.
const MAX_NAME: usize = 60;
/// The name that the examples have.
const EXAMPLE: &str = "sightings";
/// Where the SDK's copy is in a project in Rust, and where it is beside the example.
const SDK: &str = "brokerwarden-rule";
const SDK_OF_EXAMPLE: &str = "../../../guest-sdk";

/// A language of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// Rust
    Rust,
    /// Go
    Go,
    /// JavaScript
    Js,
    /// TypeScript
    Ts,
    /// Python
    Python,
    /// C
    C,
}

/// Why no project was written.
#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error(
        "{0:?} is no name for a project: it begins with a lower-case letter and goes on with lower-case letters, digits \
         and '-', at most {MAX_NAME} bytes"
    )]
    Name(String),
    #[error(
        "{0:?} is the name of a library that the rule uses, and cargo takes no two packages of one name; nothing was \
         written: choose another name"
    )]
    Library(String),
    #[error("{0} is there already, and not an empty folder; nothing was written: choose another name or --path")]
    Exists(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Writes the project into `folder`, by default one of its name here.
pub(super) fn main(name: &str, language: Language, folder: Option<&Path>) -> ExitCode {
    let folder = folder.map_or_else(|| PathBuf::from(name), Path::to_owned);
    match write(name, language, &folder) {
        Ok(()) => {
            println!("{}", next_steps(name, language, &folder));
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            let code = if matches!(error, NewError::Write { .. }) { EXIT_RUNTIME } else { EXIT_USAGE };
            eprintln!("{:#}", anyhow::Error::from(error));
            ExitCode::from(code)
        }
    }
}

fn write(name: &str, language: Language, folder: &Path) -> Result<(), NewError> {
    if !is_name(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    if language == Language::Rust && is_library(name) {
        return Err(NewError::Library(name.to_owned()));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Write { path, source }
    };
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(NewError::Exists(folder.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(NewError::Exists(folder.to_owned())),
        Err(error) => return Err(failed(folder)(error)),
    }
    for (path, bytes) in project(name, language) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        // Never over a file that somebody else has just made there.
        let mut file = fs::File::create_new(&path).map_err(failed(&path))?;
        io::Write::write_all(&mut file, &bytes).map_err(failed(&path))?;
    }
    Ok(())
}

/// What cargo, npm and a file in `rules_dir` all take.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Is there a package of that name in the lock file of projects in Rust?
fn is_library(name: &str) -> bool {
    let lock = templates::RUST.iter().find(|(path, _)| *path == "Cargo.lock");
    let lock = lock.map(|(_, bytes)| String::from_utf8_lossy(bytes)).unwrap_or_default();
    name != EXAMPLE && lock.lines().any(|line| line == format!("name = {name:?}"))
}

/// The project's files.
fn project(name: &str, language: Language) -> Vec<(PathBuf, Vec<u8>)> {
    let template = match language {
        Language::Rust => templates::RUST,
        Language::Go => templates::GO,
        Language::Js => templates::JAVASCRIPT,
        Language::Ts => templates::TYPESCRIPT,
        Language::Python => templates::PYTHON,
        Language::C => templates::C,
    };
    let sdk = if language == Language::Rust { templates::SDK } else { &[] };
    let own = template.iter().map(|(path, bytes)| (PathBuf::from(path), named(path, bytes, name)));
    let sdk = sdk.iter().map(|(path, bytes)| {
        let bytes = if *path == "Cargo.toml" { without_workspace(bytes) } else { bytes.to_vec() };
        (Path::new(SDK).join(path), bytes)
    });
    own.chain(sdk).collect()
}

/// A file of the example with the project's name in place of the example's.
fn named(path: &str, bytes: &[u8], name: &str) -> Vec<u8> {
    let Ok(text) = str::from_utf8(bytes) else { return bytes.to_vec() };
    match path {
        "Cargo.toml" => {
            text.replace(&format!("{EXAMPLE:?}"), &format!("{name:?}")).replace(SDK_OF_EXAMPLE, SDK).into_bytes()
        }
        "Cargo.lock" | "package.json" | "package-lock.json" => {
            text.replace(&format!("{EXAMPLE:?}"), &format!("{name:?}")).into_bytes()
        }
        "README.md" => {
            // Cargo names the file by the crate, whose name has no '-'.
            let built = |name: &str| format!("release/{}.wasm", name.replace('-', "_"));
            text.replace(&built(EXAMPLE), &built(name)).replace(EXAMPLE, name).into_bytes()
        }
        _ => bytes.to_vec(),
    }
}

/// The SDK's manifest without what is of use in its own repository only: tests and the workspace's lints.
fn without_workspace(manifest: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(manifest);
    text.split_once("\n[dev-dependencies]").map_or(&*text, |(kept, _)| kept).as_bytes().to_vec()
}

/// What to do with it.
fn next_steps(name: &str, language: Language, folder: &Path) -> String {
    let (test, build, module) = match language {
        Language::Rust => (
            "cargo test",
            "cargo build --release --target wasm32-wasip2",
            format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_")),
        ),
        Language::Go => (
            "go test ./decide",
            "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o build/rule.wasm .",
            "build/rule.wasm".to_owned(),
        ),
        Language::Js | Language::Ts => ("npm ci && npm test", "npm run build", "build/rule.wasm".to_owned()),
        Language::Python => (
            "python3 -m unittest",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n    mkdir -p build\n    \
             .venv/bin/componentize-py -d wit -w checked-rule componentize --stub-wasi app -o build/rule.wasm",
            "build/rule.wasm".to_owned(),
        ),
        Language::C => (
            "make test",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n    \
             make ZIG='.venv/bin/python -m ziglang'",
            "build/rule.wasm".to_owned(),
        ),
    };
    format!(
        "{folder} is a rule, with its tests; README.md says the rest. Next:\n\n    cd {folder}\n    {test}\n    {build}\n    \
         brokerwarden rule check {module} --config rule.yaml\n    brokerwarden rule test cases.yaml --rule {module}\n    \
         cp rule.yaml RULES_DIR/{name}.yaml && cp {module} RULES_DIR/{name}.wasm\n",
        folder = folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LANGUAGES: [(Language, &str, &[templates::File]); 6] = [
        (Language::Rust, "rules-examples/sightings/rust", templates::RUST),
        (Language::Go, "rules-examples/sightings/go", templates::GO),
        (Language::Js, "rules-examples/sightings/js", templates::JAVASCRIPT),
        (Language::Ts, "rules-examples/sightings/ts", templates::TYPESCRIPT),
        (Language::Python, "rules-examples/sightings/python", templates::PYTHON),
        (Language::C, "rules-examples/sightings/c", templates::C),
    ];

    /// Files below a folder that git would keep.
    fn files_below(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder.join(below)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            if folder.join(&path).is_file() {
                found.insert(path);
            } else if !["target", "build", "node_modules", "__pycache__", ".venv", "tests", "wit-held"]
                .contains(&&*name)
            {
                files_below(folder, &path, found);
            }
        }
    }

    #[test]
    fn a_template_has_all_files_of_its_example() {
        let folders = LANGUAGES.map(|(_, folder, files)| (folder, files));
        for (folder, files) in folders.into_iter().chain([("guest-sdk", templates::SDK)]) {
            let mut found = BTreeSet::new();
            files_below(Path::new(folder), "", &mut found);
            let listed: BTreeSet<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(listed, found, "{folder}");
        }
    }

    #[test]
    fn a_project_has_its_own_name_and_else_is_the_example() {
        for (language, folder, _) in LANGUAGES {
            let mut renamed = 0;
            for (path, bytes) in project("two-words", language) {
                if path.starts_with(SDK) {
                    continue;
                }
                let example = fs::read(Path::new(folder).join(&path)).unwrap();
                let text = String::from_utf8_lossy(&bytes).replace("two-words", EXAMPLE).replace("two_words", EXAMPLE);
                let text = text.replace(&format!("{SDK:?} }}"), &format!("{SDK_OF_EXAMPLE:?} }}"));
                assert_eq!(text, String::from_utf8_lossy(&example), "{language:?}: {}", path.display());
                renamed += usize::from(bytes != example);
            }
            assert!(renamed >= 1, "{language:?}: its README has the name at least");
        }
        let manifest = |path: &str| {
            let files = project("two-words", Language::Rust);
            let (_, bytes) = files.into_iter().find(|(found, _)| found == Path::new(path)).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert!(manifest("Cargo.toml").contains("name = \"two-words\""));
        assert!(manifest("Cargo.toml").contains("brokerwarden-rule = { path = \"brokerwarden-rule\" }"));
        let sdk = manifest("brokerwarden-rule/Cargo.toml");
        assert!(sdk.contains("wit-bindgen") && !sdk.contains("workspace") && !sdk.contains("wit-parser"), "{sdk}");
    }

    #[test]
    fn nothing_is_written_over_and_no_odd_name_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("mine");
        write("mine", Language::Python, &project).unwrap();
        assert!(project.join("wit/rule.wit").is_file());
        assert!(matches!(write("mine", Language::C, &project), Err(NewError::Exists(_))));
        assert!(!project.join("Makefile").exists());
        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(matches!(write("mine", Language::C, &file), Err(NewError::Exists(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        write("mine", Language::C, &empty).unwrap();
        for odd in ["", "Mine", "1st", "-x", "a b", "../x", "a/b", "a_b", "é", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(write(odd, Language::C, &dir.path().join("odd")), Err(NewError::Name(_))), "{odd:?}");
        }
        for library in [SDK, "serde"] {
            let odd = dir.path().join("odd");
            assert!(matches!(write(library, Language::Rust, &odd), Err(NewError::Library(_))), "{library}");
        }
        assert!(!dir.path().join("odd").exists());
        write(SDK, Language::C, &dir.path().join("c")).unwrap();
    }
}
