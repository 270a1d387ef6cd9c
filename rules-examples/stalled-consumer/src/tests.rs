//! Burrow's cases, and what it gets wrong.

use super::StalledConsumer;
use brokerwarden_rule::{
    mock::{Mock, Row, label},
    prelude::*,
    snapshot::Group,
};

const CONFIG: &str = r#"{"window": "1m"}"#;

/// One minute, seen every 5 s: where the log ends, what is committed, and whether it is committed anew.
fn minute(mock: &mut Mock, step: impl Fn(i64) -> (i64, i64, bool)) -> Vec<Alert> {
    let mut said = Vec::new();
    let mut committed_at = mock.now_ms() - 5_000;
    for second in (0..=60).step_by(5) {
        let (log_end, committed, commits) = step(second);
        if commits {
            committed_at = mock.now_ms();
        }
        mock.set_row(
            Row::new("orders", "payments", 3).committed(committed).committed_at_ms(committed_at).log_end(log_end),
        );
        said = mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts;
        mock.advance_ms(5_000);
    }
    said
}

#[track_caller]
fn check(step: impl Fn(i64) -> (i64, i64, bool), want: &[&str]) -> Vec<Alert> {
    let said = minute(&mut Mock::new(), step);
    assert_eq!(said.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), want, "{said:?}");
    said
}

#[test]
fn a_group_that_commits_no_more_has_stopped() {
    let said = check(|second| (100 + second, 50, false), &["ConsumerStopped"]);
    assert_eq!((&said[0].subject, said[0].value), (&Subject::Group("orders".into()), Some(1.0)));
    let [group, topic] = said[0].labels.as_slice() else { panic!("{said:?}") };
    assert_eq!((group.value.as_str(), topic.value.as_str()), ("orders", "payments"));
    assert_eq!(label(&said[0].annotations, "summary"), "orders has stopped on 1 partition of payments");
    let description = label(&said[0].annotations, "description");
    assert!(description.contains("for 1 min, last 1 min 5 s ago, though there are 110 messages"), "{description}");
    assert!(description.contains("Partitions: 3. The group is Stable and has 1 member."), "{description}");
}

#[test]
fn a_group_that_commits_the_same_again_does_not_move() {
    let said = check(|second| (100 + second, 50, true), &["ConsumerStalled"]);
    assert!(
        label(&said[0].annotations, "description")
            .contains("has not moved on topic payments for 1 min, though it goes on")
    );
}

#[test]
fn a_group_that_went_back_was_rewound_until_it_has_caught_up() {
    check(|second| (100, if second < 30 { 90 } else { 20 + second - 30 }, true), &["ConsumerRewound"]);
    check(|second| (100, if second < 20 { 50 } else { 20 + second }, true), &[]);
}

#[test]
fn a_group_that_reads_is_fine_however_far_behind() {
    check(|second| (100_000 + second * 100, second, true), &[]);
}

/// Burrow: one commit in the window is an end at once.
#[test]
fn one_commit_is_no_end() {
    let mut mock = Mock::new();
    mock.set_row(Row::new("orders", "payments", 0).committed(0).committed_at_ms(mock.now_ms()).log_end(100));
    mock.advance_ms(5_000);
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts, []);
}

/// Burrow: a group that has read all and gets the first message in hours has "stopped", hours ago.
#[test]
fn a_group_that_had_nothing_to_read_is_not_late() {
    let step = |second| (if second < 30 { 100 } else { 200 }, 100, false);
    check(step, &[]);
    let mut mock = Mock::new();
    let hours_ago = mock.now_ms() - 9_999_999;
    mock.set_row(Row::new("orders", "payments", 0).committed(0).committed_at_ms(hours_ago).log_end(9).lag_seconds(3.0));
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts, []);
}

/// Burrow: after its restart it knows nothing and says so late; here the broker's time stamps tell.
#[test]
fn what_has_waited_before_the_agent_started_is_known_at_once() {
    let mut mock = Mock::new();
    let long_ago = mock.now_ms() - 600_000;
    let row = Row::new("orders", "payments", 0).committed(0).committed_at_ms(long_ago).log_end(9);
    mock.set_row(row.clone());
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts, []);
    mock.set_row(row.lag_seconds_at_least(600.0));
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts[0].name, "ConsumerStopped");
}

/// The commit marker of a transaction: nobody ever reads it.
#[test]
fn one_message_behind_is_nothing() {
    check(|_| (100, 99, false), &[]);
}

#[test]
fn a_group_that_waits_for_a_transaction_is_not_at_fault() {
    let mut mock = Mock::new();
    let row = Row::new("orders", "payments", 0).committed(50).committed_at_ms(mock.now_ms() - 600_000).log_end(100);
    mock.set_row(row.clone().lag_seconds(600.0).last_stable(50));
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts, []);
    mock.set_row(row.lag_seconds(600.0).last_stable(51));
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts.len(), 1);
}

/// Groups that are asked one by one have no time of their commits.
#[test]
fn without_times_of_commits_a_group_that_does_not_move_is_found_all_the_same() {
    let mut mock = Mock::new();
    for _ in 0..=12 {
        mock.set_row(Row::new("orders", "payments", 0).committed(5).log_end(50));
        mock.advance_ms(5_000);
        let _ = mock.evaluate::<StalledConsumer>(CONFIG).unwrap();
    }
    let said = mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts;
    assert_eq!(said[0].name, "ConsumerStalled");
    assert!(label(&said[0].annotations, "description").contains("for 1 min; there are 45 messages"));
}

#[test]
fn partitions_of_a_topic_are_one_alert_and_the_state_of_the_group_is_told() {
    let mut mock = Mock::new();
    mock.set_group(Group {
        name: "orders".into(),
        state: "Empty".into(),
        kind: "classic".into(),
        members: Some(0),
        coordinator: None,
    });
    for partition in 0..12 {
        let row = Row::new("orders", "payments", partition).committed(0).log_end(10);
        mock.set_row(row.committed_at_ms(mock.now_ms() - 100_000).lag_seconds(90.0));
    }
    let said = mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts;
    let [alert] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(alert.value, Some(12.0));
    let description = label(&alert.annotations, "description");
    assert!(
        description
            .contains("Partitions: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more. The group is Empty and has 0 members."),
        "{description}"
    );
}

#[test]
fn an_alert_goes_on_while_it_cannot_be_told_whether_it_still_holds() {
    let mut mock = Mock::new();
    let row = Row::new("orders", "payments", 0).committed(0).committed_at_ms(mock.now_ms() - 100_000).log_end(10);
    mock.set_row(row.clone().lag_seconds(90.0));
    assert_eq!(mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts.len(), 1);
    mock.set_row(row);
    let held = mock.evaluate::<StalledConsumer>(CONFIG).unwrap().alerts;
    assert_eq!((held.len(), held[0].name.as_str()), (1, "ConsumerStopped"));
    mock.forget_kafka();
    assert!(matches!(mock.evaluate::<StalledConsumer>(CONFIG), Err(Failure::Unavailable(_))));
}
