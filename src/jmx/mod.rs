//! Collects JMX exporter pages: one reader for each page, never overlapping. Does not know what becomes of a page.

mod body;
mod reader;
#[cfg(test)]
mod tests;
mod walk;

pub use walk::MAX_HEADER_BYTES;

use crate::{
    client::{Login, Tls},
    events::SelfMetrics,
    model::Labels,
    snapshot::{Exposition, PageObservation},
    supervise::Tasks,
};
use reader::Reader;
use regex::Regex;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// One page's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Value of the label `target`.
    pub name: String,
    /// `http://` or `https://`.
    pub url: hyper::Uri,
    /// Who we are to the exporter.
    pub login: Option<Login>,
    /// Whom we trust to be the exporter, and what we show it.
    pub tls: Tls,
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
            && (&self.login, &self.tls) == (&other.login, &other.tls)
            && texts(&self.keep) == texts(&other.keep)
            && texts(&self.drop) == texts(&other.drop)
    }
}

/// Starts to read a page, again and again until the tasks are stopped. What is returned always has the newest
/// observation; the first says that there was none yet.
pub fn start(tasks: &Tasks, config: Config, metrics: Arc<SelfMetrics>) -> watch::Receiver<Arc<PageObservation>> {
    let name = format!("jmx-{}", config.name);
    let (reader, receiver) = Reader::new(config, metrics);
    tasks.task(&name, reader.run(tasks.stop()));
    receiver
}

/// The id of the broker whose page this is: both agent versions name it, whatever case their rules choose. `None` when
/// the page names none, or more than one.
pub fn broker_id(page: &Exposition) -> Option<i32> {
    let infos = page.names().filter(|(name, _)| name.eq_ignore_ascii_case("kafka_server_app_info_starttimems"));
    let mut ids = infos.flat_map(|(_, samples)| samples).map(|sample| sample.label("id")?.parse().ok());
    let first: i32 = ids.next()??;
    (first >= 0 && ids.all(|id| id == Some(first))).then_some(first)
}
