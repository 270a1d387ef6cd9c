//! One rule in six languages says the same: one table of cases, as the documentation says to run it, against the components that are held
//! in `tests/data/held` and against those that tests/run has just built. Two rules: the example `rules-examples/sightings`, and
//! `tests/probe`, which asks for something of each interface.

use flate2::read::GzDecoder;
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder in which tests/run leaves LANGUAGE.wasm and probe-LANGUAGE.wasm, each built with its language's ordinary commands.
const FRESH: &str = "BROKERWARDEN_TEST_LANGUAGES";

#[test]
fn all_languages_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for component in components(folder.path()) {
        let is_probe = component.file_name().unwrap().to_str().unwrap().starts_with("probe-");
        let cases = if is_probe { "tests/probe/cases.yaml" } else { "rules-examples/sightings/cases.yaml" };
        let ran = Command::new(env!("CARGO_BIN_EXE_brokerwarden"))
            .args(["rule", "test"])
            .arg(root.join(cases))
            .arg("--rule")
            .arg(&component)
            // QuickJS and CPython take seconds to compile: once for all runs of this test.
            .env("XDG_CACHE_HOME", root.join("target/test-compiled"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(ran.status.success(), "{}: {said}", component.display());
        assert_eq!(said.matches("ok    ").count(), 1, "{}: {said}", component.display());
    }
}

fn components(folder: &Path) -> Vec<PathBuf> {
    let mut all = held(folder);
    // Not there in `tests/run --quick`, which has no toolchains for them.
    if let Some(fresh) = std::env::var_os(FRESH).map(PathBuf::from) {
        for language in ["c", "go", "js", "python", "rust", "ts"] {
            all.extend(["", "probe-"].map(|rule| fresh.join(format!("{rule}{language}.wasm"))));
        }
    }
    all
}

/// Components built once and kept: what loads today must load tomorrow.
fn held(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/held"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix(".wasm.gz")?.to_owned(), path)))
        .collect();
    names.sort();
    let found: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, ["c", "go", "js", "probe-c", "probe-rust", "python", "rust", "ts"]);
    // CPython takes half a minute to compile, which is too long for what everybody runs all the time.
    names.retain(|(name, _)| name != "python" || std::env::var_os(FRESH).is_some());
    let unpacked = names.into_iter().map(|(name, path)| {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        let into = folder.join(format!("{name}-held.wasm"));
        fs::write(&into, bytes).unwrap();
        into
    });
    unpacked.collect()
}
