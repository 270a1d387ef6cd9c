//! Requests as brokers counted them.

use crate::harness::{http, kafka::Cluster, pause};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Longest wait for a JMX page: the first walk of a busy broker takes seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(30);

/// What is no collector's: members, and replicas.
const NOT_OF_COLLECTORS: &[&str] = &["Heartbeat", "FetchFollower"];

/// Requests of all brokers together so far, by kind.
pub(crate) struct Counts {
    by_kind: BTreeMap<String, u64>,
    at: Instant,
}

impl Counts {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let mut by_kind = BTreeMap::new();
        for id in cluster.ids() {
            let page = http::ask_patiently(PATIENCE, cluster.jmx_address(id), "GET", "/metrics", &[]).unwrap();
            assert_eq!(page.status, 200);
            add(&page.text(), &mut by_kind);
        }
        Self { by_kind, at: Instant::now() }
    }
}

/// Adds the counts of one broker's page.
fn add(page: &str, by_kind: &mut BTreeMap<String, u64>) {
    for line in page.lines().filter(|line| line.starts_with("kafka_network_requestmetrics_count{")) {
        let label = |name: &str| line.split_once(name)?.1.split('"').next();
        let (Some("RequestsPerSec"), Some(kind)) = (label("{name=\""), label("request=\"")) else { continue };
        // Brokers count each Fetch a second time as FetchConsumer or FetchFollower.
        if kind == "Fetch" || NOT_OF_COLLECTORS.contains(&kind) {
            continue;
        }
        let count: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a count");
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = count as u64;
        *by_kind.entry(kind.to_owned()).or_default() += count;
    }
}

/// Requests a second by kind.
pub(crate) struct Rates(BTreeMap<String, f64>);

impl Rates {
    /// Of brokers among themselves, when no collector runs.
    pub(crate) fn of_idle_cluster(cluster: &Cluster) -> Self {
        // The first look at a JMX page takes seconds of the broker's time.
        Counts::of(cluster);
        let before = Counts::of(cluster);
        pause(IDLE);
        Self::between(&before, &Counts::of(cluster))
    }

    fn between(before: &Counts, after: &Counts) -> Self {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let grown = after.by_kind.iter().map(|(kind, count)| {
            let more = count.saturating_sub(before.by_kind.get(kind).copied().unwrap_or(0));
            (kind.clone(), f64::from(u32::try_from(more).unwrap()) / seconds)
        });
        Self(grown.collect())
    }

    /// What came on top of `idle` between two counts, per second; without what hardly ever comes.
    pub(crate) fn on_top(before: &Counts, after: &Counts, idle: &Self) -> BTreeMap<String, f64> {
        let above = |(kind, rate): (String, f64)| {
            let rate = rate - idle.0.get(&kind).copied().unwrap_or(0.0);
            (kind, rate)
        };
        Self::between(before, after).0.into_iter().map(above).filter(|(_, rate)| *rate > 0.005).collect()
    }

    /// The time between two counts.
    pub(crate) fn seconds(before: &Counts, after: &Counts) -> f64 {
        after.at.duration_since(before.at).as_secs_f64()
    }
}
