//! The built-in rules at the size of benches/peers' smallest cluster: all of them within the default limits, on a cluster
//! where nothing is wrong and on one where everything is.

use super::{Bench, settings};
use crate::{
    model::{BrokerId, Labels, Timestamp},
    pipeline::Verdict,
    rules::{
        Limits, builtin,
        evaluate::{Finished, Job, check_config, evaluate},
        memory::Memory,
    },
    snapshot::{
        Age, Broker, Exposition, Group, GroupKind, KafkaView, LagRow, LagStatus, ObservedPage, Partition, Share,
        Snapshot, TargetState, Topic,
    },
};
use flate2::read::GzDecoder;
use std::{io::Read, sync::Arc, time::Duration};

const GROUPS: u32 = 500;
const TOPICS: u32 = 2_000;
const TOPICS_OF_GROUP: u32 = 4;
const PARTITIONS: u32 = 10;
const INTERVAL: u64 = 5_000;

/// One that is asked for by each rule, and what makes it find something.
const CONFIGS: &[(&str, &str)] = &[
    ("data-loss", "{}"),
    ("group-gone", r#"{"groups": ["group-0000", "gone"]}"#),
    ("jvm-health", r#"{"heap": 0.01, "gc_window": "1m"}"#),
    ("lag-growing", r#"{"window": "1m"}"#),
    ("lag-threshold", r#"{"threshold": 1000, "overrides": [{"groups": ["group-00*"], "seconds": 60}]}"#),
    (
        "metric-threshold",
        r#"{"selector": "kafka_consumergroup_lag", "aggregate": "sum", "by": ["consumergroup"], "threshold": 1000}"#,
    ),
    ("partition-health", "{}"),
    ("stalled-consumer", r#"{"window": "1m"}"#),
    ("target-down", "{}"),
];

/// A cluster at some look: healthy, or with everything wrong that there can be.
fn cluster(look: u64, healthy: bool, page: &ObservedPage) -> Snapshot {
    let at = Timestamp(1_800_000_000_000 + look * INTERVAL);
    let end = 100_000 + i64::try_from(look).unwrap() * 100;
    let broker = |id| Broker { id: BrokerId(id), address: format!("broker-{id}:9092") };
    let topic = |number: u32| -> Arc<str> { format!("topic-{number:04}").into() };
    let partition = |id| Partition {
        id,
        leader: (healthy || id > 0).then_some(BrokerId(if healthy { 1 } else { 2 })),
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        in_sync: if healthy { vec![BrokerId(1), BrokerId(2), BrokerId(3)] } else { vec![BrokerId(2)] },
        log_start: Some(0),
        log_end: Some(end),
        last_stable: None,
        ours: true,
    };
    let group = |number| Group {
        name: format!("group-{number:04}").into(),
        kind: GroupKind::Classic,
        state: if healthy { "Stable" } else { "Empty" },
        members: Some(u32::from(healthy)),
        coordinator: Some(BrokerId(1)),
        ours: true,
    };
    let row = |group: u32, nth: u32, partition: u32| {
        let committed = if healthy { end - 10 } else { 100 };
        let committed_at = if healthy { at } else { Timestamp(1_799_999_000_000) };
        // Lost on every other partition, so that the rest can be about to.
        let start = if healthy || partition.is_multiple_of(2) { 0 } else { 200 };
        let topic = topic((group * TOPICS_OF_GROUP + nth) % TOPICS);
        let mut row = LagRow::new(group, topic, partition, Some(committed), Some(committed_at), Some(start), Some(end));
        let seconds = if healthy { 1 } else { 1_000 };
        row.age = Some(Age { time: Duration::from_secs(seconds), at_least: false });
        assert!(matches!(row.status, LagStatus::Behind | LagStatus::Lost));
        row
    };
    let rows = (0..GROUPS).flat_map(|group| {
        (0..TOPICS_OF_GROUP).flat_map(move |nth| (0..PARTITIONS).map(move |partition| row(group, nth, partition)))
    });
    let kafka = KafkaView {
        at,
        whole_cluster: true,
        brokers: (1..=3).map(broker).collect(),
        topics: (0..TOPICS)
            .map(|number| Topic {
                name: topic(number),
                partitions: (0..PARTITIONS).map(partition).collect(),
                ours: true,
            })
            .collect(),
        groups: (0..GROUPS).map(group).collect(),
        rows: rows.collect(),
        offsets_partitions: vec![Some(Share::Ours)],
        ..KafkaView::default()
    };
    assert_eq!(kafka.rows.len(), 20_000);
    let target = |name: &str| TargetState { name: name.into(), up: healthy, last_success: Some(at), reason: None };
    Snapshot {
        number: look + 1,
        at,
        interval: Duration::from_millis(INTERVAL),
        cluster: "test".into(),
        kafka: Some(Arc::new(kafka)),
        pages: vec![page.clone()],
        targets: vec![target("kafka"), target("broker")],
    }
}

fn page() -> ObservedPage {
    let packed: &[u8] = include_bytes!("../../../tests/data/jmx/agent-1.0.1-kafka-4.1.1.txt.gz");
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    ObservedPage {
        target: "broker".into(),
        page: Arc::new(Exposition::parse(text).unwrap()),
        labels: Arc::new(Labels::new()),
    }
}

/// The last of some evaluations, one for each snapshot, each with what the one before left; and the CPU time that half of
/// them kept within. Each may take longer: what else the machine does is in it.
fn run(bench: &Bench, name: &str, config: &str, snapshots: &[Arc<Snapshot>]) -> (Finished, Duration) {
    let code = bench.loader().code(std::path::Path::new(""), builtin::builtin(name).unwrap()).unwrap().unwrap();
    let mut memory = Memory::default();
    let mut last = None;
    let mut times = Vec::new();
    let limits = Limits { time: Limits::default().time * 4, ..Limits::default() };
    for snapshot in snapshots {
        memory.history = memory.history.with(snapshot.at, snapshot.kafka.as_ref().unwrap());
        let job = Job {
            code: Arc::clone(&code),
            settings: Arc::new(settings("r")),
            config: config.into(),
            limits: limits.clone(),
            snapshot: Arc::clone(snapshot),
            memory: memory.clone(),
        };
        check_config(&job, &[7; 32], &bench.tasks.stop()).unwrap();
        let finished = evaluate(&job, &[7; 32], &bench.tasks.stop());
        assert!(!matches!(finished.verdict, Verdict::Failed { .. }), "{name}: {:?}", finished.verdict);
        memory = Memory { state: finished.state.clone(), rates: finished.rates.clone(), ..memory };
        times.push(finished.cpu);
        last = Some(finished);
    }
    times.sort_unstable();
    (last.unwrap(), times[times.len() / 2])
}

#[test]
fn all_are_within_the_default_limits_at_20_000_rows() {
    let bench = Bench::new();
    let page = page();
    let looks = |healthy| (0..14).map(|look| Arc::new(cluster(look, healthy, &page))).collect::<Vec<_>>();
    let (healthy, broken) = (looks(true), looks(false));
    assert_eq!(CONFIGS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), builtin::names().collect::<Vec<_>>());
    for (name, config) in CONFIGS {
        for (snapshots, alerts) in [(&healthy, false), (&broken, true)] {
            let (finished, cpu) = run(&bench, name, config, snapshots);
            let Verdict::Outcome(outcome) = finished.verdict else { panic!("{name}: {:?}", finished.verdict) };
            println!("{name}: {} alerts, {cpu:?} CPU", outcome.alerts.len());
            assert!(cpu < Limits::default().time, "{name}: {cpu:?}");
            // Of a missing group and a heap, wherever it is seen.
            let always = matches!(*name, "group-gone" | "jvm-health");
            assert_eq!(outcome.alerts.is_empty(), !(alerts || always), "{name}: {:?}", outcome.alerts);
            assert!(outcome.alerts.len() <= 1_000, "{name}");
        }
    }
}
