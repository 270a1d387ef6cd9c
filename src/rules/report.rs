//! A rule as people see it who ask about it alone. Plain values: they go to the command line of the same program.

use crate::pipeline::{EvaluationReport, LimitsReport, StateReport};
use serde::{Deserialize, Serialize};

/// What a rule is and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// `builtin:…` or the file.
    pub module: String,
    /// Of the file, in hex; empty while none is live.
    pub sha256: String,
    /// Is a version of it live?
    pub live: bool,
    /// Which load of all rules is live.
    pub generation: Option<u64>,
    /// It is told to nobody.
    pub shadow: bool,
    /// Why the newest version was refused.
    pub load_error: Option<String>,
    /// What went wrong in the last evaluation.
    pub last_error: Option<String>,
    /// Its imports and exports; empty while none is live.
    pub interfaces: Interfaces,
    /// `None` = at each snapshot.
    pub interval_ms: Option<u64>,
    /// Its limits.
    pub limits: LimitsReport,
    /// What it remembers.
    pub state: StateReport,
    /// Its last evaluations, the newest last.
    pub evaluations: Vec<EvaluationReport>,
}

/// Names of interfaces, as the component has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// What it uses.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

/// A key of a rule's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: StateValue,
}

/// Bytes, as well as they can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateValue {
    /// They are UTF-8.
    Text(String),
    /// They are not; in hex.
    Hex(String),
}

impl StateValue {
    /// Bytes as text, if they are.
    pub fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(crate::model::hex::of(bytes)),
        }
    }
}
