//! Collects JMX exporter pages: one reader for each page, never overlapping.

use crate::model::Labels;
use regex::Regex;
use std::{sync::Arc, time::Duration};

/// One page's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Value of the label `target`.
    pub name: String,
    /// `http://` only.
    pub url: hyper::Uri,
    /// Distance between two walks; the next one also waits 10 × the duration of the last.
    pub interval: Duration,
    /// Longest duration of one walk, headers and body.
    pub timeout: Duration,
    /// Largest page, decompressed, in bytes.
    pub max_size: u64,
    /// Metric names to re-export; anchored; empty = none.
    pub keep: Vec<Regex>,
    /// Of those, metric names not to re-export.
    pub drop: Vec<Regex>,
    /// Added to every series.
    pub labels: Arc<Labels>,
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let texts = |regexes: &[Regex]| regexes.iter().map(|regex| regex.as_str().to_owned()).collect::<Vec<_>>();
        (&self.name, &self.url, self.interval, self.timeout, self.max_size, &self.labels)
            == (&other.name, &other.url, other.interval, other.timeout, other.max_size, &other.labels)
            && texts(&self.keep) == texts(&other.keep)
            && texts(&self.drop) == texts(&other.drop)
    }
}
