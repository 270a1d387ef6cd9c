//! Scrapes, and a quick look at what came.

use crate::harness::http;
use flate2::read::GzDecoder;
use std::{
    collections::HashMap,
    io::Read as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Longest wait for any piece of an answer: some collect while the scraper waits.
const PATIENCE: Duration = Duration::from_mins(2);

/// The families that lags are in, where that is known.
const LAGS: &[&str] = &["kafka_consumergroup_lag", "kminion_kafka_consumer_group_topic_partition_lag"];

/// An answer and how long it took, the connection included.
pub(crate) struct Scrape {
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
    /// Was it compressed?
    pub(crate) gzip: bool,
}

/// Asks for /metrics, compressed or not.
pub(crate) fn scrape(address: SocketAddr, gzip: bool) -> Result<Scrape, String> {
    let coding: &[(&str, &str)] = if gzip { &[("Accept-Encoding", "gzip")] } else { &[] };
    let start = Instant::now();
    let answer = http::ask_patiently(PATIENCE, address, "GET", "/metrics", coding);
    let answer = answer.map_err(|error| error.to_string())?;
    let took = start.elapsed();
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let gzip = answer.header("content-encoding").is_some_and(|coding| coding == "gzip");
    Ok(Scrape { body: answer.body, took, gzip })
}

impl Scrape {
    pub(crate) fn text(&self) -> Result<String, String> {
        let mut text = String::new();
        let read = if self.gzip {
            GzDecoder::new(&*self.body).read_to_string(&mut text)
        } else {
            (&*self.body).read_to_string(&mut text)
        };
        read.map_err(|error| error.to_string())?;
        Ok(text)
    }
}

/// The series of one family: how many, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Family {
    pub(crate) series: u32,
    pub(crate) sum: f64,
}

/// Series on a page.
pub(crate) fn count_series(page: &str) -> u64 {
    let series = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    u64::try_from(series).unwrap()
}

/// The family of that name.
pub(crate) fn family(page: &str, name: &str) -> Family {
    let mut found = Family::default();
    for line in page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))) {
        found.series += 1;
        found.sum += line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN);
    }
    found
}

/// The family that holds the lag of each group and partition: a known one or, of an exporter that is not known, the
/// largest one whose name ends in `lag`.
pub(crate) fn lags(page: &str) -> Family {
    if let Some(known) = LAGS.iter().map(|name| family(page, name)).find(|found| found.series > 0) {
        return known;
    }
    let mut sizes: HashMap<&str, u32> = HashMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.split(['{', ' ']).next().filter(|name| name.ends_with("lag")) {
            *sizes.entry(name).or_default() += 1;
        }
    }
    sizes.iter().max_by_key(|(_, size)| **size).map(|(name, _)| family(page, name)).unwrap_or_default()
}
