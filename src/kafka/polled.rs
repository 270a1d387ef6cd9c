//! What asking for groups one by one adds up to: which groups there are, what is known of each and since when, and whom to
//! ask for what. Pure: `now` is an argument, and how answers arrive is not known here.

use super::{
    ffi::{Description, Listed},
    names::Names,
    offsets::{GroupCommits, KeptCommit, MAX_ENTRIES, TopicCommits, weight},
};
use crate::{model::BrokerId, snapshot::GroupKind};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A group's coordinator and number of members are asked for this often, and at once when its state or the cluster's
/// leaders changed, or when it could not be asked for its offsets.
pub const DESCRIBE_INTERVAL: Duration = Duration::from_secs(30);

/// All groups that are wanted, as far as there is room.
#[derive(Debug)]
pub struct Book {
    groups: BTreeMap<Arc<str>, Known>,
    topics: Names,
    /// Groups and commits, by the weight of their names.
    entries: usize,
    limit: usize,
    /// Groups of this round that there is no room for, or not for what they committed.
    refused: usize,
}

impl Default for Book {
    fn default() -> Self {
        let (groups, topics) = (BTreeMap::new(), Names::default());
        Self { groups, topics, entries: 0, limit: MAX_ENTRIES, refused: 0 }
    }
}

/// Sorted by topic.
type CommitsByTopic = Vec<(Arc<str>, TopicCommits)>;

#[derive(Debug)]
struct Known {
    kind: GroupKind,
    simple: bool,
    state: &'static str,
    /// When it was last listed.
    listed: Instant,
    described: Option<Described>,
    /// What it committed, and when it was asked for that.
    commits: Option<(CommitsByTopic, Instant)>,
    /// When it was last asked for anything, with or without success.
    asked: Option<Instant>,
    /// Something that was to be asked in this round had no answer.
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Described {
    description: Description,
    /// What it was listed as then.
    state: &'static str,
    at: Instant,
    /// It is time for another one.
    due: bool,
}

/// A group to ask, and the broker that coordinated it when that was last known.
pub type ToAsk = (Arc<str>, Option<BrokerId>);

/// What is known after a round.
#[derive(Debug, Default)]
pub struct Summary {
    /// Groups, sorted by name. Those that another broker coordinates have no commits here: they were not asked for.
    pub groups: Vec<GroupCommits>,
    /// Of which groups something is not known, or not from this round; sorted.
    pub unobserved: Vec<Arc<str>>,
    /// How many are not among `groups` for that reason.
    pub left_out: usize,
    /// How many groups there was no room for, or not for what they committed ([`MAX_ENTRIES`]).
    pub refused: usize,
}

impl Book {
    /// Begins a round with a list of groups. What is not on it is gone if the list is whole and whoever coordinated it is
    /// one of `asked`: a broker that has just left takes its groups off the list until others have them.
    pub fn list(
        &mut self,
        listed: Vec<Listed>,
        whole: bool,
        asked: &[BrokerId],
        wants: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        self.refused = 0;
        for group in listed.into_iter().filter(|group| group.state != "Dead" && wants(&group.group)) {
            let Listed { group, kind, simple, state } = group;
            if let Some(known) = self.groups.get_mut(group.as_str()) {
                (known.kind, known.simple, known.state, known.listed) = (kind, simple, state, now);
            } else if self.entries >= self.limit {
                self.refused = self.refused.saturating_add(1);
            } else {
                let known = Known {
                    kind,
                    simple,
                    state,
                    listed: now,
                    described: None,
                    commits: None,
                    asked: None,
                    failed: false,
                };
                self.entries = self.entries.saturating_add(weight(&group));
                self.groups.insert(group.into(), known);
            }
        }
        if whole {
            let coordinator = |known: &Known| known.described.and_then(|described| described.description.coordinator);
            self.groups.retain(|_, known| {
                known.listed == now || coordinator(known).is_some_and(|coordinator| !asked.contains(&coordinator))
            });
        }
        for known in self.groups.values_mut() {
            // One that no broker listed may have moved to a broker that did not answer.
            known.failed = known.listed != now;
        }
        // What is gone makes room in the next round.
        let of_group = |(name, known): (&Arc<str>, &Known)| known.size().saturating_add(weight(name));
        self.entries = self.groups.iter().map(of_group).fold(0, usize::saturating_add);
    }

    /// Leaders changed: whoever coordinates a group may not do so any more.
    pub fn describe_all(&mut self) {
        for known in self.groups.values_mut() {
            if let Some(described) = &mut known.described {
                described.due = true;
            }
        }
    }

    /// The groups to describe, the one that was asked longest ago first.
    pub fn to_describe(&self, now: Instant) -> Vec<ToAsk> {
        self.to_ask(|known| {
            known.described.is_none_or(|described| {
                described.due
                    || described.state != known.state
                    || now.saturating_duration_since(described.at) >= DESCRIBE_INTERVAL
            })
        })
    }

    /// The groups to ask for their commits: those that `beside` coordinates, or all; in the same order.
    pub fn to_commit(&self, beside: Option<BrokerId>) -> Vec<ToAsk> {
        self.to_ask(|known| known.described.is_some_and(|described| described.is_of(beside)))
    }

    fn to_ask(&self, wanted: impl Fn(&Known) -> bool) -> Vec<ToAsk> {
        let mut groups: Vec<_> = self.groups.iter().filter(|(_, known)| wanted(known)).collect();
        groups.sort_by_key(|(_, known)| known.asked);
        let coordinator = |known: &Known| known.described.and_then(|described| described.description.coordinator);
        groups.into_iter().map(|(name, known)| (Arc::clone(name), coordinator(known))).collect()
    }

    /// A group was described.
    pub fn described(&mut self, group: &str, description: Description, now: Instant) {
        if let Some(known) = self.groups.get_mut(group) {
            known.described = Some(Described { description, state: known.state, at: now, due: false });
            known.asked = Some(now);
        }
    }

    /// A group told what it committed. Only commits on wanted topics are kept, and none if there is no room for all.
    pub fn committed(
        &mut self,
        group: &str,
        offsets: Vec<(String, u32, i64)>,
        wants: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        let Some(known) = self.groups.get_mut(group) else { return };
        let mut topics: BTreeMap<Arc<str>, TopicCommits> = BTreeMap::new();
        for (topic, partition, offset) in offsets {
            let commit = (partition, KeptCommit { offset: Some(offset), at: None });
            if let Some(commits) = topics.get_mut(topic.as_str()) {
                commits.push(commit);
            } else if wants(&topic) {
                topics.insert(self.topics.intern(&topic), vec![commit]);
            }
        }
        for commits in topics.values_mut() {
            commits.sort_unstable_by_key(|(partition, _)| *partition);
        }
        let others = self.entries.saturating_sub(known.size());
        known.commits = Some((topics.into_iter().collect(), now));
        known.asked = Some(now);
        if others.saturating_add(known.size()) > self.limit {
            (known.commits, known.failed) = (None, true);
            self.refused = self.refused.saturating_add(1);
        }
        self.entries = others.saturating_add(known.size());
    }

    /// A group could not be asked. It is described again: it may have moved.
    pub fn failed(&mut self, group: &str, now: Instant) {
        if let Some(known) = self.groups.get_mut(group) {
            known.failed = true;
            known.asked = Some(now);
            if let Some(described) = &mut known.described {
                described.due = true;
            }
        }
    }

    /// What is known now of the groups that `beside` answers for, and which others there are. What is older than `keep`
    /// is not known any more.
    pub fn summary(&self, beside: Option<BrokerId>, keep: Duration, now: Instant) -> Summary {
        let age = |at: Instant| now.saturating_duration_since(at);
        let mut summary = Summary { refused: self.refused, ..Summary::default() };
        for (name, known) in &self.groups {
            let described = known.described.filter(|described| {
                age(described.at) <= keep.saturating_add(DESCRIBE_INTERVAL)
                    && (beside.is_none() || described.description.coordinator.is_some())
            });
            let ours = described.is_some_and(|described| described.is_of(beside));
            let commits = known.commits.as_ref().filter(|(_, at)| age(*at) <= keep).map(|(commits, _)| commits);
            if known.failed || !ours || commits.is_none() {
                summary.unobserved.push(Arc::clone(name));
            }
            let (Some(Described { description, .. }), Some(commits)) =
                (described, if ours { commits.cloned() } else { Some(Vec::new()) })
            else {
                summary.left_out = summary.left_out.saturating_add(1);
                continue;
            };
            summary.groups.push(GroupCommits {
                name: Arc::clone(name),
                offsets_partition: None,
                coordinator: description.coordinator,
                kind: known.kind(description.members, commits.is_empty()),
                state: known.state,
                state_number: 0,
                members: Some(description.members),
                commits,
            });
        }
        summary
    }
}

impl Described {
    fn is_of(&self, beside: Option<BrokerId>) -> bool {
        beside.is_none() || self.description.coordinator == beside
    }
}

impl Known {
    /// What it committed, by the weight of names.
    fn size(&self) -> usize {
        let commits = self.commits.iter().flat_map(|(commits, _)| commits);
        commits.map(|(topic, commits)| commits.len().saturating_mul(weight(topic))).fold(0, usize::saturating_add)
    }

    /// As [`super::offsets`] has it of the same group.
    fn kind(&self, members: u32, no_commits: bool) -> GroupKind {
        match self.kind {
            GroupKind::Classic if members > 0 || !self.simple => GroupKind::Classic,
            GroupKind::Classic if no_commits => GroupKind::Unknown,
            GroupKind::Classic => GroupKind::Simple,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
