//! What cannot be read on. An open transaction: on a topic it holds back readers of committed records, on the offsets topic it
//! holds back us. And a partition of the offsets topic that nobody has compacted for long.

use crate::{
    harness::{
        daemon::Home,
        holds,
        kafka::{Cluster, Version},
    },
    shared::{self, SEEN},
};
use brokerwarden::{
    bench::{offset_key, offset_value},
    model::Timestamp,
    snapshot::partition_for,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::time::Duration;

/// An open transaction is noticed after 10 s; then there is a round of questions.
const HELD: Duration = Duration::from_secs(40);

#[test]
fn an_open_transaction_is_shown_and_holds_up_no_group_for_long() {
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    let (client, topic, group) = (cluster.client(), "held", "held-group");
    client.create_topic(topic, 1);
    client.produce(topic, 0, 10);
    client.commit(group, topic, &[(0, 3)]);
    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    let partition = [("topic", topic), ("partition", "0")];
    let of_group = [("consumergroup", group), ("partition", "0"), ("topic", topic)];
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &of_group, 7.0));
    assert!(!agent.page().has("kafka_topic_partition_last_stable_offset", &partition));

    // Its records are in the log and not to be read, its commit is not to be seen, and a commit after it stands behind it.
    let open = client.begin("held-transaction");
    open.produce(topic, 0, 5);
    open.commit_offsets(group, topic, &[(0, 9)]);
    client.commit(group, topic, &[(0, 4)]);
    agent.until(HELD, "the commit behind the transaction", |page| {
        page.expect("kafka_consumergroup_current_offset", &of_group, 4.0)?;
        page.expect("kafka_consumergroup_lag", &of_group, 11.0)
    });
    agent.until(HELD, "the last stable offset", |page| {
        page.expect("kafka_topic_partition_last_stable_offset", &partition, 10.0)
    });
    let shown = agent.get("/api/v1/targets").text();
    assert!(shown.contains("asked one by one"), "{shown}");

    open.abort();
    agent.until(HELD, "all is read again", |page| {
        page.expect("kafka_consumergroup_lag", &of_group, 12.0)?;
        holds(page.has("kafka_consumergroup_commit_timestamp_seconds", &of_group), "still asked one by one")?;
        holds(!page.has("kafka_topic_partition_last_stable_offset", &partition), "still unstable")
    });
    agent.ready(SEEN);
}

/// Enough that the agent looks before it has read them.
const LONG: i64 = 1_000_000;

#[test]
fn a_partition_that_is_too_long_is_not_read_and_its_groups_are_asked_for() {
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    let client = cluster.client();
    client.create_topic("t", 1);
    client.produce("t", 0, 10);
    // Not at home in the same partition.
    for group in ["long", "short"] {
        client.commit(group, "t", &[(0, 3)]);
    }
    let home = i32::try_from(partition_for("long", 50)).unwrap();
    assert_ne!(partition_for("short", 50), partition_for("long", 50));
    let mut config = ClientConfig::new();
    // Brokers take records for their internal topics from a client of this name only.
    config.set("bootstrap.servers", cluster.bootstrap()).set("client.id", "__admin_client");
    config.set("compression.type", "zstd").set("linger.ms", "20").set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer = config.create().unwrap();
    // The coordinator does not know of it; who reads the topic would believe it.
    let key = offset_key("long", "t", 0);
    for offset in 0..LONG {
        let value = offset_value(offset, Timestamp(1));
        while producer.send(BaseRecord::to("__consumer_offsets").partition(home).key(&key).payload(&value)).is_err() {
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(Duration::from_mins(1)).unwrap();

    let settings = shared::kafka(&cluster.bootstrap()).replacen("interval", "replay_max_records: 1000, interval", 1);
    let agent = Home::new().start(&settings);
    let of = |group| [("consumergroup", group), ("partition", "0"), ("topic", "t")];
    agent.until(SEEN, "what the group says itself", |page| {
        for row in page.all("kafka_consumergroup_current_offset", &of("long")) {
            assert_eq!(row.whole(), Some(3), "read from what is too long");
        }
        page.expect("kafka_consumergroup_lag", &of("long"), 7.0)?;
        page.expect("kafka_consumergroup_lag", &of("short"), 7.0)
    });
    agent.ready(SEEN);
    assert!(agent.log().contains("more than 1000 records"), "{}", agent.log());
    let shown = agent.get("/api/v1/targets").text();
    assert!(shown.contains("groups of 1 partitions of __consumer_offsets are asked one by one"), "{shown}");
    let page = agent.page();
    assert!(page.has("kafka_consumergroup_commit_timestamp_seconds", &of("short")), "the other one is read");
    assert!(!page.has("kafka_consumergroup_commit_timestamp_seconds", &of("long")));
}
