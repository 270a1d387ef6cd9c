//! Actions with what they are for: a Kafka that records are read back from, and an Alertmanager that amtool silences alerts at.

use crate::{
    harness::{
        kafka::{Cluster, Version},
        pause,
        process::run,
        prometheus::Alertmanager,
        within,
    },
    shared,
};
use brokerwarden::{
    actions::{self, Handle, Setup},
    app::produce_by,
    clock,
    config::{self, Config},
    kafka,
    model::{BrokerId, Labels, Subject},
    pipeline::{Deed, DeedEnd, DeedResult, Input},
    supervise::Tasks,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use serde_json::Value;
use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};
use tokio::{runtime::Runtime, sync::mpsc};

const LONG: Duration = Duration::from_mins(2);

fn configuration(yaml: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.yaml");
    std::fs::write(&file, yaml).unwrap();
    config::load(&file, &|_| None).unwrap()
}

/// The actions of an agent, without the rest of it.
struct Doing {
    runtime: Runtime,
    tasks: Tasks,
    _dir: tempfile::TempDir,
    _handle: Handle,
    deeds: mpsc::Sender<Vec<Deed>>,
    results: mpsc::Receiver<Input>,
}

impl Doing {
    fn start(yaml: &str) -> Self {
        let config = configuration(yaml);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let guard = runtime.enter();
        let (tasks, _ended) = Tasks::new();
        let dir = tempfile::tempdir().unwrap();
        let (deeds, deeds_receiver) = mpsc::channel(16);
        let (results_sender, results) = mpsc::channel(16);
        let produce =
            config.kafka.map(|kafka| produce_by(kafka::start_producer(&tasks, kafka, Arc::default()).unwrap()));
        let setup = Setup { configs: config.actions, produce };
        let handle =
            actions::start(&tasks, setup, dir.path().to_owned(), deeds_receiver, results_sender, Arc::default());
        let handle = handle.unwrap();
        drop(guard);
        Self { runtime, tasks, _dir: dir, _handle: handle, deeds, results }
    }

    fn ask(&self, deed: Deed) {
        self.deeds.blocking_send(vec![deed]).unwrap();
    }

    fn next(&mut self) -> DeedResult {
        let next = self.runtime.block_on(async { tokio::time::timeout(LONG, self.results.recv()).await });
        let Ok(Some(Input::Ended(result))) = next else { panic!("no result") };
        result
    }

    fn stop(self) {
        let late = self.runtime.block_on(self.tasks.shut_down(Duration::from_secs(10)));
        assert_eq!(late, Vec::<String>::new());
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn deed(sequence: u64, action: &str, key: &str) -> Deed {
    Deed {
        sequence,
        rule: "lag".into(),
        action: action.into(),
        subject: Subject::Group("orders".into()),
        params: labels(&[("group", "orders")]),
        key: key.into(),
        idempotency_key: format!("id-{sequence}"),
        cluster: "c".into(),
        broker: Some(BrokerId(1)),
        requested_at: clock::now(),
        alerts: vec![labels(&[("alertname", "Lag"), ("group", "orders")])],
    }
}

/// A record as it was read back.
#[derive(Debug)]
struct Read {
    partition: i32,
    key: String,
    value: Value,
    id: String,
}

/// All records of a topic, of which there must be at least so many; waits a little for more than that.
fn read_all(bootstrap: &str, topic: &str, partitions: i32, least: usize) -> Vec<Read> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", "reads-back").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut read = Vec::new();
    let mut take = || {
        while let Some(message) = consumer.poll(Duration::from_millis(500)) {
            let message = message.unwrap();
            let header = message.headers().unwrap().get(0);
            assert_eq!(header.key, "idempotency-key");
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            read.push(Read {
                partition: message.partition(),
                key: text(message.key()),
                value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                id: text(header.value),
            });
        }
        if read.len() < least { Err(format!("{} records", read.len())) } else { Ok(()) }
    };
    within(LONG, "all records are there", &mut take);
    pause(Duration::from_secs(1));
    take().unwrap();
    read
}

#[test]
fn a_deed_is_a_record_with_its_key_its_id_and_its_words() {
    let cluster = shared::kraft();
    cluster.client().create_topic("deeds", 3);
    let bootstrap = cluster.bootstrap();
    let yaml = format!(
        "kafka: {{bootstrap_servers: \"{bootstrap}\"}}\nactions: {{tell: {{type: produce, topic: deeds, params: {{group: '.*'}}, timeout: 30s}}}}"
    );
    let mut doing = Doing::start(&yaml);
    let keys = ["orders", "payments", "orders", "ä"];
    for (sequence, key) in (1..).zip(keys) {
        doing.ask(deed(sequence, "tell", key));
    }
    for _ in keys {
        let result = doing.next();
        assert_eq!((result.end, result.attempts), (DeedEnd::Done, 1), "{}", result.text);
        assert!(result.text.starts_with("written to deeds-") && result.text.contains(" at offset "), "{}", result.text);
    }
    let read = read_all(&bootstrap, "deeds", 3, 4);
    assert_eq!(read.len(), 4, "{read:?}");
    let of: BTreeMap<&str, &Read> = read.iter().map(|record| (record.id.as_str(), record)).collect();
    for (id, key) in ["id-1", "id-2", "id-3", "id-4"].into_iter().zip(keys) {
        let record = of[id];
        assert_eq!(record.key, key);
        assert_eq!((record.value["idempotencyKey"].as_str(), record.value["key"].as_str()), (Some(id), Some(key)));
        assert_eq!((record.value["version"].as_str(), record.value["broker"].as_i64()), (Some("1"), Some(1)));
        assert_eq!(record.value["subject"], serde_json::json!({"type": "group", "name": "orders"}));
    }
    assert_eq!(of["id-1"].partition, of["id-3"].partition, "one key, one partition");
    let order: Vec<_> = read.iter().filter(|record| record.key == "orders").map(|record| record.id.as_str()).collect();
    assert_eq!(order, ["id-1", "id-3"]);
    doing.stop();

    // Another producer begins with nothing, and repeats nothing.
    let mut again = Doing::start(&yaml);
    again.ask(deed(5, "tell", "orders"));
    assert_eq!(again.next().end, DeedEnd::Done);
    again.stop();
    let ids: Vec<_> = read_all(&bootstrap, "deeds", 3, 5).into_iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
}

#[test]
fn a_broker_that_dies_under_way_makes_no_duplicates() {
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    cluster.client().create_topic("deeds", 1);
    let bootstrap = cluster.bootstrap();
    let mut doing = Doing::start(&format!(
        "kafka: {{bootstrap_servers: \"{bootstrap}\"}}\nactions: {{tell: {{type: produce, topic: deeds, timeout: 5m}}}}"
    ));
    let mut asked = 0;
    let mut ask = |doing: &Doing, count: u64| {
        for _ in 0..count {
            asked += 1;
            doing.ask(deed(asked, "tell", &format!("k{asked}")));
        }
    };
    ask(&doing, 5);
    for _ in 0..5 {
        assert_eq!(doing.next().end, DeedEnd::Done);
    }
    ask(&doing, 5);
    cluster.kill();
    ask(&doing, 5);
    pause(Duration::from_secs(3));
    cluster.start();
    for _ in 0..10 {
        let result = doing.next();
        assert_eq!(result.end, DeedEnd::Done, "{}", result.text);
    }
    let mut ids: Vec<_> = read_all(&bootstrap, "deeds", 1, 15).into_iter().map(|record| record.id).collect();
    ids.sort_by_key(|id| id.trim_start_matches("id-").parse::<u64>().unwrap());
    let wanted: Vec<_> = (1..=15).map(|number| format!("id-{number}")).collect();
    assert_eq!(ids, wanted);
    doing.stop();
}

fn amtool(alertmanager: &Alertmanager, arguments: &[&str]) -> String {
    let url = format!("--alertmanager.url={}", alertmanager.url());
    let (code, said) = run(Command::new("amtool").arg(url).args(arguments), "");
    assert_eq!(code, Some(0), "{said}");
    said.trim().to_owned()
}

#[test]
fn what_is_silenced_at_a_real_alertmanager_is_not_done() {
    let alertmanager = Alertmanager::start();
    let mut doing = Doing::start(&format!(
        "jmx: [{{name: a, url: 'http://127.0.0.1:1/'}}]\n\
         notify: [{{name: am, type: alertmanager, urls: ['http://127.0.0.1:1', '{}']}}]\n\
         actions: {{a: {{type: exec, command: [/bin/true], unless_silenced: am}}}}",
        alertmanager.url()
    ));
    let mut sequence = 0;
    let mut end = || {
        sequence += 1;
        doing.ask(deed(sequence, "a", "k"));
        let result = doing.next();
        (result.end, result.text)
    };
    assert_eq!(end().0, DeedEnd::Done);
    let add = |matchers: &[&str]| {
        let base = ["silence", "add", "--comment=test", "--author=test", "--duration=1h"];
        amtool(&alertmanager, &[&base, matchers].concat())
    };
    for (matchers, silenced) in [
        (&["alertname=Lag"][..], true),
        (&["alertname=Lag", "group=~ord.*"], true),
        (&["alertname=Lag", "group=~ord"], false),
        (&["alertname=Lag", "group!=payments"], true),
        (&["alertname=Lag", "group!~o.*"], false),
        (&["alertname=Lag", "severity="], true),
        (&["alertname=Lag", "severity=critical"], false),
    ] {
        let id = add(matchers);
        let (ended, text) = end();
        assert_eq!(ended == DeedEnd::Silenced, silenced, "{matchers:?}: {ended:?} {text}");
        amtool(&alertmanager, &["silence", "expire", &id]);
        assert_eq!(end().0, DeedEnd::Done, "{matchers:?} has expired");
    }
    doing.stop();
}
