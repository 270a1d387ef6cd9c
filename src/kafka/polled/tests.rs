//! Tests of what asking for groups one by one adds up to.

use super::*;

const KEEP: Duration = Duration::from_secs(15);
const BROKERS: [BrokerId; 2] = [BrokerId(1), BrokerId(2)];
const SECOND: Duration = Duration::from_secs(1);

fn listed(names: &[(&str, &'static str)]) -> Vec<Listed> {
    let group = |(name, state): &(&str, &'static str)| Listed {
        group: (*name).to_owned(),
        kind: GroupKind::Classic,
        simple: false,
        state,
    };
    names.iter().map(group).collect()
}

fn by(coordinator: i32, members: u32) -> Description {
    Description { members, coordinator: Some(BrokerId(coordinator)) }
}

fn on(topic: &str, offsets: &[(u32, i64)]) -> Vec<(String, u32, i64)> {
    offsets.iter().map(|(partition, offset)| (topic.to_owned(), *partition, *offset)).collect()
}

fn names(groups: &[ToAsk]) -> Vec<&str> {
    groups.iter().map(|(name, _)| &**name).collect()
}

fn unobserved(summary: &Summary) -> Vec<&str> {
    summary.unobserved.iter().map(|name| &**name).collect()
}

#[test]
fn groups_of_our_broker_are_known_and_others_only_named() {
    let (start, beside) = (Instant::now(), Some(BrokerId(1)));
    let mut book = Book::default();
    let all = [("b", "Stable"), ("a", "Empty"), ("elsewhere", "Stable"), ("not-wanted", "Empty"), ("dying", "Dead")];
    // Some versions of librdkafka name a group twice.
    book.list([listed(&all), listed(&all)].concat(), true, &BROKERS, |name| name != "not-wanted", start);
    assert_eq!(names(&book.to_describe(start)), ["a", "b", "elsewhere"]);
    assert!(book.to_commit(beside).is_empty(), "nobody is asked before it is known whose it is");
    let nothing = book.summary(beside, KEEP, start);
    assert_eq!((nothing.groups.len(), nothing.left_out, nothing.unobserved.len()), (0, 3, 3));
    book.described("a", by(1, 0), start);
    book.described("b", by(1, 2), start);
    book.described("elsewhere", by(2, 1), start);
    assert!(book.to_describe(start + SECOND).is_empty());
    assert_eq!(names(&book.to_commit(beside)), ["a", "b"]);
    assert_eq!(names(&book.to_commit(None)), ["a", "b", "elsewhere"]);
    book.committed("a", [on("t", &[(1, 7), (0, 5)]), on("hidden", &[(0, 1)])].concat(), |topic| topic == "t", start);
    book.committed("b", vec![], |_| true, start);
    let summary = book.summary(beside, KEEP, start + SECOND);
    assert_eq!((unobserved(&summary), summary.left_out), (vec!["elsewhere"], 0));
    let kept = |offset| KeptCommit { offset: Some(offset), at: None };
    assert_eq!(summary.groups[0].commits, [("t".into(), vec![(0, kept(5)), (1, kept(7))])]);
    let seen: Vec<_> = summary.groups.iter().map(|g| (&*g.name, g.state, g.members, g.coordinator)).collect();
    let broker = |id| Some(BrokerId(id));
    assert_eq!(
        seen,
        [
            ("a", "Empty", Some(0), broker(1)),
            ("b", "Stable", Some(2), broker(1)),
            ("elsewhere", "Stable", Some(1), broker(2))
        ]
    );
}

#[test]
fn what_has_no_answer_is_kept_for_a_while_and_then_unknown() {
    let start = Instant::now();
    let mut book = Book::default();
    book.list(listed(&[("a", "Empty"), ("b", "Empty")]), true, &BROKERS, |_| true, start);
    for group in ["a", "b"] {
        book.described(group, by(1, 0), start);
        book.committed(group, on("t", &[(0, 5)]), |_| true, start);
    }
    assert!(book.summary(None, KEEP, start).unobserved.is_empty());
    let later = start + SECOND * 10;
    book.list(listed(&[("a", "Empty"), ("b", "Empty")]), true, &BROKERS, |_| true, later);
    book.failed("a", later);
    book.committed("b", on("t", &[(0, 6)]), |_| true, later);
    // It is asked again who coordinates it, after those that were asked longer ago.
    assert_eq!(names(&book.to_describe(later)), ["a"]);
    let summary = book.summary(None, KEEP, later);
    assert_eq!((unobserved(&summary), summary.groups.len(), summary.left_out), (vec!["a"], 2, 0));
    let summary = book.summary(None, KEEP, start + SECOND * 16);
    assert_eq!((unobserved(&summary), summary.groups.len(), summary.left_out), (vec!["a"], 1, 1));
    assert_eq!(&*summary.groups[0].name, "b");
}

#[test]
fn a_group_that_is_not_listed_is_gone_only_if_all_brokers_listed() {
    let start = Instant::now();
    let mut book = Book::default();
    book.list(listed(&[("a", "Empty")]), true, &BROKERS, |_| true, start);
    book.described("a", by(1, 0), start);
    book.committed("a", vec![], |_| true, start);
    book.list(vec![], false, &BROKERS, |_| true, start + SECOND);
    assert_eq!(unobserved(&book.summary(None, KEEP, start + SECOND)), ["a"]);
    // Its coordinator has just left the cluster, and was not asked.
    book.list(vec![], true, &BROKERS[1..], |_| true, start + SECOND);
    assert_eq!(unobserved(&book.summary(None, KEEP, start + SECOND)), ["a"]);
    book.list(vec![], true, &BROKERS, |_| true, start + SECOND * 2);
    let summary = book.summary(None, KEEP, start + SECOND * 2);
    assert!(summary.groups.is_empty() && summary.unobserved.is_empty() && summary.left_out == 0);
}

#[test]
fn groups_are_described_again_when_something_changed_or_time_has_passed() {
    let start = Instant::now();
    let mut book = Book::default();
    book.list(listed(&[("a", "Stable")]), true, &BROKERS, |_| true, start);
    book.described("a", by(1, 1), start);
    assert!(book.to_describe(start + DESCRIBE_INTERVAL.saturating_sub(SECOND)).is_empty());
    assert_eq!(book.to_describe(start + DESCRIBE_INTERVAL).len(), 1);
    book.list(listed(&[("a", "PreparingRebalance")]), true, &BROKERS, |_| true, start + SECOND);
    assert_eq!(book.to_describe(start + SECOND), [("a".into(), Some(BrokerId(1)))]);
    book.described("a", by(1, 1), start + SECOND);
    book.describe_all();
    assert_eq!(book.to_describe(start + SECOND).len(), 1);
    // Who coordinates it is believed for a while only.
    let late = start + SECOND + KEEP + DESCRIBE_INTERVAL;
    assert_eq!(book.summary(Some(BrokerId(2)), KEEP, late).groups.len(), 1);
    assert_eq!(book.summary(Some(BrokerId(2)), KEEP, late + SECOND).left_out, 1);
}

#[test]
fn kinds_are_those_that_the_offsets_topic_tells() {
    let start = Instant::now();
    let mut book = Book::default();
    let group = |name: &str, kind, simple| Listed { group: name.to_owned(), kind, simple, state: "Empty" };
    let all = vec![
        group("committed", GroupKind::Classic, true),
        group("joining", GroupKind::Classic, true),
        group("kip-848", GroupKind::Consumer, false),
        group("left", GroupKind::Classic, false),
    ];
    book.list(all, true, &BROKERS, |_| true, start);
    for name in ["committed", "joining", "kip-848", "left"] {
        book.described(name, by(1, 0), start);
        book.committed(name, if name == "committed" { on("t", &[(0, 1)]) } else { vec![] }, |_| true, start);
    }
    let kinds: Vec<_> = book.summary(None, KEEP, start).groups.iter().map(|group| group.kind).collect();
    assert_eq!(kinds, [GroupKind::Simple, GroupKind::Unknown, GroupKind::Consumer, GroupKind::Classic]);
}

#[test]
fn what_there_is_no_room_for_is_left_out_and_counted() {
    let start = Instant::now();
    let mut book = Book { limit: 5, ..Book::default() };
    let all = [("a", "Empty"), ("b", "Empty"), ("c", "Empty")];
    book.list(listed(&all), true, &BROKERS, |_| true, start);
    for group in ["a", "b", "c"] {
        book.described(group, by(1, 0), start);
    }
    book.committed("a", on("t", &[(0, 5), (1, 5)]), |_| true, start);
    assert_eq!(book.summary(None, KEEP, start).refused, 0);
    book.committed("b", on("t", &[(0, 5)]), |_| true, start);
    book.committed("b", on("t", &[(0, 6)]), |_| true, start);
    let summary = book.summary(None, KEEP, start);
    assert_eq!((summary.refused, summary.left_out, unobserved(&summary)), (2, 2, vec!["b", "c"]));
    // A full book takes no new group, and those that go make room: a round later.
    book.committed("b", vec![], |_| true, start);
    book.committed("c", vec![], |_| true, start);
    book.list(listed(&[("a", "Empty"), ("d", "Empty")]), true, &BROKERS, |_| true, start + SECOND);
    assert_eq!((book.summary(None, KEEP, start).refused, book.entries), (1, 3));
    book.list(listed(&[("a", "Empty"), ("d", "Empty")]), true, &BROKERS, |_| true, start + SECOND * 2);
    assert_eq!((book.summary(None, KEEP, start).refused, book.entries), (0, 4));
}
