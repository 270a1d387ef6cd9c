//! Collects from Kafka through the local broker: groups from `__consumer_offsets` (or from their coordinators, where that
//! may not be read), offsets by batched ListOffsets.

mod accepted;
mod admin;
#[doc(hidden)]
pub mod bench;
mod beside;
mod bounds;
mod checkpoint;
mod client;
mod cluster;
mod collector;
mod ends;
mod ffi;
mod freshness;
mod gather;
mod handles;
mod held;
mod hints;
mod kinds;
mod names;
mod oauth;
mod offsets;
mod phases;
mod polled;
mod polls;
mod probe;
mod produce;
mod produced;
mod properties;
mod questions;
mod reader;
mod records;
mod replays;
mod seeds;
mod source;
mod stable;
mod tls;
mod tokens;
mod vanished;
mod view;

pub use accepted::{Refusal, property_names, refusal_of};
pub use admin::{KEEP_INTERVALS, LIST_INTERVAL, MAX_IN_FLIGHT, SILENT_AFTER};
pub use bounds::{HELD_UP, READER_STALE_INTERVALS, READER_STALE_LEAST, START_INTERVAL};
pub use checkpoint::{CHECKPOINT_INTERVAL, MAX_SLICE_BYTES, UNKNOWN_RETENTION};
pub use client::{ClientError, MAX_ERROR_TEXT, MAX_SECRET_FILE};
pub use collector::{EMPTY_BELIEVED_INTERVALS, HURRY, RETRY_INTERVAL, STARTUP_INTERVAL, StartError, start};
pub use ends::CHUNK;
pub use freshness::RECHECK_AFTER;
pub use handles::{DIAGNOSIS_MEMORY, LOOK_INTERVAL};
pub use oauth::LONGEST_LIFE;
pub use offsets::{MAX_ENTRIES, MAX_UNSAVED, NAME_BYTES};
pub use polled::DESCRIBE_INTERVAL;
pub use probe::{OffsetsTopic, Probed, probe};
pub use produce::{
    MAX_WAITING_RECORDS, NotWritten, Outgoing, PRODUCER_GRACE, PRODUCER_IDLE, Producer, Written, start_producer,
};
pub use properties::problems as property_problems;
pub use source::{TOPIC_RETRY, TOPIC_TRY};
pub use tls::MAX_CA_FILE;
pub use tokens::{FETCH_TIMEOUT, FIRST_RETRY, LEAST_DISTANCE, LONGEST_RETRY, MAX_ANSWER};
pub use view::MAX_ROWS;

use crate::model::Secret;
use regex::Regex;
use std::{collections::BTreeMap, time::Duration};

/// What part of the cluster we answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The share of the broker beside us.
    Broker,
    /// All of it: one agent for the cluster.
    Cluster,
}

/// Where groups and their commits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetsSource {
    /// From `__consumer_offsets`.
    Topic,
    /// From the coordinators, asked group by group.
    Admin,
    /// From the topic where it may be read, else from the coordinators.
    Auto,
}

/// Which names are wanted. Regexes are anchored already.
#[derive(Clone, Debug)]
pub struct NameFilter {
    /// At least one must match.
    pub include: Vec<Regex>,
    /// None may match.
    pub exclude: Vec<Regex>,
}

impl NameFilter {
    /// Is this name wanted?
    pub fn wants(&self, name: &str) -> bool {
        self.include.iter().any(|regex| regex.is_match(name)) && !self.exclude.iter().any(|regex| regex.is_match(name))
    }
}

impl PartialEq for NameFilter {
    fn eq(&self, other: &Self) -> bool {
        let texts = |regexes: &[Regex]| regexes.iter().map(|regex| regex.as_str().to_owned()).collect::<Vec<_>>();
        texts(&self.include) == texts(&other.include) && texts(&self.exclude) == texts(&other.exclude)
    }
}

/// The collector's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `host:port[,host:port…]`.
    pub bootstrap_servers: String,
    /// Our share.
    pub scope: Scope,
    /// The broker beside us; `None` = decide from what it advertises. Of no account with [`Scope::Cluster`].
    pub broker_id: Option<i32>,
    /// Where groups come from.
    pub offsets: OffsetsSource,
    /// A partition of `__consumer_offsets` that was not read to its end by so many records is not read: its groups are
    /// asked for one by one.
    pub replay_max_records: u64,
    /// Distance between two cycles.
    pub interval: Duration,
    /// Longest wait for any answer; less than `interval`.
    pub timeout: Duration,
    /// Groups to collect.
    pub groups: NameFilter,
    /// Topics to collect.
    pub topics: NameFilter,
    /// Leave groups without members off the page; rules go on seeing them.
    pub hide_inactive: bool,
    /// Further librdkafka properties.
    pub properties: BTreeMap<String, Secret>,
}

#[cfg(test)]
fn config_for_tests(bootstrap_servers: &str) -> Config {
    let all = || NameFilter { include: Regex::new("^.*$").into_iter().collect(), exclude: Vec::new() };
    Config {
        bootstrap_servers: bootstrap_servers.to_owned(),
        scope: Scope::Broker,
        broker_id: None,
        offsets: OffsetsSource::Auto,
        replay_max_records: 1_000_000,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(4),
        groups: all(),
        topics: all(),
        hide_inactive: false,
        properties: BTreeMap::new(),
    }
}
