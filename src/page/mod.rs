//! Makes the `/metrics` page out of snapshots: encoded when a part changed, never when it is asked for.

pub mod foreign;

use bytes::Bytes;

/// The page's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Export kafka_exporter's families with its −1 conventions.
    pub kafka_exporter: bool,
    /// More series than this: topic granularity instead of partitions.
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
