//! All that can be said of a module before it goes live: what it is, what it costs, and what keeps it from being a rule. Goes the
//! way that the agent goes, up to the dry run, but does not stop at the first problem.

use super::{
    Limits, compile, componentize, engine,
    evaluate::{self, Code, Job},
    host, limits,
    load::{self, LoadError},
    memory::Memory,
    world,
};
use crate::{
    model::Timestamp,
    pipeline::Verdict,
    snapshot::{KafkaView, Share, Snapshot},
    supervise::{Stop, Tasks},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a check found. Parts that could not be looked at are missing; the problems say why.
#[derive(Debug, Default)]
pub struct Report {
    /// Of the file, in hex.
    pub sha256: String,
    /// Is the file a core module, of which a component is made at load?
    pub core_module: bool,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
    /// How it was compiled.
    pub compiled: Option<Compiled>,
    /// Evaluations on snapshots in which there is nothing.
    pub runs: Vec<Run>,
    /// What keeps it from being a rule, as sentences; none = it would go live.
    pub problems: Vec<String>,
}

/// How a module was compiled.
#[derive(Debug)]
pub struct Compiled {
    /// Wall time.
    pub wall: Duration,
    /// Bytes of machine code.
    pub bytes: usize,
}

/// An evaluation.
#[derive(Debug)]
pub struct Run {
    /// What was observed.
    pub on: &'static str,
    /// What it said.
    pub said: String,
    /// CPU time of the call, its instance included.
    pub cpu: Duration,
    /// Bytes of linear memory at its end.
    pub memory: u64,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
#[error("cannot start WebAssembly: {0}")]
pub struct CheckError(String);

/// Checks a module as a rule of that name. `config` is JSON, `compiler` the program that compiles, `now` the time of the
/// snapshots. Takes as long as compiling may take.
///
/// # Errors
/// When this machine cannot run WebAssembly at all. What is wrong with the module is in the report.
pub fn check(
    name: &str,
    module: &[u8],
    config: &str,
    limits: &Limits,
    compiler: &Path,
    now: Timestamp,
) -> Result<Report, CheckError> {
    let mut report =
        Report { sha256: load::sha256(module), core_module: componentize::is_core_module(module), ..Report::default() };
    match componentize::component(module).and_then(|component| world::read(&component)) {
        Ok(world) => {
            report.problems = world::problems(&world);
            (report.imports, report.exports) = (world.imports, world.exports);
        }
        Err(problem) => {
            report.problems.push(problem);
            return Ok(report);
        }
    }
    let stop = Stop::new();
    let started = Instant::now();
    let compiled = compile::in_child(compiler, module).wait(limits::COMPILE_WALL, &stop);
    let machine_code = match compiled {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            report.problems.push(with_causes(&error));
            return Ok(report);
        }
        Err(_) => {
            report.problems.push(format!("compiling it takes more than {:?}", limits::COMPILE_WALL));
            return Ok(report);
        }
    };
    report.compiled = Some(Compiled { wall: started.elapsed(), bytes: machine_code.len() });
    if report.problems.is_empty() {
        run(&mut report, name, &machine_code, config, limits, now)?;
    }
    Ok(report)
}

/// Loads and runs what was compiled.
fn run(
    report: &mut Report,
    name: &str,
    machine_code: &[u8],
    config: &str,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), CheckError> {
    let wasm = |error: wasmtime::Error| CheckError(format!("{error:#}"));
    let io = |error: std::io::Error| CheckError(error.to_string());
    let engine = engine::for_running(1).map_err(wasm)?;
    let linker = host::linker(&engine).map_err(wasm)?;
    let ticking = Arc::default();
    let code = match Code::load(&linker, &ticking, machine_code, &report.sha256) {
        Ok(code) => Arc::new(code),
        Err(error) => {
            report.problems.push(error.to_string());
            return Ok(());
        }
    };
    // WASI wants one.
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(io)?;
    let _entered = runtime.enter();
    let (tasks, _ended) = Tasks::new();
    let alive = engine::token();
    engine::tick(&tasks, &engine, ticking, Arc::downgrade(&alive)).map_err(io)?;
    let stop = tasks.stop();
    let job = |snapshot: Snapshot| Job {
        code: Arc::clone(&code),
        settings: Arc::new(super::RuleConfig::default().settings(name, &super::Overlay::default())),
        config: config.into(),
        limits: limits.clone(),
        snapshot: Arc::new(snapshot),
        memory: Memory::default(),
    };
    let [unobserved, empty] = snapshots(now);
    if let Err(text) = evaluate::check_config(&job(unobserved.1.clone()), &SECRET, &stop) {
        report.problems.push(LoadError::Config(text).to_string());
    } else {
        for (on, snapshot) in [unobserved, empty] {
            let finished = evaluate::evaluate(&job(snapshot), &SECRET, &stop);
            let said = match finished.verdict {
                Verdict::Outcome(outcome) => {
                    let (alerts, actions) = (outcome.alerts.len(), outcome.actions.len());
                    format!("{alerts} alerts, {actions} actions, {} measurements", outcome.measurements.len())
                }
                Verdict::Unavailable(text) => format!("unavailable: {text}"),
                Verdict::Failed { reason, text } => {
                    report.problems.push(format!("dry run on {on} failed ({reason}): {text}"));
                    format!("failed ({reason})")
                }
            };
            report.runs.push(Run { on, said, cpu: finished.cpu, memory: finished.memory_used });
        }
    }
    drop(alive);
    stop.stop();
    Ok(())
}

/// Makes the rule's random; nothing secret depends on it here.
const SECRET: [u8; 32] = [0; 32];

/// What the agent may see right after its start, and on a cluster without consumers.
pub(super) fn snapshots(now: Timestamp) -> [(&'static str, Snapshot); 2] {
    let snapshot = |kafka: Option<KafkaView>| Snapshot {
        number: 1,
        at: now,
        interval: Duration::from_secs(5),
        cluster: "check".into(),
        kafka: kafka.map(Arc::new),
        pages: Vec::new(),
        targets: Vec::new(),
    };
    let empty = KafkaView { offsets_partitions: vec![Some(Share::Ours)], ..KafkaView::default() };
    [("a snapshot without Kafka", snapshot(None)), ("a cluster without groups", snapshot(Some(empty)))]
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
