//! Tests of what a view says.

use super::*;

#[track_caller]
fn check(committed: Option<i64>, start: Option<i64>, end: Option<i64>, lag: Option<i64>, lost: i64, want: LagStatus) {
    let row = LagRow::new(0, "t".into(), 0, committed, None, start, end);
    assert_eq!((row.lag, row.lost, row.status), (lag, lost, want));
}

#[test]
fn lag_of_one_partition() {
    check(Some(90), Some(0), Some(100), Some(10), 0, LagStatus::Behind);
    check(Some(100), Some(0), Some(100), Some(0), 0, LagStatus::Behind);
    check(Some(40), Some(60), Some(100), Some(60), 20, LagStatus::Lost);
    check(Some(110), Some(0), Some(100), Some(-10), 0, LagStatus::Ahead);
    check(None, Some(0), Some(100), None, 0, LagStatus::NoCommit);
    check(Some(40), Some(60), None, None, 20, LagStatus::Unknown);
    check(Some(90), None, Some(100), Some(10), 0, LagStatus::Behind);
}

fn view_of(rows: Vec<LagRow>) -> KafkaView {
    let group = |name: &str| Group {
        name: name.into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(1),
        coordinator: None,
        ours: true,
    };
    KafkaView {
        groups: vec![group("a"), group("b")],
        rows,
        offsets_partitions: vec![Some(Share::Ours)],
        ..KafkaView::default()
    }
}

#[test]
fn sums_leave_unknown_out_and_count_it() {
    let row = |group, partition, committed, end| LagRow::new(group, "t".into(), partition, committed, None, None, end);
    let view = view_of(vec![
        row(0, 0, Some(30), Some(30)),
        row(0, 1, Some(10), Some(30)),
        row(0, 2, None, Some(30)),
        row(1, 0, Some(1), None),
        row(1, 1, Some(2), Some(5)),
    ]);
    let sums = view.topic_lags();
    assert_eq!((sums[0].lag, sums[0].offset_sum, sums[0].uncommitted_partitions), (Some(20), Some(39), 1));
    let unknown = &sums[1];
    assert_eq!((unknown.lag, unknown.known_lag, unknown.unknown_partitions), (None, 3, 1));
    assert_eq!(unknown.offset_sum, Some(3));
    let unread = LagRow { status: LagStatus::Unknown, ..row(0, 1, None, Some(30)) };
    let sum = view_of(vec![row(0, 0, Some(30), Some(30)), unread]).topic_lags()[0].clone();
    assert_eq!((sum.lag, sum.offset_sum, sum.unknown_partitions, sum.uncommitted_partitions), (None, None, 1, 0));
    assert!(view.group_observed("a") && !view.group_observed("b") && view.group_observed("gone"));
    assert_eq!(view.rows_of("b").len(), 2);
    let filter = LagFilter { group: &|_| true, topic: &|t| t == "t", min_lag: Some(4) };
    let partitions: Vec<_> = view.lag_rows(&filter).map(|row| (row.group, row.partition)).collect();
    assert_eq!(partitions, [(0, 1), (0, 2), (1, 0)]);
}

#[test]
fn the_longest_age_is_known_when_all_are() {
    let age = |seconds: u64, at_least| Some(Age { time: Duration::from_millis(seconds * 1000 + 1), at_least });
    let longest = |rows: &[(Option<i64>, Option<Age>)]| {
        let row = |(partition, (committed, age)): (u32, &(Option<i64>, Option<Age>))| LagRow {
            age: *age,
            ..LagRow::new(0, "t".into(), partition, *committed, None, None, Some(30))
        };
        view_of((0..).zip(rows).map(row).collect()).topic_lags()[0].max_age
    };
    assert_eq!(longest(&[(Some(1), age(7, false)), (Some(30), Some(Age::CAUGHT_UP)), (None, None)]), age(7, false));
    assert_eq!(longest(&[(Some(1), age(7, false)), (Some(2), age(6, true))]), age(7, true));
    assert_eq!(longest(&[(Some(1), age(7, false)), (Some(2), None)]), None);
    assert_eq!(longest(&[(None, None)]), None);
    assert_eq!(age(7, false).map(Age::seconds), Some(7.001));
}

#[test]
fn a_view_that_is_not_whole_says_nothing_of_what_it_lacks() {
    let whole = view_of(vec![]);
    assert!(whole.topic_observed("gone"));
    assert!(!KafkaView { replaying: true, ..whole.clone() }.topic_observed("gone"));
    assert!(!KafkaView { incomplete: true, ..whole.clone() }.topic_observed("gone"));
    let failed = KafkaView { failed_topics: vec!["t".into()], ..whole };
    assert!(!failed.topic_observed("t") && failed.topic_observed("other"));
}

#[test]
fn groups_that_were_asked_are_observed_when_they_answered() {
    let mut view = KafkaView { offsets_partitions: vec![], ..view_of(vec![]) };
    assert!(!view.group_observed("c"), "neither read nor asked");
    view.asked = Some(Asked { all_listed: false, unobserved: vec!["b".into()] });
    assert!(view.group_observed("a") && !view.group_observed("b") && !view.group_observed("c"));
    view.asked = Some(Asked { all_listed: true, unobserved: vec!["c".into()] });
    assert!(view.group_observed("b") && !view.group_observed("c") && view.group_observed("d"));
    assert_eq!(view.owns_group("d"), None);
}

#[test]
fn group_hash_is_java_s() {
    for (name, hash) in [
        ("my-group", -1_906_497_762i32),
        ("grüße", 98_768_023),
        ("群", 32676),
        ("g😀x", 58_028_462),
        ("console-consumer-12345", 158_455_506),
        ("connect-sink", 1_867_811_222),
    ] {
        assert_eq!(partition_for(name, 50), usize::try_from(hash.unsigned_abs() % 50).unwrap(), "{name}");
    }
    assert_eq!(partition_for("my-group", 50), 12);
    assert_eq!(partition_for("x", 0), 0);
}
