//! Cases played on real components: the examples', and guests written in WAT.

use super::*;
use crate::{
    rules::{
        builtin,
        tests::{module, text},
    },
    ruletest::scripted::Script,
    snapshot::{GroupKind, LagStatus},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder where tests/run leaves the components that it built from `rules-examples`.
const FRESH: &str = "BROKERWARDEN_TEST_EXAMPLES";

fn parsed(yaml: &str) -> Vec<Case> {
    parse(yaml, Path::new("")).unwrap_or_else(|problems| panic!("{problems:#?}")).cases
}

fn reported(host: &Offline, code: &Loaded, yaml: &str) -> String {
    let faults = parsed(yaml).iter().flat_map(|case| run(host, code, "r", case)).collect::<Vec<_>>();
    report(&faults, &Styles::PLAIN)
}

/// The built-in components, and those that tests/run has just built from the same source, must say the same.
#[test]
fn the_examples_hold_their_cases() {
    // Not there in `tests/run --quick`, which has no compiler for it.
    let fresh = std::env::var_os(FRESH).map(PathBuf::from);
    let mut host = Offline::in_process();
    for name in builtin::names() {
        let mut components = vec![("built in", builtin::builtin(name).unwrap().to_vec())];
        if let Some(folder) = &fresh {
            let file = folder.join(format!("{}.wasm", name.replace('-', "_")));
            components.push(("fresh", fs::read(file).unwrap()));
        }
        for (which, bytes) in components {
            let code = host.load(&bytes).unwrap();
            let mut ran = 0;
            for entry in fs::read_dir(format!("rules-examples/{name}/cases")).unwrap() {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains(&format!("rule: ../{name}.wasm\n")), "{}", path.display());
                for case in parsed(&text) {
                    let faults = run(&host, &code, name, &case);
                    let report = report(&faults, &Styles::PLAIN);
                    assert!(faults.is_empty(), "{name}, {}, {which}:\n{report}", case.name);
                    ran += 1;
                }
            }
            assert!(ran >= 2, "{name}: only {ran} cases");
        }
    }
}

const GROWING: &str = "
    interval: 10s
    config: {threshold: 100}
    input_lag:
      - {group: orders, topic: payments, partition: 0, committed: 0, log_end: '50+30x5 0x20'}
";

#[test]
fn an_alert_is_pending_then_fires_then_is_kept_then_resolves() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let none = |at: &str| {
        format!(
            "      - {{eval_time: {at}, alertname: ConsumerGroupLag, exp_alerts: [], exp_pending: [], exp_resolved: []}}\n"
        )
    };
    let one = |at: &str, key: &str, value: u32| {
        format!(
            "      - {{eval_time: {at}, alertname: ConsumerGroupLag, {key}: [{{exp_labels: {{consumergroup: orders, topic: payments, team: data}}, exp_value: {value}, exp_subject: {{group: orders}}}}]}}\n"
        )
    };
    let yaml = format!(
        "for: 20s\nkeep_firing_for: 10s\nlabels: {{team: data}}\ntests:\n  - name: life{GROWING}    alert_rule_test:\n{}",
        [
            none("0s"),
            none("19s"),
            one("20s", "exp_pending", 110),
            one("30s", "exp_pending", 140),
            one("40s", "exp_alerts", 170),
            one("50s", "exp_alerts", 200),
            one("60s", "exp_alerts", 200),
            one("70s", "exp_resolved", 200),
        ]
        .concat()
    );
    assert_eq!(reported(&host, &code, &yaml), "");
}

#[test]
fn a_failed_case_shows_what_was_expected_and_what_came() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let yaml = format!(
        "tests:\n  - name: wrong{GROWING}    alert_rule_test:
      - {{eval_time: 20s, alertname: ConsumerGroupLag, exp_pending: [{{exp_labels: {{consumergroup: orders, topic: payments}}}}]}}
      - eval_time: 30s
        alertname: ConsumerGroupLag
        exp_alerts: [{{exp_labels: {{consumergroup: orders, topic: refunds}}, exp_value: 141, exp_annotations: {{summary: x}}}}]
      - {{eval_time: 40s, alertname: Other, exp_alerts: [{{}}]}}
"
    );
    let want = r#"  at 20s:
    missing:    pending ConsumerGroupLag{consumergroup="orders", topic="payments"} (it is firing)
  at 30s:
    firing ConsumerGroupLag{consumergroup="orders", topic="refunds"} is another than expected:
      annotation description
        expected none
        got      "Consumer group orders is 140 messages behind on topic payments (threshold 100). Partitions: 1, the worst 140 behind."
      annotation summary
        expected "x"
        got      "orders is 140 messages behind on payments"
      label topic
        expected "refunds"
        got      "payments"
      value
        expected 141
        got      140
  at 40s:
    missing:    firing Other{}
    unexpected: firing ConsumerGroupLag{consumergroup="orders", topic="payments"}
"#;
    assert_eq!(reported(&host, &code, &yaml), want);
    let coloured = report(&run(&host, &code, "r", &parsed(&yaml)[0]), &Styles::COLOURED);
    assert!(coloured.contains("expected \u{1b}[32m141\u{1b}[0m") && coloured.contains("got      \u{1b}[31m140"));
}

#[test]
fn what_is_not_given_is_unavailable_and_never_passes_for_silence() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let said = reported(&host, &code, "tests: [{name: a, alert_rule_test: [{alertname: A, exp_alerts: []}]}]");
    assert!(
        said.contains(
            "the evaluation is unavailable: \"Kafka was not observed lately\"; if that is meant: exp_failure"
        ),
        "{said}"
    );
    // An outage: what fires goes on firing.
    let yaml = format!(
        "tests:\n  - name: outage{GROWING}    input_targets: [{{name: kafka, up: '1x4 0x9'}}]
    exp_failure: [{{eval_time: 90s, exp_reason: unavailable, exp_text: not observed}}]
    alert_rule_test: [{{eval_time: 90s, alertname: ConsumerGroupLag, exp_alerts: [{{exp_labels: {{consumergroup: orders, topic: payments}}, exp_value: 170}}]}}]
"
    );
    assert_eq!(reported(&host, &code, &yaml), "");
}

#[test]
fn the_configuration_is_taken_or_refused_as_expected() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let refused = reported(&host, &code, "tests: [{name: a, config: {threshold: -1}, exp_failure: unavailable}]");
    assert!(refused.contains("the rule refuses its configuration: \"config.threshold: must be"), "{refused}");
    let taken = reported(&host, &code, "tests: [{name: a, exp_config_error: no}]");
    assert!(taken.contains("got      none: it is taken"), "{taken}");
}

#[test]
fn state_values_and_failures_are_seen_and_an_unexpected_failure_never_passes() {
    let mut host = Offline::in_process();
    let code = host.load(&module(&text("counter.wat"))).unwrap();
    let state = |at: &str, hex: &str| format!("{{eval_time: {at}, exp_state: {{n: {{hex: '{hex}'}}, other: null}}}}");
    let yaml = format!(
        "tests: [{{name: a, state_test: [{}, {}], alert_rule_test: [{{eval_time: 4m, alertname: n, exp_alerts: [{{exp_value: 5, exp_subject: agent}}]}}]}}]",
        state("0", "01"),
        state("4m", "05")
    );
    assert_eq!(reported(&host, &code, &yaml), "");
    // Between evaluations nothing happens.
    let slow = yaml
        .replace("name: a", "name: a, evaluation_interval: 2m")
        .replace("05", "03")
        .replace("exp_value: 5", "exp_value: 3");
    assert_eq!(reported(&host, &code, &slow), "");
    let wrong = reported(&host, &code, &yaml.replace("05", "06"));
    assert!(wrong.contains("key \"n\"\n        expected hex 06\n        got      hex 05"), "{wrong}");
    // It traps where the time is odd: at the second evaluation, of which nothing is expected.
    let odd = "tests: [{name: a, interval: 1ms, state_test: [{eval_time: 2ms, exp_state: {n: {hex: '02'}}}]}]";
    let trapped = reported(&host, &code, odd);
    assert!(trapped.contains("at 1ms:\n    the evaluation failed (trap): \"wasm"), "{trapped}");
    let meant = odd
        .replace("state_test", "exp_failure: [{eval_time: 1ms, exp_reason: trap, exp_text: unreachable}], state_test");
    assert_eq!(reported(&host, &code, &meant), "");
    let other = reported(&host, &code, &meant.replace("exp_reason: trap", "exp_reason: time"));
    assert!(other.contains("reason\n        expected time\n        got      trap ("), "{other}");
}

/// Own alerts are those of the evaluation before; rates have looked at each snapshot; the time of day is the case's.
#[test]
fn what_a_rule_asks_about_the_past_follows_from_the_case() {
    let mut host = Offline::in_process();
    let code = host.load(&module(&text("around.wat"))).unwrap();
    let at = |at: &str, alerts: &str, rate: &str| {
        let one = |name: &str, value: &str| {
            format!("{{eval_time: {at}, alertname: {name}, exp_alerts: [{{exp_value: {value}, exp_subject: agent}}]}}")
        };
        [one("alerts", alerts), one("hour", "9"), one("rate", rate)].join(", ")
    };
    let tests = [at("0s", "0", "-1"), at("30s", "3", "10"), at("60s", "3", "6.666666666666667")].join(", ");
    let yaml = format!(
        "tests: [{{name: a, interval: 30s, start: 2026-01-01T00:00:00Z, input_lag: [{{group: g, topic: t, partition: 0, \
         committed: '100 400 100', log_end: 1000}}], alert_rule_test: [{tests}]}}]"
    );
    assert_eq!(reported(&host, &code, &yaml), "");
}

#[test]
fn a_script_says_only_what_the_case_says() {
    let case = &parsed(
        "tests:
  - name: a
    interval: 1m
    start: 2026-01-01T00:00:00Z
    input_lag:
      - {group: g, topic: t, partition: 0, committed: '1+1x2 stale', log_end: '10 10 _ _', commit_age_seconds: 30, lag_seconds: 2.5, lag_seconds_at_least: true}
      - {group: g, topic: t, partition: 1, log_end: 5, log_start: 2}
      - {group: h, topic: u, partition: 0, committed: '_ 7 7 7', log_end: 7}
    input_groups:
      - {group: g, kind: consumer, state: 'Stable Emptyx2 Stable', members: '2 0 _ 1', coordinator: 3}
      - {group: gone, state: 'Dead stalex2 _', ownership: elsewhere}
    input_partitions: [{topic: v, partition: 0, leader: '2 _ stale 2', replicas: [2, 3], in_sync: '2 1 1 1'}]
    input_series: [{series: 'heap{area=\"old\"}', values: '1 NaN stale'}, {series: x, target: p2, values: 'Inf'}]
    input_targets: [{name: p2, up: '1 0 0 0'}]
    exp_failure: [{eval_time: 3m, exp_reason: unavailable}]
",
    )[0];
    let mut script = Script::new(case);
    let snapshots: Vec<_> = (0..case.steps).map(|position| script.snapshot(position)).collect();
    let kafka: Vec<_> = snapshots.iter().map(|snapshot| snapshot.kafka.as_ref().unwrap()).collect();
    let row = |at: usize, group: &str, number: usize| kafka[at].rows_of(group)[number].clone();
    assert_eq!((row(1, "g", 0).lag, row(2, "g", 0).status), (Some(8), LagStatus::Unknown));
    assert_eq!(row(1, "g", 0).committed_at, Some(snapshots[0].at.plus(Duration::from_secs(30))));
    let age = row(1, "g", 0).age.unwrap();
    assert!(age.at_least && age.milliseconds() == 2500);
    assert_eq!((row(0, "g", 1).status, row(0, "g", 1).log_start), (LagStatus::NoCommit, Some(2)));
    assert_eq!(kafka[3].rows_of("g").len(), 1);
    assert_eq!((row(0, "h", 0).status, row(1, "h", 0).age.unwrap().milliseconds()), (LagStatus::Unknown, 0));
    let group = |at: usize, name: &str| kafka[at].group(name).map(|group| (group.state, group.members));
    assert_eq!((group(0, "g"), group(2, "g")), (Some(("Stable", Some(2))), Some(("Empty", None))));
    assert_eq!((group(0, "h"), kafka[0].group("g").unwrap().kind), (Some(("Unknown", None)), GroupKind::Consumer));
    assert_eq!((group(0, "gone"), group(1, "gone")), (Some(("Dead", None)), None));
    assert_eq!((kafka[1].owns_group("gone"), kafka[1].owns_group("g")), (Some(false), Some(true)));
    let partition = |at: usize| {
        kafka[at].topic("v").map(|topic| (topic.partitions[0].leader.map(|id| id.0), topic.partitions[0].in_sync.len()))
    };
    assert_eq!((partition(0), partition(1), partition(2)), (Some((Some(2), 2)), Some((None, 1)), None));
    assert_eq!(kafka[0].brokers.iter().map(|broker| broker.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let samples = |at: usize| -> Vec<String> {
        let all = snapshots[at].pages.iter().flat_map(|page| page.page.samples());
        all.map(|sample| format!("{} {}", sample.name, sample.value_text)).collect()
    };
    assert_eq!((samples(0), samples(1)), (vec!["heap 1".into(), "x +Inf".into()], vec!["heap NaN".to_owned()]));
    assert!(samples(3).is_empty());
    let target = |at: usize| snapshots[at].targets.iter().map(|target| (&*target.name, target.up)).collect::<Vec<_>>();
    assert_eq!(target(2), [("kafka", true), ("jmx", true), ("p2", false)]);
    assert_eq!(snapshots[2].targets[2].last_success, Some(snapshots[0].at));
}
