//! Actions: what a rule may ask to be done in the world, and what becomes of it. Decided here, purely; done elsewhere.

use crate::model::{BrokerId, Labels, Subject, Timestamp};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// So many in any such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionRate {
    /// At least 1.
    pub count: u32,
    /// In this time.
    pub per: Duration,
}

/// What one parameter may look like.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Matches all of it.
    pub pattern: Regex,
    /// May it start with `-`? To a program that would be an option.
    pub dash: bool,
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.dash == other.dash
    }
}

/// What may be asked of an action that agent.yaml names.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionPolicy {
    /// All parameters, each of which must be given.
    pub params: BTreeMap<String, Parameter>,
    /// How often for one key of one rule.
    pub per_key: ActionRate,
    /// How often in all.
    pub total: ActionRate,
}

/// The actions of agent.yaml, by name.
pub type ActionPolicies = BTreeMap<String, ActionPolicy>;

/// An action that is to be done: it is granted, its parameters are as they must be, and its rate allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// Its place in the outbox.
    pub sequence: u64,
    /// Who asked for it.
    pub rule: String,
    /// The name under `actions:`.
    pub action: String,
    /// What it is about.
    pub subject: Subject,
    /// Checked.
    pub params: Labels,
    /// Same key = same deed.
    pub key: String,
    /// Hex; the same whenever this deed is done again, and on each agent that may do it.
    pub idempotency_key: String,
    /// Our cluster's name; empty while it is not known.
    pub cluster: String,
    /// Our broker.
    pub broker: Option<BrokerId>,
    /// The time of the snapshot on which it was asked for.
    pub requested_at: Timestamp,
    /// Labels of the firing alerts of the rule about this subject, as they are told; the first [`MAX_DEED_ALERTS`] of them.
    pub alerts: Vec<Labels>,
}

/// Alerts that a deed is known to belong to.
pub const MAX_DEED_ALERTS: usize = 16;

/// How a deed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeedEnd {
    /// It was done.
    Done,
    /// It was tried and did not succeed, for the last time.
    Failed,
    /// It was not begun in time.
    Expired,
    /// It was only written to the log, as its `dry_run` asks.
    DryRun,
    /// Its alert is silenced.
    Silenced,
    /// It is another agent's, or agent.yaml does not have it any more.
    Dropped,
}

impl DeedEnd {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Done, Self::Failed, Self::Expired, Self::DryRun, Self::Silenced, Self::Dropped];

    /// As in labels and the API.
    pub fn text(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::DryRun => "dry_run",
            Self::Silenced => "silenced",
            Self::Dropped => "dropped",
        }
    }
}

/// What became of a deed.
#[derive(Clone, Debug, PartialEq)]
pub struct DeedResult {
    /// Which.
    pub sequence: u64,
    /// How it ended.
    pub end: DeedEnd,
    /// When.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// For people: what was said of it; at most [`MAX_RESULT_TEXT`] bytes.
    pub text: String,
}

/// Bytes of the text of a [`DeedResult`].
pub const MAX_RESULT_TEXT: usize = 1024;

/// A deed, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionStatus {
    /// What was asked for.
    pub deed: Arc<Deed>,
    /// `None`: it waits, or is under way.
    pub result: Option<DeedResult>,
}

/// A request that was not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedAction {
    /// Who asked.
    pub rule: String,
    /// For what.
    pub action: String,
    /// Short, for a label: `not_granted`, `unknown_action`, `parameter`, `rate`, `full`.
    pub reason: &'static str,
    /// For people.
    pub text: String,
    /// When it was last asked for.
    pub at: Timestamp,
}

/// All actions, as people see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionsView {
    /// Decided and not ended, oldest first.
    pub waiting: Vec<Arc<Deed>>,
    /// Ended, newest first.
    pub ended: Vec<(Arc<Deed>, DeedResult)>,
    /// The last refusal of each rule, action and reason.
    pub refused: Vec<RefusedAction>,
}

/// Names of actions that a rule was granted.
pub type Grants = BTreeSet<String>;
