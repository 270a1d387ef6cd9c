//! Modern groups: kind, state and members of the groups whose coordinators keep epochs and a record for each member
//! (KIP-848, share and streams groups). Pure.

use super::{
    offsets::weight,
    records::{Protocol, RecordError, Standing},
};
use crate::snapshot::GroupKind;
use std::collections::HashMap;

/// What the last record of something said; an error where it cannot be read.
pub(super) type Told<T> = Option<Result<T, RecordError>>;

/// A modern group's records.
#[derive(Debug)]
pub(super) struct Modern {
    protocol: Protocol,
    pub(super) epoch: Told<i32>,
    pub(super) target: Told<i32>,
    /// A streams group has told its topology.
    pub(super) topology: bool,
    members: HashMap<Box<str>, Told<Standing>>,
    /// Of their names.
    weight: usize,
}

impl Modern {
    /// No record yet.
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, epoch: None, target: None, topology: false, members: HashMap::new(), weight: 0 }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Is nothing left of it? A target or a topology alone is a leftover.
    pub(super) fn is_gone(&self) -> bool {
        self.epoch.is_none() && self.members.is_empty()
    }

    /// How many members there are, by the weight of their names.
    pub(super) fn size(&self) -> usize {
        self.weight
    }

    pub(super) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    /// Its members, and where each stands.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, Told<Standing>)> {
        self.members.iter().map(|(name, told)| (&**name, *told))
    }

    /// A member has a record.
    pub(super) fn join(&mut self, member: &str) {
        if !self.has(member) {
            self.members.insert(member.into(), None);
            self.weight = self.weight.saturating_add(weight(member));
        }
    }

    /// A member has none any more.
    pub(super) fn leave(&mut self, member: &str) {
        if self.members.remove(member).is_some() {
            self.weight = self.weight.saturating_sub(weight(member));
        }
    }

    /// All have left.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.weight = 0;
    }

    /// Where a member stands. Its own record comes first; without that one this is a leftover.
    pub(super) fn stands(&mut self, member: &str, standing: Told<Standing>) {
        if let Some(told) = self.members.get_mut(member) {
            *told = standing;
        }
    }

    /// Kind, state and members. Source of the states: maybeUpdateGroupState of Kafka's ConsumerGroup, ShareGroup and
    /// StreamsGroup, and isReconciledTo of their members.
    pub(super) fn describe(&self) -> (GroupKind, &'static str, Option<u32>) {
        let kind = match self.protocol {
            Protocol::Consumer => GroupKind::Consumer,
            Protocol::Share => GroupKind::Share,
            Protocol::Streams => GroupKind::Streams,
        };
        (kind, self.state(), Some(u32::try_from(self.members.len()).unwrap_or(u32::MAX)))
    }

    fn state(&self) -> &'static str {
        if self.members.is_empty() {
            return "Empty";
        }
        if self.protocol == Protocol::Share {
            return "Stable";
        }
        if self.protocol == Protocol::Streams && !self.topology {
            return "NotReady";
        }
        let (Some(Ok(epoch)), None | Some(Ok(_))) = (self.epoch, self.target) else { return "Unknown" };
        let Some(Ok(target)) = self.target.filter(|target| target.is_ok_and(|target| target >= epoch)) else {
            return "Assigning";
        };
        if self.members.values().any(|told| matches!(told, Some(Err(_)))) {
            return "Unknown";
        }
        let reached = |standing: &Standing| standing.settled && standing.epoch == target;
        if !self.members.values().all(|told| matches!(told, Some(Ok(standing)) if reached(standing))) {
            return "Reconciling";
        }
        // Whether the topics of a streams group's topology exist is not in its records. While they do not, it is not
        // ready, and all its members are assigned nothing.
        let assigned = |told: &Told<Standing>| matches!(told, Some(Ok(standing)) if standing.assigned);
        if self.protocol == Protocol::Streams && !self.members.values().any(assigned) {
            return "Unknown";
        }
        "Stable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `3` = has reached epoch 3, `3?` = and waits for something, `3-` = and nothing is assigned to it; `` = has not
    /// told anything, `!` = something that cannot be read.
    fn told(how: &str) -> Told<Standing> {
        let epoch = how.trim_end_matches(['?', '-']);
        match how {
            "" => None,
            "!" => Some(Err(RecordError::Truncated)),
            _ => Some(Ok(Standing {
                epoch: epoch.parse().unwrap(),
                settled: !how.ends_with('?'),
                assigned: !how.ends_with('-'),
            })),
        }
    }

    fn group(protocol: Protocol, epoch: i32, target: i32, members: &[&str]) -> Modern {
        let mut group = Modern { epoch: Some(Ok(epoch)), target: Some(Ok(target)), ..Modern::new(protocol) };
        for (number, standing) in members.iter().enumerate() {
            group.join(&number.to_string());
            group.stands(&number.to_string(), told(standing));
        }
        group
    }

    #[track_caller]
    fn check(group: &Modern, kind: GroupKind, state: &str, members: u32) {
        assert_eq!(group.describe(), (kind, state, Some(members)));
    }

    #[test]
    fn consumer_groups_are_as_their_epochs_and_members_say() {
        let check = |epoch, target, members: &[&str], state| {
            let count = u32::try_from(members.len()).unwrap();
            check(&group(Protocol::Consumer, epoch, target, members), GroupKind::Consumer, state, count);
        };
        check(3, 3, &[], "Empty");
        check(3, 2, &["2"], "Assigning");
        check(3, 3, &["2", "3"], "Reconciling");
        check(3, 3, &["3?"], "Reconciling"); // it waits for what another one still has
        check(3, 3, &["3", ""], "Reconciling");
        check(3, 3, &["3", "3-"], "Stable"); // more members than partitions
        check(3, 3, &["3", "!"], "Unknown");
    }

    #[test]
    fn share_groups_are_stable_with_any_member() {
        check(&group(Protocol::Share, 1, 0, &[]), GroupKind::Share, "Empty", 0);
        check(&group(Protocol::Share, 2, 1, &[""]), GroupKind::Share, "Stable", 1);
    }

    #[test]
    fn streams_groups_need_a_topology_and_tasks() {
        let streams =
            |topology, target, members: &[&str]| Modern { topology, ..group(Protocol::Streams, 3, target, members) };
        check(&streams(true, 3, &[]), GroupKind::Streams, "Empty", 0);
        check(&streams(false, 3, &["3"]), GroupKind::Streams, "NotReady", 1);
        check(&streams(true, 2, &["2"]), GroupKind::Streams, "Assigning", 1);
        check(&streams(true, 3, &["3?"]), GroupKind::Streams, "Reconciling", 1);
        check(&streams(true, 3, &["3", "3-"]), GroupKind::Streams, "Stable", 2);
        check(&streams(true, 3, &["3-"]), GroupKind::Streams, "Unknown", 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_known_and_a_leftover_is_no_group() {
        let unread = Some(Err(RecordError::Truncated));
        let group = |epoch, target| Modern { epoch, target, ..group(Protocol::Consumer, 1, 1, &["1"]) };
        check(&group(unread, Some(Ok(1))), GroupKind::Consumer, "Unknown", 1);
        check(&group(Some(Ok(1)), unread), GroupKind::Consumer, "Unknown", 1);
        let mut leftover = group(None, Some(Ok(1)));
        assert!(!leftover.is_gone());
        leftover.leave("0");
        leftover.stands("0", told("1"));
        assert!(leftover.is_gone() && !Modern { epoch: unread, ..leftover }.is_gone());
    }
}
