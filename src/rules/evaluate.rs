//! One evaluation: a fresh instance of a rule on one snapshot, within its limits. Says what came out and what it cost;
//! knows nothing of what happened before or what is made of it.

use super::{
    Limits,
    bindings::{self, types},
    compile::CompileError,
    deadline::{TooLate, thread_cpu},
    engine::Ticking,
    guest_log::GuestLog,
    host::{Host, TooManyCalls},
    limits::{self, Meter},
    memory::Memory,
    outcome,
    rates::Rates,
    report::Interfaces,
    state::State,
    wasi::Slept,
};
use crate::{
    model::BoundedText,
    pipeline::{RuleSettings, Verdict},
    snapshot::Snapshot,
    supervise::Stop,
};
use sha2::{Digest, Sha256};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use wasmtime::{
    Engine, Store, Trap, UpdateDeadline, WasmBacktrace,
    component::{Component, ComponentExportIndex, Linker, TypedFunc},
};

/// A component, checked and ready to be instantiated.
pub(super) struct Code {
    /// Of the file, in hex.
    pub(super) sha256: String,
    pre: bindings::RulePre<Host>,
    config_check: Option<ComponentExportIndex>,
    /// `version` and `migrate`.
    state_migration: Option<(ComponentExportIndex, ComponentExportIndex)>,
    /// What it imports and exports.
    pub(super) interfaces: Interfaces,
    /// Ends what does not end by itself.
    ticking: Arc<Ticking>,
}

/// Why a component is no rule.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorldError {
    #[error("imports {interface}, which rules do not have")]
    Import { interface: String },
    #[error("has {interface}, which is of another version of the contract; this agent has {version}: build the rule again with the rule.wit or the SDK of that version", version = bindings::VERSION)]
    Version { interface: String },
    #[error("does not fit the world `rule` of {package}@{version}: {text}", package = bindings::PACKAGE, version = bindings::VERSION)]
    World { text: String },
    #[error("its compiled code does not load: {0}")]
    Code(String),
}

impl From<WorldError> for CompileError {
    fn from(error: WorldError) -> Self {
        Self::Module(error.to_string())
    }
}

impl Code {
    /// Loads machine code that our compiler made (see [`super::cache`] for why it can be trusted) and checks that it is
    /// a rule.
    pub(super) fn load(
        linker: &Linker<Host>,
        ticking: &Arc<Ticking>,
        machine_code: &[u8],
        sha256: &str,
    ) -> Result<Self, WorldError> {
        let engine = linker.engine();
        let component = deserialize(engine, machine_code).map_err(|error| WorldError::Code(format!("{error:#}")))?;
        check_imports(engine, &component)?;
        let fits = |error: wasmtime::Error| WorldError::World { text: clip(&format!("{error:#}")) };
        let pre = linker.instantiate_pre(&component).map_err(fits)?;
        let pre = bindings::RulePre::new(pre).map_err(fits)?;
        let export = |interface: &str, function: &str| {
            let interface = format!("{}/{interface}@{}", bindings::PACKAGE, bindings::VERSION);
            let interface = component.get_export_index(None, &interface)?;
            component.get_export_index(Some(&interface), function)
        };
        let config_check = export("config-check", "check");
        let state_migration = export("state-migration", "version").zip(export("state-migration", "migrate"));
        let has = component.component_type();
        let interfaces = Interfaces {
            imports: has.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: has.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        };
        let ticking = Arc::clone(ticking);
        Ok(Self { sha256: sha256.to_owned(), pre, config_check, state_migration, interfaces, ticking })
    }
}

#[expect(unsafe_code, reason = "machine code can only be loaded on trust")]
fn deserialize(engine: &Engine, machine_code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are ours and private, and were made by this program's own compiler for this engine's settings
    // (wasmtime checks those): they come from the child's sealed output, or from the cache with a keyed checksum.
    unsafe { Component::deserialize(engine, machine_code) }
}

fn check_imports(engine: &Engine, component: &Component) -> Result<(), WorldError> {
    for (name, _) in component.component_type().imports(engine) {
        if super::host::may_import(name) {
            continue;
        }
        let ours = name.strip_prefix(bindings::PACKAGE).and_then(|rest| rest.split_once('@'));
        return Err(match ours {
            Some((_, version)) if version != bindings::VERSION => WorldError::Version { interface: clip(name) },
            _ => WorldError::Import { interface: clip(name) },
        });
    }
    Ok(())
}

/// What one evaluation needs.
pub(super) struct Job {
    pub(super) code: Arc<Code>,
    pub(super) settings: Arc<RuleSettings>,
    /// `config:` as JSON.
    pub(super) config: Arc<str>,
    pub(super) limits: Limits,
    pub(super) snapshot: Arc<Snapshot>,
    /// What is kept for the rule.
    pub(super) memory: Memory,
}

/// What came of it.
pub(super) struct Finished {
    pub(super) verdict: Verdict,
    /// What the rule remembers now: changed only by an outcome.
    pub(super) state: State,
    /// What was kept of the rates that it asked for, whatever the verdict.
    pub(super) rates: Rates,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    /// Bytes of linear memory at its end, all memories of the component together.
    pub(super) memory_used: u64,
    /// Bytes of log that were over the limit.
    pub(super) log_dropped: u64,
}

/// The agent stops, and the guest with it.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stopped;

/// Evaluates a rule. `secret` makes its random; `stop` ends it early.
pub(super) fn evaluate(job: &Job, secret: &[u8; 32], stop: &Stop) -> Finished {
    evaluate_seeded(job, &snapshot_seed(secret, &job.snapshot), stop)
}

/// Evaluates a rule with the random that it has on a snapshot of this seed.
pub(super) fn evaluate_seeded(job: &Job, of_snapshot: &[u8; 32], stop: &Stop) -> Finished {
    let (started, cpu_before) = (Instant::now(), thread_cpu());
    let before = job.memory.state.clone();
    let limit = job.limits.alerts;
    let context = types::Context {
        now_ms: job.snapshot.at.0,
        interval_ms: milliseconds(job.settings.interval.unwrap_or(job.snapshot.interval)),
        rule: job.settings.name.clone(),
        cluster: job.snapshot.cluster.to_string(),
        config: job.config.to_string(),
    };
    let ran = run(job, of_snapshot, stop, |code, store| {
        store.data_mut().look_at_rates();
        let rule = code.pre.instantiate(&mut *store)?;
        rule.brokerwarden_rule_evaluator().call_evaluate(store, &context)
    });
    let Memory { state: after, rates, .. } = ran.memory;
    let (verdict, state) = match ran.result {
        Ok(Ok(said)) => match outcome::check(said, limit) {
            Ok(outcome) => (Verdict::Outcome(outcome), after),
            Err(refused) => (Verdict::Failed { reason: "output", text: refused.to_string() }, before),
        },
        Ok(Err(types::Failure::Unavailable(text))) => (Verdict::Unavailable(clip(&text)), before),
        Ok(Err(types::Failure::Failed(text))) => (Verdict::Failed { reason: "error", text: clip(&text) }, before),
        Err((reason, text)) => (Verdict::Failed { reason, text }, before),
    };
    Finished {
        verdict,
        state,
        rates,
        cpu: thread_cpu().saturating_sub(cpu_before),
        wall: started.elapsed(),
        memory_used: ran.memory_used,
        log_dropped: ran.log_dropped,
    }
}

/// Asks a rule whether its configuration is good, if it can tell.
pub(super) fn check_config(job: &Job, secret: &[u8; 32], stop: &Stop) -> Result<(), String> {
    let Some(index) = job.code.config_check else { return Ok(()) };
    let ran = run(job, &snapshot_seed(secret, &job.snapshot), stop, |code, store| {
        let rule = code.pre.instance_pre().instantiate(&mut *store)?;
        let check: TypedFunc<(&str,), (Result<(), String>,)> = rule.get_typed_func(&mut *store, index)?;
        Ok(check.call(store, (&job.config,))?.0)
    });
    match ran.result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(text)) => Err(clip(&text)),
        Err((_, text)) => Err(format!("checking it failed: {text}")),
    }
}

/// Which version of its state a rule writes; 0 where it does not say.
pub(super) fn state_version(job: &Job, secret: &[u8; 32], stop: &Stop) -> Result<u32, String> {
    let Some((version, _)) = job.code.state_migration else { return Ok(0) };
    let ran = run(job, secret, stop, |code, store| {
        let rule = code.pre.instance_pre().instantiate(&mut *store)?;
        let version: TypedFunc<(), (u32,)> = rule.get_typed_func(&mut *store, version)?;
        Ok(version.call(store, ())?.0)
    });
    ran.result.map_err(|(_, text)| format!("asking for its version failed: {text}"))
}

/// Has a rule migrate the state in `job`, a copy, from what version `previous` wrote. What it says of anything else does not
/// count.
pub(super) fn migrate(job: &Job, previous: u32, secret: &[u8; 32], stop: &Stop) -> Result<State, String> {
    // Only what says a version is asked to take over another one's.
    let Some((_, migrate)) = job.code.state_migration else { return Ok(job.memory.state.clone()) };
    let ran = run(job, secret, stop, |code, store| {
        let rule = code.pre.instance_pre().instantiate(&mut *store)?;
        let migrate: TypedFunc<(u32,), (Result<(), String>,)> = rule.get_typed_func(&mut *store, migrate)?;
        Ok(migrate.call(store, (previous,))?.0)
    });
    match ran.result {
        Ok(Ok(())) => Ok(ran.memory.state),
        Ok(Err(text)) => Err(clip(&text)),
        Err((_, text)) => Err(format!("it failed: {text}")),
    }
}

struct Ran<T> {
    result: Result<T, (&'static str, String)>,
    memory: Memory,
    memory_used: u64,
    log_dropped: u64,
}

/// Runs a call in a store of its own, within all limits.
fn run<T>(
    job: &Job,
    of_snapshot: &[u8; 32],
    stop: &Stop,
    call: impl FnOnce(&Code, &mut Store<Host>) -> wasmtime::Result<T>,
) -> Ran<T> {
    let rule: Arc<str> = job.settings.name.as_str().into();
    let host = Host::new(&rule, &job.snapshot, job.memory.clone(), &job.limits, seed(of_snapshot, job));
    let log = Arc::clone(&host.log);
    let _evaluating = job.code.ticking.begin();
    let mut store = Store::new(job.code.pre.engine(), host);
    store.limiter(|host| &mut host.meter);
    store.set_hostcall_fuel(limits::MAX_BYTES_PER_CALL);
    store.set_max_component_handles(limits::MAX_HANDLES);
    // Before instantiation: the start function is the guest's, too.
    store.set_epoch_deadline(1);
    let stop = stop.clone();
    store.epoch_deadline_callback(move |store| {
        store.data().deadline.check()?;
        if stop.stopped() { Err(Stopped.into()) } else { Ok(UpdateDeadline::Continue(1)) }
    });
    // A panic here would be a bug of ours or of wasmtime's; it must not take the other rules with it.
    let result = catch_unwind(AssertUnwindSafe(|| call(&job.code, &mut store)));
    let log_dropped = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.finish();
        log.dropped
    };
    let Meter { memory_refused: refused, memory_used, .. } = store.data().meter;
    // Making instances and reading what was returned are not interrupted.
    let result =
        result.map(|done| done.and_then(|value| store.data().deadline.check().map(|()| value).map_err(Into::into)));
    let result = match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(reason(&error, refused, job.limits.memory, &log)),
        Err(_) => Err(("panic", "the host panicked; this is a bug of the agent".to_owned())),
    };
    let host = store.into_data();
    Ran { result, memory: host.memory, memory_used, log_dropped }
}

/// Why the guest ended: a word for the metric, and a sentence.
fn reason(error: &wasmtime::Error, memory_refused: bool, memory: u64, log: &Mutex<GuestLog>) -> (&'static str, String) {
    if let Some(late) = error.downcast_ref::<TooLate>() {
        return ("time", late.to_string());
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return ("time", stopped.to_string());
    }
    if let Some(calls) = error.downcast_ref::<TooManyCalls>() {
        return ("host_calls", calls.to_string());
    }
    if let Some(slept) = error.downcast_ref::<Slept>() {
        return ("sleep", slept.to_string());
    }
    let mut text = error.root_cause().to_string();
    if let Some(name) = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|trace| trace.frames().first().and_then(|frame| frame.func_name().map(str::to_owned)))
    {
        text = format!("{text} in {name}");
    }
    let printed = log.lock().unwrap_or_else(PoisonError::into_inner).last_printed().to_owned();
    if !printed.is_empty() {
        text = format!("{text}; it last printed: {printed}");
    }
    let text = clip(&text);
    if memory_refused {
        return ("memory", format!("wanted more than its {} MiB of memory: {text}", memory >> 20));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => ("stack", text),
        Some(_) => ("trap", text),
        None if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() => ("trap", text),
        // wasmtime's own words speak of fuel, which no author has heard of.
        None if text.contains("copied between the host and the guest") => {
            let most = limits::MAX_BYTES_PER_CALL;
            ("output", format!("handed over more than {most} bytes in one call: return fewer or shorter alerts"))
        }
        // What is left comes from reading what the guest handed over.
        None => ("output", text),
    }
}

/// What the random of all rules on one snapshot comes from: nobody without the secret can know it, and who knows that of
/// one snapshot knows none of another's. So it may be in a recording, for a replay to repeat.
pub(super) fn snapshot_seed(secret: &[u8; 32], snapshot: &Snapshot) -> [u8; 32] {
    Sha256::new()
        .chain_update(secret)
        .chain_update(snapshot.number.to_le_bytes())
        .chain_update(snapshot.at.0.to_le_bytes())
        .finalize()
        .into()
}

/// Random that is the same whenever the same rule sees the same snapshot.
fn seed(of_snapshot: &[u8; 32], job: &Job) -> [u8; 32] {
    Sha256::new().chain_update(of_snapshot).chain_update(&job.settings.name).finalize().into()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn clip(text: &str) -> String {
    BoundedText(text, limits::MAX_REASON).to_string()
}
