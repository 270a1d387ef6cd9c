//! What contrib/ ships for Prometheus, over three brokers with their JMX exporters and an agent beside each; and the
//! files themselves, by the judges that there are for them.

mod compose;
mod dashboards;
mod exporter;
mod fleet;
mod kubernetes;

use crate::harness::process::run;
use serde_yaml::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of what is shipped.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// A shipped file, for this machine: each of the first texts, which must be there, is replaced by the second.
#[track_caller]
fn shipped(name: &str, replaced: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from} in contrib/{name}");
        text.replace(from, to)
    })
}

/// promtool in contrib/prometheus: its exit code and what it printed.
fn promtool(arguments: &[&str]) -> (Option<i32>, String) {
    run(Command::new("promtool").args(arguments).current_dir(folder("prometheus")), "")
}

#[test]
fn the_rules_pass_their_tests() {
    let (code, said) = promtool(&["test", "rules", "brokerwarden.rules.test.yml"]);
    assert_eq!(code, Some(0), "{said}");
    // The judge does judge: nobody hears of a share that is not watched.
    let deaf = tempfile::tempdir().unwrap();
    let rules = shipped(
        "prometheus/brokerwarden.rules.yml",
        &[("(brokerwarden_offsets_partitions_owned) < max", "(brokerwarden_offsets_partitions_owned) > 7 * max")],
    );
    fs::write(deaf.path().join("brokerwarden.rules.yml"), rules).unwrap();
    let tests = deaf.path().join("brokerwarden.rules.test.yml");
    fs::copy(folder("prometheus/brokerwarden.rules.test.yml"), &tests).unwrap();
    let (code, said) = promtool(&["test", "rules", &tests.display().to_string()]);
    assert!(code == Some(1) && said.contains("BrokerwardenShareNotWatched"), "{code:?}: {said}");
}

#[test]
fn the_configuration_is_one_of_prometheus() {
    let (code, said) = promtool(&["check", "config", "prometheus.yml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rules found"), "{said}");
}

/// The names at `key` of all rules or tests below a value.
fn names(value: &Value, key: &str, wanted: &dyn Fn(&serde_yaml::Mapping) -> bool, found: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(mapping) => {
            if let Some(Value::String(name)) = mapping.get(key)
                && wanted(mapping)
            {
                found.insert(name.clone());
            }
            mapping.values().for_each(|value| names(value, key, wanted, found));
        }
        Value::Sequence(values) => values.iter().for_each(|value| names(value, key, wanted, found)),
        _ => {}
    }
}

#[test]
fn every_alert_and_recording_has_a_test() {
    let read = |name: &str| serde_yaml::from_str::<Value>(&shipped(name, &[])).unwrap();
    let (rules, tests) = (read("prometheus/brokerwarden.rules.yml"), read("prometheus/brokerwarden.rules.test.yml"));
    let of = |value, key, wanted: &dyn Fn(&serde_yaml::Mapping) -> bool| {
        let mut found = BTreeSet::new();
        names(value, key, wanted, &mut found);
        found
    };
    let fires = |test: &serde_yaml::Mapping| {
        test.get("exp_alerts").and_then(Value::as_sequence).is_some_and(|alerts| !alerts.is_empty())
    };
    let alerts = of(&rules, "alert", &|_| true);
    assert!(alerts.len() > 15, "{alerts:?}");
    assert_eq!(alerts, of(&tests, "alertname", &fires), "each fires in some test");
    let gives = |test: &serde_yaml::Mapping| {
        test.get("exp_samples").and_then(Value::as_sequence).is_some_and(|samples| !samples.is_empty())
    };
    assert_eq!(of(&rules, "record", &|_| true), of(&tests, "expr", &gives), "each gives something in some test");
}
