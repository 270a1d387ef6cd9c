//! The rule's decision, natively. All that it must say of what is observed is in cases/*.yaml.

use super::{Config, LONGEST_GROUP, alerts};
use brokerwarden_rule::{prelude::*, read_config};

fn row(group: &str, known_lag: i64, max_lag: i64) -> TopicLag {
    TopicLag {
        group: group.into(),
        topic: "payments".into(),
        lag: Some(known_lag),
        known_lag,
        max_lag,
        max_lag_seconds: None,
        lost: 0,
        partitions: 2,
        unknown_partitions: 0,
        uncommitted_partitions: 0,
    }
}

fn subjects(rows: &[TopicLag], config: &str) -> Vec<Subject> {
    let config: Config = read_config::<super::LagThreshold>(config).unwrap();
    alerts(rows, &config).into_iter().map(|alert| alert.subject).collect()
}

/// One client's odd group must not cost the others their alerts.
#[test]
fn a_group_whose_name_is_too_long_is_left_out() {
    let long = "g".repeat(LONGEST_GROUP);
    let rows = [row(&long, 1001, 1001), row(&format!("{long}g"), 1001, 1001), row("orders", 1001, 1001)];
    assert_eq!(subjects(&rows, "{}"), [Subject::Group(long), Subject::Group("orders".into())]);
}

#[test]
fn a_partition_that_is_ahead_hides_nothing() {
    let rows = [row("ahead", 10, 1001), row("near", 1001, 600)];
    assert_eq!(subjects(&rows, r#"{"min_lag": 700}"#), [Subject::Group("ahead".into())]);
}
