//! An agent that ends, and starts again with what it had stored.

use super::*;
use crate::{model::RuleState, store::Row};

impl World {
    /// It was last alive at `alive`, is killed, and starts again at `start`; its rule is live again.
    pub(super) fn restarts(self, alive: u64, start: u64) -> Self {
        let mut world = self.killed(alive, start);
        world.install(start);
        world
    }

    /// The same, with no rule live yet.
    pub(super) fn killed(self, alive: u64, start: u64) -> Self {
        let Self { book, settings, generation, stored, outbox, deaf, .. } = self;
        let alerts = stored.iter().map(|((scope, key), value)| row(scope, key, value)).collect();
        let meta = saved::meta_changes(&book, at(alive)).into_iter().map(|change| match change {
            Change::Put(_, row) => row,
            other => panic!("{other:?}"),
        });
        let mut restored = saved::restore(alerts, meta.collect(), at(start));
        assert_eq!(restored.unreadable, 0);
        let of = |wanted: Table| {
            let rows = outbox.iter().filter(move |((table, ..), _)| *table == wanted);
            rows.map(|((_, scope, key), value)| row(scope, key, value)).collect()
        };
        let rows = saved::OutboxRows {
            outbox: of(Table::Outbox),
            told: of(Table::OutboxTold),
            keys: of(Table::ActionKeys),
            log: of(Table::ActionLog),
        };
        let (unreadable, nobodys) = saved::restore_outbox(&mut restored.book, rows);
        assert_eq!((unreadable, nobodys), (0, BTreeSet::new()));
        restored.book.deeds.policies = Arc::clone(&book.deeds.policies);
        let last = Ticked { touched: restored.touched, ..Ticked::default() };
        let mut world = Self { book: restored.book, settings, generation, last, stored, outbox, deaf };
        world.store();
        world
    }

    pub(super) fn sees(&mut self, second: u64, seen: Seen) {
        self.tick(second, vec![Input::Seen(snapshot(second, seen))]);
    }
}

fn row(scope: &str, key: &str, value: &[u8]) -> Row {
    Row { scope: scope.to_owned(), key: key.to_owned(), value: value.to_vec() }
}

#[test]
fn a_firing_alert_goes_on_and_nobody_hears_of_it_before_it_is_known_to_be_ours() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A new>firing"], &["A firing until 240"]);
    let mut world = world.restarts(300, 500);
    for (second, seen) in [(501, Seen::Nothing), (502, Seen::Unknown), (600, Seen::Unknown)] {
        world.sees(second, seen);
        world.check(&[], &[]);
        assert!(world.in_book().is_empty(), "shown to nobody either");
    }
    world.sees(601, Seen::Ours);
    world.check(&[], &["A firing again until 841"]);
    assert_eq!(world.in_book(), ["A firing"]);
    world.says(605, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 605"]);
}

#[test]
fn what_ended_meanwhile_is_told_to_have_ended() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let mut world = world.restarts(300, 90_000); // a day off
    world.says(90_001, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 90001"]);
}

#[test]
fn what_is_another_agents_by_now_is_left_to_it() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let followed = |seen| {
        let mut world = World::new(0);
        world.says(0, Seen::Ours, vec![group_alert("A")]);
        let mut world = world.restarts(300, 500);
        world.sees(501, seen);
        world.check(&[], &[]);
        world
    };
    assert!(followed(Seen::Elsewhere).book.alerts.is_empty());
    let mut world = followed(Seen::Followed);
    world.sees(600, Seen::Ours);
    world.check(&[], &["A firing again until 840"]);
}

#[test]
fn time_spent_down_counts_neither_for_nor_against_a_condition() {
    let mut world = World::new(30);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(20, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    let mut world = world.restarts(20, 1000);
    world.says(1000, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    world.says(1009, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    // Down once more: what was down before does not count now, either.
    let mut world = world.restarts(1009, 5000);
    world.says(5000, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    world.says(5001, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A pending>firing"], &["A firing until 5241"]);

    // Held by keep_firing_for: 10 of 20 s are gone when it ends.
    let mut world = World::new(0);
    world.settings.keep_firing_for = Duration::from_secs(20);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(100, Seen::Ours, vec![]);
    world.check(&[], &["A firing again until 340"]);
    let mut world = world.restarts(110, 1000);
    world.says(1005, Seen::Ours, vec![]);
    assert_eq!(world.in_book(), ["A firing"]);
    world.says(1010, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 1010"]);
}

#[test]
fn what_nobody_was_told_of_is_told_after_the_restart_and_what_was_told_is_not() {
    for deaf in [true, false] {
        let mut world = World::new(0);
        world.deaf = deaf;
        world.says(100, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
        world.says(110, Seen::Ours, vec![group_alert("A")]);
        world.check(&["B firing>resolved"], &["B resolved until 110"]);
        let mut world = world.restarts(110, 300);
        world.sees(301, Seen::Nothing);
        world.check(&[], &[]);
        world.sees(302, Seen::Ours);
        let (told, again): (&[&str], [&str; 2]) = (
            &["A firing until 542", "B firing until 542", "B resolved until 110"],
            ["A firing again until 542", "B resolved again until 110"],
        );
        let told: Vec<_> = if deaf { told.iter().copied().chain(again).collect() } else { again.to_vec() };
        world.check(&[], &told);
        // Told now.
        world.deaf = false;
        world.store();
        let mut world = world.restarts(310, 320);
        world.sees(321, Seen::Ours);
        world.check(&[], &[]);
    }
}

#[test]
fn what_nobody_was_told_of_is_left_to_who_answers_for_it_by_now() {
    let mut world = World::new(0);
    world.deaf = true;
    world.says(100, Seen::Ours, vec![group_alert("A")]);
    let mut world = world.restarts(110, 120);
    assert_eq!(world.outbox.len(), 1);
    world.sees(121, Seen::Followed);
    world.check(&[], &[]);
    assert!(world.outbox.is_empty(), "{:?}", world.outbox);
}

#[test]
fn the_alerts_of_rules_that_are_gone_end_once_that_is_known() {
    for known_first in [true, false] {
        let mut world = World::new(0);
        world.says(0, Seen::Ours, vec![group_alert("A")]);
        let mut world = world.killed(300, 500);
        let known = || vec![Input::Known(BTreeSet::from(["other".to_owned()]))];
        if known_first {
            world.tick(501, known());
            world.check(&[], &[]);
            world.sees(502, Seen::Ours);
        } else {
            world.sees(501, Seen::Ours);
            world.check(&[], &["A firing again until 741"]);
            world.tick(502, known());
        }
        let end = if known_first { 501 } else { 502 };
        assert_eq!(world.last.deliveries.len(), 1, "{known_first}");
        assert_eq!(world.last.deliveries[0].alert.phase, Phase::Resolved);
        assert_eq!(world.last.deliveries[0].ends_at, at(end));
    }
    // One that cannot be loaded is there.
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let mut world = world.killed(300, 500);
    world.sees(501, Seen::Ours);
    world.tick(502, vec![Input::Known(BTreeSet::from(["r".to_owned()]))]);
    assert_eq!(world.in_book(), ["A firing"]);
}

#[test]
fn an_alert_keeps_its_identity_while_it_is_not_known_yet_who_we_are() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Agent, "A")]);
    let told = world.last.deliveries[0].alert.key.clone();
    let mut world = world.restarts(300, 500);
    world.says(501, Seen::Nothing, vec![about(Subject::Agent, "A")]);
    assert_eq!(world.last.deliveries.iter().map(|d| &d.alert.key).collect::<Vec<_>>(), [&told]);
    world.says(505, Seen::Ours, vec![about(Subject::Agent, "A")]);
    world.check(&[], &[]);
    assert_eq!(world.in_book(), ["A firing"]);
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_the_others_taken() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let ((scope, key), value) = world.stored.iter().next().unwrap();
    let rows = vec![row(scope, key, value), row(scope, "[", value), row(scope, key, b"{}"), row(scope, key, b"\xff")];
    let restored = saved::restore(rows, Vec::new(), at(10));
    assert_eq!((restored.book.alerts.len(), restored.unreadable), (1, 3));
    let mut book = Book::default();
    let rows = saved::OutboxRows {
        outbox: vec![
            row("alert", "x", value),
            row("alert", "1", b"{}"),
            row("other", "2", b"{}"),
            row("action", "9", b"[]"),
        ],
        told: vec![row("7", "ops/0", b"")],
        keys: vec![row("a", "x", b"[]"), row("a", "[\"r\",\"k\"]", b"x")],
        log: vec![row("", "3", b"{}")],
    };
    assert_eq!(saved::restore_outbox(&mut book, rows), (7, BTreeSet::from([7])));
    assert_eq!(book.next_sequence, 10, "places of rows that cannot be read are not used again");
}

#[test]
fn a_store_that_fails_is_an_alert_until_it_does_not() {
    let mut world = World::new(0);
    let failing = |text: Option<&str>| vec![Input::Store(text.map(str::to_owned))];
    world.tick(0, failing(Some("disk full")));
    world.check(&[], &[]); // nothing was seen yet
    world.sees(1, Seen::Ours);
    world.tick(2, failing(Some("disk full")));
    world.check(&["BrokerwardenStoreFailing new>firing"], &["BrokerwardenStoreFailing firing until 242"]);
    let alert = Arc::clone(&world.last.deliveries[0].alert);
    assert_eq!((alert.key.rule.as_str(), alert.annotations["description"].as_str()), (OWN_RULE, "disk full"));
    // A rule neither raises nor resolves it.
    world.says(3, Seen::Ours, vec![about(Subject::Agent, STORE_FAILING)]);
    assert_eq!(world.dropped(), [("reserved_name", 1)]);
    world.tick(4, failing(Some("disk full")));
    world.check(&[], &[]);
    // Nor does it end because its rule is none.
    world.tick(5, vec![Input::Known(BTreeSet::new())]);
    assert_eq!(world.in_book(), ["BrokerwardenStoreFailing firing"]);
    let mut world = world.restarts(10, 20);
    world.sees(21, Seen::Ours);
    world.tick(22, failing(None));
    assert_eq!(world.in_book(), ["BrokerwardenStoreFailing resolved"]);
}

#[test]
fn a_rule_that_was_in_the_shadow_tells_nobody_before_it_is_live_again() {
    let mut world = World::new(0);
    world.settings.shadow = true;
    world.generation += 1;
    world.install(0);
    world.says(0, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    world.says(20, Seen::Ours, vec![group_alert("A")]);
    let mut world = world.killed(30, 40);
    for second in [50, 200] {
        world.sees(second, Seen::Ours);
        assert!(world.last.deliveries.is_empty(), "{:?}", world.last.deliveries);
    }
    assert!(world.book.view().shadow.contains("r"));
    world.settings.shadow = false;
    world.generation += 1;
    world.install(210);
    world.says(220, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A firing>firing"], &["A firing until 460"]);
}

#[test]
fn alerts_of_a_rule_that_goes_before_it_was_live_again_end() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let mut world = world.killed(300, 500);
    world.sees(501, Seen::Ours);
    world.tick(510, vec![Input::Removed { rule: "r".into(), generation: 99 }]);
    world.check(&["A firing>resolved"], &["A resolved until 510"]);
}

#[test]
fn a_state_of_which_the_version_is_lost_is_nobody_s() {
    let entries = Arc::new(BTreeMap::from([("k".to_owned(), Arc::from(&b"v"[..]))]));
    let state = RuleState { version: Some(2), entries: Arc::clone(&entries), earlier: Some((1, entries)) };
    let rows = |rule: &str| {
        let rows = saved::state_rows(&state).into_iter();
        rows.map(|(key, value)| row(rule, &key, &value)).collect::<Vec<_>>()
    };
    let mut stored = rows("whole");
    stored.extend(rows("salvaged").into_iter().filter(|row| row.key != "versions"));
    let (states, unreadable) = saved::restore_states(stored);
    assert_eq!((states, unreadable), (BTreeMap::from([("whole".to_owned(), state.clone())]), 1));
}
