//! Properties of `tick` over lives that nobody would think of: what rules say and fail to say, what is seen and what is not, who
//! answers for what, restarts, reloads, and clocks that step. What these found is kept in `proptest-regressions`.

use super::{reference::Reference, *};
use crate::{alerts::AlertKey, pipeline::book::Held};
use proptest::{collection::vec, option, prelude::*};

/// A second by which no clock of these tests has begun to count back below 0.
const START: u64 = 200_000;

/// What happens at one moment.
#[derive(Clone, Debug)]
enum Event {
    /// Evaluations, each with how many seconds ago, and which alerts hold with which values.
    Evaluates(Seen, Vec<(u64, [Option<u8>; 5])>),
    Fails,
    Unavailable,
    /// A snapshot on which no rule has spoken yet.
    Sees(Seen),
    Passes,
    /// The wall clock is set.
    Steps(i64),
    /// Alive for so long after the last moment, then down for so long.
    Restarts(u64, u64),
    /// `for`, `keep_firing_for`, shadow.
    Reloads(u64, u64, bool),
    Removed,
}

fn alerts() -> impl Strategy<Value = [Option<u8>; 5]> {
    [(); 5].map(|()| option::weighted(0.6, 0..3u8))
}

/// Seconds since the moment before.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..=12u64, 2 => 20..=70u64, 1 => 200..=1_000u64]
}

fn event(
    seen: impl Strategy<Value = Seen> + Clone,
    shadow: impl Strategy<Value = bool>,
) -> impl Strategy<Value = Event> {
    let evaluations = vec((0..=3u64, alerts()), 1..=2);
    prop_oneof![
        12 => (seen.clone(), evaluations).prop_map(|(seen, all)| Event::Evaluates(seen, all)),
        2 => Just(Event::Fails),
        2 => Just(Event::Unavailable),
        2 => seen.prop_map(Event::Sees),
        3 => Just(Event::Passes),
        1 => prop_oneof![-90i64..90, Just(-86_400), Just(86_400)].prop_map(Event::Steps),
        1 => (0..=10u64, prop_oneof![Just(0), 1..60u64, 1_000..100_000u64]).prop_map(|(alive, down)| Event::Restarts(alive, down)),
        1 => (holds(), holds(), shadow).prop_map(|(f, keep, shadow)| Event::Reloads(f, keep, shadow)),
        1 => Just(Event::Removed),
    ]
}

fn holds() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..40u64, Just(100)]
}

/// One agent with one rule, and the time.
struct Run {
    world: World,
    now: u64,
    number: u64,
}

impl Run {
    fn new(pending_for: u64, keep_firing_for: u64) -> Self {
        let mut world = World::new(pending_for);
        world.settings.keep_firing_for = Duration::from_secs(keep_firing_for);
        let mut run = Self { world, now: START, number: 0 };
        run.world.install(START);
        // Who we are is known: names do not change any more.
        let first = run.snapshot(START, Seen::Ours);
        run.world.tick(START, vec![Input::Seen(first)]);
        run
    }

    /// Numbers count up whatever the clock does.
    fn snapshot(&mut self, second: u64, seen: Seen) -> Arc<Snapshot> {
        self.number += 1;
        Arc::new(Snapshot { number: self.number, ..Snapshot::clone(&snapshot(second, seen)) })
    }

    fn evaluation(&mut self, second: u64, seen: Seen, verdict: Verdict) -> Input {
        let snapshot = self.snapshot(second, seen);
        match self.world.evaluation(second, seen, verdict, 1) {
            Input::Evaluated(evaluation) => Input::Evaluated(Evaluation { snapshot, ..evaluation }),
            other => other,
        }
    }

    /// What the pipeline is told of an event; a restart has happened by then.
    fn inputs(&mut self, event: &Event, subjects: &[(&str, Subject)]) -> Vec<Input> {
        let now = self.now;
        match event {
            Event::Evaluates(seen, all) => {
                let evaluations = all.iter().map(|(ago, holds)| {
                    let raised = |((name, subject), value): (&(&str, Subject), &Option<u8>)| {
                        let value = Some(f64::from((*value)?));
                        Some(RaisedAlert { value, ..about(subject.clone(), name) })
                    };
                    let alerts = subjects.iter().zip(holds).filter_map(raised).collect();
                    let verdict = Verdict::Outcome(Outcome { alerts, ..Outcome::default() });
                    self.evaluation(now.saturating_sub(*ago), *seen, verdict)
                });
                evaluations.collect()
            }
            Event::Fails => {
                vec![self.evaluation(now, Seen::Ours, Verdict::Failed { reason: "trap", text: String::new() })]
            }
            Event::Unavailable => vec![self.evaluation(now, Seen::Ours, Verdict::Unavailable(String::new()))],
            Event::Sees(seen) => vec![Input::Seen(self.snapshot(now, *seen))],
            Event::Passes | Event::Steps(_) => Vec::new(),
            Event::Restarts(..) => vec![self.installed(), Input::Seen(self.snapshot(now, Seen::Ours))],
            Event::Reloads(pending_for, keep_firing_for, shadow) => {
                self.world.settings.pending_for = Duration::from_secs(*pending_for);
                self.world.settings.keep_firing_for = Duration::from_secs(*keep_firing_for);
                self.world.settings.shadow = *shadow;
                vec![self.installed()]
            }
            Event::Removed => {
                let generation = self.world.generation;
                vec![Input::Removed { rule: "r".into(), generation }, self.installed()]
            }
        }
    }

    fn installed(&mut self) -> Input {
        self.world.generation += 1;
        Input::Installed { settings: Arc::new(self.world.settings.clone()), generation: self.world.generation }
    }

    /// Passes the time, and ends and starts the agent where that is what happens.
    fn until(&mut self, pause: u64, event: &Event) -> Option<u64> {
        match event {
            Event::Steps(by) => self.now = self.now.saturating_add_signed(*by).max(START / 2),
            Event::Restarts(silent, down) => {
                let alive = self.now + silent;
                self.now = alive + down;
                let world = std::mem::replace(&mut self.world, World::new(0));
                self.world = world.killed(alive, self.now);
                return Some(alive);
            }
            _ => self.now += pause,
        }
        None
    }
}

fn seconds(at: Timestamp) -> u64 {
    at.0 / 1000
}

fn moved(transition: &Transition) -> String {
    let to = if transition.dropped { "gone" } else { transition.alert.phase.text() };
    format!("{}>{to}", transition.from.map_or("new", Phase::text))
}

/// Where nobody else speaks for our group, `tick` is Prometheus' alerting rule.
fn is_the_reference(pending_for: u64, keep_firing_for: u64, events: &[(u64, Event)]) -> Result<(), TestCaseError> {
    let subjects: Vec<_> = ["A", "B", "C", "D", "E"].map(|name| (name, Subject::Group("g".into()))).into();
    let mut run = Run::new(pending_for, keep_firing_for);
    let mut reference = Reference { pending_for, keep_firing_for, ..Reference::default() };
    for (pause, event) in events {
        if let Some(alive) = run.until(*pause, event) {
            reference.restarted(alive, run.now);
        }
        let now = run.now;
        let inputs = run.inputs(event, &subjects);
        run.world.tick(now, inputs);
        reference.begin(now);
        match event {
            Event::Evaluates(seen, all) => {
                for (ago, holds) in all {
                    let held = subjects.iter().zip(holds);
                    let holds = held.filter_map(|((name, _), value)| Some(((*name).to_owned(), (*value)?))).collect();
                    reference.evaluate(now.saturating_sub(*ago), now, &holds, *seen == Seen::Ours);
                }
            }
            Event::Reloads(pending_for, keep_firing_for, _) => {
                (reference.pending_for, reference.keep_firing_for) = (*pending_for, *keep_firing_for);
            }
            Event::Removed => reference.removed(now),
            _ => {}
        }
        reference.end(now);

        let mut transitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for transition in &run.world.last.transitions {
            let moves = transition.from != Some(transition.alert.phase) || transition.dropped;
            prop_assert!(moves, "told once more at {}: {:?}", now, transition);
            transitions.entry(transition.alert.key.name.clone()).or_default().push(moved(transition));
        }
        prop_assert_eq!(&transitions, &reference.transitions, "transitions at {}: {:?}", now, event);

        let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for delivery in &run.world.last.deliveries {
            let again = if delivery.transition { "" } else { " again" };
            let word = format!("{}{again} until {}", delivery.alert.phase.text(), seconds(delivery.ends_at));
            words.entry(delivery.alert.key.name.clone()).or_default().push(word);
        }
        for (name, told) in &words {
            if !reference.words.contains_key(name) && told.len() == 1 && told[0].contains("again") {
                prop_assert!(reference.may_be_early(name, now), "{} is told again too early at {}", name, now);
                reference.words.insert(name.clone(), told.clone());
            }
        }
        prop_assert_eq!(&words, &reference.words, "told at {}: {:?}", now, event);

        let lives = run.world.book.view().alerts.into_iter().map(|alert| {
            let times = [Some(alert.active_at), alert.fired_at, alert.resolved_at, alert.keep_firing_since];
            (alert.key.name.clone(), (alert.phase, times.map(|at| at.map(seconds)), alert.value))
        });
        let wanted = reference.lives.iter().map(|(name, life)| {
            let times = [Some(life.active_at), life.fired_at, life.resolved_at, life.keep_since];
            (name.clone(), (life.phase, times, Some(f64::from(life.value))))
        });
        let (lives, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) = (lives.collect(), wanted.collect());
        prop_assert_eq!(lives, wanted, "alerts at {}: {:?}", now, event);
    }
    Ok(())
}

/// What a moment's inputs may bring about.
struct Causes {
    /// Snapshots on which rules spoke, with the names that hold.
    outcomes: Vec<(Arc<Snapshot>, BTreeSet<String>)>,
    /// The rule is gone.
    removed: bool,
    /// Who answers for what may have changed.
    snapshots: Vec<Arc<Snapshot>>,
}

impl Causes {
    fn of(inputs: &[Input]) -> Self {
        let mut causes = Self { outcomes: Vec::new(), removed: false, snapshots: Vec::new() };
        for input in inputs {
            match input {
                Input::Seen(snapshot) => causes.snapshots.push(Arc::clone(snapshot)),
                Input::Evaluated(evaluation) => {
                    causes.snapshots.push(Arc::clone(&evaluation.snapshot));
                    if let Verdict::Outcome(outcome) = &evaluation.verdict {
                        let names = outcome.alerts.iter().map(|alert| alert.name.clone()).collect();
                        causes.outcomes.push((Arc::clone(&evaluation.snapshot), names));
                    }
                }
                Input::Removed { .. } => causes.removed = true,
                _ => {}
            }
        }
        causes
    }

    fn raised(&self, alert: &Alert) -> bool {
        self.outcomes.iter().any(|(_, names)| names.contains(&alert.key.name))
    }

    /// It was looked for, where all was seen that it may depend on, and not found; or its rule is gone.
    fn ended(&self, alert: &Alert) -> bool {
        let absent = |(snapshot, names): &(Arc<Snapshot>, _)| {
            !BTreeSet::contains(names, &alert.key.name) && snapshot.observed(&alert.subject)
        };
        self.removed || self.outcomes.iter().any(absent)
    }

    /// Another agent answers for it, and we know nothing of it.
    fn lost(&self, alert: &Alert) -> bool {
        self.snapshots.iter().filter_map(|snapshot| snapshot.kafka.as_ref()).any(|kafka| match &alert.subject {
            Subject::Group(group) => kafka.owns_group(group) == Some(false) && !kafka.follows_group(group),
            Subject::Topic(topic) => kafka.topic(topic).is_some_and(|topic| !topic.ours),
            Subject::Broker | Subject::Agent => false,
        })
    }
}

/// What is in the log, taken together.
#[derive(Default)]
struct Replayed {
    phases: BTreeMap<AlertKey, Phase>,
    /// What was told last of each alert while it was ours.
    told: BTreeMap<AlertKey, Phase>,
}

fn has_causes(pending_for: u64, keep_firing_for: u64, events: &[(u64, Event)]) -> Result<(), TestCaseError> {
    let subjects = [
        ("G1", Subject::Group("g".into())),
        ("G2", Subject::Group("g".into())),
        ("T", Subject::Topic("t".into())),
        ("B", Subject::Broker),
        ("X", Subject::Agent),
    ];
    let mut run = Run::new(pending_for, keep_firing_for);
    let mut replayed = Replayed::default();
    for (pause, event) in events {
        if run.until(*pause, event).is_some() {
            // All that was stored is silent for now.
            replayed = Replayed::default();
        }
        let (now, before) = (run.now, run.world.book.clone());
        let inputs = run.inputs(event, &subjects);
        let causes = Causes::of(&inputs);
        run.world.tick(now, inputs);
        let (last, after) = (&run.world.last, &run.world.book);
        let spoke = |book: &Book, key: &AlertKey| book.alerts.get(key).is_some_and(Held::speaks);

        for transition in &last.transitions {
            let (alert, from) = (&transition.alert, transition.from);
            let caused = if transition.dropped {
                // An alert of which nobody was told, as in the shadow, has no end when its rule goes.
                let untold = replayed.told.get(&alert.key) != Some(&Phase::Firing);
                from == Some(Phase::Pending) && causes.ended(alert) || causes.removed && untold || causes.lost(alert)
            } else if from == Some(alert.phase) {
                // Told now, since nobody was told while it was not ours, or in the shadow.
                !spoke(&before, &alert.key) || replayed.told.get(&alert.key) != Some(&alert.phase)
            } else {
                match alert.phase {
                    Phase::Pending | Phase::Firing => causes.raised(alert),
                    Phase::Resolved => causes.ended(alert),
                }
            };
            prop_assert!(caused, "{} at {} without a cause in {:?}", moved(transition), now, event);
        }

        // Ours from now on, or not any more: that is no transition, and happens only where something new was seen.
        for (key, held) in &before.alerts {
            let (was, logged) = (held.speaks(), last.transitions.iter().any(|t| t.alert.key == *key));
            let is = spoke(after, key) || logged;
            let forgotten = held.alert.phase == Phase::Resolved && !after.alerts.contains_key(key) && !logged;
            if was == is || forgotten {
                continue;
            }
            prop_assert!(!causes.snapshots.is_empty(), "{:?} moved at {} without a snapshot", key, now);
            replayed.told.remove(key);
            if is {
                replayed.phases.insert(key.clone(), held.alert.phase);
            } else {
                replayed.phases.remove(key);
            }
        }
        for transition in &last.transitions {
            let key = &transition.alert.key;
            // Resolved ones go without a word.
            let gone = |phase: &Phase| *phase == Phase::Resolved && transition.from.is_none();
            let known = replayed.phases.get(key).copied().filter(|phase| !gone(phase));
            prop_assert_eq!(known, transition.from, "the log has another past of {} at {}", &key.name, now);
            if transition.dropped {
                replayed.phases.remove(key);
                replayed.told.remove(key);
            } else {
                replayed.phases.insert(key.clone(), transition.alert.phase);
            }
        }
        replayed.phases.retain(|key, phase| *phase != Phase::Resolved || spoke(after, key));
        let shown = after.view().alerts.into_iter().map(|alert| (alert.key.clone(), alert.phase));
        let shown: BTreeMap<_, _> = shown.collect();
        prop_assert_eq!(&replayed.phases, &shown, "the log does not give the state at {}: {:?}", now, event);

        for delivery in &last.deliveries {
            let alert = &delivery.alert;
            let held = spoke(&before, &alert.key) && !delivery.transition;
            let forgotten = alert.phase == Phase::Resolved && !after.alerts.contains_key(&alert.key);
            prop_assert!(alert.phase != Phase::Pending, "pending is told to nobody");
            prop_assert!(spoke(after, &alert.key) || held || forgotten, "{} is not ours", &alert.key.name);
            if delivery.transition {
                let told = replayed.told.insert(alert.key.clone(), alert.phase);
                prop_assert!(told != Some(alert.phase), "{} is told twice as {:?} at {}", &alert.key.name, told, now);
            }
        }

        let (one, other) = (before.view(), after.view());
        let same = one.alerts == other.alerts && one.shadow == other.shadow && one.measurements == other.measurements;
        prop_assert!(same || last.changed, "what is shown changed at {} and nobody is told to look: {:?}", now, event);
    }
    Ok(())
}

fn seen() -> impl Strategy<Value = Seen> + Clone {
    prop_oneof![
        6 => Just(Seen::Ours),
        2 => Just(Seen::Partly),
        2 => Just(Seen::Followed),
        1 => Just(Seen::Elsewhere),
        1 => Just(Seen::Unknown),
        1 => Just(Seen::Nothing),
    ]
}

fn events(
    seen: impl Strategy<Value = Seen> + Clone,
    shadow: impl Strategy<Value = bool>,
) -> impl Strategy<Value = Vec<(u64, Event)>> {
    vec((pause(), event(seen, shadow)), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn one_agent_s_alerts_live_as_in_prometheus(
        pending_for in holds(),
        keep_firing_for in holds(),
        events in events(prop_oneof![3 => Just(Seen::Ours), 1 => Just(Seen::Partly)], Just(false)),
    ) {
        is_the_reference(pending_for, keep_firing_for, &events)?;
    }

    #[test]
    fn nothing_happens_without_its_cause_and_the_log_gives_the_state(
        pending_for in holds(),
        keep_firing_for in holds(),
        events in events(seen(), any::<bool>()),
    ) {
        has_causes(pending_for, keep_firing_for, &events)?;
    }
}
