//! What became of notifications: which receivers have heard of an alert, so that the outbox can forget it, and a history for
//! people. Written to the store after the fact: who is killed in between tells once more, and nothing less.

use crate::{
    alerts::{Alert, Phase},
    clock,
    model::{BoundedText, Labels, Timestamp},
    pipeline::{Delivery, row_key, told_change, told_changes},
    store::{Change, LoadError, Row, Store, Table},
    supervise::Stop,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Notifications that are kept for people, the newest.
pub const MAX_NOTIFICATIONS: usize = 1000;

/// Changes that wait for a store that does not take them; beyond, the oldest are forgotten, and some alerts are told again
/// after a restart.
pub const MAX_UNSAVED: usize = 50_000;

/// Bytes of an error that are kept.
pub const MAX_KEPT_ERROR: usize = 512;

/// How long the store is left alone after it failed.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What became of telling one receiver of one transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// When that was known, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The notifier.
    pub notifier: String,
    /// Which of its receivers, from 1.
    pub receiver: usize,
    /// The alert's rule.
    pub rule: String,
    /// Its labels, as they are told.
    pub labels: Labels,
    /// `firing` or `resolved`.
    pub state: String,
    /// When that came about, in milliseconds since the Unix epoch.
    pub since: u64,
    /// `sent`, `failed` (refused, or given up) or `dropped` (never tried for the last time).
    pub outcome: String,
    /// Why, where it was not sent.
    pub error: Option<String>,
}

/// How telling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// The receiver has it.
    Sent,
    /// It does not want it, or it was tried long enough.
    Failed(&'a str),
    /// There is no place for it, or nobody to tell any more.
    Dropped(&'a str),
}

impl Ending<'_> {
    fn text(self) -> (&'static str, Option<String>) {
        let short = |text: &str| Some(BoundedText(text, MAX_KEPT_ERROR).to_string());
        match self {
            Self::Sent => ("sent", None),
            Self::Failed(why) => ("failed", short(why)),
            Self::Dropped(why) => ("dropped", short(why)),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// How many receivers have not been told of what is at a place of the outbox.
    open: BTreeMap<u64, usize>,
    changes: VecDeque<Change>,
    /// By number, oldest first, and whether the store has it.
    log: BTreeMap<u64, (Notification, bool)>,
    next: u64,
    failing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    store: Option<Store>,
    state: Mutex<State>,
    wake: Notify,
}

impl Journal {
    /// With what was stored of it. Waits for the store, up to `limit`.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub fn open(store: Option<Store>, limit: Duration) -> Result<Self, LoadError> {
        let mut state = State { next: 1, ..State::default() };
        let rows = store.as_ref().map(|store| store.load(Table::NotificationLog, None, limit)).transpose()?;
        for row in rows.unwrap_or_default() {
            let Ok(number) = row.key.parse::<u64>() else { continue };
            state.next = state.next.max(number.saturating_add(1));
            if let Ok(notification) = serde_json::from_slice(&row.value) {
                state.log.insert(number, (notification, true));
            }
        }
        Ok(Self { store, state: Mutex::new(state), wake: Notify::new() })
    }

    /// The newest notifications, newest first.
    pub fn recent(&self) -> Vec<Notification> {
        self.lock().log.values().rev().map(|(notification, _)| notification.clone()).collect()
    }

    /// So many receivers are to hear of it.
    pub(super) fn expect(&self, delivery: &Delivery, receivers: usize) {
        let Some(stored) = &delivery.stored else { return };
        let mut state = self.lock();
        if receivers == 0 {
            state.push(told_changes(stored.sequence));
        } else {
            state.open.insert(stored.sequence, receivers);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// That receiver is not to hear of it.
    pub(super) fn unwanted(&self, delivery: &Delivery, receiver: &str) {
        self.lock().heard(delivery, receiver);
        self.wake.notify_one();
    }

    /// Notes what became of telling one receiver of these; what only repeats is not noted.
    pub(super) fn ended<'a>(
        &self,
        deliveries: impl IntoIterator<Item = &'a Delivery>,
        (notifier, index, receiver): (&str, usize, &str),
        ending: Ending<'_>,
    ) {
        let at = clock::now();
        let (outcome, error) = ending.text();
        let mut state = self.lock();
        for delivery in deliveries.into_iter().filter(|delivery| delivery.transition) {
            state.heard(delivery, receiver);
            let alert: &Alert = &delivery.alert;
            state.note(Notification {
                at: at.0,
                notifier: notifier.to_owned(),
                receiver: index.saturating_add(1),
                rule: alert.key.rule.clone(),
                labels: alert.key.labels.clone(),
                state: alert.phase.text().to_owned(),
                since: began(alert).0,
                outcome: outcome.to_owned(),
                error: error.clone(),
            });
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Writes what is noted until told to stop, and then what is left.
    pub(super) async fn run(&self, stop: Stop) {
        let Some(store) = &self.store else { return stop.wait().await };
        loop {
            let stopping = stop.stopped();
            let (changes, logged) = self.lock().unsaved();
            if changes.is_empty() {
                if stopping {
                    return;
                }
                tokio::select! { () = self.wake.notified() => {} () = stop.wait() => {} }
                continue;
            }
            // Waits as long as it takes: it is this task's only work, and what waits meanwhile is bounded.
            let error = match store.commit(changes.clone()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the store is closed".to_owned()),
            };
            #[cfg(test)]
            crate::crash::point("acknowledged");
            if !self.stored(error, changes, &logged) {
                if stopping {
                    return;
                }
                tokio::select! { () = tokio::time::sleep(STORE_RETRY) => {} () = stop.wait() => {} }
            }
        }
    }

    /// Notes what became of a commit. False: it failed.
    fn stored(&self, error: Option<String>, changes: Vec<Change>, logged: &[u64]) -> bool {
        let mut state = self.lock();
        let failed = error.is_some();
        if let Some(error) = error.filter(|_| !state.failing) {
            tracing::error!(
                error,
                "cannot store who was told; alerts of which that is not known are told again after a restart"
            );
        }
        state.failing = failed;
        if failed {
            state.give_back(changes, logged);
        }
        !failed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Also while a commit hangs there is an end to what waits for the next one.
    fn push(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
        let excess = self.changes.len().saturating_sub(MAX_UNSAVED);
        self.changes.drain(..excess);
    }

    fn heard(&mut self, delivery: &Delivery, receiver: &str) {
        let Some(stored) = &delivery.stored else { return };
        let Some(left) = self.open.get_mut(&stored.sequence) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.open.remove(&stored.sequence);
            self.push(told_changes(stored.sequence));
        } else {
            self.push([told_change(stored.sequence, receiver)]);
        }
    }

    fn note(&mut self, notification: Notification) {
        self.log.insert(self.next, (notification, false));
        self.next = self.next.saturating_add(1);
        while self.log.len() > MAX_NOTIFICATIONS
            && let Some((number, (_, saved))) = self.log.pop_first()
        {
            if saved {
                let (table, scope, key) = (Table::NotificationLog, String::new(), row_key(number));
                self.push([Change::Remove { table, scope, key }]);
            }
        }
    }

    /// Takes all that the store does not have; also the numbers of what is logged by it.
    fn unsaved(&mut self) -> (Vec<Change>, Vec<u64>) {
        let mut changes: Vec<_> = std::mem::take(&mut self.changes).into();
        let mut logged = Vec::new();
        for (number, (notification, saved)) in self.log.iter_mut().filter(|(_, (_, saved))| !saved) {
            if let Ok(value) = serde_json::to_vec(notification) {
                let row = Row { scope: String::new(), key: row_key(*number), value };
                changes.push(Change::Put(Table::NotificationLog, row));
                logged.push(*number);
            }
            *saved = true;
        }
        (changes, logged)
    }

    fn give_back(&mut self, changes: Vec<Change>, logged: &[u64]) {
        for number in logged {
            if let Some((_, saved)) = self.log.get_mut(number) {
                *saved = false;
            }
        }
        let of_outbox = |change: &Change| !matches!(change, Change::Put(Table::NotificationLog, _));
        for change in changes.into_iter().filter(of_outbox).rev() {
            self.changes.push_front(change);
        }
        self.push([]);
    }
}

fn began(alert: &Alert) -> Timestamp {
    match alert.phase {
        Phase::Resolved => alert.resolved_at,
        Phase::Firing => alert.fired_at,
        Phase::Pending => None,
    }
    .unwrap_or(alert.active_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deliver::tests::firing, pipeline::Stored, supervise::Tasks};
    use std::sync::Arc;

    const LIMIT: Duration = Duration::from_secs(10);

    fn stored(name: &str, sequence: u64) -> Delivery {
        Delivery { stored: Some(Stored { sequence, told: Arc::default() }), ..firing(name, 1) }
    }

    /// A store in which these places of the outbox are taken.
    async fn store(tasks: &Tasks, folder: &std::path::Path, places: &[u64]) -> Store {
        let store = crate::store::start(tasks, folder, Arc::default()).unwrap();
        let put = |place: &u64| {
            Change::Put(Table::Outbox, Row { scope: "alert".into(), key: row_key(*place), value: b"{}".to_vec() })
        };
        store.commit(places.iter().map(put).collect()).await.unwrap().unwrap();
        store
    }

    fn left(store: &Store) -> (Vec<String>, Vec<String>) {
        let keys = |table| store.load(table, None, LIMIT).unwrap();
        let told = keys(Table::OutboxTold).into_iter().map(|row| format!("{} {}", row.scope, row.key)).collect();
        (keys(Table::Outbox).into_iter().map(|row| row.key).collect(), told)
    }

    #[tokio::test]
    async fn the_outbox_forgets_an_alert_when_its_last_receiver_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (tasks, _ended) = Tasks::new();
        let store = store(&tasks, folder.path(), &[1, 2, 3, 4]).await;
        let journal = Arc::new(Journal::open(Some(store.clone()), LIMIT).unwrap());
        let all = [stored("A", 1), stored("B", 2), stored("C", 3), stored("D", 4)];
        for (delivery, receivers) in all.iter().zip([2, 2, 1, 0]) {
            journal.expect(delivery, receivers);
        }
        journal.ended(&all[..1], ("ops", 0, "ops/0"), Ending::Sent);
        journal.ended(&all[1..2], ("ops", 0, "ops/0"), Ending::Failed("400"));
        journal.unwanted(&all[1], "log/0");
        journal.ended(&all[2..3], ("ops", 0, "ops/0"), Ending::Dropped("its queue is full"));
        let writer = Tasks::new().0;
        let (writing, stop) = (Arc::clone(&journal), writer.stop());
        writer.task("journal", async move { writing.run(stop).await });
        assert!(writer.shut_down(LIMIT).await.is_empty());
        let place = row_key(1);
        assert_eq!(left(&store), (vec![place.clone()], vec![format!("{place} ops/0")]));
        let words: Vec<_> =
            journal.recent().into_iter().map(|one| (one.labels["alertname"].clone(), one.outcome)).collect();
        assert_eq!(
            words,
            [("C", "dropped"), ("B", "failed"), ("A", "sent")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        // The history is there after a restart, the place of A until the other has it.
        let again = Journal::open(Some(store.clone()), LIMIT).unwrap();
        assert_eq!(again.recent(), journal.recent());
        tasks.shut_down(LIMIT).await;
    }

    #[tokio::test]
    async fn a_store_that_fails_costs_no_more_than_a_second_word_and_bounded_memory() {
        let journal = Arc::new(Journal::open(None, LIMIT).unwrap());
        let failing = Journal { store: Some(Store::failing()), ..Journal::open(None, LIMIT).unwrap() };
        let all: Vec<_> = (0..u64::try_from(MAX_NOTIFICATIONS).unwrap() + 10).map(|n| stored("A", n)).collect();
        for journal in [&*journal, &failing] {
            for delivery in &all {
                journal.expect(delivery, 1);
            }
            journal.ended(&all, ("ops", 0, "ops/0"), Ending::Sent);
            assert_eq!(journal.recent().len(), MAX_NOTIFICATIONS);
        }
        let writer = Tasks::new().0;
        let failing = Arc::new(failing);
        let (writing, stop) = (Arc::clone(&failing), writer.stop());
        writer.task("journal", async move { writing.run(stop).await });
        assert!(writer.shut_down(LIMIT).await.is_empty(), "it does not wait for the store to come back");
        let state = failing.lock();
        assert!(state.failing && state.changes.len() == 2 * all.len(), "{}", state.changes.len());
        assert!(state.log.values().all(|(_, saved)| !saved), "and would be written later");
        drop(state);
        let mut full = State::default();
        let change = Change::RemoveScope { table: Table::OutboxTold, scope: String::new() };
        full.give_back(vec![change; MAX_UNSAVED + 5], &[]);
        assert_eq!(full.changes.len(), MAX_UNSAVED);
        full.push([Change::RemoveScope { table: Table::OutboxTold, scope: "newest".into() }]);
        assert_eq!(full.changes.len(), MAX_UNSAVED);
        assert!(matches!(full.changes.back(), Some(Change::RemoveScope { scope, .. }) if scope == "newest"));
    }

    #[test]
    fn what_only_repeats_is_not_noted() {
        let journal = Journal::open(None, LIMIT).unwrap();
        let repeat = Delivery { transition: false, stored: None, ..firing("A", 1) };
        journal.ended([&repeat], ("ops", 0, "ops/0"), Ending::Sent);
        assert!(journal.recent().is_empty());
    }
}
