//! Takes deliveries off the pipeline's channel and queues them for every notifier; starts, redirects and ends the
//! notifiers' lanes as the configuration says. Never waits for a receiver.

use super::{
    board::Board,
    interest::Interest,
    journal::{Ending, Journal},
    lane::{Depth, Lane, Shared, count, receiver},
    retry::Timing,
    settings::{Config, Kind},
};
use crate::{
    alerts::Phase,
    clock,
    events::SelfMetrics,
    model::BoundedText,
    pipeline::{Delivery, NotifiersView},
    supervise::{Stop, Tasks},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// How much longer than [`Timing::flush`] a lane may take to end.
const FLUSH_SLACK: Duration = Duration::from_millis(500);

/// How long it may take to store who was told when we stop.
const JOURNAL_GRACE: Duration = Duration::from_millis(500);

/// Bytes of an alert's annotation or labels in a line of the log notifier.
const MAX_LOGGED_TEXT: usize = 1024;

/// What receivers are told of us, and how patient we are with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// Where people reach us, as a URL; empty if that is not known.
    pub url: String,
    /// Deadlines and delays.
    pub timing: Timing,
}

/// Changes the notifiers while they run.
#[derive(Debug)]
pub struct Handle {
    configs: watch::Sender<Vec<Config>>,
    board: Arc<Board>,
}

impl Handle {
    /// Tells to these notifiers from now on. One that stays under its name and kind keeps what it has still to tell,
    /// also when its URL or its words are others; one that is gone may tell what is left for [`Timing::flush`].
    pub fn reconfigure(&self, configs: Vec<Config>) {
        self.configs.send_replace(configs);
    }

    /// What each receiver answered last.
    pub fn view(&self) -> watch::Receiver<Arc<NotifiersView>> {
        self.board.view()
    }
}

/// Starts the notifiers. `receiver`: from the pipeline's owner. They end within 4 s of the stop signal ([`Timing`]),
/// telling what is left; nothing is resolved because we stop.
pub fn start(
    tasks: &Tasks,
    configs: Vec<Config>,
    external: External,
    receiver: mpsc::Receiver<Vec<Delivery>>,
    journal: Arc<Journal>,
    metrics: Arc<SelfMetrics>,
) -> Handle {
    let (sender, changes) = watch::channel(Vec::new());
    let board = Arc::new(Board::new());
    let mut fan_out = FanOut {
        groups: tasks.group(),
        journal,
        external: valid(external),
        metrics,
        board: Arc::clone(&board),
        notifiers: BTreeMap::new(),
        retired: Vec::new(),
    };
    fan_out.configure(configs);
    tasks.task("deliver", fan_out.run(receiver, changes, tasks.stop()));
    Handle { configs: sender, board }
}

/// Alertmanager refuses a whole post for one URL that is none.
fn valid(external: External) -> External {
    let is_url = external.url.parse::<hyper::Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some());
    if is_url { external } else { External { url: String::new(), ..external } }
}

struct Notifier {
    config: Arc<Config>,
    /// What the log wants to hear; lanes have their own.
    interest: Interest,
    depth: Arc<Depth>,
    /// Each with what ends it.
    lanes: Vec<(Arc<Lane>, Tasks)>,
}

impl Notifier {
    /// What the journal calls those that it tells.
    fn receivers(&self, name: &str) -> impl Iterator<Item = String> {
        let receivers = if self.config.kind == Kind::Log { 1 } else { self.lanes.len() };
        (0..receivers).map(move |index| receiver(name, index))
    }
}

struct FanOut {
    groups: Tasks,
    journal: Arc<Journal>,
    external: External,
    metrics: Arc<SelfMetrics>,
    board: Arc<Board>,
    notifiers: BTreeMap<String, Notifier>,
    /// Lanes that were told to end, most of which have.
    retired: Vec<Tasks>,
}

impl FanOut {
    async fn run(
        mut self,
        mut receiver: mpsc::Receiver<Vec<Delivery>>,
        mut changes: watch::Receiver<Vec<Config>>,
        stop: Stop,
    ) {
        let journal_tasks = self.groups.group();
        let journal = Arc::clone(&self.journal);
        let journal_stop = journal_tasks.stop();
        journal_tasks.task("notification-journal", async move { journal.run(journal_stop).await });
        let (mut pipeline_speaks, mut may_change) = (true, true);
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                changed = changes.changed(), if may_change => match changed {
                    Ok(()) => {
                        let configs = changes.borrow_and_update().clone();
                        self.configure(configs);
                    }
                    Err(_) => may_change = false,
                },
                deliveries = receiver.recv(), if pipeline_speaks => match deliveries {
                    Some(deliveries) => self.tell(&deliveries),
                    None => pipeline_speaks = false,
                },
            }
        }
        let patience = self.external.timing.last_words;
        let last_words = async {
            while let Some(deliveries) = receiver.recv().await {
                self.tell(&deliveries);
            }
        };
        // Still speaking then: it has said what it had, the rest is after the stop.
        let _ = tokio::time::timeout(patience, last_words).await;
        let lanes = self.notifiers.into_values().flat_map(|notifier| notifier.lanes).map(|(_, tasks)| tasks);
        let ending: Vec<_> = lanes.chain(self.retired).collect();
        for tasks in &ending {
            tasks.stop().stop();
        }
        let grace = self.external.timing.flush.saturating_add(FLUSH_SLACK);
        let deadline = tokio::time::Instant::now() + grace;
        for tasks in ending {
            for name in tasks.shut_down(deadline.saturating_duration_since(tokio::time::Instant::now())).await {
                tracing::warn!(task = name, "a notifier did not end in time");
            }
        }
        // Last: who was told is known when the lanes have ended.
        if !journal_tasks.shut_down(JOURNAL_GRACE).await.is_empty() {
            tracing::warn!(
                "stopped before it was stored who was told; some alerts may be told again after the next start"
            );
        }
    }

    fn configure(&mut self, configs: Vec<Config>) {
        self.retired.clear();
        self.board.configured(&configs);
        let mut old = std::mem::take(&mut self.notifiers);
        for config in configs {
            let config = Arc::new(config);
            let present = old.remove(&config.name).or_else(|| self.notifiers.remove(&config.name));
            let is_same = |present: &Notifier| {
                std::mem::discriminant(&present.config.kind) == std::mem::discriminant(&config.kind)
            };
            let mut notifier = match present {
                Some(present) if is_same(&present) => present,
                other => {
                    if let Some(other) = other {
                        self.retire(other);
                    }
                    self.create(&config)
                }
            };
            let receivers = config.receivers();
            for (lane, tasks) in notifier.lanes.drain(receivers.min(notifier.lanes.len())..) {
                lane.retire();
                tasks.stop().stop();
                self.retired.push(tasks);
            }
            for (lane, _) in &notifier.lanes {
                lane.redirect(&config);
            }
            for index in notifier.lanes.len()..receivers {
                let lane = self.open(&config, index, &notifier.depth);
                notifier.lanes.push(lane);
            }
            notifier.interest.change(config.wants.clone());
            notifier.config = Arc::clone(&config);
            self.notifiers.insert(config.name.clone(), notifier);
        }
        for gone in old.into_values() {
            self.retire(gone);
        }
    }

    fn create(&self, config: &Arc<Config>) -> Notifier {
        for outcome in ["sent", "failed", "retried", "dropped"] {
            count(&self.metrics, &config.name, outcome, 0);
        }
        let depth = Arc::new(Depth::new(&config.name, Arc::clone(&self.metrics)));
        let interest = Interest::new(config.wants.clone(), false);
        Notifier { config: Arc::clone(config), interest, depth, lanes: Vec::new() }
    }

    fn open(&self, config: &Arc<Config>, index: usize, depth: &Arc<Depth>) -> (Arc<Lane>, Tasks) {
        let shared = Shared {
            journal: Arc::clone(&self.journal),
            metrics: Arc::clone(&self.metrics),
            board: Arc::clone(&self.board),
            external_url: Arc::from(self.external.url.as_str()),
            timing: self.external.timing,
        };
        let lane = Arc::new(Lane::new(Arc::clone(config), index, Arc::clone(depth), shared));
        let tasks = self.groups.group();
        tasks.task(&format!("notify {}", config.name), Arc::clone(&lane).run(tasks.stop()));
        (lane, tasks)
    }

    fn retire(&mut self, notifier: Notifier) {
        notifier.depth.forget();
        for (lane, tasks) in notifier.lanes {
            lane.retire();
            tasks.stop().stop();
            self.retired.push(tasks);
        }
    }

    fn tell(&mut self, deliveries: &[Delivery]) {
        #[cfg(test)]
        crate::crash::point("handed over");
        let now = clock::now();
        let receivers: Vec<_> = self.notifiers.iter().flat_map(|(name, notifier)| notifier.receivers(name)).collect();
        for delivery in deliveries {
            let told = delivery.stored.as_ref().map(|stored| &stored.told);
            let left = receivers.iter().filter(|receiver| told.is_none_or(|told| !told.contains(*receiver)));
            self.journal.expect(delivery, left.count());
        }
        for (name, notifier) in &mut self.notifiers {
            if notifier.config.kind == Kind::Log {
                let receiver = receiver(name, 0);
                for delivery in deliveries {
                    if delivery.stored.as_ref().is_some_and(|stored| stored.told.contains(&receiver)) {
                        continue;
                    }
                    if notifier.interest.wants(delivery, now) {
                        log(name, delivery);
                        count(&self.metrics, name, "sent", 1);
                        self.board.accepted(name, 0, now);
                        self.journal.ended([delivery], (name, 0, &receiver), Ending::Sent);
                    } else {
                        self.journal.unwanted(delivery, &receiver);
                    }
                }
            }
            for (lane, _) in &notifier.lanes {
                lane.offer(deliveries);
            }
        }
    }
}

/// One line; what a person reads first is the summary.
pub(super) fn log(notifier: &str, delivery: &Delivery) {
    let alert = &delivery.alert;
    let labels: Vec<_> = alert.key.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let labels = labels.join(",");
    let labels = BoundedText(&labels, MAX_LOGGED_TEXT);
    let summary = ["summary", "description"].iter().find_map(|name| alert.annotations.get(*name));
    let summary = BoundedText(summary.map_or("", String::as_str), MAX_LOGGED_TEXT);
    let (value, state) = (alert.value, alert.phase.text());
    if alert.phase == Phase::Resolved {
        tracing::info!(target: "alert", notifier, state, %labels, value, %summary);
    } else {
        tracing::warn!(target: "alert", notifier, state, %labels, value, %summary);
    }
}
