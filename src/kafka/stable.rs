//! Last stable offsets: how far readers of committed records get in partitions where a transaction is open.

use super::{
    bounds::START_INTERVAL,
    client,
    cluster::Cluster,
    collector::Collector,
    ends::{TopicPartition, Which},
};
use crate::{model::families, snapshot::KAFKA_TARGET};
use rdkafka::consumer::Consumer;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

/// Without this topic there never was a transaction, and each last stable offset is the high watermark.
const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Which last stable offsets are asked for: all now and then, and in each cycle those that were below the high
/// watermark in the one before. One that is not below is not kept: the high watermark moves on, and would seem to be
/// above it in the next cycle.
#[derive(Debug, Default)]
pub(super) struct LastStable {
    transactions: bool,
    prepared: Option<Instant>,
    /// Of the secrets that the handle is made of.
    generation: u64,
    ask_all: bool,
    below: HashSet<TopicPartition>,
}

impl LastStable {
    /// Is the last stable offset of a partition asked for in this cycle?
    pub(super) fn wants(&self, partition: &TopicPartition) -> bool {
        self.ask_all || self.below.contains(partition)
    }

    /// Of what leaders answered, leaves the last stable offsets that are below the high watermark. They were asked for
    /// after it, so that they are below it only where a transaction is open.
    pub(super) fn keep(&mut self, cluster: &Cluster, offsets: &mut HashMap<(Which, TopicPartition), i64>) {
        self.transactions = cluster.topics.contains_key(TRANSACTIONS_TOPIC);
        let below = |(which, partition): &(Which, TopicPartition), offset: &i64| {
            *which == Which::Stable
                && offsets.get(&(Which::End, partition.clone())).is_some_and(|high_watermark| offset < high_watermark)
        };
        let below: HashSet<_> = offsets
            .iter()
            .filter(|(what, offset)| below(what, offset))
            .map(|((_, partition), _)| partition.clone())
            .collect();
        offsets.retain(|(which, partition), _| *which != Which::Stable || below.contains(partition));
        (self.ask_all, self.below) = (false, below);
    }

    /// Is it time to get ready for asking for all?
    fn is_due(&mut self, now: Instant) -> bool {
        let due =
            self.transactions && self.prepared.is_none_or(|at| now.saturating_duration_since(at) >= START_INTERVAL);
        if due {
            self.prepared = Some(now);
        }
        due
    }
}

impl Collector {
    /// Gets ready for asking for all last stable offsets in the next cycle: they need a handle of their own, and that
    /// one its own idea of leaders. Between cycles, so that lag does not wait for it.
    pub(super) fn prepare_last_stable(&mut self) {
        if let Some(handle) = &self.leaders.stable {
            client::serve_events(handle);
        }
        // Until there is one of new secrets the handle of before answers, for as long as brokers let it.
        let generation = self.handles.generation();
        let outdated = self.leaders.stable.is_some() && self.last_stable.generation != generation;
        if !self.last_stable.is_due(Instant::now()) && !outdated {
            return;
        }
        let handle = match &self.leaders.stable {
            Some(handle) if !outdated => Ok(Arc::clone(handle)),
            _ => self.handles.last_stable(),
        };
        let failed = match handle {
            Ok(handle) => {
                self.leaders.stable = Some(Arc::clone(&handle));
                self.last_stable.generation = generation;
                self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
                handle.fetch_metadata(None, self.config.timeout).err().map(|error| error.to_string())
            }
            Err(error) => Some(error.with_cause()),
        };
        self.last_stable.ask_all = failed.is_none();
        if let Some(error) = failed {
            tracing::debug!(error, "last stable offsets cannot be asked for");
            self.metrics.count(&families::TARGET_ERRORS, &["last_stable", KAFKA_TARGET]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn partition(number: u32) -> TopicPartition {
        ("t".into(), number)
    }

    fn cluster(topic: &str) -> Cluster {
        Cluster { topics: [(topic.into(), std::collections::BTreeMap::new())].into(), ..Cluster::default() }
    }

    #[test]
    fn only_what_is_below_the_high_watermark_is_kept_and_asked_for_again() {
        let mut stable = LastStable { ask_all: true, ..LastStable::default() };
        let mut offsets = HashMap::from([
            ((Which::End, partition(0)), 10),
            ((Which::Stable, partition(0)), 7),
            ((Which::End, partition(1)), 10),
            ((Which::Stable, partition(1)), 10),
            ((Which::End, partition(2)), 10),
            ((Which::Stable, partition(2)), 12), // it has grown since
            ((Which::Stable, partition(3)), 1),  // below what?
            ((Which::Start, partition(3)), 0),
        ]);
        stable.keep(&cluster(TRANSACTIONS_TOPIC), &mut offsets);
        let kept: Vec<_> = offsets.keys().filter(|(which, _)| *which == Which::Stable).collect();
        assert_eq!(kept, [&(Which::Stable, partition(0))]);
        assert!(stable.wants(&partition(0)) && !stable.wants(&partition(1)) && offsets.len() == 5);
        let mut offsets = HashMap::from([((Which::End, partition(0)), 10), ((Which::Stable, partition(0)), 10)]);
        stable.keep(&cluster(TRANSACTIONS_TOPIC), &mut offsets);
        assert!(!stable.wants(&partition(0)));
    }

    #[test]
    fn nothing_is_asked_where_there_never_was_a_transaction() {
        let (mut stable, now) = (LastStable::default(), Instant::now());
        stable.keep(&cluster("t"), &mut HashMap::new());
        assert!(!stable.is_due(now));
        stable.keep(&cluster(TRANSACTIONS_TOPIC), &mut HashMap::new());
        assert!(stable.is_due(now) && !stable.is_due(now + Duration::from_secs(29)));
        assert!(stable.is_due(now + START_INTERVAL));
    }
}
