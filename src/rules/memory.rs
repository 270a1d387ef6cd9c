//! What the host keeps for a rule between its evaluations. A copy goes into each; what comes back counts as each part says.

use super::{rates::Rates, state::State};
use crate::{alerts::Alert, history::History, pipeline::ActionStatus};
use std::sync::Arc;

/// Of one rule. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// What the rule wrote itself. Counts only with the outcome of its evaluation.
    pub(super) state: State,
    /// What its selectors found. Counts whatever the rule made of it: it was observed.
    pub(super) rates: Rates,
    /// Its own pending and firing alerts, sorted. Never changed by an evaluation.
    pub(super) alerts: Arc<[Arc<Alert>]>,
    /// What became of the actions that it asked for, in the order of the contract. Never changed by an evaluation.
    pub(super) actions: Arc<[ActionStatus]>,
    /// The past up to the snapshot. Never changed by an evaluation.
    pub(super) history: History,
}
