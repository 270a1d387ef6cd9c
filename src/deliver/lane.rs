//! One receiver of one notifier: its queue, and the task that empties it. A receiver that hangs holds up its own lane
//! and no other.

use super::{
    alertmanager,
    board::Board,
    error::TellError,
    interest::Interest,
    journal::{Ending, Journal},
    pace::Pace,
    post::Sender,
    queue::Queue,
    retry::{Backoff, Timing},
    send::{self, Attempt},
    settings::{Config, Kind},
    tell::Target,
};
use crate::{
    alerts::Alert,
    clock,
    events::SelfMetrics,
    model::{Timestamp, families},
    pipeline::Delivery,
    supervise::Stop,
};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Alerts waiting for one receiver; beyond, the oldest repeat goes first, then the oldest.
pub const MAX_QUEUE: usize = 10_000;

/// Alerts that wait in all lanes of one notifier, as a figure.
#[derive(Debug)]
pub(super) struct Depth {
    notifier: String,
    metrics: Arc<SelfMetrics>,
    /// `None` = the notifier is gone, and so is its figure.
    waiting: Mutex<Option<usize>>,
}

impl Depth {
    pub(super) fn new(notifier: &str, metrics: Arc<SelfMetrics>) -> Self {
        let depth = Self { notifier: notifier.to_owned(), metrics, waiting: Mutex::new(Some(0)) };
        depth.moved(0, 0);
        depth
    }

    /// A lane holds `to` alerts, and held `from` before.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "below the caps of the queues")]
    fn moved(&self, from: usize, to: usize) {
        let mut waiting = lock(&self.waiting);
        if let Some(count) = waiting.as_mut() {
            *count = count.saturating_add(to).saturating_sub(from);
            self.metrics.set(&families::OUTBOX_ENTRIES, &[&self.notifier], *count as f64);
        }
    }

    pub(super) fn forget(&self) {
        *lock(&self.waiting) = None;
        self.metrics.forget(&families::OUTBOX_ENTRIES, |labels| labels == [self.notifier.as_str()]);
    }
}

/// What a notifier's alerts came to, as a counter.
pub(super) fn count(metrics: &SelfMetrics, notifier: &str, outcome: &str, alerts: usize) {
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "below the caps of the queues")]
    metrics.add(&families::NOTIFICATIONS, &[notifier, outcome], alerts as f64);
}

#[derive(Debug)]
struct Waiting {
    queue: Queue,
    /// Taken, and not known to be told.
    taken: Vec<Delivery>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.queue.len().saturating_add(self.taken.len())
    }
}

/// One receiver of one notifier.
#[derive(Debug)]
pub(super) struct Lane {
    notifier: String,
    /// What the journal calls it.
    receiver: String,
    /// Which of the notifier's receivers, from 0; from 1 in the log, where URLs are not shown.
    index: usize,
    target: Mutex<Target>,
    interest: Mutex<Interest>,
    pace: Mutex<Pace>,
    waiting: Mutex<Waiting>,
    /// There is something to tell.
    wake: Notify,
    /// There is another receiver, which owes nothing for the failures of the one before.
    redirected: Notify,
    depth: Arc<Depth>,
    journal: Arc<Journal>,
    metrics: Arc<SelfMetrics>,
    board: Arc<Board>,
    timing: Timing,
    /// The configuration does not have it any more: what it has not told then is told to nobody.
    retired: AtomicBool,
}

/// What a lane shares with those of all notifiers.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) journal: Arc<Journal>,
    pub(super) metrics: Arc<SelfMetrics>,
    pub(super) board: Arc<Board>,
    pub(super) external_url: Arc<str>,
    pub(super) timing: Timing,
}

impl Lane {
    pub(super) fn new(config: Arc<Config>, index: usize, depth: Arc<Depth>, shared: Shared) -> Self {
        let Shared { journal, metrics, board, external_url, timing } = shared;
        let waiting = Waiting { queue: Queue::new(MAX_QUEUE), taken: Vec::new() };
        let hears_repeats = matches!(config.kind, Kind::Alertmanager { .. });
        let interest = Interest::new(config.wants.clone(), hears_repeats);
        let sender = Arc::new(Sender::new(timing.timeout, config.reach.clone()));
        Self {
            notifier: config.name.clone(),
            receiver: receiver(&config.name, index),
            index,
            target: Mutex::new(Target { config, index, sender, external_url }),
            interest: Mutex::new(interest),
            pace: Mutex::default(),
            waiting: Mutex::new(waiting),
            wake: Notify::new(),
            redirected: Notify::new(),
            depth,
            journal,
            metrics,
            board,
            timing,
            retired: AtomicBool::new(false),
        }
    }

    /// Tells elsewhere, or otherwise, from now on; so is told what waits.
    pub(super) fn redirect(&self, config: &Arc<Config>) {
        let mut target = lock(&self.target);
        if target.config == *config {
            return;
        }
        if target.config.reach != config.reach {
            target.sender = Arc::new(Sender::new(self.timing.timeout, config.reach.clone()));
        }
        target.config = Arc::clone(config);
        drop(target);
        lock(&self.interest).change(config.wants.clone());
        self.redirected.notify_one();
    }

    /// Queues what this receiver is to hear. Never waits.
    pub(super) fn offer(&self, deliveries: &[Delivery]) {
        let now = clock::now();
        let mut interest = lock(&self.interest);
        // What it was told before our start still counts for when it is told again.
        let (wanted, others): (Vec<_>, Vec<_>) = deliveries
            .iter()
            .filter(|delivery| !self.knows(delivery))
            .partition(|delivery| interest.wants(delivery, now));
        drop(interest);
        for delivery in others {
            self.journal.unwanted(delivery, &self.receiver);
        }
        let dropped = self.change(|waiting| wanted.into_iter().flat_map(|d| waiting.queue.push(d.clone())).collect());
        self.dropped(dropped, "its queue is full");
        self.wake.notify_one();
    }

    /// Tells what is queued until told to stop, and then for a while what is left.
    pub(super) async fn run(self: Arc<Self>, stop: Stop) {
        tokio::select! {
            () = self.work(&stop) => {}
            () = async { stop.wait().await; tokio::time::sleep(self.timing.flush).await } => {}
        }
        let left = self.change(|waiting| {
            let mut left = std::mem::take(&mut waiting.taken);
            left.extend(waiting.queue.take_all());
            left
        });
        if self.retired.load(Ordering::Relaxed) {
            self.dropped(left, "it was taken out of the configuration before they could be told");
        } else if !left.is_empty() {
            // They are in the outbox, and told after the next start.
            count(&self.metrics, &self.notifier, "dropped", left.len());
            tracing::warn!(notifier = %self.notifier, receiver = self.number(), count = left.len(), "stopped before these alerts could be told");
        }
    }

    async fn work(&self, stop: &Stop) {
        let mut backoff = Backoff::default();
        let mut last_error: Option<String> = None;
        // Groups that failed since all others were tried: one that always fails must not hold up the rest.
        let mut failed_groups: BTreeSet<String> = BTreeSet::new();
        loop {
            // Before anything is taken: what is told then is the newest, to whom the configuration names then.
            if self.waits()
                && let Err(wait) = self.place()
            {
                if stop.stopped() {
                    tokio::time::sleep(wait).await; // `run` ends it
                } else {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.redirected.notified() => {}
                        () = stop.wait() => {}
                    }
                }
                continue;
            }
            let batch = self.take(&mut failed_groups);
            let Some(first) = batch.first() else {
                if stop.stopped() {
                    return;
                }
                tokio::select! { () = self.wake.notified() => {} () = stop.wait() => {} }
                continue;
            };
            let group = first.alert.key.name.clone();
            #[cfg(test)]
            crate::crash::point("sending");
            let Attempt { sent, failed, why, left, error } = self.send(batch).await;
            #[cfg(test)]
            crate::crash::point("told");
            let told = !sent.is_empty();
            count(&self.metrics, &self.notifier, "sent", sent.len());
            count(&self.metrics, &self.notifier, "failed", failed.len());
            count(&self.metrics, &self.notifier, "retried", left.len());
            self.ended(&sent, Ending::Sent);
            self.ended(&failed, Ending::Failed(why.as_deref().unwrap_or("the receiver refused it")));
            let dropped = self.change(|waiting| {
                waiting.taken.clear();
                waiting.queue.put_back(left)
            });
            self.dropped(dropped, "its queue is full");
            let Some(error) = error else {
                backoff.succeeded();
                if told {
                    self.board.accepted(&self.notifier, self.index, clock::now());
                }
                if last_error.take().is_some() {
                    tracing::info!(notifier = %self.notifier, receiver = self.number(), "notifier works again");
                }
                continue;
            };
            failed_groups.insert(group);
            let text = error.chain();
            self.board.refused(&self.notifier, self.index, clock::now(), &text);
            if last_error.as_ref() != Some(&text) {
                tracing::warn!(notifier = %self.notifier, receiver = self.number(), error = %text, "cannot tell alerts");
                last_error = Some(text);
            }
            let random = RandomState::new().hash_one(0);
            let wait = backoff.failed(&self.timing, error.retry_after(), random);
            if stop.stopped() {
                tokio::time::sleep(self.timing.first_retry).await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.redirected.notified() => backoff.succeeded(),
                    () = stop.wait() => {}
                }
            }
        }
    }

    /// The next batch; empty when nothing waits.
    fn take(&self, failed_groups: &mut BTreeSet<String>) -> Vec<Delivery> {
        let now = clock::now();
        let (groups, most) = {
            let target = lock(&self.target);
            (target.groups(), target.most())
        };
        let (mut batch, mut too_old) = (Vec::new(), Vec::new());
        self.change(|waiting| {
            if groups {
                let mut first = waiting.queue.next_in_turn(|d| !failed_groups.contains(&d.alert.key.name));
                if first.is_none() {
                    failed_groups.clear();
                    first = waiting.queue.next_in_turn(|_| true);
                }
                let Some(group) = first.map(|delivery| delivery.alert.key.name.clone()) else { return };
                batch = waiting.queue.take(most, |delivery| delivery.alert.key.name == group);
            } else {
                too_old = waiting.queue.take(usize::MAX, |delivery| alertmanager::is_too_old(delivery, now));
                batch = waiting.queue.take(most, |_| true);
            }
            waiting.taken.clone_from(&batch);
        });
        self.dropped(too_old, "they are too old to matter");
        batch
    }

    async fn send(&self, batch: Vec<Delivery>) -> Attempt {
        let target = lock(&self.target).clone();
        let mut first = true;
        let tell = |part: Vec<Delivery>| {
            let target = &target;
            let has_place = std::mem::take(&mut first);
            async move {
                while !has_place && let Err(wait) = self.place() {
                    tokio::time::sleep(wait).await;
                }
                let told = target.tell(&part).await;
                (part, told)
            }
        };
        if target.groups() {
            let attempt = send::send(batch, &self.notifier, tell).await;
            let now = clock::now();
            let is_lost = |d: &Delivery| now.since(happened_at(d)) >= self.timing.max_age;
            let (lost, left): (Vec<_>, Vec<_>) = attempt.left.into_iter().partition(is_lost);
            let mut failed = attempt.failed;
            let why = if lost.is_empty() { attempt.why } else { attempt.error.as_ref().map(TellError::chain) };
            failed.extend(lost);
            return Attempt { failed, why, left, ..attempt };
        }
        let (good, bad): (Vec<_>, Vec<_>) = batch.into_iter().partition(alertmanager::is_valid);
        if let Some(first) = bad.first() {
            let rule = &first.alert.key.rule;
            tracing::warn!(notifier = %self.notifier, %rule, count = bad.len(), "alerts with invalid label names");
        }
        let mut attempt =
            if good.is_empty() { Attempt::default() } else { send::send(good, &self.notifier, tell).await };
        if !bad.is_empty() {
            attempt.why.get_or_insert_with(|| "a label has a name that Alertmanager does not take".to_owned());
            attempt.failed.extend(bad);
        }
        attempt
    }

    /// Takes the place of a message among those that the receiver may be told now, or says how long there is none.
    fn place(&self) -> Result<(), Duration> {
        let rate = lock(&self.target).config.rate;
        rate.map_or(Ok(()), |rate| lock(&self.pace).take(rate, Instant::now()))
    }

    fn waits(&self) -> bool {
        lock(&self.waiting).len() > 0
    }

    fn number(&self) -> usize {
        self.index.saturating_add(1)
    }

    /// Changes what waits, and keeps the figure about it right.
    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let mut waiting = lock(&self.waiting);
        let before = waiting.len();
        let result = change(&mut waiting);
        self.depth.moved(before, waiting.len());
        result
    }

    /// Was it told before our start?
    fn knows(&self, delivery: &Delivery) -> bool {
        delivery.stored.as_ref().is_some_and(|stored| stored.told.contains(&self.receiver))
    }

    /// The configuration does not have it any more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn ended(&self, deliveries: &[Delivery], ending: Ending<'_>) {
        self.journal.ended(deliveries, (&self.notifier, self.index, &self.receiver), ending);
    }

    #[expect(clippy::needless_pass_by_value, reason = "they are gone")]
    fn dropped(&self, alerts: Vec<Delivery>, why: &str) {
        if !alerts.is_empty() {
            count(&self.metrics, &self.notifier, "dropped", alerts.len());
            self.ended(&alerts, Ending::Dropped(why));
            tracing::warn!(notifier = %self.notifier, receiver = self.number(), count = alerts.len(), "dropped alerts: {why}");
        }
    }
}

/// What the journal calls a receiver.
pub(super) fn receiver(notifier: &str, index: usize) -> String {
    format!("{notifier}/{index}")
}

/// When that came about which is to be told; a repetition, when it was last said to hold.
fn happened_at(delivery: &Delivery) -> Timestamp {
    let alert: &Alert = &delivery.alert;
    let changed = alert.resolved_at.or(alert.fired_at).unwrap_or(alert.active_at);
    if delivery.transition { changed } else { alert.last_sent.unwrap_or(changed) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
