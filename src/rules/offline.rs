//! Rules apart from the agent, each evaluated when its owner says so: for their tests, and for replays. The same code,
//! limits and checks as in the agent; no schedule, no pauses after failures, and no clock but the snapshots'.

use super::{
    Limits,
    cache::Cache,
    compile::{self, CompileError},
    engine,
    evaluate::{self, Code, Job},
    host,
    limits::OFFLINE_TIMES,
    load::{Compile, LoadError, Loader},
    memory::Memory,
    registry,
};
use crate::{
    alerts::Alert,
    model::Timestamp,
    pipeline::{ActionStatus, RuleSettings, Verdict},
    snapshot::Snapshot,
    supervise::{Ended, Stop, Tasks},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Runtime;

/// How often it is looked whether a module is compiled.
const LOOK: Duration = Duration::from_millis(5);
/// What the random of evaluations comes from where there is no recording: everybody's, so that tests repeat.
const SECRET: [u8; 32] = [0; 32];

/// Why there is no rule to evaluate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// wasmtime does not work on this machine.
    #[error("cannot start WebAssembly: {0}")]
    Engine(String),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    System(#[from] io::Error),
    /// The module is no rule, or was not compiled; for people.
    #[error("{0}")]
    Module(String),
}

/// Loads and evaluates rules.
pub struct Offline {
    loader: Loader,
    compiler: PathBuf,
    /// WASI wants one.
    runtime: Runtime,
    stop: Stop,
    alive: Arc<()>,
    _ended: Ended,
}

/// The code of a rule, ready to be evaluated.
#[derive(Clone)]
pub struct Loaded(Arc<Code>);

impl Loaded {
    /// SHA-256 of the module, in hex.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }
}

/// A rule with all that it has in an agent, but for its alerts.
#[derive(Clone)]
pub struct OfflineRule {
    code: Arc<Code>,
    settings: Arc<RuleSettings>,
    config: Arc<str>,
    limits: Limits,
    memory: Memory,
    seen_at: Option<Timestamp>,
    failures: u32,
}

impl OfflineRule {
    /// A rule that has not been evaluated yet. `config` is JSON. It gets [`OFFLINE_TIMES`] as much time as it has in an
    /// agent: what else this machine does must not decide what comes out.
    pub fn new(code: &Loaded, settings: Arc<RuleSettings>, config: &str, mut limits: Limits) -> Self {
        limits.time = limits.time.saturating_mul(OFFLINE_TIMES);
        Self {
            code: Arc::clone(&code.0),
            settings,
            config: config.into(),
            limits,
            memory: Memory::default(),
            seen_at: None,
            failures: 0,
        }
    }

    /// Puts a key into its state, whatever its quota.
    pub fn remember(&mut self, key: &str, value: &[u8]) -> bool {
        self.memory.state.set(key.to_owned(), value.to_vec(), u64::MAX).is_ok()
    }

    /// Keeps what `history` answers from, as an agent does. To be called with each snapshot.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        if let Ok(kafka) = snapshot.kafka_replayed() {
            self.memory.history = self.memory.history.with(snapshot.at, kafka);
        }
    }

    /// Its own pending and firing alerts, as its next evaluation sees them.
    pub fn know_alerts(&mut self, alerts: Arc<[Arc<Alert>]>) {
        self.memory.alerts = alerts;
    }

    /// What became of the actions that it asked for, as its next evaluation sees it; in the order of the contract.
    pub fn know_actions(&mut self, actions: Arc<[ActionStatus]>) {
        self.memory.actions = actions;
    }

    /// Its name, `for` and the like.
    pub fn settings(&self) -> &Arc<RuleSettings> {
        &self.settings
    }

    /// What it remembers, sorted by key.
    pub fn state(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.memory.state.entries()
    }

    /// Failures in a row.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures
    }

    /// Would an agent evaluate it on this snapshot?
    pub fn is_due(&self, snapshot: &Snapshot) -> bool {
        registry::waited(self.settings.interval, self.seen_at, snapshot)
    }

    fn job(&self, snapshot: &Arc<Snapshot>) -> Job {
        Job {
            code: Arc::clone(&self.code),
            settings: Arc::clone(&self.settings),
            config: Arc::clone(&self.config),
            limits: self.limits.clone(),
            snapshot: Arc::clone(snapshot),
            memory: self.memory.clone(),
        }
    }
}

impl Offline {
    /// `cache`: where compiled code is kept, if anywhere. Modules are compiled by `compiler`, this same program, in a child.
    ///
    /// # Errors
    /// When WebAssembly or a thread cannot be had.
    pub fn new(cache: Option<&Path>, compiler: PathBuf) -> Result<Self, OfflineError> {
        Self::with(cache, compiler, compile::in_child)
    }

    /// Compiles in this process: for tests, which are no program that could compile.
    #[cfg(test)]
    pub(crate) fn in_process() -> Self {
        let compile: Compile = |_, bytes| compile::Compiling::Done(compile::compile_bytes(bytes));
        Self::with(None, PathBuf::new(), compile).unwrap()
    }

    fn with(cache: Option<&Path>, compiler: PathBuf, compile: Compile) -> Result<Self, OfflineError> {
        let failed = |error: wasmtime::Error| OfflineError::Engine(format!("{error:#}"));
        let engine = engine::for_running(1).map_err(failed)?;
        let linker = host::linker(&engine).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (tasks, ended) = Tasks::new();
        let (ticking, alive) = (Arc::default(), engine::token());
        engine::tick(&tasks, &engine, Arc::clone(&ticking), Arc::downgrade(&alive))?;
        let cache = cache.map_or_else(Cache::none, |folder| Cache::open(folder, &engine::identity(&engine)));
        let loader = Loader::new(linker, ticking, cache, compile, tasks.stop());
        Ok(Self { loader, compiler, runtime, stop: tasks.stop(), alive, _ended: ended })
    }

    /// Makes a rule's code of a module's bytes.
    ///
    /// # Errors
    /// Why it is no rule, or could not be compiled.
    pub fn load(&mut self, module: &[u8]) -> Result<Loaded, OfflineError> {
        loop {
            match self.loader.code(&self.compiler, module) {
                Ok(Some(code)) => return Ok(Loaded(code)),
                // It is being compiled, which has a deadline.
                Ok(None) if !self.stop.sleep(LOOK) => {}
                Ok(None) => return Err(OfflineError::Module(CompileError::Stopped.to_string())),
                Err(error @ LoadError::Compile(CompileError::Machine { .. })) => {
                    return Err(OfflineError::Module(crate::model::with_causes(&error)));
                }
                Err(error) => return Err(OfflineError::Module(error.to_string())),
            }
        }
    }

    /// Asks the rule whether its configuration is good. The error is its own sentence.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_config(&self, rule: &OfflineRule, snapshot: &Arc<Snapshot>) -> Result<(), String> {
        let _entered = self.runtime.enter();
        evaluate::check_config(&rule.job(snapshot), &SECRET, &self.stop)
    }

    /// Evaluates the rule on a snapshot; what it remembers counts if there is an outcome. `seed` is the snapshot's, from
    /// a recording.
    pub fn evaluate(&self, rule: &mut OfflineRule, snapshot: &Arc<Snapshot>, seed: Option<&[u8; 32]>) -> Verdict {
        let _entered = self.runtime.enter();
        let job = rule.job(snapshot);
        let seed = seed.copied().unwrap_or_else(|| evaluate::snapshot_seed(&SECRET, snapshot));
        let finished = evaluate::evaluate_seeded(&job, &seed, &self.stop);
        rule.seen_at = Some(snapshot.at);
        rule.failures = match finished.verdict {
            Verdict::Outcome(_) => 0,
            Verdict::Unavailable(_) => rule.failures,
            Verdict::Failed { .. } => rule.failures.saturating_add(1),
        };
        (rule.memory.state, rule.memory.rates) = (finished.state, finished.rates);
        finished.verdict
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // The tick goes on for as long as somebody may be evaluating.
        self.alive = Arc::default();
        self.stop.stop();
    }
}
