//! What a test does to Kafka: topics, records, commits, members. By rdkafka, in this process.

use super::{holds, within};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    metadata::MetadataBroker,
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longest wait for any answer of a broker.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a member looks whether it shall leave.
const POLL: Duration = Duration::from_millis(50);

/// Which of Kafka's two protocols a group's members speak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Classic,
    /// KIP-848.
    Consumer,
}

/// A partition as metadata describes it.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) number: i32,
    /// Below 0: none.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// Somebody with every right on one cluster.
#[derive(Clone)]
pub(crate) struct Client {
    bootstrap: String,
}

impl Client {
    pub(crate) fn new(bootstrap: String) -> Self {
        Self { bootstrap }
    }

    fn config(&self, group: Option<&str>) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("reconnect.backoff.max.ms", "500");
        if let Some(group) = group {
            config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        }
        config
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        self.config(Some(group)).create().unwrap()
    }

    /// The ids of all brokers.
    pub(crate) fn brokers(&self) -> Result<Vec<i32>, String> {
        // Not by a consumer: that looks for its coordinator, and the broker makes __consumer_offsets for it.
        let producer: BaseProducer = self.config(None).create().unwrap();
        let metadata = producer.client().fetch_metadata(None, Duration::from_secs(2));
        metadata
            .map(|metadata| metadata.brokers().iter().map(MetadataBroker::id).collect())
            .map_err(|error| error.to_string())
    }

    /// Waits until `look` is content with the partitions of all topics, as any broker describes them.
    #[track_caller]
    pub(crate) fn until_partitions<T>(&self, what: &str, look: impl Fn(&[Partition]) -> Result<T, String>) -> T {
        let producer: BaseProducer = self.config(None).create().unwrap();
        within(PATIENCE * 2, what, || {
            let metadata = producer.client().fetch_metadata(None, Duration::from_secs(2));
            let metadata = metadata.map_err(|error| error.to_string())?;
            let partitions: Vec<_> = metadata
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none())
                .flat_map(|topic| topic.partitions().iter().map(move |partition| (topic.name(), partition)))
                .map(|(topic, partition)| Partition {
                    topic: topic.to_owned(),
                    number: partition.id(),
                    leader: partition.leader(),
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                })
                .collect();
            look(&partitions)
        })
    }

    /// Makes a topic and waits until all its partitions have a leader.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_replicated(topic, partitions, 1);
    }

    /// The same with each partition on that many brokers.
    pub(crate) fn create_replicated(&self, topic: &str, partitions: i32, copies: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        self.admin(|admin, options| block_on(admin.create_topics([&new], options)).unwrap()[0].clone().unwrap());
        self.has_leaders(topic, partitions);
    }

    /// The same with one partition, on these brokers, and with settings of its own.
    pub(crate) fn create_with(&self, topic: &str, brokers: &[i32], settings: &[(&str, &str)]) {
        let assigned = [brokers];
        let new = NewTopic::new(topic, 1, TopicReplication::Variable(&assigned));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        self.admin(|admin, options| block_on(admin.create_topics([&new], options)).unwrap()[0].clone().unwrap());
        self.has_leaders(topic, 1);
    }

    /// Gives a topic more partitions, so that it has that many.
    pub(crate) fn add_partitions(&self, topic: &str, in_all: i32) {
        let new = NewPartitions::new(topic, usize::try_from(in_all).unwrap());
        self.admin(|admin, options| block_on(admin.create_partitions([&new], options)).unwrap()[0].clone().unwrap());
        self.has_leaders(topic, in_all);
    }

    fn has_leaders(&self, topic: &str, partitions: i32) {
        let producer: BaseProducer = self.config(None).create().unwrap();
        within(PATIENCE, "the topic has leaders", || {
            let metadata =
                producer.client().fetch_metadata(Some(topic), PATIENCE).map_err(|error| error.to_string())?;
            let led = metadata.topics()[0].partitions().iter().filter(|p| p.leader() >= 0).count();
            holds(led == usize::try_from(partitions).unwrap(), format!("{led} of {partitions}"))
        });
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        self.admin(|admin, options| block_on(admin.delete_topics(&[topic], options)).unwrap()[0].clone().unwrap());
    }

    pub(crate) fn delete_group(&self, group: &str) {
        self.admin(|admin, options| block_on(admin.delete_groups(&[group], options)).unwrap()[0].clone().unwrap());
    }

    /// Removes the records of a partition below an offset, as retention does.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        self.admin(|admin, options| block_on(admin.delete_records(&list, options)).unwrap());
    }

    fn admin<T>(&self, act: impl FnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> T) -> T {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        act(&self.config(None).create().unwrap(), &options)
    }

    /// Writes that many records of ten bytes.
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: usize) {
        let producer: BaseProducer = self.config(None).set("acks", "all").create().unwrap();
        send(&producer, topic, partition, records);
        flush(&producer);
    }

    /// The same for partitions from 0 on, that many to each.
    pub(crate) fn produce_each(&self, topic: &str, records: impl IntoIterator<Item = usize>) {
        let producer: BaseProducer = self.config(None).set("acks", "all").create().unwrap();
        for (partition, records) in (0..).zip(records) {
            send(&producer, topic, partition, records);
        }
        flush(&producer);
    }

    /// Writes a record for each of these times, in milliseconds since the epoch, to partition 0, in one compressed batch.
    pub(crate) fn produce_at(&self, topic: &str, times: impl IntoIterator<Item = i64>) {
        let mut config = self.config(None);
        config.set("acks", "all").set("compression.type", "lz4").set("linger.ms", "200");
        let producer: BaseProducer = config.create().unwrap();
        for time in times {
            let record = BaseRecord::<(), _>::to(topic).partition(0).payload(&[0; 10]).timestamp(time);
            producer.send(record).unwrap();
        }
        flush(&producer);
    }

    /// Begins a transaction; one that another client began under that id is aborted.
    pub(crate) fn begin(&self, id: &str) -> Transaction {
        let producer: BaseProducer = self.config(None).set("transactional.id", id).create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        Transaction { client: self.clone(), producer }
    }

    /// Commits as a group without members does.
    pub(crate) fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        self.commit_list(group, &list(offsets.iter().map(|(partition, offset)| (topic, *partition, *offset))));
    }

    /// The same on several topics (topic, partition, offset) at once.
    pub(crate) fn commit_all<'a>(&self, group: &str, offsets: impl IntoIterator<Item = (&'a str, i32, i64)>) {
        self.commit_list(group, &list(offsets));
    }

    fn commit_list(&self, group: &str, list: &TopicPartitionList) {
        let consumer = self.consumer(group);
        // The first commit of a new cluster makes __consumer_offsets, which takes a while.
        within(PATIENCE, "the commit is taken", || consumer.commit(list, CommitMode::Sync));
    }

    /// What the group has committed there.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = self.consumer(group).committed_offsets(list, PATIENCE).unwrap();
        match committed.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// Where a partition ends.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.consumer("nobody").fetch_watermarks(topic, partition, PATIENCE).unwrap().1
    }

    /// What Kafka's own tool prints as lag: log end − committed.
    pub(crate) fn lag(&self, group: &str, topic: &str, partition: i32) -> i64 {
        let consumer = self.consumer(group);
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap().elements()[0].offset().to_raw().unwrap();
        consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1 - committed
    }

    /// A member of a group that reads a topic and commits each record it has read.
    pub(crate) fn join(&self, group: &str, topic: &str, protocol: Protocol) -> Member {
        let mut config = self.config(Some(group));
        match protocol {
            Protocol::Classic => config.set("session.timeout.ms", "10000"),
            Protocol::Consumer => config.set("group.protocol", "consumer"),
        };
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let state = Arc::new(MemberState::default());
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            while !shared.leave.load(Ordering::SeqCst) {
                if let Some(Ok(message)) = consumer.poll(POLL) {
                    consumer.commit_message(&message, CommitMode::Sync).ok();
                    shared.read.fetch_add(usize::from(message.payload().is_some()), Ordering::SeqCst);
                }
                let partitions = consumer.assignment().map_or(0, |list| list.count());
                shared.partitions.store(partitions, Ordering::SeqCst);
            }
            consumer.unsubscribe();
        });
        Member { state, thread: Some(thread) }
    }
}

/// Queues that many records of ten bytes.
fn send(producer: &BaseProducer, topic: &str, partition: i32, records: usize) {
    for _ in 0..records {
        producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(&[0; 10])).unwrap();
    }
}

fn flush(producer: &BaseProducer) {
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn list<'a>(offsets: impl IntoIterator<Item = (&'a str, i32, i64)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    }
    list
}

/// An open transaction. The broker aborts it after a minute.
pub(crate) struct Transaction {
    client: Client,
    producer: BaseProducer,
}

impl Transaction {
    /// Writes that many records of ten bytes, which are in the log when this returns.
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: usize) {
        send(&self.producer, topic, partition, records);
        flush(&self.producer);
    }

    /// Commits as a group without members does, if and when the transaction is committed.
    pub(crate) fn commit_offsets(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        let offsets = list(offsets.iter().map(|(partition, offset)| (topic, *partition, *offset)));
        let group = self.client.consumer(group).group_metadata().unwrap();
        self.producer.send_offsets_to_transaction(&offsets, &group, PATIENCE).unwrap();
    }

    pub(crate) fn commit(self) {
        self.producer.commit_transaction(PATIENCE).unwrap();
    }

    pub(crate) fn abort(self) {
        self.producer.abort_transaction(PATIENCE).unwrap();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[derive(Default)]
struct MemberState {
    leave: AtomicBool,
    partitions: AtomicUsize,
    read: AtomicUsize,
}

/// A live member; leaves its group when dropped.
pub(crate) struct Member {
    state: Arc<MemberState>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Waits until it was given that many partitions.
    #[track_caller]
    pub(crate) fn assigned(&self, partitions: usize) {
        within(PATIENCE, "the member is given its partitions", || {
            let has = self.state.partitions.load(Ordering::SeqCst);
            holds(has == partitions, format!("it has {has}"))
        });
    }

    /// Waits until it has read and committed that many records.
    #[track_caller]
    pub(crate) fn has_read(&self, records: usize) {
        within(PATIENCE, "the member has read all", || {
            let read = self.state.read.load(Ordering::SeqCst);
            holds(read == records, format!("{read} of {records}"))
        });
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.leave.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
