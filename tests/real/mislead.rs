//! Offsets and names that mislead: after each change the page says what Kafka's own tool says.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        holds,
        oracle::Oracle,
        page::Page,
        pause, within,
    },
    shared::{self, SEEN},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::time::Duration;

/// The agent beside the shared broker of 4.1.
fn beside() -> Daemon {
    let agent = Home::new().start(&shared::kafka(&shared::kraft().bootstrap()));
    agent.ready(SEEN);
    agent
}

/// Waits until the group has these lags on the partitions of the topic from 0 on; −1 where it never committed.
#[track_caller]
fn lags(agent: &Daemon, group: &str, topic: &str, want: &[i32]) {
    agent.until(SEEN, "the lags", |page| {
        for (partition, lag) in want.iter().enumerate() {
            of(page, "kafka_consumergroup_lag", group, topic, partition, *lag)?;
        }
        let told = page.all("kafka_consumergroup_lag", &[("consumergroup", group), ("topic", topic)]).len();
        holds(told == want.len(), format!("lag is told of {told} partitions"))
    });
}

fn of(page: &Page, name: &str, group: &str, topic: &str, partition: usize, want: i32) -> Result<(), String> {
    let partition = partition.to_string();
    let labels = [("consumergroup", group), ("partition", partition.as_str()), ("topic", topic)];
    page.expect(name, &labels, f64::from(want))
}

/// The tool and the page say the same of these groups.
#[track_caller]
fn agree(agent: &Daemon, groups: &[&str]) {
    within(SEEN * 2, "the page says what Kafka's tool says", || {
        let oracle = Oracle::of(shared::kraft(), groups)?;
        oracle.agrees(&[agent.page()])
    });
}

/// In so many more snapshots the group is never said to have committed anything but that.
#[track_caller]
fn committed_stays(agent: &Daemon, group: &str, want: i32, snapshots: f64) {
    let number = |page: &Page| page.value("brokerwarden_snapshots_total", &[]).unwrap_or_default();
    let last = number(&agent.page()) + snapshots;
    agent.until(SEEN * 3, "further snapshots", |page| {
        for sample in page.all("kafka_consumergroup_current_offset", &[("consumergroup", group)]) {
            assert_eq!(sample.whole(), Some(i64::from(want)), "never committed: {sample:?}");
        }
        holds(number(page) >= last, number(page))
    });
}

#[test]
fn commits_where_nobody_expects_them() {
    let (name, client) = ("unexpected", shared::kraft().client());
    client.create_topic(name, 3);
    client.produce_each(name, [30, 30, 30]);
    // Beyond the end on 1, never on 2.
    client.commit(name, name, &[(0, 20), (1, 55)]);
    let agent = beside();
    lags(&agent, name, name, &[10, -25, -1]);
    agent.until(SEEN, "a commit beyond the end", |page| {
        let ahead = page.value("brokerwarden_kafka_partitions_ahead", &[]);
        holds(ahead.is_some_and(|ahead| ahead >= 1.0), format!("{ahead:?}"))
    });
    agree(&agent, &[name]);

    // Backwards, as after a reset.
    client.commit(name, name, &[(0, 5)]);
    lags(&agent, name, name, &[25, -25, -1]);

    // More partitions.
    client.add_partitions(name, 5);
    client.produce(name, 4, 7);
    client.commit(name, name, &[(4, 3)]);
    lags(&agent, name, name, &[25, -25, -1, -1, 4]);
    agree(&agent, &[name]);

    // Records lost to retention: the lag stays what the tool prints, and what is lost stands beside it.
    client.delete_records(name, 0, 8);
    agent.until(SEEN * 2, "what is lost", |page| of(page, "kafka_consumergroup_lost_records", name, name, 0, 3));
    lags(&agent, name, name, &[25, -25, -1, -1, 4]);
    agree(&agent, &[name]);
}

#[test]
fn a_topic_made_anew_with_fewer_partitions() {
    let (name, kept, client) = ("anew", "anew-kept", shared::kraft().client());
    client.create_topic(name, 4);
    client.create_topic(kept, 1);
    client.produce_each(name, [40, 40, 40, 40]);
    client.produce(kept, 0, 10);
    client.commit(name, name, &[(0, 10), (1, 10), (2, 10), (3, 10)]);
    // Its other commit keeps the group alive.
    client.commit(name, kept, &[(0, 1)]);
    let agent = beside();
    lags(&agent, name, name, &[30, 30, 30, 30]);

    client.delete_topic(name);
    within(SEEN, "Kafka forgets the commits", || {
        let committed = client.committed(name, name, 3);
        holds(committed.is_none(), format!("{committed:?}"))
    });
    client.create_topic(name, 2);
    client.produce_each(name, [6, 6]);
    lags(&agent, name, name, &[]);
    agent.until(SEEN, "the new topic", |page| {
        page.expect("kafka_topic_partitions", &[("topic", name)], 2.0)?;
        page.expect("kafka_topic_partition_current_offset", &[("partition", "0"), ("topic", name)], 6.0)
    });
    lags(&agent, name, kept, &[9]);
    agree(&agent, &[name]);

    // A consumer that kept where it was commits that again, beyond the end of the new log.
    client.commit(name, name, &[(0, 10), (1, 4)]);
    lags(&agent, name, name, &[-4, 2]);
    agree(&agent, &[name]);
}

#[test]
fn transactions_open_aborted_and_committed() {
    let (name, client) = ("transactional", shared::kraft().client());
    client.create_topic(name, 1);
    client.produce(name, 0, 10);
    client.commit(name, name, &[(0, 4)]);
    let agent = beside();
    lags(&agent, name, name, &[6]);

    // Open: its records count, as they do for the tool.
    let open = client.begin("mislead-aborted");
    open.produce(name, 0, 5);
    lags(&agent, name, name, &[11]);
    agree(&agent, &[name]);

    // Its commit does not, nor when it was aborted; that leaves a marker at the end of both logs. Neither is taken for
    // something that the reader is behind with, however long it stands there.
    open.commit_offsets(name, name, &[(0, 9)]);
    open.commit_offsets("transactional-only", name, &[(0, 9)]);
    committed_stays(&agent, name, 4, 3.0);
    open.abort();
    lags(&agent, name, name, &[12]);
    committed_stays(&agent, name, 4, 20.0);
    lags(&agent, name, name, &[12]);
    assert!(!agent.page().has("kafka_consumergroup_lag", &[("consumergroup", "transactional-only")]));
    agree(&agent, &[name]);

    // Committed: who has read all is one behind for ever, behind a marker.
    let committed = client.begin("mislead-committed");
    committed.produce(name, 0, 3);
    committed.commit_offsets(name, name, &[(0, 19)]);
    committed.commit();
    lags(&agent, name, name, &[1]);
    agent.until(SEEN, "the commit", |page| of(page, "kafka_consumergroup_current_offset", name, name, 0, 19));
    agree(&agent, &[name]);
}

/// Compaction leaves the last record of each key. What a group reads next may be behind a hole; Kafka's tool counts offsets.
#[test]
fn a_commit_in_a_hole_that_compaction_left() {
    let (name, client) = ("compacted", shared::kraft().client());
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001")];
    client.create_with(name, &[1], &settings);
    let config = |group: Option<&str>| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", shared::kraft().bootstrap());
        if let Some(group) = group {
            config.set("group.id", group).set("enable.auto.commit", "false");
        }
        config
    };
    let producer: BaseProducer = config(None).create().unwrap();
    for _ in 0..12 {
        // Each in a segment of its own: the one that is written to is not compacted.
        producer.send(BaseRecord::to(name).partition(0).key("k").payload("v")).unwrap();
        producer.flush(SEEN).unwrap();
        pause(Duration::from_millis(150));
    }
    client.commit(name, name, &[(0, 5)]);
    let agent = beside();
    lags(&agent, name, name, &[7]);
    within(Duration::from_secs(90), "the hole", || {
        let consumer: BaseConsumer = config(Some("compacted-look")).create().unwrap();
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(name, 0, Offset::Offset(5)).unwrap();
        consumer.assign(&place).unwrap();
        let first =
            consumer.poll(Duration::from_secs(5)).ok_or("nothing to read")?.map_err(|error| error.to_string())?;
        holds(first.offset() > 5, first.offset())
    });
    agent.snapshots(3.0, SEEN);
    lags(&agent, name, name, &[7]);
    agent.until(SEEN, "nothing is lost", |page| {
        holds(!page.has("kafka_consumergroup_lost_records", &[("consumergroup", name)]), "said to be lost")?;
        let age = page.value("kafka_consumergroup_lag_seconds", &[("consumergroup", name)]);
        holds(age.is_some_and(|age| age > 0.0), format!("{age:?}"))
    });
    agree(&agent, &[name]);
}

#[test]
fn names_of_groups_that_need_care() {
    let (topic, client) = ("careful", shared::kraft().client());
    client.create_topic(topic, 1);
    client.produce(topic, 0, 100);
    let long = "n".repeat(249);
    let names = [
        r#""quoted" "twice""#,
        r"back\slash\",
        "line\nfeed",
        "*",
        "every*thing?",
        "grüße 🦀",
        r#"{a="b",}"#,
        long.as_str(),
    ];
    for (offset, name) in (1..).zip(names) {
        client.commit(name, topic, &[(0, offset)]);
    }
    let agent = beside();
    for (offset, name) in (1..).zip(names) {
        lags(&agent, name, topic, &[100 - offset]);
    }
    agree(&agent, &names);
}
