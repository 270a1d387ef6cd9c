//! Walks over one page again and again, at a pace that the broker can bear, and publishes what came of it.

use super::{
    Config,
    walk::{self, WalkError},
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{BoundedText, Timestamp, families},
    snapshot::{Exposition, PageObservation, TargetState},
    supervise::Stop,
};
use std::{error::Error, iter, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// A walk is the broker's work: after one that took a second there is none for ten.
const REST_PER_WALK: u32 = 10;
/// A page is stale after this many walks' time without a new one, ...
const STALE_WALKS: u32 = 12;
/// ... but not before this many intervals.
const STALE_INTERVALS: u32 = 3;
/// Longest reason, in bytes.
const MAX_REASON: usize = 400;
/// The reason for [`families::PAGE_SAMPLES_DROPPED`] when a sample has a label twice.
const DUPLICATE_LABEL: &str = "duplicate_label";

/// What is known about a page from one walk to the next.
pub(super) struct Reader {
    config: Config,
    metrics: Arc<SelfMetrics>,
    sender: watch::Sender<Arc<PageObservation>>,
    target: TargetState,
    /// What the log said last; `None` = nothing yet.
    told: Option<&'static str>,
}

impl Reader {
    pub(super) fn new(config: Config, metrics: Arc<SelfMetrics>) -> (Self, watch::Receiver<Arc<PageObservation>>) {
        metrics.set(&families::TARGET_UP, &[&config.name], 0.0);
        let reason = Some("not scraped yet".to_owned());
        let target = TargetState { name: config.name.as_str().into(), up: false, last_success: None, reason };
        let first = observation(&config, &target, None, clock::now(), Duration::ZERO);
        let (sender, receiver) = watch::channel(first);
        (Self { config, metrics, sender, target, told: None }, receiver)
    }

    pub(super) async fn run(mut self, stop: Stop) {
        loop {
            let start = Instant::now();
            let (outcome, duration) = tokio::select! {
                () = stop.wait() => return,
                outcome = walk(&self.config) => outcome,
            };
            self.publish(outcome, duration);
            let rested = Instant::now() + duration.saturating_mul(REST_PER_WALK);
            tokio::select! {
                () = stop.wait() => return,
                () = sleep_until(rested.max(start + self.config.interval)) => {}
            }
        }
    }

    fn publish(&mut self, outcome: Result<Exposition, WalkError>, duration: Duration) {
        let name = self.config.name.as_str();
        let now = clock::now();
        self.metrics.set(&families::COLLECTION_DURATION, &[name], duration.as_secs_f64());
        let page = match outcome {
            Ok(page) => {
                self.target.up = true;
                self.target.last_success = Some(now);
                self.target.reason = None;
                self.metrics.set(&families::TARGET_UP, &[name], 1.0);
                self.metrics.set(&families::TARGET_LAST_SUCCESS, &[name], now.seconds());
                if page.dropped() > 0 {
                    let dropped = f64::from(u32::try_from(page.dropped()).unwrap_or(u32::MAX));
                    self.metrics.add(&families::PAGE_SAMPLES_DROPPED, &[DUPLICATE_LABEL, name], dropped);
                }
                if self.told.replace("up") != Some("up") {
                    tracing::info!(page = name, samples = page.sample_count(), ?duration, "the page is read");
                }
                Some(page)
            }
            Err(error) => {
                let reason = reason(&error);
                self.metrics.set(&families::TARGET_UP, &[name], 0.0);
                self.metrics.count(&families::TARGET_ERRORS, &[error.kind(), name]);
                if self.told.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(page = name, %reason, "the page cannot be read");
                }
                self.target.up = false;
                self.target.reason = Some(reason);
                None
            }
        };
        self.sender.send_replace(observation(&self.config, &self.target, page, now, duration));
    }
}

/// One walk and how long the exporter was kept busy by it.
async fn walk(config: &Config) -> (Result<Exposition, WalkError>, Duration) {
    let start = Instant::now();
    let fetched = walk::fetch(config).await;
    let duration = start.elapsed();
    match fetched {
        Ok(body) => (walk::parse(body).await, duration),
        Err(error) => (Err(error), duration),
    }
}

fn observation(
    config: &Config,
    target: &TargetState,
    page: Option<Exposition>,
    at: Timestamp,
    walk: Duration,
) -> Arc<PageObservation> {
    Arc::new(PageObservation {
        target: target.clone(),
        page: page.map(Arc::new),
        at,
        stale_after: config.interval.saturating_mul(STALE_INTERVALS).max(walk.saturating_mul(STALE_WALKS)),
        labels: Arc::clone(&config.labels),
    })
}

/// The error and its causes, fit for logs and pages.
fn reason(error: &WalkError) -> String {
    let causes = iter::successors(Some(error as &dyn Error), |&error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    BoundedText(&text, MAX_REASON).to_string()
}
