//! Words that every part shares: identities, time, labels, subjects, what a rule says.
//! Knows no I/O, no serde and no clock.

pub mod fair;
pub mod families;
pub mod hex;
mod limits;
mod rule;
mod secret;
mod state;

pub use limits::{BoundedText, clip};
pub use rule::{Labels, Measurement, Outcome, RaisedAlert, RequestedAction, Subject};
pub use secret::Secret;
pub use state::{RuleState, StateEntries};

use std::{fmt, time::Duration};

/// Milliseconds since the Unix epoch, as Kafka writes its timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Seconds since the Unix epoch, as Prometheus writes them.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "exact until the year 287396")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// How much later this is than `earlier`; zero when it is not later (clocks step back).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A broker's node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error and its causes in one line, for people.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
