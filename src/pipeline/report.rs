//! What a rule may use, what it remembers, and how its last evaluations went, for people. Plain values: they go to the page
//! for people, and to the command line of the same program.

use serde::{Deserialize, Serialize};

/// Limits of one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsReport {
    /// CPU time, in milliseconds.
    pub time_ms: u64,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// State, in bytes.
    pub state: u64,
    /// Alerts.
    pub alerts: u32,
}

/// How much a rule remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Which version of the rule wrote it; `None` = none did.
    pub version: Option<u32>,
    /// Keys.
    pub keys: u64,
    /// Bytes, as its limit counts them.
    pub bytes: u64,
    /// Version of the state that is kept for going back.
    pub earlier: Option<u32>,
}

/// How an evaluation went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Number of the snapshot.
    pub snapshot: u64,
    /// Time of the snapshot, in milliseconds since 1970.
    pub at_ms: u64,
    /// What came of it, in words.
    pub outcome: String,
    /// CPU time, in microseconds.
    pub cpu_us: u64,
    /// Wall time, in microseconds.
    pub wall_us: u64,
    /// Linear memory at its end, in bytes.
    #[serde(default)]
    pub memory: u64,
}
