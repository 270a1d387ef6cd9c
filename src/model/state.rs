//! What a rule remembers, as a plain value: the rule host keeps it, and the pipeline hears of each change, so that it can be
//! stored with what the same evaluation said.

use std::{collections::BTreeMap, sync::Arc};

/// Keys and values.
pub type StateEntries = Arc<BTreeMap<String, Arc<[u8]>>>;

/// What one rule remembers. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleState {
    /// Which version of the rule's code wrote it, as that says itself (`state-migration`; 0 where it says nothing); `None` =
    /// none did yet.
    pub version: Option<u32>,
    /// What it wrote.
    pub entries: StateEntries,
    /// What an earlier version had written when this one took over and migrated it: for going back.
    pub earlier: Option<(u32, StateEntries)>,
}
