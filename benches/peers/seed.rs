//! Topics, records and groups of which each lag is known.

use crate::harness::{holds, kafka::Cluster};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::ToBytes,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

pub(crate) const PARTITIONS_OF_TOPIC: u32 = 10;

/// Records in each partition, and the highest lag.
pub(crate) const RECORDS: u32 = 20;

/// Topics that are made at once.
const AT_ONCE: usize = 50;

/// A new client takes half a second to find its coordinator, nearly all of it waiting.
const COMMITTERS: u32 = 32;

/// Longest wait for a broker.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) partitions: u32,
    pub(crate) groups: u32,
    /// Commits of each group.
    pub(crate) commits_each: u32,
}

impl Size {
    pub(crate) const NOTHING: Self = Self { partitions: 0, groups: 0, commits_each: 0 };

    pub(crate) fn times(self, factor: u32) -> Self {
        Self { partitions: self.partitions * factor, groups: self.groups * factor, ..self }
    }

    pub(crate) fn commits(self) -> u32 {
        self.groups * self.commits_each
    }

    fn topics(self) -> u32 {
        self.partitions / PARTITIONS_OF_TOPIC
    }

    /// What a group has committed: topic, partition, offset.
    pub(crate) fn commits_of(self, group: u32) -> impl Iterator<Item = (u32, u32, u32)> {
        let topics_each = self.commits_each / PARTITIONS_OF_TOPIC;
        (0..topics_each).flat_map(move |nth| {
            let topic = (group * topics_each + nth) % self.topics();
            (0..PARTITIONS_OF_TOPIC).map(move |partition| (topic, partition, RECORDS - lag(group, partition)))
        })
    }

    /// The sum of all lags.
    pub(crate) fn lag(self) -> u64 {
        let lags = (0..self.groups).flat_map(|group| self.commits_of(group));
        lags.map(|(_, _, offset)| u64::from(RECORDS - offset)).sum()
    }
}

fn lag(group: u32, partition: u32) -> u32 {
    (group * 7 + partition) % (RECORDS + 1)
}

pub(crate) fn topic_name(topic: u32) -> String {
    format!("topic-{topic:04}")
}

pub(crate) fn group_name(group: u32) -> String {
    format!("group-{group:05}")
}

fn number(of: u32) -> i32 {
    i32::try_from(of).unwrap()
}

/// Adds what there is not yet.
pub(crate) fn grow(cluster: &Cluster, from: Size, to: Size) {
    crate::say(&format!("{} partitions, {} groups, {} commits", to.partitions, to.groups, to.commits()));
    let topics: Vec<_> = (from.topics()..to.topics()).map(topic_name).collect();
    create(cluster, &topics);
    cluster.client().until_partitions("all partitions have leaders", |partitions| {
        let led = partitions.iter().filter(|p| p.topic.starts_with("topic-") && p.leader >= 0).count();
        holds(led == usize::try_from(to.partitions).unwrap(), format!("{led} of {}", to.partitions))
    });
    produce(cluster, &topics);
    commit(cluster, from.groups, to);
}

fn create(cluster: &Cluster, topics: &[String]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_all()).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for names in topics.chunks(AT_ONCE) {
        let new: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, number(PARTITIONS_OF_TOPIC), TopicReplication::Fixed(1)))
            .collect();
        for result in runtime.block_on(admin.create_topics(&new, &options)).unwrap() {
            result.unwrap();
        }
    }
}

fn produce(cluster: &Cluster, topics: &[String]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_all()).set("acks", "1").set("linger.ms", "20");
    let producer: BaseProducer = config.create().unwrap();
    for topic in topics {
        for partition in (0..PARTITIONS_OF_TOPIC).map(number) {
            for _ in 0..RECORDS {
                send(&producer, || BaseRecord::<(), _>::to(topic).partition(partition).payload(&[0; 20]));
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Queues a record as soon as there is room for it.
pub(crate) fn send<'a, K, V>(producer: &BaseProducer, record: impl Fn() -> BaseRecord<'a, K, V>)
where
    K: ToBytes + ?Sized + 'a,
    V: ToBytes + ?Sized + 'a,
{
    loop {
        match producer.send(record()) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

fn commit(cluster: &Cluster, from: u32, to: Size) {
    let client = cluster.client();
    let one = |group: u32| {
        let commits: Vec<_> = to.commits_of(group).map(|(topic, p, offset)| (topic_name(topic), p, offset)).collect();
        let offsets = commits.iter().map(|(topic, p, offset)| (topic.as_str(), number(*p), i64::from(*offset)));
        client.commit_all(&group_name(group), offsets);
    };
    // The first one makes the offsets topic, which takes a while.
    one(from);
    let next = AtomicU32::new(from + 1);
    thread::scope(|scope| {
        for _ in 0..COMMITTERS {
            scope.spawn(|| {
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    if group >= to.groups {
                        return;
                    }
                    one(group);
                }
            });
        }
    });
}
