use super::DataLoss;
use brokerwarden_rule::{
    mock::{Mock, Row, label},
    prelude::*,
};

const CONFIG: &str = r#"{"window": "10m", "overtaken_within": "30m"}"#;

fn said(mock: &mut Mock) -> Vec<(String, Option<f64>)> {
    let outcome = mock.evaluate::<DataLoss>(CONFIG).unwrap();
    outcome.alerts.into_iter().map(|alert| (alert.name, alert.value)).collect()
}

#[test]
fn deleted_messages_are_added_up_by_topic() {
    let mut mock = Mock::new();
    for (partition, start) in [(0, 15), (1, 30), (2, 10)] {
        mock.set_row(Row::new("orders", "payments", partition).committed(10).log_start(start).log_end(100));
    }
    let outcome = mock.evaluate::<DataLoss>(CONFIG).unwrap();
    let [alert] = outcome.alerts.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((alert.name.as_str(), alert.value), ("ConsumerGroupDataLoss", Some(25.0)));
    assert_eq!(label(&alert.annotations, "summary"), "orders lost 25 messages of payments");
    assert!(label(&alert.annotations, "description").contains("Partitions: 0, 1. "));
    assert_eq!(mock.evaluate::<DataLoss>(r#"{"min_lost": 26}"#).unwrap().alerts, []);
}

#[test]
fn an_alert_goes_on_while_the_start_of_the_log_is_not_known() {
    let mut mock = Mock::new();
    let row = || Row::new("orders", "payments", 0).committed(10).log_end(100);
    mock.set_row(row());
    assert_eq!(said(&mut mock), []);
    mock.set_row(row().log_start(11));
    assert_eq!(said(&mut mock), [("ConsumerGroupDataLoss".to_owned(), Some(1.0))]);
    mock.set_row(row());
    assert_eq!(said(&mut mock), [("ConsumerGroupDataLoss".to_owned(), None)]);
    mock.set_row(row().log_start(10));
    assert_eq!(said(&mut mock), []);
    mock.forget_kafka();
    assert!(matches!(mock.evaluate::<DataLoss>(CONFIG), Err(Failure::Unavailable(_))));
}

/// Lets minutes pass, in which so many messages are deleted and read per minute.
fn pass(mock: &mut Mock, minutes: std::ops::Range<i64>, deleted: i64, read: i64) -> Vec<(String, Option<f64>)> {
    let mut last = Vec::new();
    for minute in minutes {
        let row = Row::new("orders", "payments", 0).committed(2_000 + read * minute).log_start(deleted * minute);
        mock.set_row(row.log_end(100_000));
        last = said(mock);
        mock.advance_ms(60_000);
    }
    last
}

#[test]
fn retention_that_comes_near_is_told_in_time() {
    let mut mock = Mock::new();
    // 100 per minute nearer, 2,000 at the beginning.
    assert_eq!(pass(&mut mock, 0..5, 150, 50), []);
    let soon = pass(&mut mock, 5..11, 150, 50);
    let [(name, Some(seconds))] = soon.as_slice() else { panic!("{soon:?}") };
    assert_eq!((name.as_str(), seconds.round()), ("ConsumerGroupDataLossAhead", 600.0));
    let outcome = mock.evaluate::<DataLoss>(CONFIG).unwrap();
    let summary = label(&outcome.alerts[0].annotations, "summary");
    assert!(summary.starts_with("orders will lose messages of payments in 1"), "{summary}");
}

#[test]
fn a_group_that_keeps_its_distance_is_fine() {
    assert_eq!(pass(&mut Mock::new(), 0..30, 150, 150), []);
    assert_eq!(pass(&mut Mock::new(), 0..30, 0, 0), []);
    // 20 minutes of 100 per minute are gone, 100 hours are left.
    let slow = pass(&mut Mock::new(), 0..20, 1, 0);
    assert_eq!(slow, []);
}

#[test]
fn only_the_older_half_of_a_log_is_watched() {
    let mut mock = Mock::new();
    mock.set_row(Row::new("orders", "payments", 0).committed(90).log_start(0).log_end(100));
    mock.set_row(Row::new("orders", "payments", 1).committed(20).log_start(0).log_end(100));
    assert_eq!(said(&mut mock), []);
    let state = String::from_utf8(mock.state()["seen"].clone()).unwrap();
    assert_eq!(state.matches("orders").count(), 1, "{state}");
}
