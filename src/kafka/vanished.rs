//! The part of the cycle that looks for topics that are listed no more: deleted, or hidden from us. A broker leaves out of
//! its list what we may not describe; asked by name, it says so.

use super::{bounds::LEAST_TIMEOUT, cluster::Cluster, collector::Collector};
use crate::model::families;
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode, metadata::MetadataTopic};
use std::{collections::BTreeSet, sync::Arc, time::Instant};

/// Topics that are asked for by name in one cycle; the others count as not known until their turn comes.
pub const ASKED_BY_NAME: usize = 20;

impl Collector {
    /// Adds to the failed topics those that were listed before and are not known to be gone.
    pub(super) fn look_for_vanished(&mut self, cluster: &mut Cluster, started: Instant) {
        let listed = |name: &Arc<str>| cluster.topics.contains_key(name) || cluster.failed_topics.contains(name);
        let before = self.view.iter().flat_map(|view| &view.topics).map(|topic| Arc::clone(&topic.name));
        let vanished: BTreeSet<_> =
            before.chain(std::mem::take(&mut self.vanished)).filter(|name| !listed(name)).collect();
        for (place, name) in vanished.into_iter().enumerate() {
            if place >= ASKED_BY_NAME || !self.is_gone(&name, started) {
                cluster.failed_topics.push(Arc::clone(&name));
                self.vanished.insert(name);
            }
        }
    }

    /// What to say of them.
    pub(super) fn vanished_note(&self) -> Option<String> {
        let first = self.vanished.first()?;
        let count = self.vanished.len();
        Some(format!(
            "{count} topics that were listed are not any more, and not known to be gone, {first:?} among them: \
             grant DESCRIBE on them to our user"
        ))
    }

    fn is_gone(&self, name: &str, started: Instant) -> bool {
        let left = self.config.timeout.saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let error = self.requests.fetch_metadata(Some(name), left).map(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from)
        });
        matches!(error, Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)))
    }
}
