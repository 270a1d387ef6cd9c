//! The part of the cycle that gathers groups and their commits.

use super::{
    cluster::{Cluster, OFFSETS_TOPIC, PartitionMetadata},
    collector::{Collector, as_f64},
    ends::{TopicPartition, Which},
    offsets::GroupCommits,
    reader::{self, ReadError},
};
use crate::model::{BrokerId, families};
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode, metadata::MetadataTopic};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

impl Collector {
    /// A topic that we may not describe is left out of the full list; asked for by name, the broker says why. `None`
    /// only where the topic is there, or is known not to exist: then there are no groups yet.
    pub(super) fn why_no_offsets_topic(&self, cluster: &Cluster, started: Instant) -> Option<ReadError> {
        if cluster.topics.contains_key(OFFSETS_TOPIC) {
            return None;
        }
        let left = self.config.timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(100));
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let code = self.requests.fetch_metadata(Some(OFFSETS_TOPIC), left).map(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == OFFSETS_TOPIC);
            topic.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from)
        });
        let why = match code {
            Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => return None,
            Ok(Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => return Some(reader::unreadable()),
            Ok(Some(code)) => code.to_string(),
            // It has come into being since.
            Ok(None) => "it was not listed a moment ago".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(ReadError { reason: "metadata", text: format!("cannot say whether {OFFSETS_TOPIC} exists: {why}") })
    }

    /// Tells the reader what to follow, and copies out what it has read.
    pub(super) fn commits(&self, followed: &BTreeSet<u32>) -> (Vec<GroupCommits>, BTreeSet<u32>, Option<ReadError>) {
        let mut state = self.shared.lock();
        if state.follow != *followed {
            state.follow.clone_from(followed);
        }
        if state.reset {
            // What was read is another cluster's, until the reader has thrown it away.
            return (Vec::new(), BTreeSet::new(), None);
        }
        let groups =
            state.offsets.groups(|group| self.config.groups.wants(group), |topic| self.config.topics.wants(topic));
        let caught_up = followed.iter().copied().filter(|partition| state.offsets.caught_up(*partition)).collect();
        (groups, caught_up, state.error.clone().filter(|_| !followed.is_empty()))
    }

    pub(super) fn self_report(
        &self,
        cluster: &Cluster,
        owned: &BTreeSet<u32>,
        followed: &BTreeSet<u32>,
        caught_up: &BTreeSet<u32>,
        offsets: &HashMap<(Which, TopicPartition), i64>,
    ) {
        let total = cluster.topics.get(OFFSETS_TOPIC).map_or(0, BTreeMap::len);
        self.metrics.set(&families::OFFSETS_PARTITIONS, &[], as_f64(total));
        self.metrics.set(&families::OFFSETS_PARTITIONS_OWNED, &[], as_f64(owned.len()));
        let ready = followed.is_subset(caught_up);
        self.metrics.set(&families::OFFSETS_READER_READY, &[], f64::from(u8::from(ready)));
        let state = self.shared.lock();
        let topic: Arc<str> = OFFSETS_TOPIC.into();
        let behind: i64 = followed
            .iter()
            .filter(|partition| !state.offsets.at_end(**partition))
            .filter_map(|partition| {
                let end = offsets.get(&(Which::End, (Arc::clone(&topic), *partition)))?;
                Some(end.saturating_sub(state.offsets.position(*partition).unwrap_or(0)).max(0))
            })
            .fold(0, i64::saturating_add);
        self.metrics.set(&families::OFFSETS_READER_BEHIND, &[], as_f64(behind));
    }
}

/// The partitions of `__consumer_offsets` that our broker replicates, and those of them that it leads.
pub(super) fn followed(cluster: &Cluster, beside: BrokerId) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let partitions = cluster.topics.get(OFFSETS_TOPIC);
    let of = |wanted: &dyn Fn(&PartitionMetadata) -> bool| {
        partitions.into_iter().flatten().filter(|(_, partition)| wanted(partition)).map(|(id, _)| *id).collect()
    };
    (
        of(&|partition| partition.replicas.contains(&beside) && partition.leader.is_some()),
        of(&|partition| partition.leader == Some(beside)),
    )
}
