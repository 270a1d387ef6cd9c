//! An alert keeps its identity and its clock: when it becomes known who we are, and when another agent answers for it.

use super::*;

/// An agent that starts while Kafka is away learns its cluster and broker later.
#[test]
fn an_alert_that_was_told_keeps_its_identity_when_cluster_and_broker_become_known() {
    let mut world = World::new(0);
    world.says(0, Seen::Nothing, vec![about(Subject::Agent, "A")]);
    world.check(&["A new>firing"], &["A firing until 240"]);
    world.says(5, Seen::Ours, vec![about(Subject::Agent, "A"), about(Subject::Agent, "B")]);
    world.check(&["B new>firing"], &["B firing until 245"]);
    let [a, b] = world.book.view().alerts.try_into().unwrap();
    assert_eq!(a.key.labels, labels(&[("alertname", "A"), ("rule", "r")]));
    assert_eq!(b.key.labels, labels(&[("alertname", "B"), ("broker", "7"), ("cluster", "prod"), ("rule", "r")]));
    world.says(10, Seen::Ours, vec![]);
    world.check(&["A firing>resolved", "B firing>resolved"], &["A resolved until 10", "B resolved until 10"]);
    // Its next life begins under the whole name.
    world.says(15, Seen::Ours, vec![about(Subject::Agent, "A")]);
    world.check(&["A new>firing"], &["A firing until 255"]);
}

#[test]
fn one_that_was_told_to_nobody_moves_to_its_whole_name_and_keeps_its_clock() {
    let mut world = World::new(10);
    world.says(0, Seen::Nothing, vec![about(Subject::Agent, "A")]);
    world.check(&["A new>pending"], &[]);
    world.says(5, Seen::Ours, vec![about(Subject::Agent, "A")]);
    world.check(&[], &[]);
    assert!(world.last.changed);
    world.says(10, Seen::Ours, vec![about(Subject::Agent, "A")]);
    world.check(&["A pending>firing"], &["A firing until 250"]);
    let [a] = world.book.view().alerts.try_into().unwrap();
    assert_eq!(a.key.labels, labels(&[("alertname", "A"), ("broker", "7"), ("cluster", "prod"), ("rule", "r")]));
}

/// `broker` is a name that a rule may use for its own.
#[test]
fn alerts_that_a_rule_tells_apart_by_a_label_called_broker_stay_two() {
    let mut world = World::new(0);
    let third = || RaisedAlert { labels: labels(&[("broker", "3")]), ..group_alert("A") };
    world.says(0, Seen::Ours, vec![group_alert("A"), third()]);
    assert_eq!((world.in_book(), world.dropped()), (vec!["A firing".to_owned(), "A firing".into()], vec![]));
    world.says(5, Seen::Ours, vec![third()]);
    world.check(&["A firing>resolved"], &["A resolved until 5"]);
}

/// Follow as replica, speak as leader: see ARCHITECTURE.md.
#[test]
fn a_followed_alert_is_kept_in_silence_and_goes_on_when_it_becomes_ours() {
    let mut world = World::new(10);
    world.says(0, Seen::Followed, vec![group_alert("A")]);
    world.says(10, Seen::Followed, vec![group_alert("A")]);
    world.check(&[], &[]);
    assert!(world.in_book().is_empty(), "others' alerts are not shown");
    // Its agent has told it long ago: only Alertmanager hears of it, from now on from us.
    world.says(200, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &["A firing again until 440"]);
    let alert = Arc::clone(&world.last.deliveries[0].alert);
    assert_eq!((alert.active_at, alert.fired_at), (at(0), Some(at(10))));
    assert_eq!(world.in_book(), ["A firing"]);
    world.says(205, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 205"]);
}

#[test]
fn an_alert_that_another_agent_took_over_goes_on_in_silence_and_comes_back_as_it_was() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    world.says(5, Seen::Followed, vec![group_alert("A"), group_alert("B")]);
    world.check(&[], &[]);
    world.tick(100, vec![]);
    world.check(&[], &[]);
    assert!(world.in_book().is_empty());
    // It resolves one meanwhile, and tells so itself.
    world.says(105, Seen::Followed, vec![group_alert("A")]);
    world.check(&[], &[]);
    world.says(300, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &["A firing again until 540", "B resolved again until 105"]);
}

#[test]
fn what_began_just_before_a_share_became_ours_is_told_since_its_agent_may_be_dead() {
    let mut world = World::new(0);
    world.says(0, Seen::Followed, vec![group_alert("A")]);
    world.says(20, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A firing>firing"], &["A firing until 260"]);
    // Ours again after a moment: we told it ourselves.
    world.says(25, Seen::Followed, vec![group_alert("A")]);
    world.says(30, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    // What nobody spoke for while it lasted is told by nobody.
    world.says(35, Seen::Followed, vec![group_alert("A"), group_alert("B")]);
    world.says(40, Seen::Unknown, vec![group_alert("A"), group_alert("B")]);
    world.says(45, Seen::Followed, vec![group_alert("A")]);
    world.says(400, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &["A firing again until 640", "B resolved again until 45"]);
}

/// Beside other agents: one of them may answer for it now, and say that it is over.
#[test]
fn an_alert_whose_owner_is_not_known_is_held_and_not_told_again() {
    for seen in [Seen::Nothing, Seen::Unknown] {
        let mut world = World::new(0);
        world.says(0, Seen::Ours, vec![group_alert("A")]);
        world.tick(5, vec![Input::Seen(snapshot(5, seen))]);
        world.check(&[], &["A firing again until 3605"]);
        world.tick(120, vec![Input::Seen(snapshot(120, seen))]);
        world.check(&[], &[]);
        world.says(125, Seen::Ours, vec![group_alert("A")]);
        world.check(&[], &["A firing again until 365"]);
    }
}

#[test]
fn the_only_agent_goes_on_telling_what_it_cannot_see() {
    let mut world = World::new(0);
    let alone = |second, seen| {
        let snapshot = Snapshot::clone(&snapshot(second, seen));
        let kafka = snapshot
            .kafka
            .as_ref()
            .map(|kafka| Arc::new(KafkaView { brokers: kafka.brokers[..1].to_vec(), ..KafkaView::clone(kafka) }));
        Arc::new(Snapshot { kafka, ..snapshot })
    };
    let Input::Evaluated(evaluation) = world.evaluation(
        0,
        Seen::Ours,
        Verdict::Outcome(Outcome { alerts: vec![group_alert("A")], ..Outcome::default() }),
        0,
    ) else {
        unreachable!()
    };
    world.tick(0, vec![Input::Evaluated(Evaluation { snapshot: alone(0, Seen::Ours), ..evaluation })]);
    world.check(&["A new>firing"], &["A firing until 240"]);
    for seen in [Seen::Nothing, Seen::Unknown] {
        let second = if seen == Seen::Nothing { 60 } else { 120 };
        world.tick(second, vec![Input::Seen(alone(second, seen))]);
        assert_eq!(world.last.deliveries.len(), 1, "{second}");
        assert_eq!(world.in_book(), ["A firing"]);
    }
}

/// Kafka was away while it ended, for longer than a resolved alert is told again.
#[test]
fn an_end_that_nobody_could_tell_is_told_when_somebody_can() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.tick(5, vec![Input::Seen(snapshot(5, Seen::Nothing))]);
    world.tick(10, vec![Input::Removed { rule: "r".into(), generation: 9 }]);
    world.check(&[], &[]);
    world.tick(2_000, vec![]);
    world.check(&[], &[]);
    world.tick(2_005, vec![Input::Seen(snapshot(2_005, Seen::Ours))]);
    world.check(&["A resolved>resolved"], &["A resolved until 10"]);
    world.tick(4_000, vec![]);
    assert!(world.book.view().alerts.is_empty());
}

/// The other brokers went first, and come back first.
#[test]
fn who_was_one_of_several_is_not_alone_because_the_others_are_down() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let last = Snapshot::clone(&snapshot(5, Seen::Ours));
    let kafka =
        last.kafka.as_ref().map(|kafka| KafkaView { brokers: kafka.brokers[..1].to_vec(), ..KafkaView::clone(kafka) });
    world.tick(5, vec![Input::Seen(Arc::new(Snapshot { kafka: kafka.map(Arc::new), ..last }))]);
    world.tick(10, vec![Input::Seen(snapshot(10, Seen::Nothing))]);
    world.check(&[], &["A firing again until 3610"]);
    world.tick(120, vec![]);
    world.check(&[], &[]);
}

#[test]
fn alerts_that_are_followed_take_no_place_from_our_own() {
    let mut world = World::new(0);
    let many = |subject: fn() -> Subject, prefix: &str, count| -> Vec<RaisedAlert> {
        (0..count).map(|n| about(subject(), &format!("{prefix}{n}"))).collect()
    };
    let group = || Subject::Group("g".into());
    let mut said = many(group, "F", MAX_ALERTS_PER_RULE + 1);
    said.extend(many(|| Subject::Agent, "A", MAX_ALERTS_PER_RULE + 1));
    world.says(0, Seen::Followed, said);
    assert_eq!(world.dropped(), [("rule_limit", 2)]);
    let alerts = world.book.view().alerts;
    assert_eq!(alerts.iter().filter(|alert| alert.key.name.starts_with('A')).count(), MAX_ALERTS_PER_RULE);
}
