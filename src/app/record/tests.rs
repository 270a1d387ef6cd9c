use super::*;
use crate::{
    alerts::{Alert, AlertKey, Phase},
    events::SelfMetrics,
    model::{Labels, Subject, Timestamp},
    recording::{Reader, alerts},
    rules,
    supervise::Ended,
};
use std::path::PathBuf;

fn snapshot(number: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        number,
        at: Timestamp(number * 1000),
        interval: Duration::from_secs(1),
        cluster: "c".into(),
        kafka: None,
        pages: vec![],
        targets: vec![],
    })
}

fn alert() -> Alert {
    Alert {
        key: AlertKey { rule: "r".into(), name: "A".into(), labels: Labels::new() },
        subject: Subject::Agent,
        annotations: Labels::new(),
        value: None,
        phase: Phase::Firing,
        active_at: Timestamp(1),
        fired_at: Some(Timestamp(1)),
        resolved_at: None,
        keep_firing_since: None,
        last_sent: None,
    }
}

/// An agent without rules; its snapshots are the test's.
struct Agent {
    tasks: Tasks,
    ended: Ended,
    source: Source,
    observe: watch::Sender<Arc<Snapshot>>,
    _alerts: watch::Sender<Arc<AlertsView>>,
}

impl Agent {
    fn start() -> Self {
        let (tasks, ended) = Tasks::new();
        let (observe, snapshots) = watch::channel(snapshot(0));
        let view = AlertsView { alerts: vec![Arc::new(alert())], measurements: vec![] };
        let (alerts_sender, alerts) = watch::channel(Arc::new(view));
        let config = rules::Config {
            rules_dir: None,
            rules: vec![],
            parse_sidecar: |_| Ok(rules::Overlay::default()),
            cache_dir: PathBuf::from("/proc/nowhere"),
            compiler: PathBuf::new(),
        };
        let (inputs, _) = mpsc::channel(1);
        let (_, settled) = watch::channel(Arc::default());
        let (shown, _) = watch::channel(Arc::default());
        let metrics = Arc::new(SelfMetrics::default());
        let rules =
            rules::start(&tasks, config, snapshots.clone(), (inputs, [].into()), settled, shown, metrics).unwrap();
        let source = Source { snapshots, alerts, rules, configuration: "cluster: c\n".into() };
        Self { tasks, ended, source, observe, _alerts: alerts_sender }
    }
}

async fn next(pieces: &mut mpsc::Receiver<Result<Vec<u8>, RecordError>>) -> Vec<u8> {
    let piece = tokio::time::timeout(Duration::from_secs(20), pieces.recv()).await.unwrap();
    piece.expect("a piece").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_put_together_are_a_recording() {
    let mut agent = Agent::start();
    let mut pieces = start(&agent.tasks, agent.source.clone(), Duration::from_mins(5)).unwrap();
    let mut file = next(&mut pieces).await;
    for number in [4, 5] {
        agent.observe.send_replace(snapshot(number));
        file.extend(next(&mut pieces).await);
    }
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!((alerts(&reader.header), reader.header.configuration.as_str()), (vec![alert()], "cluster: c\n"));
    assert!(reader.header.rules.is_empty() && reader.header.started_ms > 1_700_000_000_000);
    for number in [4, 5] {
        let (found, seed) = reader.next_snapshot().unwrap().unwrap();
        assert_eq!((found.number, seed), (number, agent.source.rules.snapshot_seed(&snapshot(number))));
    }
    assert!(reader.next_snapshot().unwrap().is_none());
    // With the agent it ends, and by that it does not end the agent.
    agent.tasks.stop().stop();
    assert!(tokio::time::timeout(Duration::from_secs(20), pieces.recv()).await.unwrap().is_none());
    assert!(agent.tasks.shut_down(Duration::from_secs(20)).await.is_empty());
    assert!(tokio::time::timeout(Duration::from_secs(1), agent.ended.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_its_time_is_over_and_when_nobody_listens() {
    let mut agent = Agent::start();
    let mut short = start(&agent.tasks, agent.source.clone(), Duration::ZERO).unwrap();
    next(&mut short).await;
    assert!(tokio::time::timeout(Duration::from_secs(20), short.recv()).await.unwrap().is_none());
    let left = start(&agent.tasks, agent.source.clone(), Duration::from_mins(5)).unwrap();
    drop(left);
    // Neither end is one of the agent.
    let quiet = tokio::time::timeout(Duration::from_secs(1), agent.ended.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    agent.tasks.stop().stop();
}
