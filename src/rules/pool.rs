//! The threads that evaluate, and the one order in which the pipeline hears of rules: a version is announced before it
//! speaks, and nothing is heard of it once it was replaced or removed.

use super::{
    evaluate::{self, Finished},
    limits,
    load::LoadError,
    registry::{Change, Lane, Registry, Version},
    state::State,
};
use crate::{
    events::SelfMetrics,
    history::History,
    model::{RuleState, families},
    pipeline::{Evaluation, Input, RulesView, Settled, Verdict},
    snapshot::Snapshot,
    supervise::{Stop, Tasks},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Priority of the threads on which code of rules runs, as for `nice`: rules never take time that the agent needs.
const NICE: i32 = 10;
/// A waiting thread looks again after this: for the stop signal and for pauses that ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the threads of the rule host share.
pub(super) struct Shared {
    registry: Mutex<Registry>,
    /// Rung when there may be something to do, or a rule is no longer busy.
    bell: Condvar,
    pub(super) secret: [u8; 32],
    pub(super) metrics: Arc<SelfMetrics>,
    pipeline: mpsc::Sender<Input>,
    view: watch::Sender<Arc<RulesView>>,
    /// The past up to the newest snapshot, for people.
    pub(super) history: watch::Sender<Arc<History>>,
}

impl Shared {
    pub(super) fn new(
        secret: [u8; 32],
        metrics: Arc<SelfMetrics>,
        pipeline: mpsc::Sender<Input>,
        view: watch::Sender<Arc<RulesView>>,
        restored: BTreeMap<String, RuleState>,
    ) -> Self {
        let registry = Mutex::new(Registry::restoring(restored));
        let (history, _) = watch::channel(Arc::default());
        Self { registry, bell: Condvar::new(), secret, metrics, pipeline, view, history }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a version live between two evaluations: waits for a running one, has the version take over a copy of the
    /// state, tells the pipeline, then swaps. False: a later one is there already, or we are being stopped.
    ///
    /// # Errors
    /// What the version says, where it cannot take over the state; nothing changed then.
    pub(super) fn install(
        &self,
        version: Version,
        stop: &Stop,
        take_over: impl FnOnce(&Version, &State) -> Result<State, LoadError>,
    ) -> Result<bool, LoadError> {
        let name = version.settings.name.clone();
        if !self.claim(&name, stop) {
            return Ok(false);
        }
        let later = |registry: &Registry| {
            let live = registry.rules.get(&name).and_then(|entry| entry.live.as_ref());
            live.is_some_and(|live| live.generation >= version.generation)
        };
        if later(&self.registry()) {
            self.release(&name);
            return Ok(false);
        }
        let before = self.registry().memory_of(&name).state;
        let state = match take_over(&version, &before) {
            Ok(state) => state,
            Err(error) => {
                self.release(&name);
                return Err(error);
            }
        };
        let installed = Input::Installed { settings: Arc::clone(&version.settings), generation: version.generation };
        let new = (before.kept().version.is_some() && !state.is_untouched(&before)).then(|| state.kept().clone());
        let remembers = new.map(|state| Input::Remembers { rule: name.clone(), state });
        let told = self.tell(installed) && remembers.is_none_or(|remembers| self.tell(remembers));
        let labels = [version.module.clone(), version.code.sha256.clone()];
        let swapped = told && {
            let mut registry = self.registry();
            let installed = registry.install(version);
            if installed {
                registry.replace_state(&name, state);
            }
            installed
        };
        if swapped {
            let [module, sha256] = &labels;
            self.metrics.forget(&families::RULE_INFO, |labels| labels.get(1) == Some(&name));
            self.metrics.set(&families::RULE_INFO, &[module, &name, sha256], 1.0);
        }
        self.release(&name);
        Ok(swapped)
    }

    /// Makes a rule forget what it remembers, between two evaluations. False: there is no such rule, or we are being stopped.
    pub(super) fn forget_state(&self, name: &str, stop: &Stop) -> bool {
        if !self.claim(name, stop) {
            return false;
        }
        let version = self.registry().rules.get(name).map(|entry| entry.state().kept().version.unwrap_or_default());
        let Some(version) = version else { return false };
        let state = State::forgotten(version);
        let told = self.tell(Input::Remembers { rule: name.to_owned(), state: state.kept().clone() });
        if told {
            self.registry().replace_state(name, state);
        }
        self.release(name);
        told
    }

    /// Removes a rule for good, with all that it remembers.
    pub(super) fn remove(&self, name: &str, generation: u64, stop: &Stop) {
        if !self.claim(name, stop) {
            return;
        }
        // Also of one that never was live: it may have alerts and state from before our start.
        if !self.tell(Input::Removed { rule: name.to_owned(), generation }) {
            return;
        }
        let mut registry = self.registry();
        registry.rules.remove(name);
        registry.restored.remove(name);
        drop(registry);
        self.bell.notify_all();
        self.metrics.forget(&families::RULE_INFO, |labels| labels.get(1).is_some_and(|rule| rule == name));
        for family in [&families::RULE_EVALUATIONS, &families::RULE_FAILURES] {
            self.metrics.forget(family, |labels| labels.get(1).is_some_and(|rule| rule == name));
        }
        for family in [&families::RULE_EVALUATION_SECONDS, &families::RULE_LOG_DROPPED] {
            self.metrics.forget(family, |labels| labels.first().is_some_and(|rule| rule == name));
        }
    }

    /// Waits until nobody evaluates the rule, and keeps it so. An evaluation has a deadline, so the wait ends.
    fn claim(&self, name: &str, stop: &Stop) -> bool {
        let mut registry = self.registry();
        loop {
            if stop.stopped() {
                return false;
            }
            match registry.rules.get_mut(name) {
                Some(entry) if entry.busy => {}
                Some(entry) => {
                    entry.busy = true;
                    return true;
                }
                None => return true,
            }
            registry = self.bell.wait_timeout(registry, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn release(&self, name: &str) {
        if let Some(entry) = self.registry().rules.get_mut(name) {
            entry.busy = false;
        }
        self.bell.notify_all();
    }

    /// Tells the pipeline which rules there are, live or not.
    pub(super) fn tell_known(&self, rules: BTreeSet<String>) {
        // What a rule remembered that is gone is no other's that gets its name.
        self.registry().restored.retain(|rule, _| rules.contains(rule));
        // When nobody listens any more, all is being stopped.
        self.tell(Input::Known(rules));
    }

    /// False when nobody listens any more, which happens only while all is being stopped.
    fn tell(&self, input: Input) -> bool {
        self.pipeline.blocking_send(input).is_ok()
    }

    /// Shows people the rules as they stand, if they changed.
    pub(super) fn publish(&self) {
        let now = self.registry().view();
        self.view.send_if_modified(|shown| {
            let changed = **shown != now;
            if changed {
                *shown = Arc::new(now);
            }
            changed
        });
    }

    pub(super) fn observe(&self, snapshot: Arc<Snapshot>) {
        let before = self.registry().history().clone();
        // Not under the lock: it takes a millisecond where there are many groups.
        let history = match snapshot.kafka_replayed() {
            Ok(kafka) => before.with(snapshot.at, kafka),
            Err(_) => before,
        };
        self.history.send_replace(Arc::new(history.clone()));
        let late = {
            let mut registry = self.registry();
            registry.set_history(history);
            registry.observe(snapshot, Instant::now())
        };
        self.bell.notify_all();
        for rule in late {
            self.metrics.count(&families::RULE_EVALUATIONS, &["skipped", &rule]);
        }
    }
}

/// Follows the snapshots (the latest one counts, those in between are never looked at) and what the pipeline has taken.
pub(super) async fn follow(
    shared: Arc<Shared>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut settled: watch::Receiver<Arc<Settled>>,
    stop: Stop,
) {
    let snapshot = Arc::clone(&snapshots.borrow_and_update());
    shared.observe(snapshot);
    loop {
        let watched = tokio::select! {
            () = stop.wait() => break,
            changed = snapshots.changed() => changed.map(|()| {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                shared.observe(snapshot);
            }),
            changed = settled.changed() => changed.map(|()| {
                let settled = Arc::clone(&settled.borrow_and_update());
                shared.registry().settle(settled);
                shared.bell.notify_all();
            }),
        };
        if watched.is_err() {
            // Nobody observes or listens any more: the agent is being stopped.
            stop.wait().await;
            break;
        }
    }
    shared.bell.notify_all();
}

/// Starts the threads that evaluate: `threads` for all rules, and one for cheap ones only. `alive` is held for as long as
/// one of them runs.
pub(super) fn start(tasks: &Tasks, shared: &Arc<Shared>, threads: usize, alive: &Arc<()>) -> std::io::Result<()> {
    let for_all = (0..threads).map(|number| (format!("rules-{number}"), Lane::Any));
    for (name, lane) in for_all.chain([("rules-cheap".to_owned(), Lane::Cheap)]) {
        let (shared, alive) = (Arc::clone(shared), Arc::clone(alive));
        tasks.thread(&name, move |stop| {
            lower_priority();
            on_own_runtime(|| work(&shared, lane, &stop));
            drop(alive);
        })?;
    }
    Ok(())
}

/// Makes the system prefer all other threads to this one.
pub(super) fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "cannot lower the priority of a thread that runs rules");
    }
}

/// Gives this thread a runtime of its own, for WASI: it would else start one with more threads.
pub(super) fn on_own_runtime(body: impl FnOnce()) {
    match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => {
            let _entered = runtime.enter();
            body();
        }
        Err(error) => {
            tracing::warn!(%error, "no runtime for WASI on this thread; it will make one when a rule prints");
            body();
        }
    }
}

fn work(shared: &Shared, lane: Lane, stop: &Stop) {
    let mut registry = shared.registry();
    while !stop.stopped() {
        let Some((job, generation)) = registry.next(lane, Instant::now()) else {
            registry = shared.bell.wait_timeout(registry, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        };
        drop(registry);
        let (settings, snapshot) = (Arc::clone(&job.settings), Arc::clone(&job.snapshot));
        let number = snapshot.number;
        let finished = evaluate::evaluate(&job, &shared.secret, stop);
        if stop.stopped() {
            // It may have been ended for that reason, which is nobody's failure.
            return;
        }
        count(shared, &settings.name, &finished);
        let failures_in_a_row = shared.registry().failures_with(&settings.name, &finished.verdict);
        let name = settings.name.clone();
        let verdict = finished.verdict.clone();
        let changed = !finished.state.is_untouched(&job.memory.state);
        let state = changed.then(|| finished.state.kept().clone());
        let evaluation = Evaluation { settings, generation, snapshot, verdict, failures_in_a_row, state };
        if !shared.tell(Input::Evaluated(evaluation)) {
            return;
        }
        registry = shared.registry();
        registry.told(&name, generation, number);
        let change = registry.done(&name, generation, finished, Instant::now());
        let error = registry.rules.get(&name).and_then(|entry| entry.error());
        match change {
            Change::None => {}
            Change::Works => tracing::info!(rule = name, "rule works again"),
            Change::Fails => tracing::warn!(rule = name, error, "rule failed; its alerts stay as they are"),
        }
        shared.bell.notify_all();
    }
}

fn count(shared: &Shared, rule: &str, finished: &Finished) {
    let metrics = &shared.metrics;
    let outcome = match &finished.verdict {
        Verdict::Outcome(_) => "ok",
        Verdict::Unavailable(_) => "unavailable",
        Verdict::Failed { reason, .. } => {
            metrics.count(&families::RULE_FAILURES, &[reason, rule]);
            "failed"
        }
    };
    metrics.count(&families::RULE_EVALUATIONS, &[outcome, rule]);
    metrics.observe(&families::RULE_EVALUATION_SECONDS, &[rule], finished.wall.as_secs_f64());
    if finished.log_dropped > 0 {
        #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a counter of bytes, exact to 2^53")]
        let dropped = finished.log_dropped as f64;
        metrics.add(&families::RULE_LOG_DROPPED, &[rule], dropped);
    }
}

/// How many threads evaluate all rules on this machine: all cores but one, within the cap.
pub(super) fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, limits::MAX_WORKERS)
}
