//! What changed in the book: what is to be stored.

use super::DeedKey;
use crate::alerts::AlertKey;
use std::collections::BTreeSet;

/// Parts of the book that are not as they were, and so not as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Alerts, where more changed than when they were last told.
    pub alerts: BTreeSet<AlertKey>,
    /// Deeds that were taken, ended or forgotten.
    pub deeds: BTreeSet<u64>,
    /// Keys of actions that were taken or forgotten.
    pub keys: BTreeSet<DeedKey>,
    /// Deliveries from before our start that nobody is to hear of any more.
    pub lapsed: BTreeSet<u64>,
}

impl Touched {
    /// Adds what another names.
    pub(super) fn extend(&mut self, other: Self) {
        self.alerts.extend(other.alerts);
        self.deeds.extend(other.deeds);
        self.keys.extend(other.keys);
        self.lapsed.extend(other.lapsed);
    }

    /// Is there nothing?
    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.deeds.is_empty() && self.keys.is_empty() && self.lapsed.is_empty()
    }
}
