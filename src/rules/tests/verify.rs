//! Rules that agent.yaml lists, looked at before there is an agent.

use super::{module, text};
use crate::{
    model::Timestamp,
    rules::{Config, Fault, Module, Offline, Overlay, RuleConfig, verify::faults_with},
};
use std::{fs, path::Path};

fn rule(module: Module, config: &str) -> RuleConfig {
    let overlay = Overlay { config: Some(config.to_owned()), ..Overlay::default() };
    RuleConfig { module: Some(module), overlay, ..RuleConfig::default() }
}

#[test]
fn what_keeps_listed_rules_from_going_live_is_told_by_place_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Module::File(path)
    };
    let lag = || Module::Builtin("lag-threshold".to_owned());
    let good = r#"{"groups": ["g"], "threshold": 5}"#;
    let alert = file("alert.wasm", &module(&text("alert.wat")));
    let pinned = RuleConfig { sha256: Some("0".repeat(64)), ..rule(alert.clone(), "{}") };
    let rules = vec![
        rule(lag(), good),
        rule(lag(), r#"{"threshold": "many"}"#),
        RuleConfig::default(),
        rule(alert, "{}"),
        rule(Module::File(dir.path().join("gone.wasm")), "{}"),
        rule(file("bad.wasm", b"garbage"), "{}"),
        rule(file("trap.wasm", &module(&text("trap.wat"))), "{}"),
        pinned,
    ];
    let rules = rules.into_iter().enumerate().map(|(number, rule)| (format!("r{number}"), rule)).collect();
    let config = Config { rules, ..super::config(Path::new("/nowhere")) };
    let faults = faults_with(&mut Offline::in_process(), &config, Timestamp(1_000)).unwrap();
    let told: Vec<_> = faults.iter().map(|Fault { rule, key, .. }| (*rule, *key)).collect();
    assert_eq!(told, [(1, "config"), (4, "module"), (5, "module"), (6, "module"), (7, "sha256")], "{faults:?}");
    assert!(faults[1].text.contains("gone.wasm") && faults[1].text.contains("No such file"), "{faults:?}");
    assert!(faults[2].text.contains("not a WebAssembly component"), "{faults:?}");
    assert!(faults[3].text.contains("dry run on") && faults[3].text.contains("(trap)"), "{faults:?}");
}
