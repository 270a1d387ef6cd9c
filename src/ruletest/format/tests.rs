use super::*;
use crate::{model::Subject, pipeline::DeedEnd};

fn problems(text: &str) -> Vec<String> {
    parse(text, Path::new("/cases")).expect_err("problems").iter().map(ToString::to_string).collect()
}

fn case(text: &str) -> Case {
    let text = format!("tests: [{{name: n, {text}}}]");
    parse(&text, Path::new("/cases")).unwrap_or_else(|problems| panic!("{text}: {problems:?}")).cases.remove(0)
}

#[test]
fn all_problems_come_at_once_with_their_paths_and_the_key_that_was_meant() {
    let text = "
rule: builtin:nothing
intervall: 5s
tests:
  - name: a
    input_lag:
      - {group: g, topic: t, partition: 0, comitted: 5}
      - {group: g, topic: t, partition: -1, log_end: 1.5}
    input_series: [{series: 'kafka_consumergroup_lag{}', values: 1}, {series: 'a{', values: '1 b'}]
    alert_rule_test:
      - {alertname: A, exp_alert: []}
  - exp_config_error: x
    alert_rule_test: [{alertname: A, exp_alerts: []}]
  - name: c
";
    let found = problems(text);
    let expected = [
        "rule: found \"builtin:nothing\"; allowed: builtin:",
        "tests[0].input_lag[0].comitted: unknown key; did you mean `committed`?",
        "tests[0].input_lag[1].partition: found the number -1; allowed: a whole number from 0",
        "tests[0].input_lag[1].log_end: found the number 1.5; allowed: whole numbers from 0 to",
        "tests[0].input_series[0].series: kafka_consumergroup_lag is not read from pages",
        "tests[0].input_series[1].series: no series: ",
        "tests[0].input_series[1].values: found \"b\"; allowed: a number",
        "tests[0].alert_rule_test[0].exp_alert: unknown key; did you mean `exp_alerts`?",
        "tests[0].alert_rule_test[0]: expects nothing",
        "tests[1].name: missing",
        "tests[1].exp_config_error: a rule whose configuration is refused says nothing more",
        "tests[2]: expects nothing",
        "intervall: unknown key; did you mean `interval`?",
    ];
    for want in expected {
        assert!(found.iter().any(|problem| problem.starts_with(want)), "{want}\nin {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn no_file_of_cases_is_refused_in_a_sentence() {
    assert!(problems("- a")[0].contains("not a mapping"));
    assert!(problems("{}")[0].starts_with("tests: missing"));
    assert_eq!(problems("tests: []"), ["tests: has no case"]);
    assert!(problems("tests: [").first().unwrap().contains("not usable as YAML"));
}

#[test]
fn what_stands_above_holds_for_all_and_a_case_goes_before_it() {
    let text = "
rule: a.wasm
config: {threshold: 1}
interval: 10s
for: 30s
labels: {team: data}
start: 2026-01-02T00:00:00Z
tests:
  - {name: a, exp_failure: unavailable}
  - {name: b, config: {threshold: 2}, for: 0s, interval: 1m, evaluation_interval: 2m, exp_failure: unavailable}
";
    let file = parse(text, Path::new("/cases")).unwrap();
    assert_eq!(file.module, Some(crate::rules::Module::File("/cases/a.wasm".into())));
    let [a, b] = &file.cases[..] else { panic!("{file:?}") };
    assert_eq!((a.config.as_str(), b.config.as_str()), (r#"{"threshold":1}"#, r#"{"threshold":2}"#));
    assert_eq!((a.interval, b.interval), (Duration::from_secs(10), Duration::from_mins(1)));
    assert_eq!((a.settings.pending_for, b.settings.pending_for), (Duration::from_secs(30), Duration::ZERO));
    assert_eq!((a.settings.interval, b.settings.interval), (None, Some(Duration::from_mins(2))));
    assert_eq!((&a.settings.labels["team"], a.start), (&b.settings.labels["team"], Timestamp(1_767_312_000_000)));
}

#[test]
fn a_case_lasts_to_its_last_eval_time_and_so_must_facts_about_kafka() {
    let tests = "alert_rule_test: [{eval_time: 2m, alertname: A, exp_alerts: []}], state_test: [{eval_time: 4m, exp_state: {a: null}}]";
    assert_eq!(case(tests).steps, 5);
    assert_eq!(case(&format!("interval: 7s, {tests}")).steps, 35);
    let row = |end: &str| {
        format!(
            "tests: [{{name: n, input_lag: [{{group: g, topic: t, partition: 0, committed: 1, log_end: {end}}}], {tests}}}]"
        )
    };
    assert!(parse(&row("'1+1x4'"), Path::new("")).is_ok() && parse(&row("7"), Path::new("")).is_ok());
    let short = problems(&row("'1+1x2 _'"));
    assert!(short[0].starts_with("tests[0].input_lag[0].log_end: ends after 4 values, and the last eval_time needs 5"));
    let long = problems("tests: [{name: n, interval: 1s, state_test: [{eval_time: 1d, exp_state: {}}]}]");
    assert!(long[0].starts_with("tests[0]: needs 86401 snapshots"), "{long:?}");
}

#[test]
fn expectations_are_read_as_written() {
    let read = case(
        "alert_rule_test: [{eval_time: 0, alertname: A, exp_pending: [{exp_labels: {p: 0, x: 'y'}, exp_value: '-Inf', \
         exp_subject: {topic: t}}]}], action_test: [{exp_actions: [{exp_name: r, exp_key: k, exp_subject: agent}]}], \
         state_test: [{exp_state: {a: '1', b: {hex: '00ff'}, c: null, d: 7}}], \
         exp_failure: [{eval_time: 5m, exp_reason: trap, exp_text: wasm}]",
    );
    let alert = &read.expected.alerts[0].pending.as_ref().unwrap()[0];
    assert_eq!(alert.labels, Labels::from([("p".into(), "0".into()), ("x".into(), "y".into())]));
    assert_eq!((alert.value, &alert.subject), (Some(f64::NEG_INFINITY), &Some(Subject::Topic("t".into()))));
    assert!(read.expected.alerts[0].firing.is_none());
    assert_eq!(read.expected.actions[0].1[0].subject, Some(Subject::Agent));
    let state: Vec<_> = read.expected.state[0].1.values().cloned().collect();
    assert_eq!(state, [Some(b"1".to_vec()), Some(vec![0, 255]), None, Some(b"7".to_vec())]);
    assert_eq!(read.expected.failures[0].at, Some(Duration::from_mins(5)));
}

#[test]
fn what_becomes_of_actions_is_read_and_odd_words_are_refused() {
    let read = case(
        "input_actions: [{at: 30s, name: a, key: k, state: failed, text: no}, {name: a, key: 7, state: dry-run}], \
         exp_failure: unavailable",
    );
    let read: Vec<_> = read
        .inputs
        .actions
        .iter()
        .map(|action| {
            (action.at.as_secs(), &*action.key, action.end.map(DeedEnd::text), action.attempts, &*action.text)
        })
        .collect();
    assert_eq!(read, [(30, "k", Some("failed"), 1, "no"), (0, "7", Some("dry_run"), 0, "")]);
    let found = problems(
        "tests: [{name: n, exp_failure: unavailable, input_actions: [{name: a, key: k, state: finished}, \
         {name: a, key: k, state: waiting, text: x}, {name: a, state: done}]}]",
    );
    let expected = ["[0].state: ", "[1].text: ", "[2].key: missing"];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("tests[0].input_actions{expected}")), "{found}");
    }
}
