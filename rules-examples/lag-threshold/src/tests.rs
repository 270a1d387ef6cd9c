//! What cases/*.yaml cannot show: seconds that become unknown, and overrides.

use super::{Config, LagThreshold};
use brokerwarden_rule::{
    mock::{Mock, Row, label},
    prelude::*,
    read_config,
};

/// Name, group and value of each alert.
fn said(mock: &mut Mock, config: &str) -> Vec<(String, String, Option<f64>)> {
    let outcome = mock.evaluate::<LagThreshold>(config).unwrap();
    let alert = |alert: &Alert| (alert.name.clone(), label(&alert.labels, "consumergroup").to_owned(), alert.value);
    outcome.alerts.iter().map(alert).collect()
}

fn messages(group: &str, value: f64) -> (String, String, Option<f64>) {
    ("ConsumerGroupLag".into(), group.into(), Some(value))
}

fn seconds(group: &str, value: Option<f64>) -> (String, String, Option<f64>) {
    ("ConsumerGroupLagSeconds".into(), group.into(), value)
}

#[test]
fn the_first_override_that_matches_counts_and_takes_the_rest_from_above() {
    let config = r#"{"threshold": 100, "min_lag": 3, "severity": "warning", "overrides": [
        {"groups": ["batch-*"], "topics": ["payments"], "threshold": 5000},
        {"groups": ["batch-*"], "seconds": 60, "min_lag": 1, "severity": "critical"},
        {"groups": ["quiet"], "min_lag": 500}]}"#;
    let config = read_config::<LagThreshold>(config).unwrap();
    let limits = |group, topic| {
        let limits = config.limits(group, topic);
        (limits.messages, limits.seconds, limits.min_lag, limits.severity)
    };
    assert_eq!(limits("batch-a", "payments"), (Some(5000), None, Some(3), Some("warning")));
    assert_eq!(limits("batch-a", "refunds"), (None, Some(60.0), Some(1), Some("critical")));
    assert_eq!(limits("quiet", "payments"), (Some(100), None, Some(500), Some("warning")));
    assert_eq!(limits("orders", "payments"), (Some(100), None, Some(3), Some("warning")));
    let alone = read_config::<LagThreshold>(r#"{"seconds": 60}"#).unwrap();
    assert_eq!((alone.limits("g", "t").messages, Config::default().limits("g", "t").messages), (None, Some(1000)));
}

#[test]
fn each_group_is_judged_by_its_own_threshold() {
    let config = r#"{"threshold": 100, "overrides": [{"groups": ["batch"], "threshold": 5000}, {"groups": ["live"], "seconds": 30}]}"#;
    let mut mock = Mock::new();
    for group in ["batch", "live", "orders"] {
        mock.set_row(Row::new(group, "payments", 0).committed(0).log_end(200).lag_seconds(31.0));
    }
    assert_eq!(said(&mut mock, config), [messages("orders", 200.0), seconds("live", Some(31.0))]);
}

#[test]
fn seconds_count_from_two_messages_on() {
    let mut mock = Mock::new();
    mock.set_row(Row::new("marker", "payments", 0).committed(9).log_end(10).lag_seconds(9_999.0));
    mock.set_row(Row::new("orders", "payments", 0).committed(8).log_end(10).lag_seconds_at_least(61.0));
    mock.set_row(Row::new("orders", "payments", 1).committed(8).log_end(10).lag_seconds(60.0));
    let outcome = mock.evaluate::<LagThreshold>(r#"{"seconds": 60}"#).unwrap();
    let [alert] = outcome.alerts.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((label(&alert.labels, "consumergroup"), alert.value), ("orders", Some(61.0)));
    assert_eq!(label(&alert.annotations, "summary"), "orders is at least 1 min 1 s behind on payments");
    let description = "The next message that consumer group orders reads on topic payments was written at least 1 min 1 s \
                       ago (threshold 1 min), on partition 0. Partitions that are late: 0, together 2 messages.";
    assert_eq!(label(&alert.annotations, "description"), description);
    assert_eq!(said(&mut mock, r#"{"seconds": 60, "min_lag": 1}"#).len(), 2);
}

#[test]
fn an_alert_goes_on_while_the_seconds_are_not_known_and_does_not_begin() {
    let config = r#"{"seconds": 60}"#;
    let mut mock = Mock::new();
    let late = || Row::new("orders", "payments", 0).committed(0).log_end(10);
    mock.set_row(late());
    assert_eq!(said(&mut mock, config), []);
    mock.set_row(late().lag_seconds(61.0));
    assert_eq!(said(&mut mock, config), [seconds("orders", Some(61.0))]);
    mock.set_row(late());
    assert_eq!(said(&mut mock, config), [seconds("orders", None)]);
    mock.set_row(late().lag_seconds(59.0));
    assert_eq!(said(&mut mock, config), []);
}

/// One client's odd group must not cost the others their alerts.
#[test]
fn a_group_whose_name_is_too_long_is_left_out() {
    let mut mock = Mock::new();
    let long = "g".repeat(1_024);
    for group in [&long, &format!("{long}g"), "orders"] {
        mock.set_row(Row::new(group, "payments", 0).committed(0).log_end(1_001));
    }
    assert_eq!(said(&mut mock, "{}"), [messages(&long, 1_001.0), messages("orders", 1_001.0)]);
    assert_eq!(mock.log().len(), 1);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let refused = |config: &str| read_config::<LagThreshold>(config).unwrap_err();
    assert_eq!(refused(r#"{"seconds": -1}"#), "config.seconds: must be a number of seconds, 0 or more, is -1");
    assert_eq!(
        refused(r#"{"overrides": [{}, {"groups": []}]}"#),
        "config.overrides[1].groups: has no pattern, or an empty one; leave overrides[1].groups out to look at all"
    );
    assert_eq!(
        refused(r#"{"overrides": [{"min_lag": -2}]}"#),
        "config.overrides[0].min_lag: must be a number of messages, 0 or more, is -2"
    );
    assert!(refused(r#"{"overrides": [{"treshold": 2}]}"#).starts_with("config.overrides[0].treshold: unknown field"));
}

/// After a restart less may be known of how late a group is. "At least 5 s" is no end of "more than 60 s".
#[test]
fn a_bound_below_the_threshold_ends_nothing_and_begins_nothing() {
    let config = r#"{"seconds": 60}"#;
    let mut mock = Mock::new();
    mock.set_row(Row::new("orders", "payments", 0).committed(8).log_end(10).lag_seconds_at_least(5.0));
    assert!(mock.evaluate::<LagThreshold>(config).unwrap().alerts.is_empty());
    mock.set_row(Row::new("orders", "payments", 0).committed(8).log_end(10).lag_seconds(61.0));
    assert_eq!(mock.evaluate::<LagThreshold>(config).unwrap().alerts.len(), 1);
    mock.set_row(Row::new("orders", "payments", 0).committed(8).log_end(10).lag_seconds_at_least(5.0));
    assert_eq!(mock.evaluate::<LagThreshold>(config).unwrap().alerts.len(), 1);
    mock.set_row(Row::new("orders", "payments", 0).committed(8).log_end(10).lag_seconds(5.0));
    assert!(mock.evaluate::<LagThreshold>(config).unwrap().alerts.is_empty());
}
