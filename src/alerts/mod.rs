//! The life of one alert: pending, firing, resolved. Pure.

mod step;

pub use step::{Durations, Raised, absent, raised, rewind};

use crate::model::{Labels, Measurement, Subject, Timestamp};
use std::{collections::BTreeSet, sync::Arc};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Holds, but not yet for as long as `for` asks.
    Pending,
    /// Holds for long enough; told.
    Firing,
    /// Was firing and holds no longer; told, and kept for a while.
    Resolved,
}

impl Phase {
    /// As Prometheus spells it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Rule + name + labels: what makes an alert this one and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    /// The rule that raises it.
    pub rule: String,
    /// `alertname`.
    pub name: String,
    /// All labels that are told, `alertname` among them.
    pub labels: Labels,
}

/// An alert with everything that is told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its identity.
    pub key: AlertKey,
    /// What it is about.
    pub subject: Subject,
    /// The newest annotations.
    pub annotations: Labels,
    /// The newest value.
    pub value: Option<f64>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when it holds.
    pub active_at: Timestamp,
    /// Since when it fires.
    pub fired_at: Option<Timestamp>,
    /// Since when it is resolved.
    pub resolved_at: Option<Timestamp>,
    /// Since when it is only kept firing by `keep_firing_for`.
    pub keep_firing_since: Option<Timestamp>,
    /// When it was last told.
    pub last_sent: Option<Timestamp>,
}

/// All alerts and measurements, for /metrics, the API and people.
#[derive(Clone, Debug, Default)]
pub struct AlertsView {
    /// Sorted by key; resolved ones too, while they are kept.
    pub alerts: Vec<Arc<Alert>>,
    /// By rule name.
    pub measurements: Vec<(String, Vec<Measurement>)>,
    /// Rules whose alerts are told to nobody.
    pub shadow: BTreeSet<String>,
}
