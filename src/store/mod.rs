//! What must survive a crash: one SQLite file in `data_dir`, and the one thread that reads and writes it. Knows rows, not
//! what they mean: whoever keeps something says how it is written.

mod file;
mod lock;
mod schema;
#[cfg(test)]
mod tests;
mod tools;
mod writer;

pub use file::{FILE, OpenError};
pub use lock::InUse;
pub use tools::{CheckReport, RepairReport, ToolError, check, export, repair};
pub use writer::{CommitError, LoadError, MAX_GROUPED, REQUEST_CAPACITY, Reply, Store};

use crate::{events::SelfMetrics, supervise::Tasks};
use std::{path::Path, sync::Arc};

/// What rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// One row each for what concerns all: when we were last alive, who we are.
    Meta,
    /// How far each partition of `__consumer_offsets` was read; scope: the cluster's id, key: the partition.
    OffsetsPositions,
    /// The groups that were read from one; scope: `CLUSTER/PARTITION`, key: the group.
    OffsetsGroups,
    /// The alert book; scope: the rule.
    Alerts,
    /// What rules remember; scope: the rule.
    RuleState,
    /// What is decided and not known to be told or done; scope: `alert` or `action`, key: a number that grows.
    Outbox,
    /// Receivers that were told of an alert that others wait for; scope: its key in the outbox, key: the receiver.
    OutboxTold,
    /// When actions were taken; scope: the action, key: the rule and the key that it gave.
    ActionKeys,
    /// What became of actions; key: as it was in the outbox.
    ActionLog,
    /// What became of notifications; key: a number that grows.
    NotificationLog,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::OffsetsPositions,
        Self::OffsetsGroups,
        Self::Alerts,
        Self::RuleState,
        Self::Outbox,
        Self::OutboxTold,
        Self::ActionKeys,
        Self::ActionLog,
        Self::NotificationLog,
    ];

    /// As it is called in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::OffsetsPositions => "offsets_positions",
            Self::OffsetsGroups => "offsets_groups",
            Self::Alerts => "alerts",
            Self::RuleState => "rule_state",
            Self::Outbox => "outbox",
            Self::OutboxTold => "outbox_told",
            Self::ActionKeys => "action_keys",
            Self::ActionLog => "action_log",
            Self::NotificationLog => "notification_log",
        }
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// See [`Table`].
    pub scope: String,
    /// Unique within its table and scope.
    pub key: String,
    /// JSON, but for what rules remember: that is as they gave it.
    pub value: Vec<u8>,
}

/// A change of the store. Those that are committed together all count or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a row, over the one of that key if there is one.
    Put(Table, Row),
    /// Removes a row if it is there.
    Remove {
        /// Its table.
        table: Table,
        /// Its scope.
        scope: String,
        /// Its key.
        key: String,
    },
    /// Removes all rows of a scope.
    RemoveScope {
        /// Their table.
        table: Table,
        /// Their scope.
        scope: String,
    },
}

/// Opens the store in `folder`, which is made if it is not there, and starts its thread. No other process can open it until
/// this one ends.
///
/// # Errors
/// When it is in use, not ours, damaged, or cannot be written. Nothing of what is there is changed then.
pub fn start(tasks: &Tasks, folder: &Path, metrics: Arc<SelfMetrics>) -> Result<Store, OpenError> {
    writer::start(tasks, file::open(folder)?, metrics)
}
