//! The part of the cycle that looks for topics that are listed no more: deleted, or hidden from us. A broker leaves out of
//! its list what we may not describe; asked by name, it says so.

use super::{bounds::LEAST_TIMEOUT, cluster::Cluster, collector::Collector, ffi};
use crate::model::families;
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Topics that are asked for by name in one cycle; the others count as not known until their turn comes.
pub const ASKED_BY_NAME: usize = 20;
/// A topic that is hidden from us is asked for again after this long.
pub const ASK_AGAIN: Duration = Duration::from_mins(1);
/// Topics that are remembered to have been listed; beyond, the others count as gone.
pub const MAX_VANISHED: usize = 10_000;

/// Topics that were listed, are not, and are not known to be gone.
#[derive(Debug, Default)]
pub struct Vanished {
    /// When each was last asked for by name.
    topics: BTreeMap<Arc<str>, Option<Instant>>,
}

impl Vanished {
    /// Takes in what is missing now, and forgets what is listed again. Returns what to ask for, those first that waited
    /// longest.
    fn due(
        &mut self,
        before: impl Iterator<Item = Arc<str>>,
        listed: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Vec<Arc<str>> {
        self.topics.retain(|name, _| !listed(name));
        for name in before.filter(|name| !listed(name)) {
            if self.topics.len() < MAX_VANISHED {
                self.topics.entry(name).or_default();
            }
        }
        let is_due =
            |asked: &Option<Instant>| asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        let mut due: Vec<_> = self.topics.iter().filter(|(_, asked)| is_due(asked)).collect();
        due.sort_by_key(|(_, asked)| **asked);
        due.into_iter().take(ASKED_BY_NAME).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Notes what came of asking.
    fn answered(&mut self, name: &Arc<str>, gone: bool, now: Instant) {
        if gone {
            self.topics.remove(name);
        } else if let Some(asked) = self.topics.get_mut(name) {
            *asked = Some(now);
        }
    }
}

impl Collector {
    /// Adds to the failed topics those that were listed before and are not known to be gone.
    pub(super) fn look_for_vanished(&mut self, cluster: &mut Cluster, started: Instant) {
        let failed: HashSet<Arc<str>> = cluster.failed_topics.iter().map(Arc::clone).collect();
        let listed = |name: &str| cluster.topics.contains_key(name) || failed.contains(name);
        let before = self.view.iter().flat_map(|view| &view.topics).map(|topic| Arc::clone(&topic.name));
        let now = Instant::now();
        for name in self.vanished.due(before, listed, now) {
            let gone = self.is_gone(&name, started);
            self.vanished.answered(&name, gone, now);
        }
        cluster.failed_topics.extend(self.vanished.topics.keys().map(Arc::clone));
    }

    /// What to say of them.
    pub(super) fn vanished_note(&self) -> Option<String> {
        let (first, _) = self.vanished.topics.first_key_value()?;
        let count = self.vanished.topics.len();
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
            topic.and_then(ffi::topic_error)
        });
        matches!(error, Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_topics_hold_up_no_others_and_are_asked_for_again_now_and_then() {
        let (mut vanished, start) = (Vanished::default(), Instant::now());
        let names = |from: usize, to: usize| (from..to).map(|n| Arc::<str>::from(format!("{n:03}")));
        let mut ask = |before: Vec<Arc<str>>, listed: &str, second| {
            let now = start + Duration::from_secs(second);
            let due = vanished.due(before.into_iter(), |name| name == listed, now);
            // All are hidden but those from 030 on.
            for name in &due {
                vanished.answered(name, &**name >= "030", now);
            }
            due.into_iter().map(|name| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ask(names(0, 30).collect(), "", 0).len(), ASKED_BY_NAME);
        let second = ask(names(0, 31).collect(), "", 5);
        assert_eq!((second.len(), second.last().map(String::as_str)), (11, Some("030")));
        assert!(ask(vec![], "", 10).is_empty(), "none is due, and the one that is gone is forgotten");
        assert_eq!(ask(vec![], "000", 60).len(), 19, "one is listed again");
        assert_eq!(ask(vec![], "", 65).len(), 10);
    }
}
