//! The thread that keeps the page up to date: each part is encoded and compressed when what it shows changed.

use super::{
    Config, Page, encode,
    foreign::{self, ForeignPage},
    kafka, own, process,
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
use regex::Regex;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

/// Our own figures on the page are never older than this (and as new as the newest snapshot).
pub const OWN_PART_INTERVAL: Duration = Duration::from_secs(1);

/// All that the page is made by; may be replaced while running.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The page's own configuration.
    pub page: Config,
    /// What of the JMX pages is re-exported; nothing of one that is not named here.
    pub foreign: Vec<ForeignFilter>,
}

/// What of a JMX page is re-exported.
#[derive(Clone, Debug)]
pub struct ForeignFilter {
    /// The page's target.
    pub target: String,
    /// Names of samples; anchored; empty = none.
    pub keep: Vec<Regex>,
    /// Of those, names that are not re-exported.
    pub drop: Vec<Regex>,
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
    /// One for each family: of most of them nothing changes for hours.
    kafka: Vec<Segment>,
    kafka_series: u64,
    kafka_of: Option<Arc<KafkaView>>,
    sizes: kafka::Sizes,
    foreign: Segment,
    foreign_series: u64,
    foreign_of: Vec<ObservedPage>,
    left_out: u64,
}

impl Parts {
    fn new(metrics: Arc<SelfMetrics>) -> Self {
        Self {
            metrics,
            compressor: Compressor::new(),
            settings: None,
            kafka: Vec::new(),
            kafka_series: 0,
            kafka_of: None,
            sizes: kafka::Sizes::default(),
            foreign: Segment::default(),
            foreign_series: 0,
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
            let part = snapshot
                .kafka
                .as_ref()
                .map(|view| kafka::encode(view, &settings.page, &mut self.sizes))
                .unwrap_or_default();
            self.tell_left_out(part.left_out, settings.page.max_series);
            self.kafka = self.compressor.segments(part.text, std::mem::take(&mut self.kafka))?;
            self.kafka_series = part.series;
            self.kafka_of.clone_from(&snapshot.kafka);
        }
        if !same_settings || !same_pages(&self.foreign_of, &snapshot.pages) {
            let part = foreign_part(&snapshot.pages, &settings.foreign);
            for dropped in &part.dropped {
                if !self.foreign_of.iter().any(|old| is_same(old, &dropped.target, &snapshot.pages)) {
                    let labels = [dropped.reason, &*dropped.target];
                    self.metrics.add(&families::PAGE_SAMPLES_DROPPED, &labels, to_float(dropped.samples));
                }
            }
            self.foreign = self.compressor.segment(part.text.into())?;
            self.foreign_series = part.series;
            self.foreign_of.clone_from(&snapshot.pages);
        }
        process::observe(&self.metrics);
        let (text, own_series) = own::encode(&self.metrics.figures(), alerts);
        let own = self.compressor.segment(text.into())?;
        let series = [self.kafka_series, self.foreign_series, own_series].into_iter().fold(0, u64::saturating_add);
        Ok(segments::join(self.kafka.iter().chain([&self.foreign, &own]), series))
    }

    fn tell_left_out(&mut self, left_out: u64, max_series: u64) {
        if left_out > 0 && self.left_out == 0 {
            tracing::warn!(left_out, max_series, "more series than metrics.max_series: groups are told by topic only");
        } else if left_out == 0 && self.left_out > 0 {
            tracing::info!(max_series, "groups are told by partition again");
        }
        self.left_out = left_out;
        self.metrics.set(&families::PAGE_SERIES_LEFT_OUT, &[], to_float(left_out));
    }
}

fn foreign_part(pages: &[ObservedPage], filters: &[ForeignFilter]) -> foreign::ForeignPart {
    let wanted = pages.iter().map(|observed| {
        let filter = filters.iter().find(|filter| *filter.target == *observed.target);
        let (keep, drop) = filter.map_or((&[][..], &[][..]), |filter| (&filter.keep, &filter.drop));
        ForeignPage { observed, keep, drop }
    });
    foreign::encode(&wanted.collect::<Vec<_>>(), families::is_own)
}

/// Is this the page that the target still shows? Then what was dropped of it is counted already.
fn is_same(old: &ObservedPage, target: &Arc<str>, new: &[ObservedPage]) -> bool {
    old.target == *target && new.iter().any(|new| new.target == *target && Arc::ptr_eq(&new.page, &old.page))
}

fn to_float(count: u64) -> f64 {
    encode::to_float(i64::try_from(count).unwrap_or(i64::MAX))
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

    fn view(brokers: i32) -> Arc<KafkaView> {
        let broker = |id| Broker { id: crate::model::BrokerId(id), address: "a:1".into() };
        let brokers = (0..brokers).map(broker).collect();
        Arc::new(KafkaView { answers_for_cluster: true, brokers, ..KafkaView::default() })
    }

    fn text(page: &watch::Receiver<Arc<Page>>) -> String {
        String::from_utf8(page.borrow().plain.concat()).unwrap()
    }

    /// What is waited for comes soon, or never.
    async fn within<T, E: std::fmt::Debug>(waited_for: impl Future<Output = Result<T, E>>) {
        tokio::time::timeout(Duration::from_secs(20), waited_for).await.expect("not in time").unwrap();
    }

    #[tokio::test]
    async fn the_page_follows_snapshots_and_keeps_what_did_not_change() {
        let (tasks, _ended) = Tasks::new();
        let config =
            |max_series| Arc::new(Settings { page: Config { kafka_exporter: true, max_series }, foreign: Vec::new() });
        let (settings, settings_seen) = watch::channel(config(10));
        let (snapshots, seen) = watch::channel(snapshot(0, None));
        let (_alerts, alerts) = watch::channel(Arc::default());
        let metrics = Arc::new(SelfMetrics::default());
        let mut page = start(&tasks, settings_seen, seen, alerts, Arc::clone(&metrics)).unwrap();
        assert!(text(&page).contains("brokerwarden_build_info{version=") && !text(&page).contains("kafka_"));
        assert!(page.borrow_and_update().series > 5);

        let kafka = Some(view(2));
        snapshots.send_replace(snapshot(1, kafka.clone()));
        within(page.wait_for(|page| page.plain.len() > 1)).await;
        assert!(text(&page).contains("\nkafka_brokers 2\n"));
        let first = page.borrow_and_update().clone();

        metrics.set(&families::TARGET_UP, &["kafka"], 1.0);
        snapshots.send_replace(snapshot(2, kafka));
        within(page.wait_for(|page| page.plain.concat().windows(19).any(|w| w == b"brokerwarden_target"))).await;
        assert_eq!(page.borrow().plain[0].as_ptr(), first.plain[0].as_ptr(), "the same view is not encoded again");

        snapshots.send_replace(snapshot(3, Some(view(3))));
        within(page.wait_for(|page| page.plain[0] != first.plain[0])).await;
        assert!(text(&page).contains("\nkafka_brokers 3\n"));

        snapshots.send_replace(snapshot(4, None));
        within(page.wait_for(|page| page.plain.len() == 1)).await;
        assert!(!text(&page).contains("kafka_"), "what is not observed any more is gone");

        // Without a snapshot, and though nobody sends settings any more, our own figures stay fresh.
        drop((settings, snapshots));
        page.borrow_and_update();
        page.changed().await.unwrap();
        assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    }

    #[test]
    fn foreign_pages_are_filtered_and_keep_out_of_our_families() {
        let metrics = Arc::new(SelfMetrics::default());
        let mut parts = Parts::new(Arc::clone(&metrics));
        let regexes = |texts: &[&str]| texts.iter().map(|text| Regex::new(text).unwrap()).collect();
        let filter =
            ForeignFilter { target: "broker".into(), keep: regexes(&["^(?:.*)$"]), drop: regexes(&["^(?:jvm_.*)$"]) };
        let settings =
            Arc::new(Settings { page: Config { kafka_exporter: true, max_series: 10 }, foreign: vec![filter] });
        let text =
            "kafka_server_x{a=\"b\"} 1.0E7\njvm_threads 3\nkafka_brokers 9\nrule_x 1\nkafka_server_x{a=\"b\"} 2\n";
        let observed = |target: &str| ObservedPage {
            target: target.into(),
            page: Arc::new(crate::snapshot::Exposition::parse(text.to_owned()).unwrap()),
            labels: Arc::default(),
        };
        let mut seen = Snapshot::clone(&snapshot(1, Some(view(2))));
        seen.pages = vec![observed("broker"), observed("not in agent.yaml")];
        for _ in 0..2 {
            let page = parts.page(&settings, &seen, &AlertsView::default()).unwrap();
            let text = String::from_utf8(page.plain.concat()).unwrap();
            assert!(
                text.contains("\nkafka_server_x{a=\"b\"} 1.0E7\n") && text.contains("\nkafka_brokers 2\n"),
                "{text}"
            );
            assert!(!text.contains("jvm_") && !text.contains("rule_x"));
            let families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
            assert_eq!(families.len(), families.iter().collect::<std::collections::BTreeSet<_>>().len());
            let dropped = |reason| metrics.value(&families::PAGE_SAMPLES_DROPPED, &[reason, "broker"]);
            assert_eq!((dropped(foreign::OWN_NAME), dropped(foreign::DUPLICATE)), (Some(2.0), Some(1.0)));
            // The other page changes, this one does not: what was dropped of it stays counted once.
            seen.pages.truncate(1);
        }
    }

    #[test]
    fn left_out_series_are_counted() {
        let metrics = Arc::new(SelfMetrics::default());
        let mut parts = Parts::new(Arc::clone(&metrics));
        let settings = Arc::new(Settings { page: Config { kafka_exporter: true, max_series: 0 }, foreign: Vec::new() });
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
        parts.page(&settings, &snapshot(2, Some(view(1))), &AlertsView::default()).unwrap();
        assert_eq!(metrics.value(&families::PAGE_SERIES_LEFT_OUT, &[]), Some(0.0));
    }
}
