//! The first line of a recording: what agent made it, its rules with their state, and its alerts. Pure.

use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::{Labels, Subject, Timestamp, hex},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the first line calls itself.
pub(super) const FORMAT: &str = "brokerwarden-recording";
/// The version of the format that is written. Others are refused.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Header {
    /// Always the same word.
    pub format: String,
    /// Of the format.
    pub version: u32,
    /// Version of the agent.
    pub agent: String,
    /// When the recording began.
    pub started_ms: u64,
    /// The effective configuration as YAML, secrets masked.
    pub configuration: String,
    /// All rules that were live.
    pub rules: Vec<RecordedRule>,
    /// All alerts that the agent showed.
    pub alerts: Vec<RecordedAlert>,
}

/// A rule as it was when the recording began.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RecordedRule {
    /// Its name.
    pub name: String,
    /// `builtin:…` or the file.
    pub module: String,
    /// Of the module, in hex.
    pub sha256: String,
    /// `config:` as JSON.
    pub config: String,
    /// `interval:`.
    pub interval_ms: Option<u64>,
    /// `for:`.
    pub for_ms: u64,
    /// `keep_firing_for:`.
    pub keep_firing_for_ms: u64,
    /// `labels:`.
    pub labels: Labels,
    /// `annotations:`.
    pub annotations: Labels,
    /// `limits: {time: …}`.
    pub limit_time_ms: u64,
    /// `limits: {memory: …}`, in bytes.
    pub limit_memory: u64,
    /// `limits: {state: …}`, in bytes.
    pub limit_state: u64,
    /// `limits: {alerts: …}`.
    pub limit_alerts: u32,
    /// What it remembered; values in hex.
    pub state: BTreeMap<String, String>,
    /// Number of the last snapshot that it had been evaluated on.
    pub seen: u64,
}

impl RecordedRule {
    /// Keeps a key of its state.
    pub fn remember(&mut self, key: &str, value: &[u8]) {
        self.state.insert(key.to_owned(), hex::of(value));
    }

    /// What it remembered; `None` where a value is not what [`Self::remember`] makes.
    pub fn remembered(&self) -> Option<Vec<(&str, Vec<u8>)>> {
        self.state.iter().map(|(key, value)| Some((key.as_str(), hex::bytes(value)?))).collect()
    }
}

/// An alert as it was when the recording began.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RecordedAlert {
    rule: String,
    name: String,
    labels: Labels,
    annotations: Labels,
    value: Option<f64>,
    subject: RecordedSubject,
    phase: RecordedPhase,
    active_ms: u64,
    fired_ms: Option<u64>,
    resolved_ms: Option<u64>,
    keep_firing_since_ms: Option<u64>,
    last_sent_ms: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RecordedSubject {
    Group(String),
    Topic(String),
    Broker,
    Agent,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RecordedPhase {
    Pending,
    Firing,
    Resolved,
}

impl From<&Alert> for RecordedAlert {
    fn from(alert: &Alert) -> Self {
        let ms = |at: Option<Timestamp>| at.map(|at| at.0);
        Self {
            rule: alert.key.rule.clone(),
            name: alert.key.name.clone(),
            labels: alert.key.labels.clone(),
            annotations: alert.annotations.clone(),
            value: alert.value,
            subject: match alert.subject.clone() {
                Subject::Group(name) => RecordedSubject::Group(name),
                Subject::Topic(name) => RecordedSubject::Topic(name),
                Subject::Broker => RecordedSubject::Broker,
                Subject::Agent => RecordedSubject::Agent,
            },
            phase: match alert.phase {
                Phase::Pending => RecordedPhase::Pending,
                Phase::Firing => RecordedPhase::Firing,
                Phase::Resolved => RecordedPhase::Resolved,
            },
            active_ms: alert.active_at.0,
            fired_ms: ms(alert.fired_at),
            resolved_ms: ms(alert.resolved_at),
            keep_firing_since_ms: ms(alert.keep_firing_since),
            last_sent_ms: ms(alert.last_sent),
        }
    }
}

impl From<RecordedAlert> for Alert {
    fn from(recorded: RecordedAlert) -> Self {
        let at = |ms: Option<u64>| ms.map(Timestamp);
        Self {
            key: AlertKey { rule: recorded.rule, name: recorded.name, labels: recorded.labels },
            subject: match recorded.subject {
                RecordedSubject::Group(name) => Subject::Group(name),
                RecordedSubject::Topic(name) => Subject::Topic(name),
                RecordedSubject::Broker => Subject::Broker,
                RecordedSubject::Agent => Subject::Agent,
            },
            annotations: recorded.annotations,
            value: recorded.value,
            phase: match recorded.phase {
                RecordedPhase::Pending => Phase::Pending,
                RecordedPhase::Firing => Phase::Firing,
                RecordedPhase::Resolved => Phase::Resolved,
            },
            active_at: Timestamp(recorded.active_ms),
            fired_at: at(recorded.fired_ms),
            resolved_at: at(recorded.resolved_ms),
            keep_firing_since: at(recorded.keep_firing_since_ms),
            last_sent: at(recorded.last_sent_ms),
        }
    }
}
