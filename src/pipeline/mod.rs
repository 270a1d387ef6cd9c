//! One pure function, [`tick`], turns what rules said into alert state, transitions and deliveries; one task, the
//! owner, feeds it and passes on what it makes. Does not know how rules are run, nor how anybody is told.

mod action;
mod book;
mod deeds;
mod own;
mod owner;
mod report;
mod saved;
mod saver;
#[cfg(test)]
mod tests;
mod tick;
mod touched;

pub use action::{
    ActionPolicies, ActionPolicy, ActionRate, ActionStatus, ActionsView, Deed, DeedEnd, DeedResult, Grants,
    MAX_DEED_ALERTS, MAX_RESULT_TEXT, Parameter, RefusedAction,
};
pub use book::{Book, MAX_ALERTS, MAX_ALERTS_PER_RULE, MAX_OWN_ACTIONS, MAX_RESOLVED};
pub use deeds::{DeedKey, MAX_DEEDS, MAX_ENDED, MAX_ENDED_PER_RULE, MAX_KEYS, MAX_REFUSED, UNKNOWN_POLICY};
pub use own::{ALERTS_DROPPED, MAX_ERROR_TEXT, OWN_RULE, RULE_FAILING, STORE_FAILING};
pub use owner::{MAX_BATCH, MAX_LOGGED, MAX_UNDELIVERED, NOT_STORED, Outlets, TICK_INTERVAL, start};
pub use report::{EvaluationReport, LimitsReport, StateReport};
pub use saved::{row_key, told_change, told_changes};
pub use saver::{ALIVE_INTERVAL, COMMIT_DEADLINE};
pub use tick::{DOUBT, FAILURES_UNTIL_ALERT, HOLD, RESEND_DELAY, RESENDS_UNTIL_END, RESOLVED_RETENTION, Ticked, tick};
pub use touched::Touched;

use crate::{
    alerts::{Alert, Phase},
    model::{Labels, Outcome, RuleState, Timestamp},
    snapshot::Snapshot,
    store::{LoadError, Store, Table},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

// Stands with the alerts because the page, which may not know the pipeline, shows it.
pub use crate::alerts::AlertsView;

/// What the pipeline must know of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSettings {
    /// Its name.
    pub name: String,
    /// Distance between evaluations; `None` = once per snapshot.
    pub interval: Option<Duration>,
    /// Pending this long before firing.
    pub pending_for: Duration,
    /// Firing this long after it stopped holding.
    pub keep_firing_for: Duration,
    /// Added to every alert; go before the rule's own.
    pub labels: Labels,
    /// Added to every alert; go before the rule's own.
    pub annotations: Labels,
    /// Evaluated and shown, and told to nobody.
    pub shadow: bool,
    /// The actions that it may ask for.
    pub actions: Grants,
}

/// How an evaluation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// All it said counts.
    Outcome(Outcome),
    /// What it needs was not observed; nothing changes.
    Unavailable(String),
    /// Its own fault; nothing changes.
    Failed {
        /// Short, for a label: `trap`, `time`, `memory`, `output`, `error`, …
        reason: &'static str,
        /// For people.
        text: String,
    },
}

/// One evaluation of one rule on one snapshot.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The rule.
    pub settings: Arc<RuleSettings>,
    /// Which load of the rule spoke: a late word of a replaced or removed one does not count.
    pub generation: u64,
    /// What it saw.
    pub snapshot: Arc<Snapshot>,
    /// What it said.
    pub verdict: Verdict,
    /// Failures in a row, this one included.
    pub failures_in_a_row: u32,
    /// What the rule remembers from now on, where that changed: to be stored with what it said.
    pub state: Option<RuleState>,
}

/// Where what must survive is kept.
pub enum Durability {
    /// There, and this is what was there at our start.
    Store(Store, Box<Restored>),
    /// Nowhere, for this reason.
    Memory(String),
}

/// What was stored by an agent before us.
#[derive(Debug, Default)]
pub struct Restored {
    /// All alerts; silent until it is known who answers for what they are about.
    pub book: Book,
    /// What each rule remembers.
    pub states: BTreeMap<String, RuleState>,
    /// What is not as it is stored, since clocks stood still meanwhile.
    pub touched: Touched,
    /// Alerts, states of rules, and what waited to be told or done, that cannot be read.
    pub unreadable: usize,
}

/// Reads what was stored, for an agent that starts at `now`. Waits for the store, up to `limit` for each of its tables.
///
/// # Errors
/// When it cannot be read in time.
pub fn restore(store: &Store, now: Timestamp, limit: Duration) -> Result<Restored, LoadError> {
    let (alerts, meta) = (store.load(Table::Alerts, None, limit)?, store.load(Table::Meta, None, limit)?);
    let (states, unreadable) = saved::restore_states(store.load(Table::RuleState, None, limit)?);
    let rows = saved::OutboxRows {
        outbox: store.load(Table::Outbox, None, limit)?,
        told: store.load(Table::OutboxTold, None, limit)?,
        keys: store.load(Table::ActionKeys, None, limit)?,
        log: store.load(Table::ActionLog, None, limit)?,
    };
    let mut restored = saved::restore(alerts, meta, now);
    let (unreadable_rows, nobodys) = saved::restore_outbox(&mut restored.book, rows);
    restored.touched.lapsed.extend(nobodys);
    let unreadable = [restored.unreadable, unreadable, unreadable_rows].into_iter().fold(0usize, usize::saturating_add);
    Ok(Restored { states, unreadable, ..restored })
}

/// What the pipeline is told, in order.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something new was observed, whether or not a rule has spoken on it.
    Seen(Arc<Snapshot>),
    /// A rule is live in this generation (new, or a new version of it).
    Installed {
        /// Its settings.
        settings: Arc<RuleSettings>,
        /// Its generation.
        generation: u64,
    },
    /// A rule spoke.
    Evaluated(Evaluation),
    /// These are all rules that there are, live or not: what is known of others from before our start is of none.
    Known(BTreeSet<String>),
    /// Why what was decided is not stored; `None` = it is.
    Store(Option<String>),
    /// What may be asked for, from now on.
    Policies(Arc<ActionPolicies>),
    /// A deed has ended.
    Ended(DeedResult),
    /// What a rule remembers changed otherwise than by an evaluation: a new version took over, or a person made it forget.
    Remembers {
        /// The rule.
        rule: String,
        /// All that it remembers now.
        state: RuleState,
    },
    /// A rule is gone for good, with all that it remembers; its alerts resolve.
    Removed {
        /// Its name.
        rule: String,
        /// Later than that of any evaluation of it.
        generation: u64,
    },
}

/// How far the book is, for the rule host: a rule sees its own alerts as its last evaluation left them.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// By rule, the generation and the snapshot's number of the last evaluation that was taken.
    pub taken: BTreeMap<String, (u64, u64)>,
    /// By rule, its pending and firing alerts, sorted; also those that another agent speaks for and we follow.
    pub alerts: Arc<OwnAlerts>,
    /// By rule, what became of the actions that it asked for.
    pub actions: Arc<OwnActions>,
}

/// Actions by rule; see [`Settled`].
pub type OwnActions = BTreeMap<String, Arc<[ActionStatus]>>;

/// Alerts by rule; see [`Settled`].
pub type OwnAlerts = BTreeMap<String, Arc<[Arc<Alert>]>>;

impl Settled {
    /// The alerts of one rule.
    pub fn alerts_of(&self, rule: &str) -> Arc<[Arc<Alert>]> {
        self.alerts.get(rule).cloned().unwrap_or_default()
    }

    /// The actions of one rule, the newest first.
    pub fn actions_of(&self, rule: &str) -> Arc<[ActionStatus]> {
        self.actions.get(rule).cloned().unwrap_or_default()
    }
}

/// An alert to be told to the notifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The alert as it stands.
    pub alert: Arc<Alert>,
    /// When it ends if nothing more is heard: resolution, or a few resends from now.
    pub ends_at: Timestamp,
    /// False: nothing new, said again so that Alertmanager does not forget.
    pub transition: bool,
    /// Where it is in the outbox; `None`: it is not, so that a crash forgets it.
    pub stored: Option<Stored>,
}

/// A place in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Unique; later ones are larger.
    pub sequence: u64,
    /// Receivers that were told before our start.
    pub told: Arc<BTreeSet<String>>,
}

/// A change in an alert's life, for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The alert after the change.
    pub alert: Arc<Alert>,
    /// Where it was before; `None` = it is new.
    pub from: Option<Phase>,
    /// It ended without a word: pending and holds no longer, or not ours any more.
    pub dropped: bool,
}

/// A notifier as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifierView {
    /// Its name.
    pub name: String,
    /// How it tells, as agent.yaml spells it.
    pub kind: &'static str,
    /// Those that it tells, in the order of agent.yaml; one for the log.
    pub receivers: Vec<ReceiverView>,
}

/// What a receiver answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverView {
    /// When it last took what it was told.
    pub accepted_at: Option<Timestamp>,
    /// When and why it could not be told, if that was the last time.
    pub refusal: Option<(Timestamp, String)>,
}

/// All notifiers, in the order of agent.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifiersView {
    /// The notifiers.
    pub notifiers: Vec<NotifierView>,
}

impl NotifiersView {
    /// The receiver of that number of the notifier of that name.
    pub fn receiver(&mut self, notifier: &str, receiver: usize) -> Option<&mut ReceiverView> {
        self.notifiers.iter_mut().find(|one| one.name == notifier)?.receivers.get_mut(receiver)
    }
}

/// A rule as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    /// What it does.
    pub settings: Arc<RuleSettings>,
    /// `builtin:…` or the file.
    pub module: String,
    /// Of the component, in hex; empty while none is live.
    pub sha256: String,
    /// Is a version of it live?
    pub live: bool,
    /// Why the newest version was refused, if it was.
    pub load_error: Option<String>,
    /// What went wrong in the last evaluation, if anything did.
    pub last_error: Option<String>,
    /// When it was last evaluated.
    pub last_evaluation: Option<Timestamp>,
    /// Wall time of that.
    pub evaluation_time: Duration,
    /// What an evaluation may use.
    pub limits: LimitsReport,
    /// What it remembers.
    pub state: StateReport,
    /// Its last evaluations, the newest last.
    pub evaluations: Arc<[EvaluationReport]>,
}

/// All rules, sorted by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulesView {
    /// The rules.
    pub rules: Vec<RuleView>,
    /// Why `rules_dir` cannot be read, if it cannot.
    pub rules_dir_error: Option<String>,
}
