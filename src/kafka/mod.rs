//! Collects from Kafka through the local broker: groups from `__consumer_offsets`, offsets by batched ListOffsets.

mod beside;
mod bounds;
mod client;
mod cluster;
mod collector;
mod ends;
mod freshness;
mod gather;
mod offsets;
mod reader;
mod records;
mod view;

pub use bounds::{READER_STALE_INTERVALS, READER_STALE_LEAST, START_INTERVAL};
pub use client::{ClientError, MAX_ERROR_TEXT, MAX_SECRET_FILE};
pub use collector::{RETRY_INTERVAL, STARTUP_INTERVAL, StartError, start};
pub use ends::CHUNK;
pub use freshness::RECHECK_AFTER;

use crate::model::Secret;
use regex::Regex;
use std::{collections::BTreeMap, time::Duration};

/// What part of the cluster we answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The share of the broker beside us.
    Broker,
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
    /// The broker beside us; `None` = decide from what it advertises.
    pub broker_id: Option<i32>,
    /// Distance between two cycles.
    pub interval: Duration,
    /// Longest wait for any answer; less than `interval`.
    pub timeout: Duration,
    /// Groups to collect.
    pub groups: NameFilter,
    /// Topics to collect.
    pub topics: NameFilter,
    /// Further librdkafka properties.
    pub properties: BTreeMap<String, Secret>,
}
