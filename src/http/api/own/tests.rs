use super::*;
use crate::{
    alerts::{Alert, Phase},
    http::api::tests::{alert, rule},
    model::{BrokerId, Subject, families},
    pipeline::{EvaluationReport, NotifierView, ReceiverView},
    snapshot::{Group, GroupKind, KafkaView, LagRow, Partition, TargetState, Topic},
};
use serde_json::{Value, json};
use std::time::Duration;

fn group(name: &str, members: u32) -> Group {
    let (kind, coordinator) = (GroupKind::Classic, Some(BrokerId(2)));
    Group { name: name.into(), kind, state: "Stable", members: Some(members), coordinator, ours: true }
}

fn topic(name: &str, leaders: &[Option<i32>]) -> Topic {
    let partition = |(id, leader): (u32, &Option<i32>)| Partition {
        id,
        leader: leader.map(BrokerId),
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: if leader.is_some() { vec![BrokerId(1), BrokerId(2)] } else { vec![BrokerId(2)] },
        log_start: Some(10),
        log_end: leader.map(|_| 100),
        last_stable: None,
        ours: *leader == Some(1),
    };
    Topic { name: name.into(), partitions: (0..).zip(leaders).map(partition).collect(), ours: true }
}

/// A cluster with the groups `a&b` (behind on orders) and `idle`, and an alert about the first.
fn kafka(committed: i64) -> KafkaView {
    let row = |group, topic: &str, partition, committed| {
        LagRow::new(group, topic.into(), partition, committed, None, Some(10), Some(100))
    };
    KafkaView {
        broker_id: Some(BrokerId(1)),
        groups: vec![group("a&b", 1), group("idle", 0)],
        rows: vec![
            row(0, "orders", 0, Some(committed)),
            row(0, "orders", 1, None),
            row(0, "pay", 0, Some(100)),
            row(1, "pay", 0, Some(100)),
        ],
        topics: vec![topic("lone", &[None]), topic("orders", &[Some(1), Some(2)]), topic("pay", &[Some(1)])],
        ..KafkaView::default()
    }
}

struct World {
    seen: Seen<'static>,
    known: Known,
}

impl World {
    fn new(metrics: &'static SelfMetrics) -> Self {
        let mut history = History::default();
        for (second, committed) in [(1, 50), (11, 60)] {
            history = history.with(Timestamp(second * 1000), &kafka(committed));
        }
        let target = |name: &str, up: bool| TargetState {
            name: name.into(),
            up,
            last_success: up.then_some(Timestamp(9_000)),
            reason: (!up).then(|| "refused\n".to_owned()),
        };
        let snapshot = Snapshot {
            number: 2,
            at: Timestamp(11_000),
            interval: Duration::from_secs(5),
            cluster: "c".into(),
            kafka: Some(Arc::new(kafka(60))),
            pages: Vec::new(),
            targets: vec![target("kafka", true), target("broker", false)],
        };
        let about = |phase, rule: &str| {
            Arc::new(Alert { subject: Subject::Group("a&b".into()), ..(*alert(rule, "High", phase)).clone() })
        };
        let alerts = AlertsView {
            alerts: vec![about(Phase::Firing, "lag"), about(Phase::Pending, "trial")],
            shadow: ["trial".to_owned()].into(),
            ..AlertsView::default()
        };
        let mut broken = rule("z-broken");
        broken.load_error = Some("no component".into());
        let mut lag = rule("lag");
        lag.evaluations = [(1, 300, 9_000), (2, 500, 8_000)]
            .map(|(snapshot, cpu_us, memory)| EvaluationReport {
                snapshot,
                at_ms: 5,
                outcome: "1 alerts".into(),
                cpu_us,
                wall_us: 700,
                memory,
            })
            .into();
        let receiver = |accepted: Option<u64>, refused: Option<u64>| ReceiverView {
            accepted_at: accepted.map(Timestamp),
            refusal: refused.map(|at| (Timestamp(at), "503".to_owned())),
        };
        let notifier = |name: &str, receivers| NotifierView { name: name.into(), kind: "alertmanager", receivers };
        let notifiers = NotifiersView {
            notifiers: vec![
                notifier("two", vec![receiver(Some(7), None), receiver(Some(3), Some(8))]),
                notifier("new", vec![receiver(None, None)]),
            ],
        };
        let seen = Seen {
            now: Timestamp(12_000),
            snapshot: Arc::new(snapshot),
            alerts: Arc::new(alerts),
            rules: Arc::new(RulesView { rules: vec![lag, broken], rules_dir_error: None }),
            readiness: Arc::new(Readiness { reasons: vec!["kafka: no".into()] }),
            history: Arc::new(history),
            notifiers: Arc::new(notifiers),
            metrics,
            paths: &["/metrics"],
        };
        Self { seen, known: Known::default() }
    }

    #[track_caller]
    fn ask(&mut self, ask: Ask, query: &str) -> Value {
        let answer = self.known.answer(ask, query, &self.seen).unwrap();
        let mut json: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&json["status"], &json["data"]["nowMs"]), (&json!("success"), &json!(12_000)));
        json["data"].take()
    }
}

fn world() -> World {
    let metrics: &'static SelfMetrics = Box::leak(Box::default());
    metrics.count(&families::TARGET_ERRORS, &["refused", "broker"]);
    metrics.count(&families::TARGET_ERRORS, &["refused", "other"]);
    metrics.count(&families::RULE_EVALUATIONS, &["ok", "lag"]);
    metrics.add(&families::NOTIFICATIONS, &["two", "retried"], 4.0);
    World::new(metrics)
}

#[test]
fn groups_have_their_trend_and_their_reasons() {
    let mut world = world();
    let answer = world.ask(Ask::Groups, "");
    assert_eq!(
        answer["groups"][0],
        json!({
            "name": "a&b", "kind": "classic", "state": "Stable", "members": 1, "coordinator": 2,
            "lag": 40, "knownLag": 40, "seconds": null, "secondsAreMinimum": false, "lost": 0,
            "partitions": 3, "unknownPartitions": 0, "uncommittedPartitions": 1,
            "firing": 1, "pending": 1, "reasons": ["firing", "pending"], "trend": [[1000, 50], [11_000, 40]],
        })
    );
    assert_eq!((&answer["all"], &answer["behind"], &answer["trouble"]), (&json!(2), &json!(1), &json!(1)));
    let names = |answer: &Value| {
        answer["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (query, want) in [
        ("search=IDL", &["idle"][..]),
        ("search=x", &[]),
        ("show=trouble", &["a&b"]),
        ("state=Empty", &[]),
        ("sort=name&order=desc", &["idle", "a&b"]),
        ("sort=lag&order=asc", &["idle", "a&b"]),
        ("order=asc", &["idle", "a&b"]),
        ("limit=1&offset=1", &["idle"]),
        ("limit=1&offset=70", &["idle"]),
    ] {
        assert_eq!(names(&world.ask(Ask::Groups, query)), want, "{query}");
    }
    world.seen.snapshot = Arc::new(Snapshot { kafka: None, ..Snapshot::clone(&world.seen.snapshot) });
    let unseen = world.ask(Ask::Groups, "");
    assert_eq!(
        (&unseen["observed"], &unseen["all"]),
        (&json!(false), &json!(0)),
        "what was known before is known no more"
    );
}

#[test]
fn a_group_has_partitions_past_and_alerts() {
    let mut world = world();
    let answer = world.ask(Ask::Group, "name=a%26b");
    assert_eq!(answer["history"], json!([[1000, 50, null, null], [11_000, 40, 0.0, 1.0]]));
    assert_eq!((&answer["total"], &answer["topics"][0]["name"]), (&json!(3), &json!("orders")));
    let first = &answer["partitions"][0];
    assert_eq!((&first["lag"], &first["leader"], &first["status"]), (&json!(40), &json!(1), &json!("behind")));
    assert_eq!(first["trend"], json!([[1000, 50], [11_000, 40]]));
    assert_eq!(answer["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(answer["alerts"][0]["subject"], json!({"kind": "group", "name": "a&b"}));
    let of_pay = world.ask(Ask::Group, "name=a%26b&topic=pay&partition=0");
    assert_eq!((&of_pay["total"], &of_pay["history"][0]), (&json!(1), &json!([1000, 0, null, null])));
    let missing = world.known.answer(Ask::Group, "name=gone", &world.seen);
    assert!(matches!(missing, Err(Refused::NotFound(text)) if text.contains("\"gone\"")));
}

#[test]
fn topics_in_trouble_come_first_and_know_their_readers() {
    let mut world = world();
    let answer = world.ask(Ask::Topics, "");
    let names: Vec<_> = answer["topics"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["lone", "orders", "pay"]);
    let (lone, orders) = (&answer["topics"][0], &answer["topics"][1]);
    assert_eq!((&lone["leaderless"], &lone["underReplicated"], &lone["records"]), (&json!(1), &json!(1), &json!(null)));
    assert_eq!((&orders["led"], &orders["records"], &orders["knownLag"]), (&json!(1), &json!(90), &json!(40)));
    assert_eq!(world.ask(Ask::Topics, "show=trouble")["total"], 1);
    assert_eq!(world.ask(Ask::Topics, "show=read&search=PA")["topics"][0]["groups"], 2);
    let detail = world.ask(Ask::Topic, "name=orders");
    assert_eq!((&detail["groups"][0]["name"], &detail["groups"][0]["lag"]), (&json!("a&b"), &json!(40)));
    assert_eq!((&detail["partitions"][1]["leader"], &detail["partitions"][1]["preferred"]), (&json!(2), &json!(false)));
    assert!(matches!(world.known.answer(Ask::Topic, "name=x", &world.seen), Err(Refused::NotFound(_))));
}

#[test]
fn the_agent_itself_its_targets_rules_alerts_and_notifiers() {
    let mut world = world();
    let overview = world.ask(Ask::Overview, "");
    assert_eq!((&overview["ready"], &overview["reasons"][0]), (&json!(false), &json!("kafka: no")));
    assert_eq!(
        (&overview["broker"], &overview["wholeCluster"], &overview["paths"]),
        (&json!(1), &json!(false), &json!(["/metrics"]))
    );
    assert_eq!(overview["alerts"], json!({"firing": 1, "pending": 0}), "what is told to nobody calls nobody");
    assert_eq!(overview["rules"], json!({"total": 2, "live": 2, "failing": 1}));
    assert_eq!(overview["targets"], json!({"total": 2, "up": 1}));

    let targets = world.ask(Ask::Targets, "");
    assert_eq!(targets["targets"][1]["errors"], json!([{"reason": "refused", "count": 1.0}]));
    assert_eq!(
        (&targets["targets"][1]["error"], &targets["targets"][1]["kind"]),
        (&json!("refused\\n"), &json!("jmx"))
    );

    let rules = world.ask(Ask::Rules, "");
    let first = &rules["rules"][0];
    assert_eq!((&first["name"], first.get("evaluations")), (&json!("z-broken"), None));
    assert_eq!(first["use"]["cpuSeconds"], json!(null), "it was never evaluated");
    let lag = world.ask(Ask::Rules, "name=lag")["rules"][0].take();
    assert_eq!(lag["use"], json!({"cpuSeconds": 0.0005, "memoryBytes": 9000, "stateBytes": 0, "stateKeys": 0}));
    assert_eq!(lag["limits"]["cpuSeconds"], json!(0.1));
    assert_eq!(
        (&lag["evaluations"][1]["snapshot"], &lag["outcomes"]),
        (&json!(2), &json!([{"outcome": "ok", "count": 1.0}]))
    );
    assert_eq!((lag["alerts"].as_array().unwrap().len(), &lag["firing"]), (1, &json!(1)));
    assert!(matches!(world.known.answer(Ask::Rules, "name=x", &world.seen), Err(Refused::NotFound(_))));

    let alerts = world.ask(Ask::Alerts, "search=trial");
    assert_eq!(
        (&alerts["total"], &alerts["alerts"][0]["shadow"], &alerts["firing"]),
        (&json!(1), &json!(true), &json!(1))
    );
    assert_eq!(world.ask(Ask::Alerts, "state=resolved")["total"], 0);

    let notifiers = world.ask(Ask::Notifiers, "");
    let two = &notifiers["notifiers"][0];
    assert_eq!(
        (&two["works"], &two["lastSuccessMs"], &two["lastError"]),
        (&json!(false), &json!(7), &json!({"atMs": 8, "text": "503"}))
    );
    assert_eq!((&two["retried"], &two["receivers"]), (&json!(4.0), &json!(2)));
    assert_eq!(notifiers["notifiers"][1]["works"], json!(null));
}
