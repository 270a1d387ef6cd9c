//! Takes deeds off the pipeline's channel, begins them when they may, and tells the pipeline how each ended. Never waits for
//! a receiver, a program or the pipeline.

use super::{
    doing::{Ended, Hands, Means, bounded, do_it},
    lane::{Lane, MAX_WAITING_DEEDS},
    message::Produce,
    pause::{PAUSE_LOOK, Switch},
    program::KILL_AFTER,
    settings::Config,
    spawn::Spawner,
};
use crate::{
    clock,
    deliver::Timing,
    events::SelfMetrics,
    model::families,
    pipeline::{Deed, DeedEnd, DeedResult, Input},
    supervise::{Children, Stop, Tasks},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// How long deeds that run may take to end when the agent stops.
pub const RUN_OUT: Duration = Duration::from_secs(2);
/// How long those may take that are cut off then: programs are told to end, and killed after [`KILL_AFTER`].
pub const CUT_OUT: Duration = Duration::from_millis(1300);
/// Results that the pipeline has not taken yet; while there are so many, no further deeds are taken.
pub const MAX_UNSENT: usize = 4096;
/// Ends of deeds that may wait; more than can run at once.
const ENDS_CAPACITY: usize = 4096;

const _: () = assert!(CUT_OUT.as_millis() > KILL_AFTER.as_millis());

/// All actions, and what they need of others.
#[derive(Clone, Default)]
pub struct Setup {
    /// The actions.
    pub configs: Vec<Config>,
    /// Writes records; `None` = there is no Kafka.
    pub produce: Option<Produce>,
}

/// Changes the actions while they run.
pub struct Handle {
    changes: watch::Sender<Setup>,
}

impl Handle {
    /// From now on there are these actions. A deed that runs ends as it began; one that waits is done in the new way, and
    /// ends as [`DeedEnd::Dropped`] when its action is gone.
    pub fn reconfigure(&self, setup: Setup) {
        self.changes.send_replace(setup);
    }
}

/// Starts the actions. `deeds`: from the pipeline's owner, which should not wait for us while we may wait for it; `results`:
/// to the same, one [`Input::Ended`] for each deed. When told to stop, deeds that run may end for [`RUN_OUT`]; what has not
/// ended then is not told of, and so is to be done again.
///
/// # Errors
/// When the system refuses another thread.
pub fn start(
    tasks: &Tasks,
    setup: Setup,
    data_dir: PathBuf,
    deeds: mpsc::Receiver<Vec<Deed>>,
    results: mpsc::Sender<Input>,
    metrics: Arc<SelfMetrics>,
) -> io::Result<Handle> {
    start_with(tasks, setup, data_dir, (deeds, results), metrics, Timing::default())
}

pub(super) fn start_with(
    tasks: &Tasks,
    setup: Setup,
    data_dir: PathBuf,
    (deeds, results): (mpsc::Receiver<Vec<Deed>>, mpsc::Sender<Input>),
    metrics: Arc<SelfMetrics>,
    timing: Timing,
) -> io::Result<Handle> {
    let switch = Switch::start(tasks, data_dir)?;
    let spawner = Spawner::start(tasks)?;
    let (stop, cut) = (tasks.stop(), Stop::new());
    let means = Means { switch, spawner, produce: Arc::default(), metrics, timing, stop: stop.clone(), cut };
    let (ends, ended) = mpsc::channel(ENDS_CAPACITY);
    let mut dispatch = Dispatch {
        means,
        actions: BTreeMap::new(),
        children: Children::default(),
        ends,
        unsent: VecDeque::new(),
        running: 0,
    };
    dispatch.configure(setup);
    let (sender, changes) = watch::channel(Setup::default());
    tasks.task("actions", dispatch.run(deeds, results, changes, ended, stop));
    Ok(Handle { changes: sender })
}

/// One action.
struct Action {
    /// `None`: agent.yaml does not have it any more, and it waits for what runs.
    hands: Option<Arc<Hands>>,
    lane: Lane,
}

/// A deed ran.
struct End {
    deed: Deed,
    /// `None`: it was cut off.
    how: Option<Ended>,
}

/// Tells of the end of a deed, also when what did it broke.
struct Running {
    deed: Option<Deed>,
    /// What is told where nothing else was said.
    how: Option<Ended>,
    ends: mpsc::Sender<End>,
}

impl Running {
    fn end(&mut self, how: Option<Ended>) {
        self.how = how;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(deed) = self.deed.take() {
            // There is room for all that can run; when nobody listens any more, we are stopping.
            drop(self.ends.try_send(End { deed, how: self.how.take() }));
        }
    }
}

struct Dispatch {
    means: Means,
    actions: BTreeMap<String, Action>,
    children: Children,
    ends: mpsc::Sender<End>,
    unsent: VecDeque<DeedResult>,
    running: usize,
}

impl Dispatch {
    async fn run(
        mut self,
        mut deeds: mpsc::Receiver<Vec<Deed>>,
        results: mpsc::Sender<Input>,
        mut changes: watch::Receiver<Setup>,
        mut ended: mpsc::Receiver<End>,
        stop: Stop,
    ) {
        let mut seen = self.means.switch.seen();
        let (mut pipeline_speaks, mut may_change, mut is_seen) = (true, true, true);
        self.show_pause(*seen.borrow_and_update());
        loop {
            tokio::select! { () = stop.wait() => break, () = self.begin() => {} }
            let waits = self.actions.values().any(|action| action.lane.waiting() > 0);
            tokio::select! {
                biased;
                () = stop.wait() => break,
                changed = changes.changed(), if may_change => match changed {
                    Ok(()) => {
                        let setup = changes.borrow_and_update().clone();
                        self.configure(setup);
                    }
                    Err(_) => may_change = false,
                },
                changed = seen.changed(), if is_seen => {
                    is_seen = changed.is_ok();
                    self.show_pause(*seen.borrow_and_update());
                }
                Some(end) = ended.recv() => self.end(end),
                place = results.reserve(), if !self.unsent.is_empty() => match (place, self.unsent.pop_front()) {
                    (Ok(place), Some(result)) => place.send(Input::Ended(result)),
                    // The pipeline is gone: we will be told to stop.
                    _ => self.unsent.clear(),
                },
                some = deeds.recv(), if pipeline_speaks && self.unsent.len() < MAX_UNSENT => match some {
                    Some(deeds) => deeds.into_iter().for_each(|deed| self.take(deed)),
                    None => pipeline_speaks = false,
                },
                () = sleep(PAUSE_LOOK), if waits => {}
            }
        }
        self.wind_up(&results, &mut ended).await;
    }

    /// Begins what may begin.
    async fn begin(&mut self) {
        let may_begin =
            |action: &Action| action.hands.as_ref().is_some_and(|hands| action.lane.has_next(hands.config.concurrency));
        while let Some(name) = self.actions.iter().find(|(_, action)| may_begin(action)).map(|(name, _)| name.clone()) {
            if self.means.switch.is_paused().await {
                return;
            }
            let Some(Action { hands: Some(hands), lane }) = self.actions.get_mut(&name) else { return };
            let Some(deed) = lane.begin(hands.config.concurrency) else { return };
            let (hands, means) = (Arc::clone(hands), self.means.clone());
            // What breaks must not look like what we cut off.
            let broke = Ended { end: DeedEnd::Failed, attempts: 1, text: "the agent failed at it".to_owned() };
            let mut running = Running { deed: Some(deed.clone()), how: Some(broke), ends: self.ends.clone() };
            self.running = self.running.saturating_add(1);
            self.children.spawn(async move {
                running.end(do_it(&deed, &hands, &means).await);
            });
        }
    }

    fn configure(&mut self, setup: Setup) {
        *self.means.produce.lock().unwrap_or_else(PoisonError::into_inner) = setup.produce;
        let mut gone: Vec<_> = self.actions.keys().cloned().collect();
        for config in setup.configs {
            let name = config.name.clone();
            gone.retain(|old| *old != name);
            for outcome in DeedEnd::ALL.map(DeedEnd::text).into_iter().chain(["retried"]) {
                self.means.metrics.add(&families::ACTIONS, &[&name, outcome], 0.0);
            }
            let action = self.actions.entry(name).or_insert_with(|| Action { hands: None, lane: Lane::default() });
            // What is as it was keeps its connections.
            if action.hands.as_ref().is_none_or(|hands| hands.config != config) {
                action.hands = Some(Arc::new(Hands::new(config)));
            }
        }
        for name in gone {
            let Some(action) = self.actions.get_mut(&name) else { continue };
            action.hands = None;
            let waiting = action.lane.take_waiting();
            if !action.lane.runs() {
                self.actions.remove(&name);
            }
            for deed in waiting {
                self.told(&deed, drop_of());
            }
        }
    }

    fn take(&mut self, deed: Deed) {
        let Some(action) = self.actions.get_mut(&deed.action).filter(|action| action.hands.is_some()) else {
            return self.told(&deed, drop_of());
        };
        if let Err(deed) = action.lane.offer(deed) {
            let text = format!("{MAX_WAITING_DEEDS} deeds of this action wait already");
            self.told(&deed, Ended { end: DeedEnd::Expired, attempts: 0, text });
        }
    }

    /// A deed ran, to its end or not.
    fn end(&mut self, End { deed, how }: End) {
        self.running = self.running.saturating_sub(1);
        self.children.running();
        if let Some(action) = self.actions.get_mut(&deed.action) {
            action.lane.ended(&deed.key);
            if action.hands.is_none() && !action.lane.runs() {
                self.actions.remove(&deed.action);
            }
        }
        if let Some(how) = how {
            self.told(&deed, how);
        }
    }

    fn told(&mut self, deed: &Deed, Ended { end, attempts, text }: Ended) {
        let (action, outcome) = (&deed.action, end.text());
        self.means.metrics.count(&families::ACTIONS, &[action, outcome]);
        let key = bounded(&deed.key);
        let (rule, id) = (&deed.rule, &deed.idempotency_key);
        match end {
            DeedEnd::Done | DeedEnd::DryRun | DeedEnd::Silenced => {
                tracing::info!(%action, %rule, key, %id, outcome, attempts, text, "an action ended");
            }
            DeedEnd::Failed | DeedEnd::Expired | DeedEnd::Dropped => {
                tracing::warn!(%action, %rule, key, %id, outcome, attempts, text, "an action was not done");
            }
        }
        self.unsent.push_back(DeedResult { sequence: deed.sequence, end, at: clock::now(), attempts, text });
    }

    fn show_pause(&self, paused: bool) {
        let metrics = &self.means.metrics;
        let before = metrics.value(&families::ACTIONS_PAUSED, &[]).unwrap_or(0.0) > 0.0;
        metrics.set(&families::ACTIONS_PAUSED, &[], f64::from(u8::from(paused)));
        if paused != before {
            tracing::warn!(paused, "actions were {}", if paused { "paused: none begins" } else { "resumed" });
        }
    }

    /// Lets what runs end for a while, then ends it. What waits is in the outbox.
    async fn wind_up(mut self, results: &mpsc::Sender<Input>, ended: &mut mpsc::Receiver<End>) {
        for (limit, cut) in [(RUN_OUT, false), (CUT_OUT, true)] {
            if cut {
                self.means.cut.stop();
            }
            let deadline = Instant::now() + limit;
            while self.running > 0 {
                tokio::select! {
                    biased;
                    Some(end) = ended.recv() => self.end(end),
                    () = sleep_until(deadline) => break,
                }
            }
            for result in self.unsent.drain(..) {
                // The pipeline may have stopped already; then these are done again.
                drop(results.try_send(Input::Ended(result)));
            }
        }
        let waiting: usize = self.actions.values().map(|action| action.lane.waiting()).sum();
        let left = self.children.shut_down(Duration::ZERO).await.saturating_add(waiting);
        if left > 0 {
            tracing::info!(actions = left, "actions that did not begin, or did not end, are done after the next start");
        }
    }
}

fn drop_of() -> Ended {
    Ended { end: DeedEnd::Dropped, attempts: 0, text: "agent.yaml has no such action".to_owned() }
}
