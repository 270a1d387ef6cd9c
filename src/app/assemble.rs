//! Puts the newest observations together into numbered snapshots, drops what is too old, and says whether the agent is
//! ready. The sum is pure; the task around it waits.

use crate::{
    clock,
    events::SelfMetrics,
    http::Readiness,
    jmx,
    model::{Timestamp, families},
    snapshot::{KafkaObservation, ObservedPage, PageObservation, Snapshot, TargetState},
    supervise::Stop,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::watch;

/// A view of Kafka older than this many intervals counts as not observed.
pub const KAFKA_STALE_INTERVALS: u32 = 3;

/// Where observations come from; replaced as a whole by a reload.
#[derive(Clone)]
pub struct Sources {
    /// Value of the `cluster` label, if agent.yaml gives one.
    pub cluster: Option<String>,
    /// Usual distance between snapshots.
    pub interval: Duration,
    /// The Kafka collector.
    pub kafka: Option<watch::Receiver<Arc<KafkaObservation>>>,
    /// The JMX collectors, in the order of agent.yaml.
    pub pages: Vec<watch::Receiver<Arc<PageObservation>>>,
}

/// What the assembler feeds.
pub struct Sinks {
    /// Everyone who reads snapshots.
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    /// `/-/ready`.
    pub readiness: watch::Sender<Arc<Readiness>>,
    /// The broker id that the JMX pages agree on.
    pub jmx_broker_id: watch::Sender<Option<i32>>,
}

/// The newest observations at one moment.
struct Observed<'a> {
    cluster: Option<&'a str>,
    interval: Duration,
    kafka: Option<&'a KafkaObservation>,
    pages: &'a [Arc<PageObservation>],
}

/// A snapshot of what is fresh at `now`.
fn assemble(number: u64, now: Timestamp, observed: &Observed<'_>) -> Snapshot {
    let stale = observed.interval.saturating_mul(KAFKA_STALE_INTERVALS);
    let kafka =
        observed.kafka.and_then(|kafka| kafka.view.as_ref()).filter(|view| now.since(view.at) <= stale).map(Arc::clone);
    let cluster = observed
        .cluster
        .or_else(|| observed.kafka.and_then(|kafka| kafka.view.as_ref()).and_then(|view| view.cluster_id.as_deref()));
    let pages = observed.pages.iter().filter(|page| now.since(page.at) <= page.stale_after).filter_map(|page| {
        Some(ObservedPage {
            target: Arc::clone(&page.target.name),
            page: Arc::clone(page.page.as_ref()?),
            labels: Arc::clone(&page.labels),
        })
    });
    let targets: Vec<TargetState> = observed
        .kafka
        .map(|kafka| kafka.target.clone())
        .into_iter()
        .chain(observed.pages.iter().map(|page| page.target.clone()))
        .collect();
    Snapshot {
        number,
        at: now,
        interval: observed.interval,
        cluster: cluster.unwrap_or_default().into(),
        kafka,
        pages: pages.collect(),
        targets,
    }
}

/// Ready = Kafka is collected whole; JMX does not count, since lag is known without it.
fn readiness(observed: &Observed<'_>) -> Readiness {
    let reasons = observed
        .kafka
        .filter(|kafka| !kafka.ready)
        .map(|kafka| format!("kafka: {}", kafka.target.reason.as_deref().unwrap_or("not collected whole yet")));
    Readiness { reasons: reasons.into_iter().collect() }
}

/// The id that the fresh pages agree on, if they do.
fn broker_id(snapshot: &Snapshot) -> Option<i32> {
    let ids: BTreeSet<i32> = snapshot.pages.iter().filter_map(|page| jmx::broker_id(&page.page)).collect();
    let mut ids = ids.into_iter();
    ids.next().filter(|_| ids.next().is_none())
}

/// Makes a snapshot whenever Kafka was collected (without Kafka: a page), and once in an interval if nothing comes,
/// so that what has become too old disappears.
pub async fn run(mut sources: watch::Receiver<Arc<Sources>>, sinks: Sinks, metrics: Arc<SelfMetrics>, stop: Stop) {
    let mut number = 0u64;
    while !stop.stopped() {
        let mut current = Sources::clone(&sources.borrow_and_update());
        // What a page said that is read no more must not speak for or against a broker.
        sinks.jmx_broker_id.send_replace(None);
        loop {
            number = number.saturating_add(1);
            let stale_in = publish(number, &mut current, &sinks);
            metrics.count(&families::SNAPSHOT_NUMBER, &[]);
            tokio::select! {
                () = stop.wait() => return,
                changed = sources.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return stop.wait().await,
                },
                () = next(&mut current, stale_in) => {}
            }
        }
    }
}

/// Returns when the first of the pages in the snapshot will be too old.
fn publish(number: u64, sources: &mut Sources, sinks: &Sinks) -> Option<Duration> {
    let kafka = sources.kafka.as_mut().map(|kafka| Arc::clone(&kafka.borrow_and_update()));
    let pages: Vec<_> = sources.pages.iter_mut().map(|page| Arc::clone(&page.borrow_and_update())).collect();
    let observed = Observed {
        cluster: sources.cluster.as_deref(),
        interval: sources.interval,
        kafka: kafka.as_deref(),
        pages: &pages,
    };
    let now = clock::now();
    let snapshot = assemble(number, now, &observed);
    let id = broker_id(&snapshot);
    sinks.jmx_broker_id.send_if_modified(|known| {
        let new = id.is_some() && *known != id;
        if new {
            *known = id;
        }
        new
    });
    sinks.readiness.send_replace(Arc::new(readiness(&observed)));
    sinks.snapshots.send_replace(Arc::new(snapshot));
    stale_in(&pages, now)
}

/// When the first of the fresh pages will be too old to be in a snapshot.
fn stale_in(pages: &[Arc<PageObservation>], now: Timestamp) -> Option<Duration> {
    let left = |page: &Arc<PageObservation>| page.stale_after.checked_sub(now.since(page.at));
    let fresh = pages.iter().filter(|page| page.page.is_some()).filter_map(left);
    // A little later, so that it is too old by then.
    fresh.min().map(|left| left.saturating_add(Duration::from_millis(1)))
}

/// Ends when it is time for another snapshot: Kafka was collected, a page became too old or can be read no more, or
/// nothing came for too long. Cancel-safe.
async fn next(sources: &mut Sources, stale_in: Option<Duration>) {
    // Half an interval of grace: a cycle may take longer than the one before it.
    let late = sources.interval.saturating_add(sources.interval / 2);
    let late = stale_in.map_or(late, |stale| late.min(stale));
    let observed = async {
        match sources.kafka.as_mut() {
            Some(kafka) => tokio::select! {
                changed = kafka.changed() => changed.is_ok(),
                () = any_lost(&mut sources.pages) => true,
            },
            None => any_changed(&mut sources.pages).await,
        }
    };
    if tokio::time::timeout(late, observed).await == Ok(false) {
        // A collector that is gone is being replaced or the agent is stopping: wait for either, but do not spin.
        tokio::time::sleep(sources.interval).await;
    }
}

/// Ends when a page that could be read cannot be read any more.
async fn any_lost(pages: &mut [watch::Receiver<Arc<PageObservation>>]) {
    let lost = pages.iter_mut().map(|page| {
        let had = page.borrow().page.is_some();
        Box::pin(async move {
            let gone = page.wait_for(|seen| had && seen.page.is_none()).await.is_ok();
            if !gone {
                // Its collector is being replaced.
                std::future::pending::<()>().await;
            }
        })
    });
    let lost: Vec<_> = lost.collect();
    if lost.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(lost).await;
}

async fn any_changed(pages: &mut [watch::Receiver<Arc<PageObservation>>]) -> bool {
    if pages.is_empty() {
        return std::future::pending().await;
    }
    let waits = pages.iter_mut().map(|page| Box::pin(page.changed()));
    futures_util::future::select_all(waits).await.0.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Exposition, KAFKA_TARGET, KafkaView};

    fn target(name: &str) -> TargetState {
        TargetState { name: name.into(), up: true, last_success: None, reason: None }
    }

    fn kafka(at: u64, ready: bool) -> KafkaObservation {
        let view = KafkaView { at: Timestamp(at), cluster_id: Some("id".to_owned()), ..KafkaView::default() };
        KafkaObservation { target: target(KAFKA_TARGET), view: Some(Arc::new(view)), ready }
    }

    fn page(at: u64) -> Arc<PageObservation> {
        Arc::new(PageObservation {
            target: target("broker"),
            page: Some(Arc::new(Exposition::default())),
            at: Timestamp(at),
            stale_after: Duration::from_secs(45),
            labels: Arc::default(),
        })
    }

    #[track_caller]
    fn check(kafka: &KafkaObservation, pages: &[Arc<PageObservation>], now: u64, want: (bool, usize, &str)) {
        let observed = Observed { cluster: None, interval: Duration::from_secs(5), kafka: Some(kafka), pages };
        let snapshot = assemble(1, Timestamp(now), &observed);
        assert_eq!((snapshot.kafka.is_some(), snapshot.pages.len(), &*snapshot.cluster), want);
        assert_eq!(snapshot.targets.len(), 1 + pages.len());
    }

    #[test]
    fn what_is_too_old_is_not_in_the_snapshot() {
        check(&kafka(10_000, true), &[page(10_000)], 25_000, (true, 1, "id"));
        check(&kafka(10_000, true), &[page(10_000)], 25_001, (false, 1, "id"));
        check(&kafka(50_000, true), &[page(10_000)], 55_001, (true, 0, "id"));
        check(&kafka(50_000, true), &[page(10_000)], 1, (true, 1, "id")); // a clock that stepped back
    }

    #[test]
    fn the_next_snapshot_comes_when_the_first_page_is_too_old() {
        let empty = Arc::new(PageObservation { page: None, ..PageObservation::clone(&page(0)) });
        assert_eq!(stale_in(&[], Timestamp(1)), None);
        assert_eq!(stale_in(&[Arc::clone(&empty)], Timestamp(1)), None);
        let wait = stale_in(&[empty, page(10_000), page(12_000), page(1)], Timestamp(50_000)).unwrap();
        assert_eq!(wait, Duration::from_millis(5_001));
        check(&kafka(50_000, true), &[page(10_000)], 55_001, (true, 0, "id"));
    }

    #[tokio::test]
    async fn a_page_that_is_lost_makes_a_snapshot_long_before_kafka_s_next_cycle() {
        let (kafka_sender, kafka) = watch::channel(Arc::new(kafka(1, true)));
        let (page_sender, pages) = watch::channel(page(1));
        let mut sources =
            Sources { cluster: None, interval: Duration::from_hours(1), kafka: Some(kafka), pages: vec![pages] };
        let lose = async {
            page_sender.send_replace(page(2));
            page_sender.send_replace(Arc::new(PageObservation { page: None, ..PageObservation::clone(&page(3)) }));
        };
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(next(&mut sources, None), lose) })
            .await
            .unwrap();
        drop(kafka_sender);
    }

    #[test]
    fn readiness_gives_kafka_s_reason() {
        let ready = |kafka: &KafkaObservation| {
            readiness(&Observed { cluster: None, interval: Duration::from_secs(5), kafka: Some(kafka), pages: &[] })
                .reasons
        };
        assert!(ready(&kafka(1, true)).is_empty());
        assert_eq!(ready(&kafka(1, false)), ["kafka: not collected whole yet"]);
    }
}
