//! `rule test`, `rule record` and `rule replay` as their users have them: what they print, and their exit codes.

use crate::harness::{
    daemon::{Home, idle},
    guests, holds, within,
};
use brokerwarden::{
    model::Timestamp,
    recording::{Header, RecordedRule, Recorder},
    snapshot::{Group, GroupKind, KafkaView, LagRow, Share, Snapshot},
};
use std::{path::Path, sync::Arc, time::Duration};

const CASES: &str = "
rule: builtin:lag-threshold
config: {threshold: 100}
tests:
  - name: behind
    input_lag: [{group: g, topic: t, partition: 0, committed: 0, log_end: 101}]
    alert_rule_test: [{alertname: ConsumerGroupLag, exp_alerts: [{exp_labels: {consumergroup: g, topic: t}, exp_value: VALUE}]}]
  - name: not behind
    input_lag: [{group: g, topic: t, partition: 0, committed: 0, log_end: 100}]
    alert_rule_test: [{alertname: ConsumerGroupLag, exp_alerts: []}]
";

#[test]
fn cases_that_hold_end_with_0_and_those_that_fail_with_1_and_what_differs() {
    let home = Home::new();
    home.write("good.yaml", CASES.replace("VALUE", "101"));
    home.write("bad.yaml", CASES.replace("VALUE", "7"));
    let (code, said) = home.command(&["rule", "test", "good.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ok    good.yaml: 2 cases, "), "{said}");
    let (code, said) = home.command(&["rule", "test", "good.yaml", "bad.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    let want = "FAIL  bad.yaml: 1 of 2 cases failed
  \"behind\"
  at 0s:
    firing ConsumerGroupLag{consumergroup=\"g\", topic=\"t\"} is another than expected:
      value
        expected 7
        got      101
";
    assert!(said.ends_with(want), "{said}");
    let (code, said) = home.command(&["rule", "test", "bad.yaml", "--run", "^not"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ok    bad.yaml: 1 cases"), "{said}");
}

#[test]
fn what_cannot_be_understood_ends_with_64_and_says_where_and_what_was_meant() {
    let home = Home::new();
    home.write("typo.yaml", CASES.replace("VALUE", "101").replace("exp_alerts: []", "exp_alert: []"));
    home.write("good.yaml", CASES.replace("VALUE", "101"));
    home.write("no-rule.wasm", "\0asm\x01\0\0\0");
    let said_of = |arguments: &[&str], code: i32, words: &str| {
        let (got, said) = home.command(&[&["rule", "test"], arguments].concat());
        assert_eq!(got, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words) && !said.contains("ok "), "{arguments:?}: {said}");
    };
    let unknown = "typo.yaml: tests[1].alert_rule_test[0].exp_alert: unknown key; did you mean `exp_alerts`?";
    said_of(&["good.yaml", "typo.yaml"], 64, unknown);
    said_of(&["nowhere.yaml"], 64, "cannot read nowhere.yaml");
    said_of(&["good.yaml", "--run", "("], 64, "--run: regex parse error");
    said_of(&["good.yaml", "--run", "nothing like it"], 64, "no case has a name that --run \"nothing like it\" finds");
    said_of(&["good.yaml", "--rule", "nowhere.wasm"], 64, "good.yaml: rule: cannot read nowhere.wasm");
    said_of(
        &["good.yaml", "--rule", "no-rule.wasm"],
        1,
        "no-rule.wasm: it is a core module, and neither says which world",
    );
    said_of(&[], 64, "CASES.yaml");
}

/// All cases of all examples, as the documentation says to run them, and another module in place of theirs.
#[test]
fn the_examples_hold_their_cases() {
    let home = Home::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for example in std::fs::read_dir(root.join("rules-examples")).unwrap() {
        let Ok(cases) = std::fs::read_dir(example.unwrap().path().join("cases")) else { continue };
        files.extend(cases.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()));
    }
    assert!(files.len() >= 3, "{files:?}");
    let arguments: Vec<&str> = ["rule", "test"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let (code, said) = home.command(&arguments);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok    ")).count(), files.len(), "{said}");
    println!("{said}");
}

/// A recording of a group that falls behind by 60 messages a minute.
fn recording() -> Vec<u8> {
    let mut recorder = Recorder::default();
    let rule = |name: &str| RecordedRule {
        name: name.into(),
        config: "{\"threshold\":100}".into(),
        limit_time_ms: 1000,
        limit_memory: 64 << 20,
        limit_alerts: 1000,
        ..RecordedRule::default()
    };
    let rules = vec![rule("a"), rule("b")];
    let (format, agent, configuration) = (String::new(), "0.1.0".into(), String::new());
    let header =
        Header { format, version: 0, agent, started_ms: 1_767_225_600_000, configuration, rules, alerts: vec![] };
    let mut bytes = recorder.begin(header).unwrap();
    for minute in 0..5 {
        let group = Group {
            name: "g".into(),
            kind: GroupKind::Classic,
            state: "Stable",
            members: Some(1),
            coordinator: None,
            ours: true,
        };
        let end = i64::try_from(minute * 60).unwrap();
        let kafka = KafkaView {
            groups: vec![group],
            rows: vec![LagRow::new(0, "t".into(), 0, Some(0), None, None, Some(end))],
            offsets_partitions: vec![Some(Share::Ours)],
            ..KafkaView::default()
        };
        let snapshot = Snapshot {
            number: minute + 1,
            at: Timestamp(1_767_225_600_000 + minute * 60_000),
            interval: Duration::from_mins(1),
            cluster: "c".into(),
            kafka: Some(Arc::new(kafka)),
            pages: vec![],
            targets: vec![],
        };
        bytes.extend(recorder.snapshot(&snapshot, &[0; 32]).unwrap());
    }
    bytes
}

#[test]
fn a_recording_is_replayed_side_by_side_and_twice_the_same() {
    let home = Home::new();
    home.write("calm.bwrec", recording());
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules-examples/lag-threshold/lag-threshold.wasm");
    home.write("new.wasm", std::fs::read(built_in).unwrap());
    home.write("new.yaml", "config: {threshold: 200}\nlabels: {team: data}\n");
    let arguments =
        ["rule", "replay", "calm.bwrec", "--rule", "builtin:lag-threshold", "--rule", "new.wasm", "--as", "b"];
    let (code, said) = home.command(&arguments);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "rule b, live as ",
        "  A = builtin:lag-threshold (",
        "  B = new.wasm (",
        "2026-01-01T00:02:00.000Z  firing 120              ·                       ConsumerGroupLag{consumergroup=\"g\", topic=\"t\"}\n",
        "2026-01-01T00:04:00.000Z  ·                       firing 240              ConsumerGroupLag{consumergroup=\"g\", team=\"data\", topic=\"t\"}\n",
        "alerts differ after 3 of 5 snapshots\n",
    ] {
        assert!(said.contains(line), "{line:?} in\n{said}");
    }
    assert_eq!(home.command(&arguments), (code, said));
    home.write("text.bwrec", "text");
    for (arguments, code, words) in [
        (&["calm.bwrec", "--rule", "builtin:lag-threshold"][..], 64, "There are a, b; say --as NAME"),
        (&["text.bwrec", "--rule", "builtin:lag-threshold"], 64, "text.bwrec: it is no recording of brokerwarden"),
        (&["nowhere.bwrec", "--rule", "builtin:lag-threshold"], 64, "nowhere.bwrec: No such file"),
        (&["calm.bwrec", "--rule", "builtin:lag"], 64, "there is no builtin rule \"lag\""),
        (&["calm.bwrec"], 64, "--rule"),
    ] {
        let (got, said) = home.command(&[&["rule", "replay"], arguments].concat());
        assert!(got == Some(code) && said.contains(words), "{arguments:?}: {got:?} {said}");
    }
}

/// From a running agent to a replay: the counter goes on where it stood, and says the same twice.
#[test]
fn a_running_agent_is_recorded_and_its_rule_replayed() {
    let home = Home::new();
    home.write("rules/counter.wasm", guests::counter());
    let pages = idle().replace("}]", ", interval: 1s, timeout: 900ms}]");
    let yaml = format!("{pages}\nrules_dir: rules\ncluster: here");
    let agent = home.start(&yaml);
    within(Duration::from_mins(1), "it was evaluated", || {
        let (code, said) = agent.command(&["rule", "state", "counter"]);
        holds(code == Some(0) && said.starts_with("n\t"), said)
    });
    let (code, said) = agent.command(&["rule", "record", "--for", "4s", "--out", "now.bwrec"]);
    assert!(code == Some(0) && said.starts_with("now.bwrec: ") && said.contains(" snapshots, "), "{said}");
    let (code, again) = agent.command(&["rule", "record", "--for", "1s", "--out", "now.bwrec"]);
    assert!(code == Some(64) && again.contains("cannot write now.bwrec"), "{again}");
    let (code, long) = agent.command(&["rule", "record", "--for", "2d", "--out", "long.bwrec"]);
    assert!(code == Some(64) && long.contains("from 1s to 24h"), "{long}");
    let replay = ["rule", "replay", "now.bwrec", "--rule", "rules/counter.wasm"];
    let (code, said) = agent.command(&replay);
    assert!(code == Some(0) && said.contains("rule counter, live as "), "{said}");
    let evaluations: u32 =
        said.lines().find_map(|line| line.strip_prefix("evaluations")).unwrap().trim().parse().unwrap();
    assert!(evaluations >= 1, "{said}");
    assert!(said.contains("  failed                  0\n"), "{said}");
    assert_eq!(agent.command(&replay), (code, said));
}
