//! One rule in six languages (`rules-examples/sightings`) says the same: one table of cases, as the documentation says to run
//! it, against the components that are held in `tests/data/held` and against those that tests/run has just built.

use flate2::read::GzDecoder;
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder in which tests/run leaves LANGUAGE.wasm, each built with its language's ordinary commands.
const FRESH: &str = "BROKERWARDEN_TEST_LANGUAGES";

#[test]
fn all_languages_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for component in components(folder.path()) {
        let ran = Command::new(env!("CARGO_BIN_EXE_brokerwarden"))
            .args(["rule", "test"])
            .arg(root.join("rules-examples/sightings/cases.yaml"))
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
        all.extend(["c", "go", "js", "python", "rust", "ts"].map(|name| fresh.join(name).with_extension("wasm")));
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
    let languages: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(languages, ["c", "go", "js", "rust", "ts"], "README.md there says why there is none in Python");
    let unpacked = names.into_iter().map(|(name, path)| {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        let into = folder.join(format!("{name}-held.wasm"));
        fs::write(&into, bytes).unwrap();
        into
    });
    unpacked.collect()
}
