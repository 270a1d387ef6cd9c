//! The thread that keeps the page up to date: each part is encoded and compressed when what it shows changed.

use super::{
    Config, Page, kafka, own, process,
    segments::{self, Compressor, Segment},
};
use crate::{
    alerts::AlertsView,
    events::SelfMetrics,
    model::families,
    snapshot::{KafkaView, ObservedPage, Snapshot},
    supervise::Tasks,
};
use flate2::CompressError;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

/// Our own figures on the page are never older than this (and as new as the newest snapshot).
pub const OWN_PART_INTERVAL: Duration = Duration::from_secs(1);

/// All that the page is made by; may be replaced while running.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The page's own configuration.
    pub page: Config,
}

/// Starts the thread. Readers always find a whole page, at first one with our own figures only. The page's channel
/// keeps the newest only; this thread is its one sender.
///
/// # Errors
/// When the system refuses a thread or its event loop.
pub fn start(
    tasks: &Tasks,
    mut settings: watch::Receiver<Arc<Settings>>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    alerts: watch::Receiver<Arc<AlertsView>>,
    metrics: Arc<SelfMetrics>,
) -> io::Result<watch::Receiver<Arc<Page>>> {
    metrics.set(&families::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut parts = Parts::new(metrics);
    let mut next = move |settings: &mut watch::Receiver<_>, snapshots: &mut watch::Receiver<_>| {
        let settings = Arc::clone(&settings.borrow_and_update());
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let alerts = Arc::clone(&alerts.borrow());
        parts.page(&settings, &snapshot, &alerts).map_err(io::Error::other)
    };
    let (sender, receiver) = watch::channel(Arc::new(next(&mut settings, &mut snapshots)?));
    tasks.thread("page", move |stop| {
        runtime.block_on(async {
            let mut tick = tokio::time::interval_at(Instant::now() + OWN_PART_INTERVAL, OWN_PART_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stop.wait() => return,
                    Ok(()) = snapshots.changed() => {}
                    Ok(()) = settings.changed() => {}
                    _ = tick.tick() => {}
                }
                match next(&mut settings, &mut snapshots) {
                    Ok(page) => drop(sender.send_replace(Arc::new(page))),
                    Err(error) => return tracing::error!(%error, "the page cannot be compressed"),
                }
            }
        });
    })?;
    Ok(receiver)
}

/// The parts as they were last encoded, and what they were made of.
struct Parts {
    metrics: Arc<SelfMetrics>,
    compressor: Compressor,
    settings: Option<Arc<Settings>>,
    kafka: Segment,
    kafka_of: Option<Arc<KafkaView>>,
    foreign: Segment,
    foreign_of: Vec<ObservedPage>,
    left_out: u64,
}

impl Parts {
    fn new(metrics: Arc<SelfMetrics>) -> Self {
        Self {
            metrics,
            compressor: Compressor::new(),
            settings: None,
            kafka: Segment::default(),
            kafka_of: None,
            foreign: Segment::default(),
            foreign_of: Vec::new(),
            left_out: 0,
        }
    }

    fn page(
        &mut self,
        settings: &Arc<Settings>,
        snapshot: &Snapshot,
        alerts: &AlertsView,
    ) -> Result<Page, CompressError> {
        let same_settings = self.settings.as_ref().is_some_and(|old| Arc::ptr_eq(old, settings));
        self.settings = Some(Arc::clone(settings));
        if !same_settings || !same_view(self.kafka_of.as_ref(), snapshot.kafka.as_ref()) {
            let part = snapshot.kafka.as_ref().map(|view| kafka::encode(view, &settings.page)).unwrap_or_default();
            self.tell_left_out(part.left_out, settings.page.max_series);
            self.kafka = self.compressor.segment(part.text.into(), part.series)?;
            self.kafka_of.clone_from(&snapshot.kafka);
        }
        if !same_settings || !same_pages(&self.foreign_of, &snapshot.pages) {
            let (text, series) = foreign_part(&snapshot.pages, settings, &self.metrics);
            self.foreign = self.compressor.segment(text.into(), series)?;
            self.foreign_of.clone_from(&snapshot.pages);
        }
        process::observe(&self.metrics);
        let (text, series) = own::encode(&self.metrics.figures(), alerts);
        let own = self.compressor.segment(text.into(), series)?;
        Ok(segments::join(&[&self.kafka, &self.foreign, &own]))
    }

    fn tell_left_out(&mut self, left_out: u64, max_series: u64) {
        if left_out > 0 && self.left_out == 0 {
            tracing::warn!(left_out, max_series, "more series than metrics.max_series: groups are told by topic only");
        } else if left_out == 0 && self.left_out > 0 {
            tracing::info!(max_series, "groups are told by partition again");
        }
        self.left_out = left_out;
        self.metrics.set(
            &families::PAGE_SERIES_LEFT_OUT,
            &[],
            super::encode::to_float(i64::try_from(left_out).unwrap_or(i64::MAX)),
        );
    }
}

fn foreign_part(_pages: &[ObservedPage], _settings: &Settings, _metrics: &SelfMetrics) -> (Vec<u8>, u64) {
    (Vec::new(), 0)
}

fn same_view(old: Option<&Arc<KafkaView>>, new: Option<&Arc<KafkaView>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}

fn same_pages(old: &[ObservedPage], new: &[ObservedPage]) -> bool {
    let same = |(old, new): (&ObservedPage, &ObservedPage)| {
        old.target == new.target && Arc::ptr_eq(&old.page, &new.page) && Arc::ptr_eq(&old.labels, &new.labels)
    };
    old.len() == new.len() && old.iter().zip(new).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Broker;

    fn snapshot(number: u64, kafka: Option<Arc<KafkaView>>) -> Arc<Snapshot> {
        let at = crate::model::Timestamp(number);
        let interval = Duration::from_secs(5);
        Arc::new(Snapshot { number, at, interval, cluster: "".into(), kafka, pages: Vec::new(), targets: Vec::new() })
    }

    fn view(brokers: i32) -> Option<Arc<KafkaView>> {
        let broker = |id| Broker { id: crate::model::BrokerId(id), address: "a:1".into() };
        let brokers = (0..brokers).map(broker).collect();
        Some(Arc::new(KafkaView { answers_for_cluster: true, brokers, ..KafkaView::default() }))
    }

    fn text(page: &watch::Receiver<Arc<Page>>) -> String {
        String::from_utf8(page.borrow().plain.concat()).unwrap()
    }

    #[tokio::test]
    async fn the_page_follows_snapshots_and_keeps_what_did_not_change() {
        let (tasks, _ended) = Tasks::new();
        let config = |max_series| Arc::new(Settings { page: Config { kafka_exporter: true, max_series } });
        let (settings, settings_seen) = watch::channel(config(10));
        let (snapshots, seen) = watch::channel(snapshot(0, None));
        let (_alerts, alerts) = watch::channel(Arc::default());
        let metrics = Arc::new(SelfMetrics::default());
        let mut page = start(&tasks, settings_seen, seen, alerts, Arc::clone(&metrics)).unwrap();
        assert!(text(&page).contains("brokerwarden_build_info{version=") && !text(&page).contains("kafka_"));
        assert!(page.borrow_and_update().series > 5);

        let kafka = view(2);
        snapshots.send_replace(snapshot(1, kafka.clone()));
        page.wait_for(|page| page.plain.len() == 2).await.unwrap();
        assert!(text(&page).contains("\nkafka_brokers 2\n"));
        let first = page.borrow_and_update().clone();

        metrics.set(&families::TARGET_UP, &["kafka"], 1.0);
        snapshots.send_replace(snapshot(2, kafka));
        page.wait_for(|page| page.plain.concat().windows(19).any(|w| w == b"brokerwarden_target")).await.unwrap();
        assert_eq!(page.borrow().plain[0].as_ptr(), first.plain[0].as_ptr(), "the same view is not encoded again");

        snapshots.send_replace(snapshot(3, view(3)));
        page.wait_for(|page| page.plain[0] != first.plain[0]).await.unwrap();
        assert!(text(&page).contains("\nkafka_brokers 3\n"));

        snapshots.send_replace(snapshot(4, None));
        page.wait_for(|page| page.plain.len() == 1).await.unwrap();
        assert!(!text(&page).contains("kafka_"), "what is not observed any more is gone");

        // Without a snapshot, and though nobody sends settings any more, our own figures stay fresh.
        drop((settings, snapshots));
        page.borrow_and_update();
        page.changed().await.unwrap();
        assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    }

    #[test]
    fn left_out_series_are_counted() {
        let metrics = Arc::new(SelfMetrics::default());
        let mut parts = Parts::new(Arc::clone(&metrics));
        let settings = Arc::new(Settings { page: Config { kafka_exporter: true, max_series: 0 } });
        let row = crate::snapshot::LagRow::new(0, "t".into(), 0, Some(1), None, Some(0), Some(2));
        let group = crate::snapshot::Group {
            name: "g".into(),
            kind: crate::snapshot::GroupKind::Classic,
            state: "Empty",
            members: None,
            coordinator: None,
            ours: true,
        };
        let kafka = Arc::new(KafkaView { groups: vec![group], rows: vec![row], ..KafkaView::default() });
        parts.page(&settings, &snapshot(1, Some(kafka)), &AlertsView::default()).unwrap();
        assert_eq!(metrics.value(&families::PAGE_SERIES_LEFT_OUT, &[]), Some(2.0));
        parts.page(&settings, &snapshot(2, view(1)), &AlertsView::default()).unwrap();
        assert_eq!(metrics.value(&families::PAGE_SERIES_LEFT_OUT, &[]), Some(0.0));
    }
}
