//! What rules ask to be done.

use super::*;
use crate::model::RequestedAction;
use regex::Regex;

fn policy(per_key: (u32, u64), total: (u32, u64)) -> ActionPolicy {
    let rate = |(count, seconds)| ActionRate { count, per: Duration::from_secs(seconds) };
    let parameter = |pattern: &str, dash| Parameter { pattern: Regex::new(&format!("^(?:{pattern})$")).unwrap(), dash };
    ActionPolicy {
        params: [("group".to_owned(), parameter(".+", false)), ("n".to_owned(), parameter("-?[0-9]+", true))].into(),
        per_key: rate(per_key),
        total: rate(total),
    }
}

fn asked(subject: Subject, key: &str) -> RequestedAction {
    let params = [("group", "g"), ("n", "-1")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    RequestedAction { subject, name: "ticket".into(), params, key: key.into() }
}

fn group_action(key: &str) -> RequestedAction {
    asked(Subject::Group("g".into()), key)
}

impl World {
    fn with_action(per_key: (u32, u64), total: (u32, u64)) -> Self {
        let mut world = Self::new(0);
        world.settings.actions.insert("ticket".into());
        world.book.deeds.policies = Arc::new([("ticket".to_owned(), policy(per_key, total))].into());
        world.install(0);
        world
    }

    /// What comes of these requests: `key@sequence`, and refusals.
    fn asks(&mut self, second: u64, seen: Seen, actions: Vec<RequestedAction>) -> Vec<String> {
        self.says_and_asks(second, seen, vec![], actions)
    }

    fn says_and_asks(
        &mut self,
        second: u64,
        seen: Seen,
        alerts: Vec<RaisedAlert>,
        actions: Vec<RequestedAction>,
    ) -> Vec<String> {
        let verdict = Verdict::Outcome(Outcome { alerts, actions, ..Outcome::default() });
        let input = self.evaluation(second, seen, verdict, 0);
        self.tick(second, vec![input]);
        self.came()
    }

    fn came(&self) -> Vec<String> {
        let refused = self.last.refused.iter().map(|((_, action, reason), count)| format!("{action} {reason} {count}"));
        self.last.deeds.iter().map(|deed| format!("{}@{}", deed.key, deed.sequence)).chain(refused).collect()
    }

    fn ends(&mut self, second: u64, sequence: u64, end: DeedEnd) {
        let result = DeedResult { sequence, end, at: at(second), attempts: 1, text: "said".into() };
        self.tick(second, vec![Input::Ended(result)]);
    }
}

const NOTHING: [&str; 0] = [];

type Change<'a> = &'a dyn Fn(&mut RequestedAction);

#[test]
fn a_deed_is_done_once_per_key_and_its_time() {
    let mut world = World::with_action((1, 600), (100, 3600));
    assert_eq!(
        world.asks(0, Seen::Ours, vec![group_action("a"), group_action("a"), group_action("b")]),
        ["a@0", "b@1"]
    );
    for second in [5, 300, 599] {
        assert_eq!(world.asks(second, Seen::Ours, vec![group_action("a")]), NOTHING);
    }
    world.ends(599, 0, DeedEnd::Done);
    assert_eq!(world.asks(600, Seen::Ours, vec![group_action("a")]), ["a@2"]);
    let mut world = World::with_action((2, 600), (100, 3600));
    let keys: Vec<_> = (0..4).map(|n| world.asks(n * 10, Seen::Ours, vec![group_action("a")])).collect();
    assert_eq!(keys.concat(), ["a@0", "a@1"]);
    let waiting = world.book.actions().waiting;
    assert_ne!(waiting[0].idempotency_key, waiting[1].idempotency_key, "two deeds of one window are two");
}

#[test]
fn the_rate_in_all_counts_what_was_taken_and_what_it_refuses_is_done_later() {
    let mut world = World::with_action((1, 600), (2, 60));
    let all = || vec![group_action("a"), group_action("b"), group_action("c")];
    assert_eq!(world.asks(0, Seen::Ours, all()), ["a@0", "b@1", "ticket rate 1"]);
    let refused = world.book.actions().refused;
    assert_eq!(
        (refused[0].reason, refused[0].text.as_str()),
        ("rate", "2 in 60s are as many as its `rate.total` allows")
    );
    assert_eq!(world.asks(60, Seen::Ours, all()), ["c@2"]);
}

#[test]
fn what_was_not_granted_or_does_not_look_as_it_must_is_refused() {
    let mut world = World::with_action((1, 600), (100, 3600));
    let mut with = |name: &str, change: &dyn Fn(&mut RequestedAction)| {
        let mut action = group_action(name);
        change(&mut action);
        let came = world.asks(1, Seen::Ours, vec![action]);
        let text = world.book.actions().refused.last().map(|refused| refused.text.clone());
        (came, text.unwrap_or_default())
    };
    let param = |name: &'static str, value: &'static str| {
        move |action: &mut RequestedAction| {
            action.params.insert(name.into(), value.into());
        }
    };
    let cases: [(Change<'_>, &str); 5] = [
        (&param("more", "x"), "it has no parameter `more`"),
        (&|action| drop(action.params.remove("n")), "the parameter `n` is missing"),
        (&param("n", "1; rm"), "n: `1; rm` does not match its pattern"),
        (&param("group", "--all"), "group: `--all` begins with `-`, which its pattern does not"),
        (&param("group", "a\0"), "group: `a\\u{0}` has a zero byte"),
    ];
    for (change, text) in cases {
        assert_eq!(with("k", change), (vec!["ticket parameter 1".to_owned()], text.to_owned()));
    }
    let (came, _) = with("k", &|action| action.name = "other".into());
    assert_eq!(came, [" not_granted 1"], "what a rule makes up is no label");
    world.settings.actions.insert("other".into());
    let mut other = group_action("k");
    other.name = "other".into();
    assert_eq!(world.asks(2, Seen::Ours, vec![other]), [" unknown_action 1"]);
    assert!(world.outbox.is_empty());
}

#[test]
fn a_rule_in_the_shadow_a_failed_one_and_one_about_anothers_share_do_nothing() {
    let mut world = World::with_action((1, 600), (100, 3600));
    for seen in [Seen::Elsewhere, Seen::Unknown, Seen::Followed, Seen::Nothing] {
        assert_eq!(world.asks(1, seen, vec![group_action("a")]), NOTHING, "{:?}", seen == Seen::Followed);
    }
    world.fails(2, 1);
    assert_eq!(world.came(), NOTHING);
    world.settings.shadow = true;
    assert_eq!(world.asks(3, Seen::Ours, vec![group_action("b")]), NOTHING);
}

#[test]
fn what_another_agent_did_is_not_done_again_unless_that_agent_may_have_died_with_it() {
    let key = |world: &World| world.book.actions().waiting[0].idempotency_key.clone();
    let theirs = {
        let mut world = World::with_action((1, 600), (100, 3600));
        world.asks(10, Seen::Ours, vec![group_action("a")]);
        key(&world)
    };
    for (second, done) in [(69, true), (71, false)] {
        let mut world = World::with_action((1, 600), (100, 3600));
        assert_eq!(world.asks(10, Seen::Followed, vec![group_action("a")]), NOTHING);
        let came = world.asks(second, Seen::Ours, vec![group_action("a")]);
        assert_eq!(came.is_empty(), !done, "{second}");
        if done {
            assert_eq!(key(&world), theirs, "whoever does it does the same deed");
            assert_eq!(world.asks(second + 1, Seen::Ours, vec![group_action("a")]), NOTHING);
        }
    }
}

#[test]
fn a_deed_knows_the_firing_alerts_that_it_belongs_to() {
    let mut world = World::with_action((1, 600), (100, 3600));
    let alerts = vec![group_alert("A"), about(Subject::Agent, "B")];
    world.says_and_asks(1, Seen::Ours, alerts, vec![group_action("a")]);
    let deed = Arc::clone(&world.last.deeds[0]);
    assert_eq!(deed.alerts.iter().map(|labels| labels["alertname"].as_str()).collect::<Vec<_>>(), ["A"]);
    assert_eq!((deed.rule.as_str(), deed.requested_at), ("r", at(1)));
}

#[test]
fn what_waits_is_done_after_a_restart_once_it_is_known_to_be_ours_and_what_was_done_is_not() {
    let mut world = World::with_action((1, 600), (100, 3600));
    world.asks(1, Seen::Ours, vec![group_action("a"), group_action("b")]);
    world.ends(2, 1, DeedEnd::Failed);
    let deed = Arc::clone(&world.book.actions().waiting[0]);
    let mut world = world.restarts(10, 100);
    for seen in [Seen::Nothing, Seen::Unknown] {
        world.sees(101, seen);
        assert_eq!(world.came(), NOTHING);
    }
    world.sees(103, Seen::Ours);
    assert_eq!(world.last.deeds, [deed]);
    assert_eq!(
        world.asks(104, Seen::Ours, vec![group_action("a"), group_action("b")]),
        NOTHING,
        "their time is not over"
    );
    let own = world.book.own_actions().remove("r").unwrap();
    let ends: Vec<_> = own.iter().map(|one| (one.deed.key.as_str(), one.result.as_ref().map(|r| r.end))).collect();
    assert_eq!(ends, [("a", None), ("b", Some(DeedEnd::Failed))]);
    // Killed again, and another agent answers for it by then.
    let mut world = world.restarts(110, 120);
    world.sees(121, Seen::Followed);
    assert_eq!(world.came(), NOTHING);
    let ended = world.book.actions().ended;
    assert_eq!((ended[0].0.key.as_str(), ended[0].1.end), ("a", DeedEnd::Dropped));
    assert!(world.outbox.keys().all(|(table, ..)| *table != Table::Outbox));
    let world = world.restarts(130, 140);
    assert_eq!(world.book.actions().ended.len(), 2, "the trail stays");
}

#[test]
fn what_no_rate_looks_back_to_is_forgotten_and_a_clock_set_back_blocks_nothing_for_long() {
    let mut world = World::with_action((1, 600), (100, 3600));
    world.asks(10_000, Seen::Ours, vec![group_action("a")]);
    world.tick(13_599, vec![]);
    assert_eq!(world.book.deeds.taken.len(), 1);
    world.tick(13_600, vec![]);
    assert!(world.book.deeds.taken.is_empty());
    assert!(world.outbox.keys().all(|(table, ..)| *table != Table::ActionKeys));
    world.asks(13_601, Seen::Ours, vec![group_action("a")]);
    world.tick(100, vec![]);
    assert_eq!(world.asks(699, Seen::Ours, vec![group_action("a")]), NOTHING);
    assert_eq!(world.asks(700, Seen::Ours, vec![group_action("a")]).len(), 1);
}

#[test]
fn there_is_an_end_to_what_waits_and_to_the_trail() {
    let mut world = World::with_action((1, 600), (u32::MAX, 3600));
    let many = (0..=MAX_DEEDS).map(|n| group_action(&n.to_string())).collect();
    assert_eq!(world.asks(1, Seen::Ours, many).last().unwrap(), "ticket full 1");
    assert_eq!(world.book.deeds.waiting.len(), MAX_DEEDS);
    for sequence in 0..u64::try_from(MAX_DEEDS).unwrap() {
        world.ends(2, sequence, DeedEnd::Done);
    }
    assert_eq!(world.book.actions().ended.len(), MAX_ENDED_PER_RULE);
    let kept = world.outbox.keys().filter(|(table, ..)| *table == Table::ActionLog).count();
    assert_eq!(kept, MAX_ENDED_PER_RULE);
    world.ends(3, 5, DeedEnd::Done);
    assert_eq!(world.book.actions().ended.len(), MAX_ENDED_PER_RULE, "one that has ended does not end again");
}
