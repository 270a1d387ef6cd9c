//! The alerts of this rule that there are already, for thresholds that differ for beginning and end.
//!
//! ```
//! use brokerwarden_rule::{own_alerts::{ActiveAlert, OwnAlerts, State}, prelude::*};
//!
//! /// Begins above 1000 and ends below 500.
//! fn holds(lag: i64, group: &str, before: &OwnAlerts) -> bool {
//!     lag > if before.has("LagHigh", &[("consumergroup", group)]) { 500 } else { 1000 }
//! }
//!
//! let fires = ActiveAlert {
//!     name: "LagHigh".into(),
//!     labels: vec![Label::new("consumergroup", "orders"), Label::new("cluster", "c1")],
//!     state: State::Firing,
//!     active_since_ms: 0,
//!     value: Some(1001.0),
//! };
//! let before = OwnAlerts::from(vec![fires]);
//! assert!(holds(700, "orders", &before));
//! assert!(!holds(700, "audit", &before));
//! ```

use crate::imports;

pub use crate::bindings::brokerwarden::rule::own_alerts::{ActiveAlert, State};

/// Pending and firing alerts of this rule, as its last evaluation left them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnAlerts {
    alerts: Vec<ActiveAlert>,
}

impl From<Vec<ActiveAlert>> for OwnAlerts {
    /// For tests of code that asks for them.
    fn from(alerts: Vec<ActiveAlert>) -> Self {
        Self { alerts }
    }
}

impl OwnAlerts {
    /// All of them, sorted by name and labels.
    pub fn iter(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.alerts.iter()
    }

    /// The alert of this name that has all of these labels. Name those that tell it from others of its name: it has more, and the
    /// rule's settings may have changed some (`severity`).
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&ActiveAlert> {
        let has = |alert: &ActiveAlert, (name, value): &(&str, &str)| {
            alert.labels.iter().any(|label| label.name == *name && label.value == *value)
        };
        self.alerts.iter().find(|alert| alert.name == name && labels.iter().all(|label| has(alert, label)))
    }

    /// Is there an alert of this name with these labels, pending or firing?
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.find(name, labels).is_some()
    }
}

/// Asks the agent for them.
pub fn active() -> OwnAlerts {
    imports::own_alerts::active().into()
}
