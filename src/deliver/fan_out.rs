//! Takes deliveries off the pipeline's channel and queues them for every notifier; starts, redirects and ends the
//! notifiers' lanes as the configuration says. Never waits for a receiver.

use super::{
    Config, Kind,
    lane::{Depth, Lane, Receiver, count},
    post::Sender,
    retry::Timing,
};
use crate::{
    alerts::Phase,
    events::SelfMetrics,
    model::BoundedText,
    pipeline::Delivery,
    supervise::{Stop, Tasks},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// How much longer than [`Timing::flush`] a lane may take to end.
const FLUSH_SLACK: Duration = Duration::from_millis(500);

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
}

impl Handle {
    /// Tells to these notifiers from now on. One that stays under its name and kind keeps what it has still to tell,
    /// also when its URL is another; one that is gone may tell what is left for [`Timing::flush`].
    pub fn reconfigure(&self, configs: Vec<Config>) {
        self.configs.send_replace(configs);
    }
}

/// Starts the notifiers. `receiver`: from the pipeline's owner. They end within 4 s of the stop signal ([`Timing`]),
/// telling what is left; nothing is resolved because we stop.
pub fn start(
    tasks: &Tasks,
    configs: Vec<Config>,
    external: External,
    receiver: mpsc::Receiver<Vec<Delivery>>,
    metrics: Arc<SelfMetrics>,
) -> Handle {
    let (sender, changes) = watch::channel(Vec::new());
    let mut fan_out = FanOut {
        groups: tasks.group(),
        sender: Arc::new(Sender::new(external.timing.timeout)),
        external: valid(external),
        metrics,
        notifiers: BTreeMap::new(),
        retired: Vec::new(),
    };
    fan_out.configure(configs);
    tasks.task("deliver", fan_out.run(receiver, changes, tasks.stop()));
    Handle { configs: sender }
}

/// Alertmanager refuses a whole post for one URL that is none.
fn valid(external: External) -> External {
    let is_url = external.url.parse::<hyper::Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some());
    if is_url { external } else { External { url: String::new(), ..external } }
}

struct Notifier {
    kind: Kind,
    depth: Arc<Depth>,
    /// Each with what ends it.
    lanes: Vec<(Arc<Lane>, Tasks)>,
}

struct FanOut {
    groups: Tasks,
    sender: Arc<Sender>,
    external: External,
    metrics: Arc<SelfMetrics>,
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
        let last_words = async {
            while let Some(deliveries) = receiver.recv().await {
                self.tell(&deliveries);
            }
        };
        // Still speaking then: it has said what it had, the rest is after the stop.
        let _ = tokio::time::timeout(self.external.timing.last_words, last_words).await;
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
    }

    fn configure(&mut self, configs: Vec<Config>) {
        self.retired.clear();
        let mut old = std::mem::take(&mut self.notifiers);
        for Config { name, kind } in configs {
            let present = old.remove(&name).or_else(|| self.notifiers.remove(&name));
            let mut notifier = match present {
                Some(present) if std::mem::discriminant(&present.kind) == std::mem::discriminant(&kind) => present,
                other => {
                    if let Some(other) = other {
                        self.retire(other);
                    }
                    self.create(&name, &kind)
                }
            };
            let receivers = match &kind {
                Kind::Alertmanager { urls } => urls.iter().cloned().map(Receiver::Alertmanager).collect(),
                Kind::Webhook { url } => vec![Receiver::Webhook(url.clone())],
                Kind::Log => Vec::new(),
            };
            for (_, tasks) in notifier.lanes.drain(receivers.len().min(notifier.lanes.len())..) {
                tasks.stop().stop();
                self.retired.push(tasks);
            }
            for (index, receiver) in receivers.into_iter().enumerate() {
                if let Some((lane, _)) = notifier.lanes.get(index) {
                    lane.redirect(receiver);
                } else {
                    let lane = self.open(&name, index.saturating_add(1), receiver, &notifier.depth);
                    notifier.lanes.push(lane);
                }
            }
            notifier.kind = kind;
            self.notifiers.insert(name, notifier);
        }
        for gone in old.into_values() {
            self.retire(gone);
        }
    }

    fn create(&self, name: &str, kind: &Kind) -> Notifier {
        for outcome in ["sent", "failed", "retried", "dropped"] {
            count(&self.metrics, name, outcome, 0);
        }
        let depth = Arc::new(Depth::new(name, Arc::clone(&self.metrics)));
        Notifier { kind: kind.clone(), depth, lanes: Vec::new() }
    }

    fn open(&self, name: &str, number: usize, receiver: Receiver, depth: &Arc<Depth>) -> (Arc<Lane>, Tasks) {
        let lane = Arc::new(Lane::new(
            number,
            receiver,
            Arc::clone(depth),
            Arc::clone(&self.metrics),
            self.external.url.clone(),
            self.external.timing,
        ));
        let tasks = self.groups.group();
        tasks.task(&format!("notify {name}"), Arc::clone(&lane).run(Arc::clone(&self.sender), tasks.stop()));
        (lane, tasks)
    }

    fn retire(&mut self, notifier: Notifier) {
        notifier.depth.forget();
        for (_, tasks) in notifier.lanes {
            tasks.stop().stop();
            self.retired.push(tasks);
        }
    }

    fn tell(&self, deliveries: &[Delivery]) {
        for (name, notifier) in &self.notifiers {
            if notifier.kind == Kind::Log {
                let transitions = deliveries.iter().filter(|delivery| delivery.transition);
                count(&self.metrics, name, "sent", transitions.map(|delivery| log(name, delivery)).count());
            }
            for (lane, _) in &notifier.lanes {
                lane.offer(deliveries);
            }
        }
    }
}

/// One line; what a person reads first is the summary.
fn log(notifier: &str, delivery: &Delivery) {
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
