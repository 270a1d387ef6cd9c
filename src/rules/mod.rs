//! Hosts the user's rules: WebAssembly components, each evaluated on snapshots, isolated from each other and from us.

#[doc(hidden)]
pub mod bench;
mod bindings;
pub mod builtin;
mod cache;
pub mod check;
mod civil;
mod compile;
mod componentize;
mod deadline;
mod engine;
mod evaluate;
mod filter;
mod guest_log;
mod host;
mod interfaces;
pub mod limits;
mod load;
mod memory;
mod offline;
mod outcome;
mod pool;
mod query;
mod rates;
mod registry;
mod reload;
mod report;
mod sources;
mod start;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod trial;
mod verify;
mod wasi;
mod world;

pub use crate::pipeline::{EvaluationReport, LimitsReport, StateReport};
pub use compile::{SUBCOMMAND as COMPILE_SUBCOMMAND, child_main};
pub use interfaces::interfaces;
pub use offline::{Loaded, Offline, OfflineError, OfflineRule};
pub use reload::Listed;
pub use report::{Interfaces, RuleReport, StateEntry, StateValue};
pub use start::{Joint, LiveRule, RulesHandle, StartError, start};
pub use verify::{Fault, faults};

use crate::pipeline::{Grants, RuleSettings};
use std::{path::PathBuf, time::Duration};

/// Limits of one evaluation, as agent.yaml gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// CPU time of one evaluation.
    pub time: Duration,
    /// Linear memory, all memories of the component together, in bytes.
    pub memory: u64,
    /// Keys and values kept between evaluations, in bytes.
    pub state: u64,
    /// Alerts returned by one evaluation.
    pub alerts: u32,
}

impl Limits {
    /// For people.
    pub fn report(&self) -> LimitsReport {
        let time_ms = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        LimitsReport { time_ms, memory: self.memory, state: self.state, alerts: self.alerts }
    }
}

/// SHA-256 of a module's file, in hex, as `sha256:` of agent.yaml wants it.
pub fn sha256(file: &[u8]) -> String {
    load::sha256(file)
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_millis(100), memory: 64 << 20, state: 1 << 20, alerts: 1000 }
    }
}

/// Where a rule's code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// `builtin:NAME`.
    Builtin(String),
    /// A file (relative to the configuration file's folder).
    File(PathBuf),
}

/// A rule listed in agent.yaml: its code, what it does, and what it may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleConfig {
    /// Its code; `None` where the entry only adds to a rule of `rules_dir`.
    pub module: Option<Module>,
    /// What agent.yaml says of it; goes before the YAML beside the module.
    pub overlay: Overlay,
    /// Its limits.
    pub limits: Limits,
    /// SHA-256 that its file must have, in hex.
    pub sha256: Option<String>,
    /// The actions that it may ask for.
    pub actions: Grants,
}

/// Settings as written, `None` where nothing was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// `config:` as JSON text.
    pub config: Option<String>,
    /// `interval:`.
    pub interval: Option<Duration>,
    /// `for:`.
    pub pending_for: Option<Duration>,
    /// `keep_firing_for:`.
    pub keep_firing_for: Option<Duration>,
    /// `labels:`.
    pub labels: Option<crate::model::Labels>,
    /// `annotations:`.
    pub annotations: Option<crate::model::Labels>,
    /// `shadow:`.
    pub shadow: Option<bool>,
}

/// Reads the YAML beside a module; the error says what is wrong with it.
pub type ParseSidecar = fn(text: &str) -> Result<Overlay, String>;

/// The rule host's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder whose `*.wasm` are rules.
    pub rules_dir: Option<PathBuf>,
    /// Rules of agent.yaml by name.
    pub rules: Vec<(String, RuleConfig)>,
    /// Reads `NAME.yaml` beside `NAME.wasm`.
    pub parse_sidecar: ParseSidecar,
    /// Where compiled code may be cached (`data_dir/compiled`).
    pub cache_dir: PathBuf,
    /// The program that compiles, called with the argument `compile-rule`: normally `/proc/self/exe`.
    pub compiler: PathBuf,
}

impl RuleConfig {
    /// The settings of a rule from its two sources; agent.yaml goes first, key by key (labels and annotations whole).
    /// What it may is for agent.yaml alone to say.
    pub fn settings(&self, name: &str, beside: &Overlay) -> RuleSettings {
        let listed = &self.overlay;
        let or = |a: Option<Duration>, b: Option<Duration>| a.or(b);
        RuleSettings {
            name: name.into(),
            interval: or(listed.interval, beside.interval),
            pending_for: or(listed.pending_for, beside.pending_for).unwrap_or_default(),
            keep_firing_for: or(listed.keep_firing_for, beside.keep_firing_for).unwrap_or_default(),
            labels: listed.labels.clone().or_else(|| beside.labels.clone()).unwrap_or_default(),
            annotations: listed.annotations.clone().or_else(|| beside.annotations.clone()).unwrap_or_default(),
            shadow: listed.shadow.or(beside.shadow).unwrap_or_default(),
            actions: self.actions.clone(),
        }
    }
}
