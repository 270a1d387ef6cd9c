//! Entry points of the collector for benches/micro.rs: reading commits, and making a view of them.

use super::{
    cluster::{Cluster, OFFSETS_TOPIC, PartitionMetadata},
    ends::{TopicPartition, Which},
    offsets::Offsets,
    produced::Produced,
    view,
};
use crate::{
    model::{BrokerId, Timestamp},
    snapshot::{Broker, KafkaView},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// What records of `__consumer_offsets` add up to.
pub struct Replay(Offsets);

impl Replay {
    /// Nothing read yet of that many partitions.
    pub fn new(partitions: u32) -> Self {
        let mut offsets = Offsets::default();
        offsets.follow(&(0..partitions).collect::<BTreeSet<_>>());
        Self(offsets)
    }

    /// Takes a record in. Could it be read?
    pub fn apply(&mut self, partition: u32, offset: i64, key: &[u8], value: &[u8]) -> bool {
        self.0.apply(partition, offset, key, Some(value)).is_ok()
    }

    /// There is no more in a partition at present.
    pub fn reached_end(&mut self, partition: u32) {
        self.0.reached_end(partition, Timestamp::default());
    }
}

/// All that a cycle knows besides: one broker, its topics, where their logs begin and end.
pub struct Found {
    cluster: Cluster,
    offsets: HashMap<(Which, TopicPartition), i64>,
    produced: Produced,
}

impl Found {
    /// A cluster of these topics (name, partitions), whose logs begin at 0 and ended at `ends` at these times.
    pub fn new(topics: &[(String, u32)], offsets_partitions: u32, ends: &[(Timestamp, i64)]) -> Self {
        let id = BrokerId(1);
        let partition = || PartitionMetadata { leader: Some(id), replicas: vec![id], in_sync: vec![id] };
        let of = |count: u32| (0..count).map(|number| (number, partition())).collect();
        let mut cluster = Cluster {
            brokers: vec![Broker { id, address: "broker-1:9092".to_owned() }],
            topics: topics.iter().map(|(name, partitions)| (name.as_str().into(), of(*partitions))).collect(),
            failed_topics: Vec::new(),
        };
        let (mut offsets, mut produced) = (HashMap::new(), Produced::default());
        for (name, partitions) in &cluster.topics {
            for partition in partitions.keys().map(|number| (Arc::clone(name), *number)) {
                for (at, end) in ends {
                    produced.observe(&partition, *at, *end);
                    offsets.insert((Which::End, partition.clone()), *end);
                }
                offsets.insert((Which::Start, partition), 0);
            }
        }
        cluster.topics.insert(OFFSETS_TOPIC.into(), of(offsets_partitions));
        Self { cluster, offsets, produced }
    }

    /// What a cycle does with it but for asking: groups are copied out, it is found out whose offsets are needed, and a
    /// view is put together.
    pub fn view(&self, replay: &Replay, at: Timestamp) -> KafkaView {
        let partitions = self.cluster.topics.get(OFFSETS_TOPIC).map_or(0, BTreeMap::len);
        let groups = replay.0.groups(|_| true, |_| true, partitions);
        drop(view::needed(&self.cluster, Some(BrokerId(1)), &groups, |_| true));
        let findings = view::Findings {
            at,
            cluster_id: None,
            beside: Some(BrokerId(1)),
            cluster: &self.cluster,
            groups,
            caught_up: &|_| true,
            asked: None,
            hide_inactive: false,
            replaying: false,
            incomplete: false,
            wants_topic: &|_| true,
            offsets: &self.offsets,
            produced: &self.produced,
        };
        view::build(findings).0
    }
}
