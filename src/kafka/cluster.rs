//! The cluster as its metadata describes it. Pure but for the conversion from librdkafka's structure.

use super::ffi;
use crate::{model::BrokerId, snapshot::Broker};
use rdkafka::metadata::Metadata;
use std::{collections::BTreeMap, sync::Arc};

/// The topic that groups commit to.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// One partition in metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its leader; `None` while it has none.
    pub leader: Option<BrokerId>,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub in_sync: Vec<BrokerId>,
}

/// Partitions of a topic by number.
pub type Partitions = BTreeMap<u32, PartitionMetadata>;

/// All brokers and topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Live brokers, sorted by id.
    pub brokers: Vec<Broker>,
    /// Topics by name.
    pub topics: BTreeMap<Arc<str>, Partitions>,
    /// Topics that came with an error instead of their partitions.
    pub failed_topics: Vec<Arc<str>>,
}

impl Cluster {
    /// Copies what librdkafka received.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let mut brokers: Vec<_> = metadata
            .brokers()
            .iter()
            .map(|broker| Broker { id: BrokerId(broker.id()), address: format!("{}:{}", broker.host(), broker.port()) })
            .collect();
        brokers.sort_unstable_by_key(|broker| broker.id);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let topics = metadata
            .topics()
            .iter()
            .filter(|topic| ffi::topic_error(topic).is_none())
            .map(|topic| {
                let partitions = topic.partitions().iter().filter_map(|partition| {
                    let leader = (partition.leader() >= 0).then(|| BrokerId(partition.leader()));
                    let metadata = PartitionMetadata {
                        leader,
                        replicas: ids(partition.replicas()),
                        in_sync: ids(partition.isr()),
                    };
                    Some((u32::try_from(partition.id()).ok()?, metadata))
                });
                (topic.name().into(), partitions.collect())
            })
            .collect();
        let failed = metadata.topics().iter().filter(|topic| ffi::topic_error(topic).is_some());
        Self { brokers, topics, failed_topics: failed.map(|topic| topic.name().into()).collect() }
    }

    /// The live broker with the lowest id.
    pub fn lowest_broker(&self) -> Option<BrokerId> {
        self.brokers.first().map(|broker| broker.id)
    }

    /// Is there such a topic, as far as is known? One that came with an error may be there.
    pub fn may_have(&self, topic: &str) -> bool {
        self.topics.contains_key(topic) || self.failed_topics.iter().any(|failed| &**failed == topic)
    }

    /// The leader of a partition, if it has one.
    pub fn leader(&self, topic: &str, partition: u32) -> Option<BrokerId> {
        self.topics.get(topic)?.get(&partition)?.leader
    }

    /// Who answers for a partition: its leader, or the lowest live broker while it has none.
    pub fn answering_for_partition(&self, partition: &PartitionMetadata) -> Option<BrokerId> {
        partition.leader.or_else(|| self.lowest_broker())
    }

    /// Who answers for a topic as a whole: the leader of its lowest partition that has one, or the lowest live broker.
    pub fn answering_for_topic(&self, partitions: &Partitions) -> Option<BrokerId> {
        partitions.values().find_map(|partition| partition.leader).or_else(|| self.lowest_broker())
    }

    /// Who answers for the cluster as a whole: the leader of `__consumer_offsets`-0, or the lowest live broker.
    pub fn answering_for_cluster(&self) -> Option<BrokerId> {
        self.leader(OFFSETS_TOPIC, 0).or_else(|| self.lowest_broker())
    }
}
