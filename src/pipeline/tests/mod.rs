//! The alert book's life as a table: what rules said at which second, and what must come of it.

mod caps;
mod deeds;
mod identity;
mod load;
mod properties;
mod reference;
mod restart;
mod shadow;
mod steps;

use super::*;
use crate::{
    model::Measurement,
    store::{Change, Table},
};
use crate::{
    model::{BrokerId, RaisedAlert, Subject},
    snapshot::{Broker, Group, GroupKind, KafkaView, LagRow, Partition, Share, TargetState, Topic},
};

/// What an agent knows of group `g` in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// Fully, and we answer for it.
    Ours,
    /// We answer for it, but an end offset is missing.
    Partly,
    /// Another agent answers for it, and its broker is the only one that has its records.
    Elsewhere,
    /// Another agent answers for it, and we have read the same records.
    Followed,
    /// Neither who answers for it nor what it does.
    Unknown,
    /// No Kafka lately.
    Nothing,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1000)
}

fn snapshot(second: u64, seen: Seen) -> Arc<Snapshot> {
    let group = Group {
        name: "g".into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(1),
        coordinator: None,
        ours: matches!(seen, Seen::Ours | Seen::Partly),
    };
    let end = (seen != Seen::Partly).then_some(9);
    let partition = |ours| Partition {
        id: 0,
        leader: Some(BrokerId(1)),
        replicas: Vec::new(),
        in_sync: Vec::new(),
        log_start: Some(0),
        log_end: end,
        last_stable: None,
        ours,
    };
    let kafka = KafkaView {
        at: at(second),
        broker_id: Some(BrokerId(7)),
        topics: vec![Topic {
            name: "t".into(),
            partitions: vec![partition(true)],
            ours: !matches!(seen, Seen::Elsewhere | Seen::Followed),
        }],
        brokers: [1, 7].map(|id| Broker { id: BrokerId(id), address: String::new() }).to_vec(),
        groups: if matches!(seen, Seen::Unknown | Seen::Elsewhere) { Vec::new() } else { vec![group] },
        rows: if matches!(seen, Seen::Unknown | Seen::Elsewhere) {
            Vec::new()
        } else {
            vec![LagRow::new(0, "t".into(), 0, Some(5), None, None, end)]
        },
        offsets_partitions: vec![match seen {
            Seen::Ours | Seen::Partly => Some(Share::Ours),
            Seen::Followed => Some(Share::Followed),
            Seen::Elsewhere => Some(Share::Elsewhere),
            Seen::Unknown | Seen::Nothing => None,
        }],
        ..KafkaView::default()
    };
    let up = seen != Seen::Nothing;
    let target = TargetState { name: "kafka".into(), up, last_success: None, reason: None };
    Arc::new(Snapshot {
        number: second + 1,
        at: at(second),
        interval: Duration::from_secs(5),
        cluster: if up { "prod".into() } else { "".into() },
        kafka: up.then(|| Arc::new(kafka)),
        pages: Vec::new(),
        targets: vec![target],
    })
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn about(subject: Subject, name: &str) -> RaisedAlert {
    RaisedAlert { subject, name: name.into(), labels: Labels::new(), annotations: Labels::new(), value: None }
}

fn group_alert(name: &str) -> RaisedAlert {
    about(Subject::Group("g".into()), name)
}

/// One agent with one rule, `r`.
struct World {
    book: Book,
    settings: RuleSettings,
    generation: u64,
    last: Ticked,
    /// What a store has of the alerts: scope, key, value.
    stored: BTreeMap<(String, String), Vec<u8>>,
    /// What a store has of what waits and what was done.
    outbox: BTreeMap<(Table, String, String), Vec<u8>>,
    /// Nobody takes what is told.
    deaf: bool,
}

impl World {
    fn new(pending_for: u64) -> Self {
        let settings = RuleSettings {
            name: "r".into(),
            interval: None,
            pending_for: Duration::from_secs(pending_for),
            keep_firing_for: Duration::ZERO,
            labels: Labels::new(),
            annotations: Labels::new(),
            shadow: false,
            actions: Grants::new(),
        };
        let mut world = Self {
            book: Book::default(),
            settings,
            generation: 1,
            last: Ticked::default(),
            stored: BTreeMap::new(),
            outbox: BTreeMap::new(),
            deaf: false,
        };
        world.install(0);
        world
    }

    fn install(&mut self, second: u64) {
        let settings = Arc::new(self.settings.clone());
        self.tick(second, vec![Input::Installed { settings, generation: self.generation }]);
    }

    fn tick(&mut self, second: u64, inputs: Vec<Input>) {
        self.last = tick(std::mem::take(&mut self.book), inputs, at(second));
        self.book = self.last.book.clone();
        self.store();
    }

    /// What is touched is stored; then all is as if all were stored anew, but for when an alert was last told.
    #[track_caller]
    fn store(&mut self) {
        self.store_outbox();
        for key in &self.last.touched.alerts {
            match saved::alert_change(&self.book, key) {
                Change::Put(Table::Alerts, row) => self.stored.insert((row.scope, row.key), row.value),
                Change::Remove { scope, key, .. } => self.stored.remove(&(scope, key)),
                other => panic!("{other:?}"),
            };
        }
        let untimed = |value: &[u8]| {
            let mut json: serde_json::Value = serde_json::from_slice(value).unwrap();
            json.as_object_mut().unwrap().remove("last_sent").unwrap();
            json.to_string()
        };
        let kept: Vec<_> = self.stored.iter().map(|(key, value)| (key.clone(), untimed(value))).collect();
        let whole = self.book.alerts.keys().map(|key| match saved::alert_change(&self.book, key) {
            Change::Put(_, row) => ((row.scope, row.key), untimed(&row.value)),
            other => panic!("{other:?}"),
        });
        let mut whole: Vec<_> = whole.collect();
        whole.sort();
        assert_eq!(kept, whole);
    }

    fn store_outbox(&mut self) {
        let touched = &self.last.touched;
        let mut changes: Vec<Change> =
            touched.deeds.iter().flat_map(|sequence| saved::deed_changes(&self.book, *sequence)).collect();
        changes.extend(touched.keys.iter().map(|key| saved::key_change(&self.book, key)));
        changes.extend(touched.lapsed.iter().flat_map(|sequence| told_changes(*sequence)));
        if self.deaf {
            changes.extend(self.last.deliveries.iter().filter_map(saved::delivery_change));
        } else {
            let told = self.last.deliveries.iter().filter_map(|delivery| delivery.stored.as_ref());
            changes.extend(told.flat_map(|stored| told_changes(stored.sequence)));
        }
        for change in changes {
            match change {
                Change::Put(table, row) => {
                    self.outbox.insert((table, row.scope, row.key), row.value);
                }
                Change::Remove { table, scope, key } => {
                    self.outbox.remove(&(table, scope, key));
                }
                Change::RemoveScope { table, scope } => self.outbox.retain(|(t, s, _), _| (*t, s) != (table, &scope)),
            }
        }
    }

    fn evaluation(&self, second: u64, seen: Seen, verdict: Verdict, failures: u32) -> Input {
        Input::Evaluated(Evaluation {
            settings: Arc::new(self.settings.clone()),
            generation: self.generation,
            snapshot: snapshot(second, seen),
            verdict,
            failures_in_a_row: failures,
            state: None,
        })
    }

    fn says(&mut self, second: u64, seen: Seen, alerts: Vec<RaisedAlert>) {
        let verdict = Verdict::Outcome(Outcome { alerts, ..Outcome::default() });
        let input = self.evaluation(second, seen, verdict, 0);
        self.tick(second, vec![input]);
    }

    fn fails(&mut self, second: u64, failures: u32) {
        let verdict = Verdict::Failed { reason: "trap", text: "unreachable\nexecuted".into() };
        let input = self.evaluation(second, Seen::Ours, verdict, failures);
        self.tick(second, vec![input]);
    }

    /// The last tick in words: transitions, then what is told, resends marked with `again`, ends in seconds.
    #[track_caller]
    fn check(&self, transitions: &[&str], told: &[&str]) {
        let moved = |t: &Transition| {
            let to = if t.dropped { "gone" } else { t.alert.phase.text() };
            format!("{} {}>{to}", t.alert.key.name, t.from.map_or("new", Phase::text))
        };
        let word = |d: &Delivery| {
            let again = if d.transition { "" } else { " again" };
            format!("{} {}{again} until {}", d.alert.key.name, d.alert.phase.text(), d.ends_at.0 / 1000)
        };
        assert_eq!(self.last.transitions.iter().map(moved).collect::<Vec<_>>(), transitions);
        assert_eq!(self.last.deliveries.iter().map(word).collect::<Vec<_>>(), told);
    }

    fn in_book(&self) -> Vec<String> {
        let alerts = self.book.view().alerts;
        alerts.iter().map(|alert| format!("{} {}", alert.key.name, alert.phase.text())).collect()
    }

    fn dropped(&self) -> Vec<(&'static str, u64)> {
        self.last.dropped.iter().map(|((reason, _), count)| (*reason, *count)).collect()
    }
}

#[test]
fn an_alert_is_pending_and_untold_then_fires_then_resolves() {
    let mut world = World::new(10);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A new>pending"], &[]);
    world.says(5, Seen::Ours, vec![group_alert("A")]);
    world.check(&[], &[]);
    assert!(!world.last.changed);
    world.says(10, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A pending>firing"], &["A firing until 250"]);
    let alert = Arc::clone(&world.last.deliveries[0].alert);
    assert_eq!((alert.active_at, alert.fired_at, alert.last_sent), (at(0), Some(at(10)), Some(at(10))));
    world.says(15, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 15"]);
    world.says(20, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A resolved>pending"], &[]);
    world.says(25, Seen::Ours, vec![]);
    world.check(&["A pending>gone"], &[]);
    assert!(world.in_book().is_empty());
}

#[test]
fn without_for_it_fires_in_the_first_evaluation() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A new>firing"], &["A firing until 240"]);
}

#[test]
fn firing_is_told_again_every_minute_by_our_clock_even_when_no_rule_speaks() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.tick(59, vec![]);
    world.check(&[], &[]);
    world.tick(60, vec![]);
    world.check(&[], &["A firing again until 300"]);
    world.fails(100, 1);
    world.check(&[], &[]);
    world.fails(121, 2);
    world.check(&[], &["A firing again until 361"]);
    world.tick(180, vec![]);
    world.check(&[], &[]);
    world.tick(181, vec![]);
    world.check(&[], &["A firing again until 421"]);
}

#[test]
fn resolved_is_told_again_for_a_quarter_of_an_hour_and_forgotten() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(30, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 30"]);
    let mut told = 0;
    for second in 31..=930 {
        world.tick(second, vec![]);
        told += world.last.deliveries.len();
        assert!(world.last.deliveries.iter().all(|d| d.ends_at == at(30) && !d.transition));
    }
    assert_eq!((told, world.in_book()), (15, vec!["A resolved".to_owned()]));
    world.tick(931, vec![]);
    world.check(&[], &[]);
    assert!(world.in_book().is_empty() && world.last.changed);
}

#[test]
fn a_clock_set_back_by_a_day_delays_no_resend_by_a_day() {
    let day = 86_400;
    let mut world = World::new(0);
    world.says(day, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    world.says(day + 1, Seen::Ours, vec![group_alert("A")]);
    world.tick(10, vec![]);
    world.tick(70, vec![]);
    world.check(&[], &["A firing again until 310", "B resolved again until 10"]);
}

#[test]
fn what_was_not_seen_resolves_nothing() {
    for seen in [Seen::Partly, Seen::Unknown, Seen::Nothing] {
        let mut world = World::new(0);
        world.says(0, Seen::Ours, vec![group_alert("A"), about(Subject::Broker, "B"), about(Subject::Agent, "C")]);
        world.says(5, seen, vec![]);
        let ended = world.last.transitions.iter().any(|transition| transition.alert.key.name == "A");
        assert!(!ended && !world.in_book().contains(&"A resolved".to_owned()));
        // Also with a group or a page missing; not without Kafka, which it may be about.
        assert_eq!(world.in_book().contains(&"C resolved".to_owned()), seen != Seen::Nothing);
        world.says(10, Seen::Ours, vec![]);
        assert_eq!(world.in_book(), ["A resolved", "B resolved", "C resolved"]);
    }
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Broker, "B"), about(Subject::Topic("t".into()), "T")]);
    world.says(5, Seen::Nothing, vec![]);
    assert_eq!(world.in_book(), ["B firing"], "T is held, and not shown: it may be another agent's now");
    world.says(6, Seen::Partly, vec![]);
    assert_eq!(world.in_book(), ["B resolved", "T firing"]);
}

#[test]
fn neither_a_failed_nor_an_unavailable_evaluation_changes_anything() {
    let mut world = World::new(10);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.fails(5, 1);
    world.check(&[], &[]);
    let unavailable = world.evaluation(6, Seen::Ours, Verdict::Unavailable("no page".into()), 0);
    world.tick(6, vec![unavailable]);
    world.check(&[], &[]);
    world.says(10, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A pending>firing"], &["A firing until 250"]);
}

#[test]
fn an_alert_that_left_our_share_lapses_untold_whichever_rule_saw_it_leave() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(5, Seen::Elsewhere, vec![group_alert("A")]);
    world.check(&["A firing>gone"], &[]);
    assert!(world.in_book().is_empty());

    // A rule that fails (or another one) sees it leave just as well; a resolved one is told no more either.
    world.says(10, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    world.says(11, Seen::Ours, vec![group_alert("A")]);
    let failed = world.evaluation(15, Seen::Elsewhere, Verdict::Failed { reason: "trap", text: String::new() }, 1);
    world.tick(15, vec![failed]);
    world.check(&["A firing>gone"], &[]);
    assert!(world.in_book().is_empty());
}

#[test]
fn nothing_is_said_of_a_subject_before_it_is_known_to_be_ours() {
    let mut world = World::new(0);
    world.says(0, Seen::Elsewhere, vec![group_alert("A"), about(Subject::Topic("t".into()), "T")]);
    world.check(&[], &[]);
    world.says(1, Seen::Unknown, vec![group_alert("A")]);
    world.check(&[], &[]);
    world.says(2, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A new>firing"], &["A firing until 242"]);
    // Who answers for it is not known for a while: it is held.
    world.says(62, Seen::Unknown, vec![group_alert("A")]);
    world.check(&[], &["A firing again until 3662"]);
}

#[test]
fn an_alert_about_a_topic_that_was_deleted_resolves() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Topic("t".into()), "T")]);
    let Input::Evaluated(mut evaluation) = world.evaluation(5, Seen::Ours, Verdict::Outcome(Outcome::default()), 0)
    else {
        unreachable!()
    };
    let mut snapshot = Snapshot::clone(&evaluation.snapshot);
    let mut kafka = KafkaView::clone(snapshot.kafka.as_ref().unwrap());
    kafka.topics.clear();
    snapshot.kafka = Some(Arc::new(kafka));
    evaluation.snapshot = Arc::new(snapshot);
    world.tick(5, vec![Input::Evaluated(evaluation)]);
    world.check(&["T firing>resolved"], &["T resolved until 5"]);
}

#[test]
fn a_removed_rule_resolves_its_firing_alerts_and_a_late_word_of_it_does_not_count() {
    let mut world = World::new(5);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(5, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    let late = world.evaluation(
        6,
        Seen::Ours,
        Verdict::Outcome(Outcome { alerts: vec![group_alert("A")], ..Outcome::default() }),
        0,
    );
    world.tick(6, vec![Input::Removed { rule: "r".into(), generation: 0 }]);
    world.check(&[], &[]);
    world.tick(7, vec![Input::Removed { rule: "r".into(), generation: 2 }, late]);
    world.check(&["A firing>resolved", "B pending>gone"], &["A resolved until 7"]);
    world.tick(67, vec![]);
    world.check(&[], &["A resolved again until 7"]);
}

#[test]
fn a_new_version_keeps_the_alerts_and_the_old_one_is_not_heard_any_more() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    let late = world.evaluation(5, Seen::Ours, Verdict::Outcome(Outcome::default()), 0);
    world.generation = 2;
    world.settings.pending_for = Duration::from_mins(10);
    world.install(4);
    world.tick(5, vec![late]);
    world.check(&[], &[]);
    world.says(6, Seen::Ours, vec![group_alert("A"), group_alert("B")]);
    world.check(&["B new>pending"], &[]);
    assert_eq!(world.in_book(), ["A firing", "B pending"]);
    // The old version cannot come back by a late installation either.
    world.generation = 1;
    world.install(7);
    world.says(8, Seen::Ours, vec![]);
    world.check(&[], &[]);
}

#[test]
fn labels_and_annotations_are_the_rule_s_own_under_those_configured() {
    let mut world = World::new(0);
    world.settings.labels = labels(&[("severity", "critical"), ("noise", ""), ("rule", "forged")]);
    world.settings.annotations = labels(&[("runbook_url", "https://example.com")]);
    let alert = RaisedAlert {
        labels: labels(&[("severity", "info"), ("noise", "x"), ("topic", "t"), ("alertname", "forged")]),
        annotations: labels(&[("summary", "s"), ("runbook_url", "guest's")]),
        ..group_alert("A")
    };
    world.says(0, Seen::Ours, vec![alert, about(Subject::Broker, "B")]);
    let [a, b] = world.book.view().alerts.try_into().unwrap();
    let want = [("alertname", "A"), ("cluster", "prod"), ("rule", "r"), ("severity", "critical"), ("topic", "t")];
    assert_eq!(a.key.labels, labels(&want));
    assert_eq!(a.annotations, labels(&[("summary", "s"), ("runbook_url", "https://example.com")]));
    let want = [("alertname", "B"), ("broker", "7"), ("cluster", "prod"), ("rule", "r"), ("severity", "critical")];
    assert_eq!(b.key.labels, labels(&want));
}

#[test]
fn an_alert_about_the_agent_does_not_resolve_while_part_of_kafka_is_not_seen() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Agent, "A")]);
    world.says(5, Seen::Nothing, vec![]);
    world.check(&[], &[]);
    world.says(10, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 10"]);
}

#[test]
fn identity_does_not_change_while_kafka_is_away() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Broker, "Heap")]);
    world.says(5, Seen::Nothing, vec![about(Subject::Broker, "Heap")]);
    world.check(&[], &[]);
    assert_eq!(world.in_book(), ["Heap firing"]);
}

#[test]
fn annotations_and_value_are_the_newest() {
    let mut world = World::new(0);
    for (second, lag) in [(0, 10.0), (5, 20.0)] {
        let annotations = labels(&[("summary", &format!("lag {lag}"))]);
        world.says(second, Seen::Ours, vec![RaisedAlert { annotations, value: Some(lag), ..group_alert("A") }]);
    }
    world.check(&[], &[]);
    world.tick(60, vec![]);
    let alert = &world.last.deliveries[0].alert;
    assert_eq!((alert.value, alert.annotations["summary"].as_str()), (Some(20.0), "lag 20"));
}

#[test]
fn of_two_alerts_with_the_same_labels_the_first_counts() {
    let mut world = World::new(0);
    world.settings.labels = labels(&[("team", "data")]);
    let of_team =
        |team: &str, value| RaisedAlert { labels: labels(&[("team", team)]), value: Some(value), ..group_alert("A") };
    world.says(0, Seen::Ours, vec![of_team("x", 1.0), of_team("y", 2.0)]);
    assert_eq!(world.dropped(), [("duplicate", 1)]);
    assert_eq!(world.book.view().alerts[0].value, Some(1.0));
}

#[test]
fn a_rule_that_keeps_failing_is_told_about_until_it_works_again() {
    for seen in [Seen::Ours, Seen::Nothing] {
        let mut world = World::new(60);
        world.settings.labels = labels(&[("severity", "critical"), ("team", "data")]);
        world.fails(0, 1);
        world.fails(5, 2);
        world.check(&[], &[]);
        world.fails(10, 3);
        world.check(&["BrokerwardenRuleFailing new>firing"], &["BrokerwardenRuleFailing firing until 250"]);
        let alert = Arc::clone(&world.last.deliveries[0].alert);
        let want = [
            ("alertname", RULE_FAILING),
            ("broker", "7"),
            ("cluster", "prod"),
            ("rule", "r"),
            ("severity", "warning"),
            ("team", "data"),
        ];
        assert_eq!((alert.key.labels.clone(), &alert.subject), (labels(&want), &Subject::Agent));
        assert_eq!(alert.annotations["description"], "unreachable\\nexecuted");
        world.fails(15, 4);
        world.check(&[], &[]);
        // That what it needs was not seen does not show that it works.
        let unavailable = world.evaluation(18, seen, Verdict::Unavailable("no page".into()), 4);
        world.tick(18, vec![unavailable]);
        world.check(&[], &[]);
        world.says(20, seen, vec![]);
        world.check(&["BrokerwardenRuleFailing firing>resolved"], &["BrokerwardenRuleFailing resolved until 20"]);
    }
}

#[test]
fn a_rule_cannot_raise_the_agent_s_own_alert() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![about(Subject::Agent, RULE_FAILING)]);
    assert_eq!((world.dropped(), world.in_book()), (vec![("reserved_name", 1)], vec![]));
}

#[test]
fn measurements_are_those_of_the_last_evaluation_and_only_about_what_is_ours() {
    let mut world = World::new(0);
    let measure = |subject| Measurement { subject, name: "m".into(), labels: Labels::new(), value: 1.0 };
    let measured = vec![measure(Subject::Group("g".into())), measure(Subject::Agent)];
    let verdict = Verdict::Outcome(Outcome { measurements: measured, ..Outcome::default() });
    for (second, seen, want) in [(0, Seen::Ours, 2), (1, Seen::Elsewhere, 1)] {
        let input = world.evaluation(second, seen, verdict.clone(), 0);
        world.tick(second, vec![input]);
        assert_eq!(world.book.view().measurements[0].1.len(), want);
    }
    world.fails(2, 1);
    assert!(world.book.view().measurements.is_empty() && world.last.changed);
}

#[test]
fn the_same_question_gets_the_same_answer() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("B"), group_alert("A")]);
    let input = world.evaluation(60, Seen::Ours, Verdict::Outcome(Outcome::default()), 0);
    let once = tick(world.book.clone(), vec![input.clone()], at(60));
    let twice = tick(world.book.clone(), vec![input], at(60));
    assert_eq!((once.transitions, once.deliveries), (twice.transitions, twice.deliveries));
}
