//! What the host keeps for a rule from one evaluation to the next: the rates that it asks for, and its own alerts.

use super::{Bench, settings, snapshot, text};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    history::History,
    model::{Labels, Subject, Timestamp},
    pipeline::{ActionStatus, Deed, DeedEnd, DeedResult, Settled, Verdict},
    rules::{
        Limits,
        bindings::{
            own_actions::{Host as _, State as ActionState},
            snapshot::{self as wit, Host as _},
            types::Error,
        },
        evaluate::{Finished, Job, evaluate},
        host::Host,
        memory::Memory,
        pool::Shared,
        registry::{Lane, Registry, Version},
    },
    snapshot::{KafkaView, LagRow, Snapshot},
};
use std::{sync::Arc, time::Instant};

/// Group `g` has committed `committed` on topic `t`.
fn committed(number: u64, at: u64, committed: i64) -> Snapshot {
    let base = snapshot(number, at);
    let row = LagRow::new(0, "t".into(), 0, Some(committed), None, Some(0), Some(1_000));
    let kafka = KafkaView { rows: vec![row], ..KafkaView::clone(base.kafka.as_ref().unwrap()) };
    Snapshot { kafka: Some(Arc::new(kafka)), ..base }
}

fn alert(name: &str, phase: Phase) -> Arc<Alert> {
    let labels = [("alertname", name), ("rule", "r"), ("consumergroup", "g")];
    let labels: Labels = labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Arc::new(Alert {
        key: AlertKey { rule: "r".into(), name: name.into(), labels },
        subject: Subject::Group("g".into()),
        annotations: Labels::new(),
        value: Some(7.0),
        phase,
        active_at: Timestamp(3),
        fired_at: None,
        resolved_at: None,
        keep_firing_since: None,
        last_sent: None,
    })
}

fn action(end: Option<DeedEnd>) -> ActionStatus {
    let deed = Deed {
        sequence: 9,
        rule: "r".into(),
        action: "page".into(),
        subject: Subject::Agent,
        params: Labels::new(),
        key: "k".into(),
        idempotency_key: "i".into(),
        cluster: "c".into(),
        broker: None,
        requested_at: Timestamp(3),
        alerts: Vec::new(),
    };
    let result = end.map(|end| DeedResult { sequence: 9, end, at: Timestamp(5), attempts: 2, text: "said".into() });
    ActionStatus { deed: Arc::new(deed), result }
}

fn version(bench: &Bench) -> Version {
    Version {
        code: bench.code(&text("around.wat")),
        settings: Arc::new(settings("r")),
        config: "{}".into(),
        limits: Limits::default(),
        module: "m".into(),
        writes_as: 0,
        generation: 5,
    }
}

/// The values of the alerts that `around.wat` raises.
#[track_caller]
fn said(finished: &Finished) -> Vec<f64> {
    let Verdict::Outcome(outcome) = &finished.verdict else { panic!("{:?}", finished.verdict) };
    outcome.alerts.iter().filter_map(|alert| alert.value).collect()
}

/// Evaluations on snapshots 30 s apart; what was kept goes from each to the next.
fn evaluations(bench: &Bench, memory: &Memory) -> Vec<Vec<f64>> {
    let code = bench.code(&text("around.wat"));
    let mut memory = memory.clone();
    let rise = [(1, 100), (2, 400), (3, 100)];
    let run = rise.map(|(number, offset)| {
        let job = Job {
            code: Arc::clone(&code),
            settings: Arc::new(settings("r")),
            config: "{}".into(),
            limits: Limits::default(),
            snapshot: Arc::new(committed(number, number * 30_000, offset)),
            memory: memory.clone(),
        };
        let finished = evaluate(&job, &[7; 32], &bench.tasks.stop());
        memory.rates = finished.rates.clone();
        said(&finished)
    });
    run.to_vec()
}

#[test]
fn a_rule_sees_rates_its_own_alerts_and_the_time_of_a_place_and_again_in_a_replay() {
    let bench = Bench::new();
    let memory = Memory { alerts: [alert("A", Phase::Pending), alert("B", Phase::Firing)].into(), ..Memory::default() };
    let first = evaluations(&bench, &memory);
    // 09:00 in Seoul. 300 in 30 s; then a restart from zero: 100 more, in 60 s.
    assert_eq!(first, [[2.0, 9.0, -1.0], [2.0, 9.0, 10.0], [2.0, 9.0, 400.0 / 60.0]]);
    assert_eq!(evaluations(&bench, &memory), first);
}

#[test]
fn a_rule_waits_until_the_pipeline_has_taken_what_it_said() {
    let bench = Bench::new();
    let mut registry = Registry::default();
    registry.install(version(&bench));
    let now = Instant::now();
    registry.observe(Arc::new(committed(1, 30_000, 1)), now);
    let (job, generation) = registry.next(Lane::Any, now).unwrap();
    let finished = evaluate(&job, &[7; 32], &bench.tasks.stop());
    assert_eq!(said(&finished).first(), Some(&0.0));
    registry.told("r", generation, 1);
    registry.done("r", generation, finished, now);
    registry.observe(Arc::new(committed(2, 60_000, 31)), now);
    assert!(registry.next(Lane::Any, now).is_none(), "it was not taken yet");
    let taken = |number| {
        Arc::new(Settled {
            taken: [("r".to_owned(), (5, number))].into(),
            alerts: Arc::new([("r".to_owned(), [alert("A", Phase::Firing)].into())].into()),
            actions: Arc::new([("r".to_owned(), [action(None)].into()), ("s".to_owned(), [].into())].into()),
        })
    };
    registry.settle(taken(0));
    assert!(registry.next(Lane::Any, now).is_none(), "an earlier one was taken");
    registry.settle(taken(1));
    let (job, _) = registry.next(Lane::Any, now).unwrap();
    assert_eq!(*job.memory.actions, [action(None)]);
    assert_eq!(said(&evaluate(&job, &[7; 32], &bench.tasks.stop())), [1.0, 9.0, 1.0]);
}

#[test]
fn a_rule_sees_what_became_of_its_actions() {
    use ActionState::{Done, Dropped, DryRun, Expired, Failed, Silenced, Waiting};
    let states = [None].into_iter().chain(DeedEnd::ALL.map(Some));
    let memory = Memory { actions: states.map(action).collect(), ..Memory::default() };
    let mut host = Host::new(&"r".into(), &Arc::new(snapshot(1, 1)), memory, &Limits::default(), [0; 32]);
    let recent = host.recent().unwrap();
    let states: Vec<_> = recent.iter().map(|action| action.state).collect();
    assert_eq!(states, [Waiting, Done, Failed, Expired, DryRun, Silenced, Dropped]);
    let told = |at: usize| {
        let action = &recent[at];
        assert_eq!((&*action.name, &*action.key, action.requested_at_ms), ("page", "k", 3));
        (action.ended_at_ms, action.attempts, &*action.text)
    };
    assert_eq!((told(0), told(2)), ((None, 0, ""), (Some(5), 2, "said")));
}

#[test]
fn each_evaluation_sees_history_up_to_its_snapshot() {
    let filter = || wit::LagFilter { groups: vec![], topics: vec![], min_lag: None, offset: 0, limit: 0 };
    let ask = |snapshot: Snapshot, history: &History, since| {
        let memory = Memory { history: history.clone(), ..Memory::default() };
        let mut host = Host::new(&"r".into(), &Arc::new(snapshot), memory, &Limits::default(), [0; 32]);
        host.history(filter(), since).unwrap()
    };
    let point = |point: &wit::Point| (point.at_ms, point.committed, point.log_end);
    let first = ask(committed(1, 10, 100), &History::default(), 0);
    let first = first.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!((&*first[0].group, &*first[0].topic, first[0].partition), ("g", "t", 0));
    assert_eq!(first[0].points.iter().map(point).collect::<Vec<_>>(), [(10, Some(100), Some(1_000))]);
    let mut history = History::default();
    for (number, at, offset) in [(1, 10, 100), (2, 20, 150), (3, 30, 175)] {
        let seen = committed(number, at, offset);
        history = history.with(seen.at, seen.kafka.as_ref().unwrap());
    }
    let later = ask(committed(3, 30, 175), &history, 20);
    let later = later.unwrap();
    assert_eq!(
        later[0].points.iter().map(point).collect::<Vec<_>>(),
        [(20, Some(150), Some(1_000)), (30, Some(175), Some(1_000))]
    );
    let unseen = Snapshot { kafka: None, ..committed(4, 40, 0) };
    assert!(matches!(ask(unseen, &history, 0), Err(Error::Unavailable(_))));
}

#[test]
fn rules_and_people_have_the_same_history() {
    let bench = Bench::new();
    let (pipeline, _inputs) = tokio::sync::mpsc::channel(1);
    let (view, _) = tokio::sync::watch::channel(Arc::default());
    let shared = Shared::new([7; 32], Arc::default(), pipeline, view, std::collections::BTreeMap::new());
    let people = shared.history.subscribe();
    shared.registry().install(version(&bench));
    for (number, at) in [(1, 1_000), (2, 6_000)] {
        shared.observe(Arc::new(committed(number, at, 1)));
    }
    // What was not seen is no past; what was, stays.
    shared.observe(Arc::new(Snapshot { kafka: None, ..committed(3, 11_000, 1) }));
    let (job, _) = shared.registry().next(Lane::Any, Instant::now()).unwrap();
    assert_eq!(job.memory.history.newest(), Some(Timestamp(6_000)));
    assert_eq!(people.borrow().newest(), Some(Timestamp(6_000)));
}
