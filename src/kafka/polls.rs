//! What the cycle and the poller of groups share: what is wanted, and what was found out.

use super::{ffi::Listed, offsets::GroupCommits, reader::ReadError};
use crate::model::BrokerId;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What the cycle and the poller share. The cycle writes the order, the poller the rest.
#[derive(Debug, Default)]
pub struct Polls {
    state: Mutex<State>,
}

/// See [`Polls`].
#[derive(Debug, Default)]
pub struct State {
    /// What is wanted; `None` before the first cycle.
    pub order: Option<Order>,
    /// What the last whole round found out.
    pub round: Option<Arc<Round>>,
    /// What the last list said.
    pub states: Option<Arc<States>>,
}

impl Polls {
    /// The state, for a moment: neither side keeps it over a call to Kafka.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wanted of the poller. When it changes, a pause ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Groups with all that they committed, not only states.
    pub offsets: bool,
    /// If not, groups of these partitions of `__consumer_offsets` with all that they committed.
    pub held: BTreeSet<u32>,
    /// Commits of the groups that this broker coordinates; `None` = of all.
    pub beside: Option<BrokerId>,
    /// Live brokers, and the leaders of the offsets topic as far as they are told. When these change, groups move.
    pub brokers: Vec<BrokerId>,
    /// See `brokers`.
    pub leaders: Vec<Option<BrokerId>>,
    /// Another number = another cluster.
    pub cluster: u64,
}

/// States of groups as brokers listed them.
#[derive(Debug)]
pub struct States {
    /// Those that pass, and that the offsets topic does not carry, by group.
    pub passing: HashMap<String, &'static str>,
    /// Was there any group at all?
    pub any: bool,
    /// The cluster of the order.
    pub cluster: u64,
    /// What [`super::offsets::Offsets::states_read`] was before brokers were asked.
    pub read_before: u64,
    /// When the answer came.
    pub at: Instant,
}

/// What one round found out.
#[derive(Debug)]
pub struct Round {
    /// The order's.
    pub beside: Option<BrokerId>,
    /// The order's.
    pub cluster: u64,
    /// Of all groups, not only of those in `held`.
    pub whole: bool,
    /// The order's.
    pub held: BTreeSet<u32>,
    /// As in [`super::polled::Summary`].
    pub groups: Vec<GroupCommits>,
    /// As in [`super::polled::Summary`].
    pub unobserved: Vec<Arc<str>>,
    /// All brokers listed their groups.
    pub all_listed: bool,
    /// Why not all is known.
    pub error: Option<ReadError>,
    /// When it ended.
    pub ended: Instant,
    /// For how long it counts.
    pub keep: Duration,
}

impl States {
    /// From a list of groups that came at `at`.
    pub fn new(listed: &[Listed], cluster: u64, read_before: u64, at: Instant) -> Self {
        let passing = listed
            .iter()
            .filter(|group| matches!(group.state, "PreparingRebalance" | "CompletingRebalance"))
            .map(|group| (group.group.clone(), group.state))
            .collect();
        Self { passing, any: !listed.is_empty(), cluster, read_before, at }
    }
}

/// Overlays the states that the offsets topic does not carry. A record that was read since the groups were listed says
/// more than the list: a group has got over its rebalance.
pub fn overlay(groups: &mut [GroupCommits], states: &States) {
    for group in groups {
        if let Some(state) = states.passing.get(&*group.name)
            && group.state_number <= states.read_before
        {
            group.state = *state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::GroupKind;

    fn listed(group: &str, state: &'static str) -> Listed {
        Listed { group: group.to_owned(), kind: GroupKind::Classic, simple: false, state }
    }

    #[test]
    fn a_passing_state_counts_until_a_later_record_is_read() {
        let group = |name: &str, state_number| GroupCommits {
            name: name.into(),
            offsets_partition: Some(0),
            coordinator: None,
            kind: GroupKind::Classic,
            state: "Stable",
            state_number,
            members: Some(1),
            commits: vec![],
        };
        let mut groups = vec![group("a", 3), group("b", 4), group("c", 0), group("d", 1)];
        let all = [
            listed("a", "PreparingRebalance"),
            listed("b", "CompletingRebalance"),
            listed("c", "CompletingRebalance"),
            listed("d", "Empty"),
        ];
        let states = States::new(&all, 0, 3, Instant::now());
        assert!(states.any);
        overlay(&mut groups, &states);
        let seen: Vec<_> = groups.iter().map(|group| group.state).collect();
        assert_eq!(seen, ["PreparingRebalance", "Stable", "CompletingRebalance", "Stable"]);
    }
}
