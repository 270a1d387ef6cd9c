//! Everything observed at one moment: numbered, dated, immutable. Says per target when it was last seen and what is
//! missing. Does not know how anything was collected, nor what rules make of it.

pub mod exposition;
pub mod kafka;
pub mod select;

pub use exposition::Exposition;
pub use kafka::{
    ABSENT, AT_LEAST, Age, Asked, Broker, GROUP_STATES, Group, GroupKind, KafkaView, LagFilter, LagRow, LagStatus,
    LagTable, Partition, Share, Sums, Topic, TopicLag, Whole, partition_for,
};

use crate::model::{Labels, Subject, Timestamp};
use std::{sync::Arc, time::Duration};

/// A thing we collect from, as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    /// `kafka`, or the name of a JMX page.
    pub name: Arc<str>,
    /// Did the last collection succeed?
    pub up: bool,
    /// When a collection last succeeded.
    pub last_success: Option<Timestamp>,
    /// Why it is not up or not ready, in words for people.
    pub reason: Option<String>,
}

/// What the Kafka collector says after each cycle.
#[derive(Clone, Debug)]
pub struct KafkaObservation {
    /// The target's state.
    pub target: TargetState,
    /// The last good view; the assembler drops it when it is too old.
    pub view: Option<Arc<KafkaView>>,
    /// Offsets topic replayed, and each live leader answered or timed out.
    pub ready: bool,
}

/// What a JMX collector says after each walk.
#[derive(Clone, Debug)]
pub struct PageObservation {
    /// The target's state.
    pub target: TargetState,
    /// The page of the last walk, if that walk succeeded.
    pub page: Option<Arc<Exposition>>,
    /// When that page was received.
    pub at: Timestamp,
    /// Older than this it counts as not observed.
    pub stale_after: Duration,
    /// Added to every series of the page.
    pub labels: Arc<Labels>,
}

/// One JMX page that is fresh enough to speak for its broker.
#[derive(Clone, Debug)]
pub struct ObservedPage {
    /// The target's name.
    pub target: Arc<str>,
    /// The page.
    pub page: Arc<Exposition>,
    /// Added to every series of the page.
    pub labels: Arc<Labels>,
}

/// Everything observed at one moment. Never changes once made.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts up from 1.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Usual distance between two snapshots.
    pub interval: Duration,
    /// Value of the `cluster` label; empty while it is not known.
    pub cluster: Arc<str>,
    /// Kafka, if it was observed lately.
    pub kafka: Option<Arc<KafkaView>>,
    /// The JMX pages that were observed lately, in the order of agent.yaml.
    pub pages: Vec<ObservedPage>,
    /// All targets, in the order kafka, JMX pages.
    pub targets: Vec<TargetState>,
}

impl Snapshot {
    /// Was everything that an alert about `subject` may depend on observed in this snapshot? Only then may silence
    /// of a rule resolve the alert.
    pub fn observed(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Group(group) => self.kafka.as_ref().is_some_and(|kafka| kafka.group_observed(group)),
            Subject::Topic(topic) => self.kafka.as_ref().is_some_and(|kafka| kafka.topic_observed(topic)),
            Subject::Broker => self.targets.iter().all(|target| target.up) && self.fresh(),
            Subject::Agent => self.whole(),
        }
    }

    /// Was all of our share of Kafka observed? True also without a Kafka to observe. An alert of an agent is often
    /// about all that it sees together; a JMX page that is down is no reason to keep it.
    fn whole(&self) -> bool {
        self.targets.iter().all(|target| &*target.name != KAFKA_TARGET)
            || self
                .kafka
                .as_ref()
                .is_some_and(|kafka| !kafka.replaying && !kafka.incomplete && kafka.failed_topics.is_empty())
    }

    /// Kafka, as far as an answer about "all groups" can be given.
    ///
    /// # Errors
    /// Why it cannot, in words for authors of rules.
    pub fn kafka_replayed(&self) -> Result<&KafkaView, &'static str> {
        match &self.kafka {
            None => Err("Kafka was not observed lately"),
            Some(kafka) if kafka.replaying => Err("the offsets topic is still being read: not all groups are known"),
            Some(kafka) => Ok(kafka),
        }
    }

    /// Does this agent answer for `subject`? Only then does it speak about it.
    pub fn answers_for(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Group(group) => self.kafka.as_ref().is_some_and(|kafka| kafka.owns_group(group) == Some(true)),
            Subject::Topic(topic) => self.kafka.as_ref().is_some_and(|kafka| kafka.owns_topic(topic)),
            Subject::Broker | Subject::Agent => true,
        }
    }

    /// Did every target contribute to this snapshot?
    fn fresh(&self) -> bool {
        self.targets.iter().all(|target| {
            if &*target.name == KAFKA_TARGET {
                self.kafka.is_some()
            } else {
                self.pages.iter().any(|p| p.target == target.name)
            }
        })
    }
}

/// Name of the Kafka target; a JMX page may not be called so.
pub const KAFKA_TARGET: &str = "kafka";
