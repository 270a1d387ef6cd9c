//! Puts the rule host together and starts its threads.

use super::{
    Config, Limits,
    cache::{self, Cache},
    compile, engine, evaluate, host, limits,
    load::{Compile, Loader},
    pool::{self, Shared},
    reload::{Listed, Reload, Requests},
    report::{RuleReport, StateEntry, StateValue},
    trial::{self, Trials},
};
use crate::{
    events::SelfMetrics,
    history::History,
    model::RuleState,
    pipeline::{Input, RuleSettings, RulesView, Settled},
    snapshot::Snapshot,
    supervise::Tasks,
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Why rules cannot be hosted at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// wasmtime does not work on this machine.
    #[error("cannot start WebAssembly: {0}")]
    Engine(String),
    /// The system refuses a thread or random numbers.
    #[error("cannot start the rule host")]
    System(#[from] io::Error),
}

/// The running rule host, as others may reach it.
#[derive(Clone)]
pub struct RulesHandle {
    requests: Arc<Requests>,
    shared: Arc<Shared>,
}

/// What joins the rule host to the pipeline.
pub struct Joint {
    /// Hears in order what each rule is, says and remembers; when it is full, evaluations wait.
    pub inputs: mpsc::Sender<Input>,
    /// A rule is not evaluated again before this says that its last evaluation was taken.
    pub settled: watch::Receiver<Arc<Settled>>,
    /// What rules remembered before the agent was started, by name. What a rule remembers later goes with [`Input`].
    pub restored: BTreeMap<String, RuleState>,
}

/// A live rule as it stands.
#[derive(Clone, Debug)]
pub struct LiveRule {
    /// Its name, `for` and the like.
    pub settings: Arc<RuleSettings>,
    /// `builtin:…` or the file.
    pub module: String,
    /// Of the module, in hex.
    pub sha256: String,
    /// `config:` as JSON.
    pub config: Arc<str>,
    /// Its limits.
    pub limits: Limits,
    /// What it remembers, sorted by key.
    pub state: Vec<(String, Vec<u8>)>,
    /// Number of the last snapshot of which that knows; 0 before the first.
    pub seen: u64,
}

impl RulesHandle {
    /// Takes a new configuration, soon: what is the same in it goes on as it is, changed settings make a new generation,
    /// rules that it lacks are removed, what failed to load is tried again. Never waits. A changed `cache_dir` counts from
    /// the next start. Returns the number of the configuration.
    pub fn reconfigure(&self, config: Config) -> u64 {
        self.requests.reconfigure(config)
    }

    /// What became of the rules that the configuration of that number lists with a module, or a later one: as soon as it is
    /// known of all, else what is known after `limit`, if anything is.
    pub async fn listed(&self, number: u64, limit: Duration) -> Option<Listed> {
        let mut listed = self.requests.listed.subscribe();
        let all = listed.wait_for(|listed| listed.number >= number && listed.pending.is_empty());
        // Late, or stopping: then what there is.
        drop(tokio::time::timeout(limit, all).await);
        let known = listed.borrow().clone();
        (known.number >= number).then_some(known)
    }

    /// A rule as it stands; `None` = there is no such rule.
    pub fn report(&self, rule: &str) -> Option<RuleReport> {
        self.shared.registry().rules.get(rule).map(super::registry::Entry::report)
    }

    /// What a rule remembers, sorted by key; `None` = there is no such rule.
    pub fn state(&self, rule: &str) -> Option<impl Iterator<Item = StateEntry> + use<>> {
        let entries = Arc::clone(&self.shared.registry().rules.get(rule)?.state().kept().entries);
        let keys: Vec<String> = entries.keys().cloned().collect();
        Some(keys.into_iter().filter_map(move |key| {
            let value = StateValue::of(entries.get(&key)?);
            Some(StateEntry { key, value })
        }))
    }

    /// Makes a rule forget what it remembers, once it is not being evaluated. False: there is no such rule. `None`: it was
    /// not asked, since too many wait already or all is being stopped.
    pub async fn forget_state(&self, rule: &str) -> Option<bool> {
        self.requests.forget(rule.to_owned()).await.ok()
    }

    /// The past of all groups up to the newest snapshot.
    pub fn history(&self) -> watch::Receiver<Arc<History>> {
        self.shared.history.subscribe()
    }

    /// All live rules, sorted by name.
    pub fn live(&self) -> Vec<LiveRule> {
        self.shared.registry().live()
    }

    /// What the random of rules on that snapshot comes from; tells nothing of other snapshots.
    pub fn snapshot_seed(&self, snapshot: &Snapshot) -> [u8; 32] {
        evaluate::snapshot_seed(&self.shared.secret, snapshot)
    }
}

/// Starts the rule host: a task that follows `snapshots`, threads that evaluate, load and tick. To be called within a
/// runtime. A rule is not evaluated again before it is settled that its last evaluation was taken.
///
/// # Errors
/// When WebAssembly or threads cannot be had. A bad rule is never an error here.
pub fn start(
    tasks: &Tasks,
    config: Config,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    joint: Joint,
    view: watch::Sender<Arc<RulesView>>,
    metrics: Arc<SelfMetrics>,
) -> Result<RulesHandle, StartError> {
    start_with(tasks, config, snapshots, joint, view, metrics, compile::in_child)
}

pub(super) fn start_with(
    tasks: &Tasks,
    config: Config,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    joint: Joint,
    view: watch::Sender<Arc<RulesView>>,
    metrics: Arc<SelfMetrics>,
    compile: Compile,
) -> Result<RulesHandle, StartError> {
    let failed = |error: wasmtime::Error| StartError::Engine(format!("{error:#}"));
    let threads = pool::threads();
    // Three more: for cheap rules, and for dry runs on two threads.
    let engine = engine::for_running(threads.saturating_add(3)).map_err(failed)?;
    let linker = host::linker(&engine).map_err(failed)?;
    let secret = cache::secret()?;
    let cache = Cache::open(&config.cache_dir, &engine::identity(&engine));
    let Joint { inputs, settled, restored } = joint;
    let shared = Arc::new(Shared::new(secret, metrics, inputs, view, restored));
    let alive = engine::token();
    let ticking = Arc::default();
    engine::tick(tasks, &engine, Arc::clone(&ticking), Arc::downgrade(&alive))?;
    tasks.task("rules", pool::follow(Arc::clone(&shared), snapshots.clone(), settled, tasks.stop()));
    pool::start(tasks, &shared, threads, &alive)?;
    let requests = Arc::new(Requests::default());
    let handle = RulesHandle { requests: Arc::clone(&requests), shared: Arc::clone(&shared) };
    let (slow, waiting) = std::sync::mpsc::sync_channel(limits::TRIALS_WAITING);
    let trials = Trials::new(secret, tasks.stop());
    let (trials_of_thread, alive_of_thread) = (trials.clone(), Arc::clone(&alive));
    tasks.thread("rules-trials", move |_| {
        pool::lower_priority();
        pool::on_own_runtime(|| trial::serve(&trials_of_thread, &waiting));
        drop(alive_of_thread);
    })?;
    tasks.thread("rules-loader", move |stop| {
        pool::lower_priority();
        let loader = Loader::new(linker, ticking, cache, compile, stop.clone());
        let reload = Reload::new(shared, loader, trials.with_thread(slow), config, snapshots, stop);
        pool::on_own_runtime(|| reload.run(&requests));
        drop(alive);
    })?;
    Ok(handle)
}
