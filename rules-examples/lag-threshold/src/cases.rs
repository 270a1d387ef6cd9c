//! Runs cases/*.yaml against the rule's decision, natively: what the agent does with the rows is done here in short.

use super::{Config, LagThreshold, alerts};
use brokerwarden_rule::{prelude::*, read_config};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    config: serde_json::Value,
    input_lag: Option<Vec<Row>>,
    #[serde(default)]
    alert_rule_test: Vec<ExpectedAlerts>,
    exp_config_error: Option<String>,
    exp_failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    group: String,
    topic: String,
    #[serde(rename = "partition")]
    _partition: u32,
    committed: Option<i64>,
    log_start: Option<i64>,
    log_end: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlerts {
    alertname: String,
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    exp_subject: Option<BTreeMap<String, String>>,
    exp_labels: BTreeMap<String, String>,
    exp_annotations: Option<BTreeMap<String, String>>,
    exp_value: f64,
}

#[test]
fn cases_hold() {
    let mut ran = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/cases")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for case in serde_yaml::from_str::<Cases>(&text).unwrap().tests {
            run(&case);
            ran += 1;
        }
    }
    assert!(ran >= 25, "only {ran} cases were found");
}

fn run(case: &Case) {
    let name = &case.name;
    let config = read_config::<LagThreshold>(&case.config.to_string());
    assert_eq!(config.as_ref().err(), case.exp_config_error.as_ref(), "{name}");
    let (Ok(config), Some(rows)) = (config, &case.input_lag) else {
        assert!(case.exp_config_error.is_some() || case.exp_failure.is_some(), "{name}: expects nothing");
        return; // not observed: the agent answers `unavailable`, and that is not the rule's decision
    };
    let said = alerts(&topic_lags(rows, &config), &config);
    let mut expected =
        case.alert_rule_test.iter().flat_map(|test| test.exp_alerts.iter().map(|e| (&test.alertname, e)));
    for alert in &said {
        let (alertname, want) = expected.next().unwrap_or_else(|| panic!("{name}: unexpected {alert:?}"));
        assert_eq!(&alert.name, alertname, "{name}");
        assert_eq!(map(&alert.labels), want.exp_labels, "{name}");
        assert_eq!(alert.value, Some(want.exp_value), "{name}");
        if let Some(annotations) = &want.exp_annotations {
            assert_eq!(&map(&alert.annotations), annotations, "{name}");
        }
        if let Some(subject) = &want.exp_subject {
            assert_eq!(alert.subject, Subject::Group(subject["group"].clone()), "{name}");
        }
    }
    assert!(expected.next().is_none(), "{name}: said only {said:?}");
}

/// One client's odd group must not cost the others their alerts.
#[test]
fn a_group_whose_name_is_too_long_is_left_out() {
    let config = read_config::<LagThreshold>("{}").unwrap();
    let row = |group: &str| Row {
        group: group.into(),
        topic: "payments".into(),
        _partition: 0,
        committed: Some(0),
        log_start: None,
        log_end: Some(1001),
    };
    let long = "g".repeat(super::LONGEST_GROUP);
    let said = alerts(&topic_lags(&[row(&long), row(&format!("{long}g")), row("orders")], &config), &config);
    let subjects: Vec<_> = said.into_iter().map(|alert| alert.subject).collect();
    assert_eq!(subjects, [Subject::Group(long), Subject::Group("orders".into())]);
}

fn map(labels: &[Label]) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
}

/// The rows that the rule's filter lets through, added up by group and topic.
fn topic_lags(rows: &[Row], config: &Config) -> Vec<TopicLag> {
    let wanted = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
    let mut sums: BTreeMap<(&str, &str), TopicLag> = BTreeMap::new();
    for row in rows.iter().filter(|row| wanted(&config.groups, &row.group) && wanted(&config.topics, &row.topic)) {
        let sum = sums.entry((&row.group, &row.topic)).or_insert_with(|| TopicLag {
            group: row.group.clone(),
            topic: row.topic.clone(),
            lag: Some(0),
            known_lag: 0,
            max_lag: 0,
            max_lag_seconds: None,
            lost: 0,
            partitions: 0,
            unknown_partitions: 0,
            uncommitted_partitions: 0,
        });
        sum.partitions += 1;
        match (row.committed, row.log_end) {
            (None, _) => sum.uncommitted_partitions += 1,
            (_, None) => {
                sum.unknown_partitions += 1;
                sum.lag = None;
            }
            (Some(committed), Some(end)) => {
                sum.known_lag += end - committed;
                sum.max_lag = sum.max_lag.max(end - committed);
                sum.lag = sum.lag.map(|lag| lag + end - committed);
                sum.lost += row.log_start.map_or(0, |start| (start - committed).max(0));
            }
        }
    }
    sums.into_values().collect()
}

/// A glob as the agent reads it: `*` is any text, `?` any character.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => (0..=name.len()).any(|at| name.get(at..).is_some_and(|tail| matches(rest.as_str(), tail))),
        Some(sign) => {
            let mut tail = name.chars();
            tail.next().is_some_and(|first| sign == '?' || sign == first) && matches(rest.as_str(), tail.as_str())
        }
    }
}
