//! The one owner of the alert book: takes what rules said off their channel, ticks, stores, logs, shows and passes on. Waits
//! for nobody but, for a moment, the store: neither a slow notifier nor a full channel holds up the next tick.

use super::{
    ActionsView, AlertsView, Deed, Delivery, Durability, Input, Settled, Transition, book::Book, saver::Saver,
    tick::tick,
};
use crate::{
    alerts::{Alert, Phase},
    clock,
    events::SelfMetrics,
    model::{BoundedText, Labels, fair, families},
    snapshot::Snapshot,
    supervise::{Stop, Tasks},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

/// Longest time between two ticks.
pub const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Inputs taken in one tick.
pub const MAX_BATCH: usize = 256;

/// Deliveries kept while the notifiers' side does not take them; beyond, of the rules that have the most, the oldest
/// that only repeat go first, then the oldest.
pub const MAX_UNDELIVERED: usize = 20_000;

/// Transitions logged one by one in one tick; more are only counted there.
pub const MAX_LOGGED: usize = 100;

/// Bytes of an alert's labels in one log line.
const MAX_LOGGED_LABELS: usize = 1024;

/// Bytes of an alert's name in one log line.
const MAX_LOGGED_NAME: usize = 256;

/// Annotation of an alert that is not stored when it is told.
pub const NOT_STORED: &str = "brokerwarden_not_stored";

/// How long the notifiers' side may take to accept the last deliveries when we stop.
const LAST_DELIVERY: Duration = Duration::from_millis(500);

/// Where what the owner decides goes.
#[derive(Debug)]
pub struct Outlets {
    /// To the fan-out of the notifiers.
    pub deliver: mpsc::Sender<Vec<Delivery>>,
    /// To those who do what rules ask for.
    pub deeds: mpsc::Sender<Vec<Deed>>,
    /// To whoever shows alerts; changed only when they did.
    pub alerts: watch::Sender<Arc<AlertsView>>,
    /// To whoever shows actions; changed only when they did.
    pub actions: watch::Sender<Arc<ActionsView>>,
    /// To the rule host, after each evaluation that was taken.
    pub settled: watch::Sender<Arc<Settled>>,
}

/// Starts the owner. `inputs`: from the rule host, and from those who do what rules ask for, in order; `snapshots`: who answers
/// for what, also while no rule speaks; `durability`: where what was decided is stored before it is told or done.
///
/// When told to stop it ticks no more (nothing resolves because we stop) and hands over what it already decided.
pub fn start(
    tasks: &Tasks,
    inputs: mpsc::Receiver<Input>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    outlets: Outlets,
    durability: Durability,
    metrics: Arc<SelfMetrics>,
) {
    let (book, saver) = match durability {
        Durability::Store(store, restored) => {
            if restored.unreadable > 0 {
                tracing::error!(
                    count = restored.unreadable,
                    "what cannot be read of stored alerts, actions and states of rules is left out"
                );
            }
            (restored.book, Ok(Saver::new(store, restored.states, restored.touched)))
        }
        Durability::Memory(reason) => (Book::default(), Err(reason)),
    };
    let Outlets { deliver, deeds, alerts, actions, settled } = outlets;
    actions.send_replace(Arc::new(book.actions()));
    let owner = Owner {
        book,
        saver,
        durable: true,
        backlog: Vec::new(),
        to_do: Vec::new(),
        snapshots,
        view: alerts,
        actions,
        settled,
        metrics,
    };
    tasks.task("pipeline", owner.run(inputs, deliver, deeds, tasks.stop()));
}

struct Owner {
    book: Book,
    /// Stores what was decided; or why nobody does.
    saver: Result<Saver, String>,
    /// Was all of it stored, when last tried?
    durable: bool,
    /// Decided and not yet taken by the notifiers' side, oldest first.
    backlog: Vec<Delivery>,
    /// Decided and not yet taken by those who do it, oldest first.
    to_do: Vec<Deed>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    view: watch::Sender<Arc<AlertsView>>,
    actions: watch::Sender<Arc<ActionsView>>,
    settled: watch::Sender<Arc<Settled>>,
    metrics: Arc<SelfMetrics>,
}

impl Owner {
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        deliver: mpsc::Sender<Vec<Delivery>>,
        deeds: mpsc::Sender<Vec<Deed>>,
        stop: Stop,
    ) {
        let mut timer = tokio::time::interval(TICK_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::new();
        let (mut rules_speak, mut told, mut done) = (true, true, true);
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                permit = deliver.reserve(), if told && !self.backlog.is_empty() => {
                    match permit {
                        Ok(permit) => permit.send(std::mem::take(&mut self.backlog)),
                        Err(_) => told = false,
                    }
                    continue;
                }
                permit = deeds.reserve(), if done && !self.to_do.is_empty() => {
                    match permit {
                        Ok(permit) => permit.send(std::mem::take(&mut self.to_do)),
                        Err(_) => done = false,
                    }
                    continue;
                }
                count = inputs.recv_many(&mut batch, MAX_BATCH), if rules_speak => rules_speak = count > 0,
                _ = timer.tick() => {}
            }
            self.tick(std::mem::take(&mut batch)).await;
        }
        if !self.backlog.is_empty() {
            let count = self.backlog.len();
            if deliver.send_timeout(self.backlog, LAST_DELIVERY).await.is_err() {
                tracing::warn!(count, "stopped before the notifiers took the last alerts");
            }
        }
        if let Ok(saver) = self.saver {
            saver.finish(&self.book, clock::now()).await;
        }
    }

    async fn tick(&mut self, mut inputs: Vec<Input>) {
        // First: nobody speaks for what is no longer ours.
        let mut taken = self.settled.borrow().taken.clone();
        let news = note_taken(&mut taken, &inputs);
        inputs.insert(0, Input::Seen(Arc::clone(&self.snapshots.borrow_and_update())));
        inputs.push(Input::Store(self.not_durable().map(str::to_owned)));
        if let Ok(saver) = &mut self.saver {
            saver.note(&inputs);
        }
        let now = clock::now();
        let mut ticked = tick(std::mem::take(&mut self.book), inputs, now);
        self.book = ticked.book;
        #[cfg(test)]
        crate::crash::point("decided");
        let acted = !ticked.touched.deeds.is_empty() || !ticked.refused.is_empty();
        // Before anybody is told; when that takes too long they are told all the same.
        let durable = match &mut self.saver {
            Ok(saver) => saver.save(&self.book, ticked.touched, &ticked.deliveries, now).await,
            Err(_) => false,
        };
        #[cfg(test)]
        crate::crash::point("committed");
        self.note_durable(durable);
        if !durable {
            ticked.deliveries.iter_mut().for_each(mark);
        }
        for transition in ticked.transitions.iter().take(MAX_LOGGED) {
            log(transition);
        }
        let unlogged = ticked.transitions.len().saturating_sub(MAX_LOGGED);
        if unlogged > 0 {
            tracing::info!(count = unlogged, "more alerts changed at the same time");
        }
        for ((reason, rule), count) in &ticked.dropped {
            self.count_dropped(reason, rule, *count);
        }
        for ((rule, action, reason), count) in &ticked.refused {
            self.count_refused(rule, action, reason, *count);
        }
        let own_actions = if acted {
            self.actions.send_replace(Arc::new(self.book.actions()));
            Arc::new(self.book.own_actions())
        } else {
            Arc::clone(&self.settled.borrow().actions)
        };
        let own_alerts = if ticked.changed {
            self.view.send_replace(Arc::new(self.book.view()));
            Arc::new(self.book.own_alerts())
        } else {
            Arc::clone(&self.settled.borrow().alerts)
        };
        if news || acted || ticked.changed {
            self.settled.send_replace(Arc::new(Settled { taken, alerts: own_alerts, actions: own_actions }));
        }
        self.to_do.extend(ticked.deeds.iter().map(|deed| Deed::clone(deed)));
        self.backlog.extend(ticked.deliveries);
        for delivery in squeeze(&mut self.backlog, MAX_UNDELIVERED) {
            if let (Ok(saver), Some(stored)) = (&mut self.saver, &delivery.stored) {
                saver.forget(stored.sequence);
            }
            self.count_dropped("undelivered", &delivery.alert.key.rule, 1);
        }
    }

    fn not_durable(&self) -> Option<&str> {
        match &self.saver {
            Ok(saver) => saver.failing.as_deref(),
            Err(reason) => Some(reason),
        }
    }

    fn note_durable(&mut self, durable: bool) {
        self.metrics.set(&families::STORE_DURABLE, &[], f64::from(u8::from(durable)));
        if durable != self.durable {
            if let Some(error) = self.not_durable() {
                tracing::error!(error, "alerts and rule state are not stored; alerts are told all the same");
            } else {
                tracing::info!("alerts and rule state are stored again");
            }
        }
        self.durable = durable;
    }

    fn count_refused(&self, rule: &str, action: &str, reason: &str, count: u64) {
        #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "counts of one tick")]
        self.metrics.add(&families::ACTIONS_REFUSED, &[action, reason, rule], count as f64);
    }

    fn count_dropped(&self, reason: &str, rule: &str, count: u64) {
        #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "counts of one tick")]
        self.metrics.add(&families::ALERTS_DROPPED, &[reason, rule], count as f64);
    }
}

/// Notes which evaluations are among `inputs`, whatever the book makes of them. False: none is, and no rule is gone.
fn note_taken(taken: &mut BTreeMap<String, (u64, u64)>, inputs: &[Input]) -> bool {
    let mut news = false;
    for input in inputs {
        match input {
            Input::Evaluated(evaluation) => {
                let which = (evaluation.generation, evaluation.snapshot.number);
                taken.insert(evaluation.settings.name.clone(), which);
                news = true;
            }
            Input::Removed { rule, .. } => news |= taken.remove(rule).is_some(),
            Input::Seen(_)
            | Input::Installed { .. }
            | Input::Remembers { .. }
            | Input::Known(_)
            | Input::Store(_)
            | Input::Policies(_)
            | Input::Ended(_) => {}
        }
    }
    news
}

/// Says of an alert that a restart of ours may forget it. Annotations are no part of what it is.
fn mark(delivery: &mut Delivery) {
    let mut alert = Alert::clone(&delivery.alert);
    let text = "the agent could not store this alert: if it is restarted, it may not tell its end, or tell it twice";
    alert.annotations.insert(NOT_STORED.to_owned(), text.to_owned());
    delivery.alert = Arc::new(alert);
}

/// Takes out what is over `max`, of the rules that have the most: the oldest that only repeat, then the oldest.
fn squeeze(backlog: &mut Vec<Delivery>, max: usize) -> Vec<Delivery> {
    if backlog.len() <= max {
        return Vec::new();
    }
    let mut excess: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in backlog.iter() {
        let count = excess.entry(delivery.alert.key.rule.clone()).or_default();
        *count = count.saturating_add(1);
    }
    let each = fair::share(excess.values().copied(), max);
    for count in excess.values_mut() {
        *count = count.saturating_sub(each);
    }
    let mut out = Vec::new();
    for only_repeats in [true, false] {
        out.extend(backlog.extract_if(.., |delivery| {
            let left = excess.get_mut(&delivery.alert.key.rule).filter(|left| **left > 0);
            let Some(left) = left.filter(|_| !(only_repeats && delivery.transition)) else { return false };
            *left = left.saturating_sub(1);
            true
        }));
    }
    out
}

fn log(transition: &Transition) {
    let Transition { alert, from, dropped } = transition;
    let from = from.map_or("inactive", Phase::text);
    let to = if *dropped { "inactive" } else { alert.phase.text() };
    let labels = text_of(&alert.key.labels);
    let labels = BoundedText(&labels, MAX_LOGGED_LABELS);
    let name = BoundedText(&alert.key.name, MAX_LOGGED_NAME);
    tracing::info!(rule = %alert.key.rule, alertname = %name, %labels, from, to, "alert changed");
}

/// As in PromQL, without `alertname` and `rule`, which stand before it in the log line.
fn text_of(labels: &Labels) -> String {
    let others = labels.iter().filter(|(name, _)| !matches!(name.as_str(), "alertname" | "rule"));
    let pairs: Vec<_> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Outcome, RaisedAlert, Subject, Timestamp},
        pipeline::{COMMIT_DEADLINE, Evaluation, Grants, RuleSettings, Verdict, restore},
    };

    fn nothing_seen() -> watch::Receiver<Arc<Snapshot>> {
        let Input::Evaluated(evaluation) = evaluated(0, &[]) else { unreachable!() };
        watch::channel(evaluation.snapshot).1
    }

    fn outlets(
        deliver: mpsc::Sender<Vec<Delivery>>,
        alerts: watch::Sender<Arc<AlertsView>>,
        settled: watch::Sender<Arc<Settled>>,
    ) -> Outlets {
        Outlets { deliver, deeds: mpsc::channel(1).0, alerts, actions: watch::channel(Arc::default()).0, settled }
    }

    fn settings() -> Arc<RuleSettings> {
        Arc::new(RuleSettings {
            name: "r".into(),
            interval: None,
            pending_for: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            labels: Labels::new(),
            annotations: Labels::new(),
            shadow: false,
            actions: Grants::new(),
        })
    }

    fn evaluated(number: u64, alerts: &[&str]) -> Input {
        let raised = |name: &&str| RaisedAlert {
            subject: Subject::Agent,
            name: (*name).to_owned(),
            labels: Labels::new(),
            annotations: Labels::new(),
            value: None,
        };
        let snapshot = Snapshot {
            number,
            at: clock::now(),
            interval: Duration::from_secs(5),
            cluster: "".into(),
            kafka: None,
            pages: Vec::new(),
            targets: Vec::new(),
        };
        Input::Evaluated(Evaluation {
            settings: settings(),
            generation: 1,
            snapshot: Arc::new(snapshot),
            verdict: Verdict::Outcome(Outcome { alerts: alerts.iter().map(raised).collect(), ..Outcome::default() }),
            failures_in_a_row: 0,
            state: None,
        })
    }

    #[tokio::test]
    async fn a_full_channel_neither_holds_up_the_owner_nor_loses_a_transition() {
        let (tasks, _ended) = Tasks::new();
        let (input, inputs) = mpsc::channel(8);
        let (deliver, mut told) = mpsc::channel(1);
        let (view, mut seen) = watch::channel(Arc::new(AlertsView::default()));
        deliver.try_send(Vec::new()).unwrap();
        let (settle, mut settled) = watch::channel(Arc::new(Settled::default()));
        let folder = tempfile::tempdir().unwrap();
        let (store_tasks, _ended) = Tasks::new();
        let store = crate::store::start(&store_tasks, folder.path(), Arc::default()).unwrap();
        let durability = Durability::Store(store, Box::default());
        let outlets = outlets(deliver, view, settle);
        start(&tasks, inputs, nothing_seen(), outlets, durability, Arc::new(SelfMetrics::default()));
        input.send(Input::Installed { settings: settings(), generation: 1 }).await.unwrap();
        for (number, alerts) in [(1, &["A"][..]), (2, &["A", "B"]), (3, &["B"])] {
            input.send(evaluated(number, alerts)).await.unwrap();
        }
        let phases = |view: &AlertsView| view.alerts.iter().map(|alert| alert.phase).collect::<Vec<_>>();
        seen.wait_for(|view| phases(view) == [Phase::Resolved, Phase::Firing]).await.unwrap();
        let settled = settled.wait_for(|settled| settled.taken.get("r") == Some(&(1, 3))).await.unwrap().clone();
        let own: Vec<_> = settled.alerts_of("r").iter().map(|alert| alert.key.name.clone()).collect();
        assert_eq!(own, ["B"], "resolved ones are nothing to a rule");
        assert!(told.recv().await.unwrap().is_empty(), "what filled the channel");
        let words: Vec<_> = told
            .recv()
            .await
            .unwrap()
            .iter()
            .map(|delivery| (delivery.alert.key.name.clone(), delivery.alert.phase))
            .collect();
        let want = [("A", Phase::Firing), ("B", Phase::Firing), ("A", Phase::Resolved)];
        assert_eq!(words, want.map(|(name, phase)| (name.to_owned(), phase)));
        assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
        assert!(told.recv().await.is_none(), "stopping tells nothing");
    }

    /// Tells `alerts` at each of these snapshots; what comes of it: names, phases, and whether each is marked.
    async fn told(durability: Durability, rounds: &[&[&str]]) -> Vec<(String, Phase, bool)> {
        let (tasks, _ended) = Tasks::new();
        let (input, inputs) = mpsc::channel(8);
        let (deliver, mut told) = mpsc::channel(8);
        let (view, _seen) = watch::channel(Arc::default());
        let (settle, _settled) = watch::channel(Arc::default());
        let outlets = outlets(deliver, view, settle);
        start(&tasks, inputs, nothing_seen(), outlets, durability, Arc::new(SelfMetrics::default()));
        input.send(Input::Installed { settings: settings(), generation: 1 }).await.unwrap();
        let mut words: Vec<(String, Phase, bool)> = Vec::new();
        for (number, alerts) in (1..).zip(rounds) {
            input.send(evaluated(number, alerts)).await.unwrap();
            let marked = |d: &Delivery| d.alert.annotations.contains_key(NOT_STORED);
            while alerts.iter().any(|name| words.iter().all(|(told, ..)| told != name)) {
                let batch = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
                words.extend(batch.iter().map(|d| (d.alert.key.name.clone(), d.alert.phase, marked(d))));
            }
        }
        tasks.shut_down(Duration::from_secs(5)).await;
        words
    }

    #[tokio::test]
    async fn what_is_told_is_stored_first() {
        let folder = tempfile::tempdir().unwrap();
        let (tasks, _ended) = Tasks::new();
        let store = crate::store::start(&tasks, folder.path(), Arc::default()).unwrap();
        let durability = Durability::Store(store.clone(), Box::default());
        let words = told(durability, &[&["A"], &["A", "B"]]).await;
        assert_eq!(words, [("A".to_owned(), Phase::Firing, false), ("B".to_owned(), Phase::Firing, false)]);
        let restored = restore(&store, clock::now(), Duration::from_secs(10)).unwrap();
        assert_eq!(restored.book.alerts.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        tasks.shut_down(Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn a_store_that_hangs_holds_alerts_up_for_a_moment_once() {
        let (store, _hangs) = crate::store::Store::hanging();
        let started = std::time::Instant::now();
        let words = told(Durability::Store(store, Box::default()), &[&["A"], &["A", "B"]]).await;
        let names: Vec<_> = words.iter().map(|(name, phase, marked)| (name.as_str(), *phase, *marked)).collect();
        assert!(
            names.contains(&("A", Phase::Firing, true)) && names.contains(&("B", Phase::Firing, true)),
            "{names:?}"
        );
        assert!(names.contains(&(crate::pipeline::STORE_FAILING, Phase::Firing, true)), "{names:?}");
        assert!(started.elapsed() < COMMIT_DEADLINE * 6, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_holds_up_nobody() {
        let durability = Durability::Store(crate::store::Store::failing(), Box::default());
        let words = told(durability, &[&["A"]]).await;
        assert_eq!(words[0], ("A".to_owned(), Phase::Firing, true));
    }

    #[test]
    fn repeats_go_before_transitions_when_the_backlog_is_full() {
        let ticked = tick(
            Book::default(),
            vec![Input::Installed { settings: settings(), generation: 1 }, evaluated(1, &["A", "B", "C", "D"])],
            Timestamp(u64::MAX),
        );
        let mut backlog: Vec<_> = ticked
            .deliveries
            .into_iter()
            .map(|delivery| Delivery { transition: delivery.alert.key.name != "C", ..delivery })
            .collect();
        let names = |all: &[Delivery]| all.iter().map(|d| d.alert.key.name.clone()).collect::<String>();
        let out = squeeze(&mut backlog, 2);
        assert_eq!((names(&out), names(&backlog)), ("CA".to_owned(), "BD".to_owned()));
    }
}
