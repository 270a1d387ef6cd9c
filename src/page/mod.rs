//! Makes the `/metrics` page out of snapshots: encoded when a part changed, never when it is asked for.
//! The parts are Kafka's families, the JMX pages' and our own; no family is in two of them.

#[doc(hidden)]
pub mod bench;
pub mod encode;
pub mod foreign;
pub mod kafka;
mod own;
mod process;
mod segments;
mod worker;

pub use worker::{ForeignFilter, OWN_PART_INTERVAL, Settings, start};

use bytes::Bytes;

/// The page's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Keep kafka_exporter's −1 conventions: offset and lag of a partition without a commit are −1, and the sum of
    /// offsets has them in it. False: such partitions have no series and no part in the sum. The families themselves
    /// are the same.
    pub kafka_exporter: bool,
    /// More series about Kafka than this: topic granularity instead of partitions, for groups.
    pub max_series: u64,
}

/// A finished page, plain and as one gzip member. The parts follow each other.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Text 0.0.4.
    pub plain: Vec<Bytes>,
    /// The same, compressed.
    pub gzip: Vec<Bytes>,
    /// Series on it.
    pub series: u64,
}
