//! What a rule's questions are answered, from one snapshot.

use super::{Bench, alert_value, snapshot, text};
use crate::{
    model::Timestamp,
    rules::{
        Limits,
        bindings::{
            snapshot::{self as wit, Host as _},
            types::Error,
        },
        host::Host,
        limits,
        memory::Memory,
        state::State,
    },
    snapshot::{Age, KafkaView, LagRow, Snapshot, TargetState},
};
use std::{sync::Arc, time::Duration};

fn all() -> wit::LagFilter {
    wit::LagFilter { groups: vec![], topics: vec![], min_lag: None, offset: 0, limit: 0 }
}

fn host(snapshot: Snapshot) -> Host {
    Host::new(&"r".into(), &Arc::new(snapshot), Memory::default(), &Limits::default(), [0; 32])
}

/// `rows` partitions of one topic, each one record behind.
fn long(rows: u32) -> Snapshot {
    let base = snapshot(1, 1);
    let row = |partition| LagRow::new(0, "t".into(), partition, Some(1), None, Some(0), Some(2));
    let kafka = KafkaView { rows: (0..rows).map(row).collect(), ..KafkaView::clone(base.kafka.as_ref().unwrap()) };
    Snapshot { kafka: Some(Arc::new(kafka)), ..base }
}

#[test]
fn rows_say_what_is_known_and_nothing_else() {
    let rows = host(snapshot(1, 1)).partition_lags(all()).unwrap().unwrap();
    let said: Vec<_> = rows.iter().map(|row| (&*row.group, &*row.topic, row.lag, row.log_end)).collect();
    assert_eq!(said, [("g", "t", Some(30), Some(40)), ("g", "u", None, None)]);
    assert_eq!((rows[0].committed_at_ms, rows[0].status), (Some(5), wit::LagStatus::Behind));
    assert_eq!((rows[1].status, rows[1].lag_seconds, rows[1].last_stable), (wit::LagStatus::Unknown, None, None));
    let table = host(snapshot(1, 1)).lag_table(all()).unwrap().unwrap();
    assert_eq!(
        (table.names, table.group, table.topic),
        (vec!["g".into(), "t".into(), "u".into()], vec![0, 0], vec![1, 2])
    );
    assert_eq!((table.lag, table.status, table.log_end), (vec![30, i64::MIN], vec![0, 4], vec![40, i64::MIN]));
    assert!(table.lag_seconds.iter().all(|seconds| seconds.is_nan()) && table.last_stable == [i64::MIN; 2]);
}

#[test]
fn rows_say_where_a_transaction_holds_readers_back() {
    let held_up = || {
        let mut seen = long(2);
        let mut kafka = KafkaView::clone(seen.kafka.as_ref().unwrap());
        kafka.rows[1].last_stable = Some(1);
        seen.kafka = Some(Arc::new(kafka));
        host(seen)
    };
    let rows = held_up().partition_lags(all()).unwrap().unwrap();
    assert_eq!((rows[0].last_stable, rows[1].last_stable), (None, Some(1)));
    assert_eq!(held_up().lag_table(all()).unwrap().unwrap().last_stable, [i64::MIN, 1]);
}

#[test]
fn rows_say_how_old_what_is_unread_is() {
    let aged = |time, at_least| {
        let mut seen = long(2);
        let mut kafka = KafkaView::clone(seen.kafka.as_ref().unwrap());
        kafka.rows[1].age = Some(Age::CAUGHT_UP);
        kafka.rows[0].age = Some(Age { time, at_least });
        seen.kafka = Some(Arc::new(kafka));
        host(seen)
    };
    let time = Duration::from_millis(7250);
    for (at_least, status) in [(false, 0), (true, 128)] {
        let rows = aged(time, at_least).partition_lags(all()).unwrap().unwrap();
        let said: Vec<_> = rows.iter().map(|row| (row.lag_seconds, row.lag_seconds_at_least)).collect();
        assert_eq!(said, [(Some(7.25), at_least), (Some(0.0), false)]);
        let table = aged(time, at_least).lag_table(all()).unwrap().unwrap();
        assert_eq!((table.lag_seconds, table.status), (vec![7.25, 0.0], vec![status, 0]));
        let sums = aged(time, at_least).topic_lags(all()).unwrap().unwrap();
        assert_eq!(sums[0].max_lag_seconds, Some(7.25));
    }
    assert_eq!(host(long(2)).topic_lags(all()).unwrap().unwrap()[0].max_lag_seconds, None);
}

#[test]
fn filters_choose_and_unknown_lag_passes() {
    let sums = |filter| {
        let sums = host(snapshot(1, 1)).topic_lags(filter).unwrap().unwrap();
        sums.into_iter().map(|sum| (sum.topic, sum.lag)).collect::<Vec<_>>()
    };
    let over = |min_lag| wit::LagFilter { min_lag: Some(min_lag), ..all() };
    assert_eq!(sums(over(30)), [("t".into(), Some(30)), ("u".into(), None)]);
    assert_eq!(sums(over(31)), [("u".into(), None)]);
    assert_eq!(sums(wit::LagFilter { topics: vec![wit::Pattern::Exact("t".into())], ..all() }).len(), 1);
    assert_eq!(sums(wit::LagFilter { groups: vec![wit::Pattern::Glob("x*".into())], ..all() }).len(), 0);
    assert_eq!(sums(wit::LagFilter { offset: 1, limit: 5, ..all() }), [("u".into(), None)]);
}

#[test]
fn while_the_offsets_topic_is_read_no_question_about_all_groups_is_answered() {
    let base = snapshot(1, 1);
    let kafka = KafkaView { replaying: true, ..KafkaView::clone(base.kafka.as_ref().unwrap()) };
    let mut host = host(Snapshot { kafka: Some(Arc::new(kafka)), ..base });
    assert!(matches!(host.topic_lags(all()).unwrap(), Err(Error::Unavailable(_))));
    assert!(matches!(host.partition_lags(all()).unwrap(), Err(Error::Unavailable(_))));
    assert!(matches!(host.lag_table(all()).unwrap(), Err(Error::Unavailable(_))));
    assert!(matches!(host.groups(vec![]).unwrap(), Err(Error::Unavailable(_))));
}

#[test]
fn calls_of_ours_count_against_the_rule_s_time() {
    let hurried = Limits { time: Duration::from_millis(1), ..Limits::default() };
    let mut host = Host::new(&"r".into(), &Arc::new(snapshot(1, 1)), Memory::default(), &hurried, [0; 32]);
    let slow = || wit::LagFilter { groups: vec![wit::Pattern::Regex("\\w{20}".into()); limits::MAX_REGEXES], ..all() };
    let ended = (0..100).find_map(|_| host.topic_lags(slow()).err()).expect("it goes on for ever");
    assert!(ended.to_string().contains("CPU time"), "{ended}");
}

#[test]
fn groups_ownership_and_targets() {
    let group = host(snapshot(1, 1)).groups(vec![]).unwrap().unwrap().remove(0);
    assert_eq!((&*group.name, &*group.state, &*group.kind, group.members), ("g", "Stable", "classic", Some(1)));
    assert_eq!(host(snapshot(1, 1)).owns("g".into()).unwrap(), wit::Ownership::Owned);
    let unknown = Snapshot { kafka: None, ..snapshot(1, 1) };
    assert_eq!(host(unknown.clone()).owns("g".into()).unwrap(), wit::Ownership::Unknown);
    assert!(matches!(host(unknown.clone()).groups(vec![]).unwrap(), Err(Error::Unavailable(_))));
    assert!(matches!(host(unknown).lag_table(all()).unwrap(), Err(Error::Unavailable(_))));
    assert!(matches!(
        host(Snapshot { kafka: None, ..snapshot(1, 1) }).history(all(), 0).unwrap(),
        Err(Error::Unavailable(_))
    ));
    let target = TargetState { name: "kafka".into(), up: true, last_success: Some(Timestamp(9)), reason: None };
    let targets = host(Snapshot { targets: vec![target], ..snapshot(1, 1) }).targets().unwrap();
    assert_eq!((&*targets[0].name, targets[0].up, targets[0].last_success_ms), ("kafka", true, Some(9)));
}

#[test]
fn too_many_rows_are_refused_and_pages_end_with_the_evaluation_s_limit() {
    let over = limits::MAX_ROWS_PER_CALL + 1;
    assert!(matches!(host(long(over)).partition_lags(all()).unwrap(), Err(Error::LimitExceeded(_))));
    assert!(matches!(host(long(over)).lag_table(all()).unwrap(), Err(Error::LimitExceeded(_))));
    let mut host = host(long(over));
    let page = || wit::LagFilter { limit: limits::MAX_ROWS_PER_CALL, ..all() };
    for _ in 0..limits::MAX_ROWS / limits::MAX_ROWS_PER_CALL {
        assert_eq!(host.lag_table(page()).unwrap().unwrap().lag.len(), 20_000);
    }
    assert!(matches!(host.lag_table(page()).unwrap(), Err(Error::LimitExceeded(_))));
}

#[test]
fn a_guest_reads_20_000_rows_in_columns() {
    let bench = Bench::new();
    let code = bench.code(&text("table.wat"));
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let finished = bench.run(&code, long(limits::MAX_ROWS_PER_CALL), State::default());
            assert_eq!(alert_value(&finished), Some(20_000.0));
            finished.cpu
        })
        .collect();
    times.sort();
    println!("20,000 rows in columns: CPU p50 {:?}", times[25]);
}
