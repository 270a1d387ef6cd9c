//! Partitions of `__consumer_offsets` that cannot be read on for a while: what their groups said when they were asked for
//! one by one takes the place of what was read. Pure.

use super::{offsets::GroupCommits, polls::Round};
use crate::snapshot::partition_for;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// Partitions whose groups were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// All of them.
    pub(super) asked: BTreeSet<u32>,
    /// Those that may have a group that gave no answer.
    pub(super) partly: BTreeSet<u32>,
}

/// Puts what a round found out in the place of what was read of `held` partitions, of so many in all. A group of one of
/// them that gave no answer is left out. So is one that was read and not listed: it may be of a kind that librdkafka
/// does not list, as well as gone.
pub(super) fn merge(groups: &mut Vec<GroupCommits>, held: &BTreeSet<u32>, partitions: usize, round: &Round) -> Held {
    let asked: BTreeSet<u32> = held.intersection(&round.held).copied().collect();
    if asked.is_empty() {
        return Held::default();
    }
    let is_asked = |partition: &u32| asked.contains(partition);
    let (read, mut merged): (Vec<_>, Vec<_>) =
        std::mem::take(groups).into_iter().partition(|group| group.offsets_partition.as_ref().is_some_and(is_asked));
    // A group's own records tell where it is at home; of one that has none yet its name does.
    let homes: HashMap<Arc<str>, u32> =
        read.iter().filter_map(|group| Some((Arc::clone(&group.name), group.offsets_partition?))).collect();
    let elsewhere: HashSet<Arc<str>> = merged.iter().map(|group| Arc::clone(&group.name)).collect();
    let home = |name: &str| {
        let by_name = || u32::try_from(partition_for(name, partitions)).ok().filter(|_| !elsewhere.contains(name));
        homes.get(name).copied().or_else(by_name).filter(is_asked)
    };
    let mut partly = if round.all_listed { BTreeSet::new() } else { asked.clone() };
    partly.extend(round.unobserved.iter().filter_map(|name| home(name)));
    let mut answered = HashSet::new();
    for group in round.groups.iter().filter(|group| round.unobserved.binary_search(&group.name).is_err()) {
        if let Some(partition) = home(&group.name) {
            answered.insert(&*group.name);
            merged.push(GroupCommits { offsets_partition: Some(partition), ..group.clone() });
        }
    }
    let silent = read.iter().filter(|group| !answered.contains(&*group.name));
    partly.extend(silent.filter_map(|group| group.offsets_partition));
    merged.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    *groups = merged;
    Held { asked, partly }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kafka::offsets::KeptCommit, model::BrokerId, snapshot::GroupKind};
    use std::time::{Duration, Instant};

    fn group(name: &str, partition: Option<u32>, offset: i64) -> GroupCommits {
        GroupCommits {
            name: name.into(),
            offsets_partition: partition,
            coordinator: partition.is_none().then_some(BrokerId(1)),
            kind: GroupKind::Classic,
            state: "Stable",
            state_number: 0,
            members: Some(1),
            commits: vec![("t".into(), vec![(0, KeptCommit { offset: Some(offset), at: None })])],
        }
    }

    fn round(held: &[u32], groups: &[&str], unobserved: &[&str], all_listed: bool) -> Round {
        Round {
            beside: Some(BrokerId(1)),
            cluster: 0,
            whole: false,
            held: held.iter().copied().collect(),
            groups: groups.iter().map(|name| group(name, None, 2)).collect(),
            unobserved: unobserved.iter().map(|name| (*name).into()).collect(),
            all_listed,
            error: None,
            ended: Instant::now(),
            keep: Duration::from_secs(15),
        }
    }

    /// Groups `a` and `b` were read from partition 3, `c` from partition 4; of 50 partitions `群` is at home in 26.
    #[track_caller]
    fn check(held: &[u32], round: &Round, want: &[(&str, u32, i64)], asked: &[u32], partly: &[u32]) {
        let mut groups = vec![group("a", Some(3), 1), group("b", Some(3), 1), group("c", Some(4), 1)];
        let told = merge(&mut groups, &held.iter().copied().collect(), 50, round);
        let offset = |group: &GroupCommits| group.commits[0].1[0].1.offset.unwrap();
        let seen: Vec<_> =
            groups.iter().map(|group| (&*group.name, group.offsets_partition.unwrap(), offset(group))).collect();
        assert_eq!(seen, want);
        assert_eq!(told, Held { asked: asked.iter().copied().collect(), partly: partly.iter().copied().collect() });
    }

    #[test]
    fn groups_of_held_partitions_say_themselves_what_they_committed() {
        let read = [("a", 3, 1), ("b", 3, 1), ("c", 4, 1)];
        check(&[], &round(&[3], &["a", "b"], &[], true), &read, &[], &[]);
        check(&[4], &round(&[3], &["a", "b"], &[], true), &read, &[], &[]);
        let all = round(&[3, 26], &["a", "b", "c", "群"], &[], true);
        check(&[3], &all, &[("a", 3, 2), ("b", 3, 2), ("c", 4, 1)], &[3], &[]);
        check(&[3, 26], &all, &[("a", 3, 2), ("b", 3, 2), ("c", 4, 1), ("群", 26, 2)], &[3, 26], &[]);
    }

    #[test]
    fn a_group_without_an_answer_is_left_out_and_its_partition_not_known_whole() {
        let c = ("c", 4, 1);
        check(&[3], &round(&[3], &["a", "b"], &["b"], true), &[("a", 3, 2), c], &[3], &[3]);
        check(&[3], &round(&[3], &["a"], &[], true), &[("a", 3, 2), c], &[3], &[3]);
        check(&[3], &round(&[3], &["a", "b"], &[], false), &[("a", 3, 2), ("b", 3, 2), c], &[3], &[3]);
        // A new one is known by its name only.
        check(&[3, 26], &round(&[3, 26], &["a", "b"], &["群"], true), &[("a", 3, 2), ("b", 3, 2), c], &[3, 26], &[26]);
    }
}
