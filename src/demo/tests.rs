//! Tests of the world as a client sees it: commits, end offsets, the page.

use super::*;
use crate::snapshot::kafka::partition_for;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::BorrowedMessage,
};
use schedule::{GROUPS, OFFSETS_PARTITIONS, OFFSETS_TOPIC, TOPICS};
use std::collections::BTreeMap;

const LIMIT: Duration = Duration::from_secs(10);

fn consumer(world: &World) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &world.bootstrap_servers)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap()
}

/// Reads every partition of the offsets topic to its end.
fn replay(consumer: &BaseConsumer, mut see: impl FnMut(&BorrowedMessage<'_>)) {
    let mut list = TopicPartitionList::new();
    for partition in 0..OFFSETS_PARTITIONS {
        list.add_partition_offset(OFFSETS_TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut at_end = 0;
    while at_end < OFFSETS_PARTITIONS {
        assert!(Instant::now() < deadline, "{at_end} of {OFFSETS_PARTITIONS} partitions read to their end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => see(&message),
            Some(Err(KafkaError::PartitionEOF(_))) => at_end += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

fn ends(consumer: &BaseConsumer) -> BTreeMap<(String, i32), i64> {
    let mut list = TopicPartitionList::new();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            list.add_partition_offset(topic.name, partition, Offset::End).unwrap();
        }
    }
    let answer = consumer.offsets_for_times(list, LIMIT).unwrap();
    let end = |offset| match offset {
        Offset::Offset(end) => end,
        other => panic!("{other:?}"),
    };
    answer.elements().iter().map(|e| ((e.topic().to_owned(), e.partition()), end(e.offset()))).collect()
}

async fn page(world: &World) -> String {
    let uri: hyper::Uri = world.jmx_url.parse().unwrap();
    let stream = tokio::net::TcpStream::connect(uri.authority().unwrap().as_str()).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = hyper::Request::get("/metrics").header("host", "x").body(String::new()).unwrap();
    let answer = async {
        let answer = send.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes()
    };
    let (body, closed) = time::timeout(LIMIT, async { tokio::join!(answer, connection) }).await.unwrap();
    closed.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_finds_commits_ends_and_a_page() {
    let (tasks, _ended) = Tasks::new();
    let world = World::start(&tasks).await.unwrap();
    let consumer = consumer(&world);

    let metadata = consumer.fetch_metadata(None, LIMIT).unwrap();
    let brokers: Vec<_> = metadata.brokers().iter().map(|b| (b.id(), format!("{}:{}", b.host(), b.port()))).collect();
    assert_eq!(brokers, [(1, world.bootstrap_servers.clone())]);

    let mut keys = BTreeMap::new();
    replay(&consumer, |message| {
        let key = message.key().unwrap().to_vec();
        keys.insert(key, (message.partition(), message.payload().map(<[u8]>::to_vec)));
    });
    for group in GROUPS {
        let (partition, value) = &keys[&records::group_key(group.name)];
        let want = partition_for(group.name, usize::try_from(OFFSETS_PARTITIONS).unwrap());
        assert_eq!((usize::try_from(*partition), value.is_some()), (Ok(want), true), "{}", group.name);
        for (topic, partitions) in group.reads {
            for partition in 0..*partitions {
                assert!(keys[&records::offset_key(group.name, topic, partition)].1.is_some());
            }
        }
    }

    // Producers are at work, and billing keeps up with them.
    let deadline = Instant::now() + LIMIT;
    let end = loop {
        let ends = ends(&consumer);
        assert_eq!(ends.len(), 8);
        let end = ends[&("orders".to_owned(), 0)];
        if end >= 30 {
            break end;
        }
        assert!(Instant::now() < deadline, "only {end} records were produced");
        time::sleep(Duration::from_millis(50)).await;
    };
    let deadline = Instant::now() + Duration::from_secs(4);
    let commit = records::offset_key("billing", "orders", 0);
    let mut committed = 0;
    while committed < end {
        assert!(Instant::now() < deadline, "billing committed {committed} of {end}");
        replay(&consumer, |message| {
            if message.key() == Some(&commit) {
                committed = i64::from_be_bytes(message.payload().unwrap()[2..10].try_into().unwrap());
            }
        });
    }

    // The page says so too.
    let moved = "kafka_log_log_value{name=\"LogEndOffset\",topic=\"orders\",partition=\"0\",} ";
    loop {
        let page = page(&world).await;
        let value = page.lines().find_map(|line| line.strip_prefix(moved)).unwrap();
        if value.parse::<f64>().unwrap() > 0.0 {
            break;
        }
        assert!(Instant::now() < deadline, "the page stands still");
    }

    drop(consumer);
    assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
}

#[test]
fn the_configuration_is_yaml_whatever_the_folder_is_called() {
    let world = World {
        bootstrap_servers: "127.0.0.1:1".into(),
        jmx_url: "http://127.0.0.1:2/metrics".into(),
        started: Instant::now(),
    };
    let folder = "/tmp/a \"b\": #c";
    let yaml: serde_yaml::Value =
        serde_yaml::from_str(&config_yaml(&world, "127.0.0.1:9308", Path::new(folder))).unwrap();
    assert_eq!(yaml["data_dir"], folder);
    assert_eq!(yaml["rules_dir"], format!("{folder}/rules"));
    assert_eq!(yaml["http"]["listen"], "127.0.0.1:9308");
    assert_eq!(yaml["kafka"]["bootstrap_servers"], "127.0.0.1:1");
    assert_eq!(yaml["jmx"][0]["url"], "http://127.0.0.1:2/metrics");
    assert_eq!(yaml["rules"][0]["module"], "builtin:lag-threshold");
    assert_eq!(yaml["rules"][0]["config"]["threshold"], THRESHOLD);
    assert_eq!(yaml["rules"][0]["config"]["groups"][1], "checkout");
}
