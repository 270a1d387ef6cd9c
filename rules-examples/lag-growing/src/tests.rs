use super::LagGrowing;
use brokerwarden_rule::{
    Outcome,
    mock::{Mock, Row, label},
    prelude::*,
};

const CONFIG: &str = r#"{"window": "1m", "min_lag": 100, "drain_within": "1h"}"#;

/// Lets a group that begins `lag` behind read and write so many messages per second, for a minute; what is said at the end.
fn after_a_minute(mock: &mut Mock, lag: i64, read: i64, written: i64) -> Outcome {
    let mut said = Outcome::default();
    for second in (0..=60).step_by(5) {
        for partition in 0..2 {
            let row = Row::new("orders", "payments", partition);
            mock.set_row(row.committed(read * second / 2).log_end(lag / 2 + written * second / 2));
        }
        said = mock.evaluate::<LagGrowing>(CONFIG).unwrap();
        mock.advance_ms(5_000);
    }
    said
}

#[track_caller]
fn check(lag: i64, read: i64, written: i64, drained: f64, alerts: usize) -> Outcome {
    let said = after_a_minute(&mut Mock::new(), lag, read, written);
    assert_eq!(said.measurements.first().map(|measured| measured.value.round()), Some(drained), "{said:?}");
    assert_eq!(said.alerts.len(), alerts, "{said:?}");
    said
}

#[test]
fn a_lag_that_does_not_shrink_is_never_drained() {
    let said = check(1_000, 10, 30, f64::INFINITY, 1);
    let alert = &said.alerts[0];
    assert_eq!((alert.name.as_str(), &alert.subject), ("ConsumerGroupLagGrowing", &Subject::Group("orders".into())));
    assert_eq!(alert.value, Some(2_200.0));
    assert_eq!(label(&alert.annotations, "summary"), "orders will never catch up on payments");
    let description = label(&alert.annotations, "description");
    assert!(description.contains("In the last 1 min it read 10 messages/s while 30/s arrived"), "{description}");
    check(1_000, 0, 0, f64::INFINITY, 1);
}

#[test]
fn a_lag_that_shrinks_is_an_alert_only_if_it_takes_too_long() {
    // 9,400 left at the end, 10 fewer each second.
    check(10_000, 30, 20, 940.0, 0);
    let said = check(100_000, 30, 20, 9_940.0, 1);
    assert_eq!(label(&said.alerts[0].annotations, "summary"), "orders will take 2 h 45 min to catch up on payments");
}

#[test]
fn a_small_lag_and_a_short_past_are_nothing_to_judge() {
    let mut mock = Mock::new();
    mock.set_row(Row::new("orders", "payments", 0).committed(0).log_end(99));
    assert_eq!(mock.evaluate::<LagGrowing>(CONFIG), Ok(Outcome::default()));
    mock.set_row(Row::new("orders", "payments", 0).committed(0).log_end(100));
    mock.advance_ms(20_000);
    assert_eq!(mock.evaluate::<LagGrowing>(CONFIG), Ok(Outcome::default()));
}

#[test]
fn an_alert_goes_on_while_the_past_does_not_tell() {
    let mut mock = Mock::new();
    assert_eq!(after_a_minute(&mut mock, 1_000, 0, 10).alerts.len(), 1);
    // One partition more: sums cannot be compared with those from before.
    mock.advance_ms(600_000);
    mock.set_row(Row::new("orders", "payments", 2).committed(0).log_end(10));
    let said = mock.evaluate::<LagGrowing>(CONFIG).unwrap();
    assert_eq!(
        label(&said.alerts[0].annotations, "summary"),
        "the lag of orders on payments did not shrink; what it does now is not known"
    );
    mock.forget_kafka();
    assert!(matches!(mock.evaluate::<LagGrowing>(CONFIG), Err(Failure::Unavailable(_))));
}

#[test]
fn groups_that_commit_rarely_are_judged_by_what_they_do_over_the_window() {
    // All that arrives is read, 200 messages every 20 s.
    let mut mock = Mock::new();
    for second in 0..=60 {
        let read = second / 20 * 200;
        mock.set_row(Row::new("orders", "payments", 0).committed(read).log_end(150 + second * 10));
        let said = mock.evaluate::<LagGrowing>(r#"{"window": "1m", "min_lag": 100, "drain_within": "100d"}"#).unwrap();
        assert!(second < 60 || said.measurements[0].value > 100.0, "{said:?}");
        mock.advance_ms(1_000);
    }
}

/// The agent keeps history only while a rule asks for it.
#[test]
fn a_lag_that_was_small_until_now_has_a_past() {
    let mut mock = Mock::new();
    let mut drained = |log_end| {
        mock.set_row(Row::new("orders", "payments", 0).committed(0).log_end(log_end));
        let said = mock.evaluate::<LagGrowing>(CONFIG).unwrap();
        mock.advance_ms(15_000);
        said.measurements.len()
    };
    assert_eq!([10, 30, 50, 70, 101].map(&mut drained), [0, 0, 0, 0, 1]);
}
