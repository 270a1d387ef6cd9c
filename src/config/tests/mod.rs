//! Tests of the configuration as a whole; here is what they share.

mod actions;
mod notify;
mod refused;
mod taken;
mod web;

use super::*;
use std::fs;

fn environment(name: &str) -> Option<String> {
    match name {
        "CLUSTER" => Some("from-environment".into()),
        "SERIES" => Some("5000".into()),
        "SECRET" => Some("hunter2".into()),
        "NESTED" => Some("${SECRET}".into()),
        "SSL_CERT_FILE" => Some("/etc/system/ca.pem".into()),
        "LONG" => Some("x".repeat(100_000)),
        _ => None,
    }
}

/// Loads `text` from the file agent.yaml in a folder of its own.
fn loaded(text: impl AsRef<[u8]>) -> (tempfile::TempDir, Result<Config, LoadError>) {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("agent.yaml");
    fs::write(&file, text).expect("written");
    let result = load(&file, &environment);
    (folder, result)
}

#[track_caller]
fn good(text: &str) -> Config {
    match loaded(text).1 {
        Ok(config) => config,
        Err(error) => panic!("{error}\nin\n{text}"),
    }
}

/// All problems of `text` as lines, the file's own path cut to its name.
#[track_caller]
fn bad(text: impl AsRef<[u8]>) -> String {
    let (folder, result) = loaded(text);
    let problems = match result {
        Ok(config) => panic!("taken: {config:?}"),
        Err(LoadError::Read { source, .. }) => panic!("{source}"),
        Err(LoadError::Problems(problems)) => problems,
    };
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&format!("{}/", folder.path().display()), "")
}

/// `text` below `kafka: {}` has exactly one problem, and it is this one.
#[track_caller]
fn check(text: &str, problem: &str) {
    assert_eq!(bad(format!("kafka: {{}}\n{text}")), problem);
}

fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
