//! Entry point of the rule host for benches/micro.rs: evaluations of one rule on one snapshot, without a schedule.

use super::{
    Limits, Overlay, RuleConfig, compile, engine,
    evaluate::{self, Code, Job},
    host,
    memory::Memory,
};
use crate::{
    pipeline::Verdict,
    snapshot::Snapshot,
    supervise::{Ended, Stop, Tasks},
};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// A rule and what it judges.
pub struct Rule {
    job: Job,
    /// WASI wants one.
    runtime: Runtime,
    stop: Stop,
    alive: Arc<()>,
    _ended: Ended,
}

impl Rule {
    /// Compiles a module; `config` is JSON.
    ///
    /// # Errors
    /// Why it is no rule, or why there can be none on this machine.
    pub fn new(module: &[u8], config: &str, snapshot: Snapshot) -> Result<Self, String> {
        let wasm = |error: wasmtime::Error| format!("{error:#}");
        let io = |error: std::io::Error| error.to_string();
        let engine = engine::for_running(1).map_err(wasm)?;
        let linker = host::linker(&engine).map_err(wasm)?;
        let machine_code = compile::compile_bytes(module).map_err(|error| error.to_string())?;
        let ticking = Arc::default();
        let code = Code::load(&linker, &ticking, &machine_code, "").map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(io)?;
        let (tasks, ended) = Tasks::new();
        let alive = engine::token();
        engine::tick(&tasks, &engine, ticking, Arc::downgrade(&alive)).map_err(io)?;
        let none = Overlay::default();
        let job = Job {
            code: Arc::new(code),
            settings: Arc::new(RuleConfig::default().settings("bench", &none)),
            config: config.into(),
            limits: Limits::default(),
            snapshot: Arc::new(snapshot),
            memory: Memory::default(),
        };
        Ok(Self { job, runtime, stop: tasks.stop(), alive, _ended: ended })
    }

    /// Evaluates it; how many alerts hold.
    ///
    /// # Errors
    /// How it failed.
    pub fn evaluate(&self) -> Result<usize, String> {
        let _entered = self.runtime.enter();
        match evaluate::evaluate(&self.job, &[0; 32], &self.stop).verdict {
            Verdict::Outcome(outcome) => Ok(outcome.alerts.len()),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        // The tick goes on for as long as somebody may be evaluating.
        self.alive = Arc::default();
        self.stop.stop();
    }
}
