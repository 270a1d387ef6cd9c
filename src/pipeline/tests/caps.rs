//! More alerts than there is place for.

use super::*;

#[test]
fn alerts_beyond_the_caps_are_dropped_and_those_in_the_book_go_on() {
    let many = |from: usize, count: usize| {
        let alert = |n: usize| about(Subject::Agent, &format!("A{n:06}"));
        (from..from + count).map(alert).collect::<Vec<_>>()
    };
    let mut world = World::new(0);
    world.says(0, Seen::Ours, many(0, MAX_ALERTS_PER_RULE + 3));
    assert_eq!(world.dropped(), [("rule_limit", 3)]);
    assert_eq!(world.last.transitions.len(), MAX_ALERTS_PER_RULE + 1, "and the agent says so");
    world.says(5, Seen::Ours, many(1, MAX_ALERTS_PER_RULE));
    // One still stands in the book when the new one comes: it is taken in the next evaluation.
    assert_eq!((world.dropped(), world.last.transitions.len()), (vec![("rule_limit", 1)], 1));
    world.says(10, Seen::Ours, many(1, MAX_ALERTS_PER_RULE));
    assert_eq!((world.dropped(), world.last.transitions.len()), (vec![], 2));

    // Who comes when there is little left gets as much as is left to others, and who wants little gets it.
    let mut taken = vec![MAX_ALERTS_PER_RULE];
    for rule in ["s", "t", "u", "v", "w"] {
        world.settings.name = rule.into();
        world.install(15);
        world.says(20, Seen::Ours, many(0, MAX_ALERTS_PER_RULE));
        taken.push(world.book.of_rule(rule).filter(|(key, _)| key.name.starts_with('A')).count());
    }
    assert_eq!(taken, [5000, 5000, 5000, 2500, 1250, 624]);
    assert_eq!(world.dropped(), [("limit", 4376)]);
    let about = world.last.deliveries.iter().find(|d| d.alert.key.name == ALERTS_DROPPED).unwrap();
    assert_eq!(about.alert.annotations["summary"], "4376 alerts of rule w were not taken: there are too many");
    world.settings.name = "small".into();
    world.install(21);
    world.says(21, Seen::Ours, many(0, 300));
    assert_eq!((world.dropped(), world.last.transitions.len()), (vec![], 300));
    world.settings.name = "w".into();
    // The agent's own word about a rule passes all the same.
    world.fails(25, FAILURES_UNTIL_ALERT);
    world.check(&["BrokerwardenRuleFailing new>firing"], &["BrokerwardenRuleFailing firing until 265"]);
}

#[test]
fn resolved_alerts_beyond_their_cap_are_forgotten_longest_ago_first() {
    let mut world = World::new(0);
    let rounds = MAX_RESOLVED / MAX_ALERTS_PER_RULE + 1;
    for round in 0..rounds {
        let alert = |n| about(Subject::Agent, &format!("R{round} {n}"));
        let second = u64::try_from(round).unwrap() * 10;
        world.says(second, Seen::Ours, (0..MAX_ALERTS_PER_RULE).map(alert).collect());
        world.says(second + 5, Seen::Ours, vec![]);
        assert_eq!(world.last.transitions.len(), MAX_ALERTS_PER_RULE);
    }
    let alerts = world.book.view().alerts;
    assert_eq!(alerts.len(), MAX_RESOLVED);
    assert!(alerts.iter().all(|alert| !alert.key.name.starts_with("R0")));
}

#[test]
fn a_rule_with_few_resolved_alerts_keeps_them_beside_one_with_many() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Agent, "Mine")]);
    world.says(1, Seen::Ours, vec![]);
    world.settings.name = "flood".into();
    world.install(1);
    for round in 0..3u64 {
        let alert = |n| about(Subject::Agent, &format!("R{round} {n}"));
        world.says(10 + round * 10, Seen::Ours, (0..MAX_ALERTS_PER_RULE).map(alert).collect());
        world.says(15 + round * 10, Seen::Ours, vec![]);
    }
    let alerts = world.book.view().alerts;
    assert_eq!(alerts.len(), MAX_RESOLVED);
    assert!(alerts.iter().any(|alert| alert.key.name == "Mine"));
    assert!(alerts.iter().all(|alert| !alert.key.name.starts_with("R0") || alert.key.name == "R0 4999"));
}
