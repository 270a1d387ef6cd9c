//! What the records of `__consumer_offsets` add up to: per partition of it, the groups and their commits.
//! Pure: does not know how records arrive.

use super::{
    freshness::Progress,
    records::{self, Key, RecordError},
};
use crate::{
    model::{BrokerId, Timestamp},
    snapshot::GroupKind,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// A commit as we keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptCommit {
    /// The next offset that the group will read; `None` where there is a commit that we cannot read.
    pub offset: Option<i64>,
    /// When it was committed; `None` when the record had no time.
    pub at: Option<Timestamp>,
}

/// Commits on a topic, sorted by partition.
pub type TopicCommits = Vec<(u32, KeptCommit)>;

/// A group and its commits, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCommits {
    /// Its name.
    pub name: Arc<str>,
    /// The partition of `__consumer_offsets` that its records were read from; `None` for one that was asked for.
    pub offsets_partition: Option<u32>,
    /// The broker that coordinates it, if that was told; else it is the leader of that partition.
    pub coordinator: Option<BrokerId>,
    /// Its kind.
    pub kind: GroupKind,
    /// Its state in Kafka's words.
    pub state: &'static str,
    /// What [`Offsets::states_read`] was when its state was read; 0 = it has no record of a state.
    pub state_number: u64,
    /// Its members, if known.
    pub members: Option<u32>,
    /// By topic, sorted by name; each sorted by partition.
    pub commits: Vec<(Arc<str>, TopicCommits)>,
}

/// All that was read.
#[derive(Debug, Default)]
pub struct Offsets {
    partitions: BTreeMap<u32, OffsetsPartition>,
    topics: HashSet<Arc<str>>,
    states_read: u64,
}

#[derive(Debug, Default)]
struct OffsetsPartition {
    /// The next offset that we will read; `None` before the first record.
    position: Option<i64>,
    caught_up: bool,
    /// How often the end was reached.
    ends_reached: u64,
    /// No record came since the end was last reached.
    at_end: bool,
    groups: HashMap<Arc<str>, GroupRecords>,
}

#[derive(Debug, Default)]
struct GroupRecords {
    classic: Option<Classic>,
    state_number: u64,
    consumer_epoch: Option<i32>,
    target_epoch: Option<i32>,
    /// KIP-848 members, with the epoch each has reached.
    members: HashMap<Box<str>, Option<i32>>,
    commits: BTreeMap<Arc<str>, BTreeMap<u32, KeptCommit>>,
}

#[derive(Clone, Copy, Debug)]
enum Classic {
    Read(records::ClassicGroup),
    /// There is one, and it cannot be read.
    Unreadable,
}

impl Offsets {
    /// Follows exactly these partitions: others are forgotten, new ones begin empty.
    pub fn follow(&mut self, partitions: &BTreeSet<u32>) {
        self.partitions.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            self.partitions.entry(*partition).or_default();
        }
    }

    /// Where to go on reading a partition; `None` = from its beginning.
    pub fn position(&self, partition: u32) -> Option<i64> {
        self.partitions.get(&partition)?.position
    }

    /// Was a partition read to its end at least once since it is followed?
    pub fn caught_up(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| partition.caught_up)
    }

    /// How far a partition was read.
    pub fn progress(&self, partition: u32) -> Progress {
        self.partitions.get(&partition).map_or_else(Progress::default, |partition| Progress {
            position: partition.position.unwrap_or(0),
            ends_reached: partition.ends_reached,
        })
    }

    /// Did the last read of a partition end at its end?
    pub fn at_end(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| partition.at_end)
    }

    /// How many states of classic groups were read: what came later has a higher number.
    pub fn states_read(&self) -> u64 {
        self.states_read
    }

    /// Notes that a partition was read to its end.
    pub fn reached_end(&mut self, partition: u32) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.caught_up = true;
            partition.at_end = true;
            partition.ends_reached = partition.ends_reached.saturating_add(1);
        }
    }

    /// Takes one record in. A record of a partition that is not followed does not count. A record before our
    /// position means that the log was cut or made anew: what it said before is forgotten.
    ///
    /// # Errors
    /// When the record cannot be read. It counts as read all the same, and what it was about as not known: what an
    /// earlier record said of that is no longer true.
    pub fn apply(&mut self, partition: u32, offset: i64, key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        let Some(partition) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if partition.position.is_some_and(|position| offset < position) {
            *partition = OffsetsPartition::default();
        }
        partition.position = Some(offset.saturating_add(1));
        partition.at_end = false;
        match records::key(key)? {
            Key::Commit { group, topic, partition: committed } => {
                let Ok(committed) = u32::try_from(committed) else { return Ok(()) };
                match value {
                    Some(value) => {
                        let commit = records::commit(value);
                        let kept = match commit {
                            Ok(commit) => KeptCommit {
                                offset: Some(commit.offset),
                                at: u64::try_from(commit.timestamp).ok().map(Timestamp),
                            },
                            Err(_) => KeptCommit { offset: None, at: None },
                        };
                        let topic = intern(&mut self.topics, topic);
                        partition.group(group).commits.entry(topic).or_default().insert(committed, kept);
                        commit?;
                    }
                    None => partition.change(group, |records| {
                        if let Some(commits) = records.commits.get_mut(topic) {
                            commits.remove(&committed);
                            if commits.is_empty() {
                                records.commits.remove(topic);
                            }
                        }
                    }),
                }
            }
            Key::ClassicGroup(group) => match value {
                Some(value) => {
                    let read = records::classic_group(value);
                    self.states_read = self.states_read.saturating_add(1);
                    let group = partition.group(group);
                    group.classic = Some(read.map_or(Classic::Unreadable, Classic::Read));
                    group.state_number = self.states_read;
                    read?;
                }
                None => partition.change(group, |records| records.classic = None),
            },
            Key::ConsumerGroup(group) => match value {
                Some(value) => partition.group(group).consumer_epoch = Some(records::epoch(value)?),
                None => partition.change(group, |records| {
                    records.consumer_epoch = None;
                    records.members.clear();
                }),
            },
            Key::ConsumerTarget(group) => match value {
                Some(value) => partition.group(group).target_epoch = Some(records::epoch(value)?),
                None => partition.change(group, |records| records.target_epoch = None),
            },
            Key::ConsumerMember(group, member) => match value {
                Some(_) => {
                    partition.group(group).members.entry(member.into()).or_default();
                }
                None => partition.change(group, |records| {
                    records.members.remove(member);
                }),
            },
            Key::ConsumerMemberEpoch(group, member) => match value {
                Some(value) => {
                    let epoch = records::epoch(value)?;
                    // The member record comes first; without it this one is a leftover.
                    partition.change(group, |records| {
                        if let Some(reached) = records.members.get_mut(member) {
                            *reached = Some(epoch);
                        }
                    });
                }
                None => partition.change(group, |records| {
                    if let Some(reached) = records.members.get_mut(member) {
                        *reached = None;
                    }
                }),
            },
            Key::Other(_) => {}
        }
        Ok(())
    }

    /// Copies out the groups that are wanted, from partitions that were read to their end, sorted by name. Only
    /// commits on wanted topics are in them.
    pub fn groups(&self, group: impl Fn(&str) -> bool, topic: impl Fn(&str) -> bool) -> Vec<GroupCommits> {
        let wanted: HashSet<&Arc<str>> = self.topics.iter().filter(|name| topic(name)).collect();
        let mut groups = Vec::new();
        for (number, partition) in self.partitions.iter().filter(|(_, partition)| partition.caught_up) {
            for (name, records) in partition.groups.iter().filter(|(name, _)| group(name)) {
                let (kind, state, members) = records.describe();
                let commits = records
                    .commits
                    .iter()
                    .filter(|(topic, _)| wanted.contains(*topic))
                    .map(|(topic, commits)| {
                        (Arc::clone(topic), commits.iter().map(|(partition, commit)| (*partition, *commit)).collect())
                    })
                    .collect();
                groups.push(GroupCommits {
                    name: Arc::clone(name),
                    offsets_partition: Some(*number),
                    coordinator: None,
                    kind,
                    state,
                    state_number: records.state_number,
                    members,
                    commits,
                });
            }
        }
        groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // A group has its records in one partition; were it in two, the younger assignment is not known: first wins.
        groups.dedup_by(|later, first| later.name == first.name);
        groups
    }
}

impl OffsetsPartition {
    fn group(&mut self, name: &str) -> &mut GroupRecords {
        // Names are allocated once, not for each of their records.
        let name = match self.groups.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => name.into(),
        };
        self.groups.entry(name).or_default()
    }

    /// Changes a group that exists, and forgets it when nothing of it is left.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut GroupRecords)) {
        if let Some(records) = self.groups.get_mut(name) {
            change(records);
            if records.is_gone() {
                self.groups.remove(name);
            }
        }
    }
}

impl GroupRecords {
    fn is_gone(&self) -> bool {
        self.classic.is_none() && self.consumer_epoch.is_none() && self.members.is_empty() && self.commits.is_empty()
    }

    /// Kind, state and members. The topic does not carry a classic group's transient states. Source of the KIP-848
    /// states: Kafka's ConsumerGroup.maybeUpdateGroupState.
    fn describe(&self) -> (GroupKind, &'static str, Option<u32>) {
        if let Some(epoch) = self.consumer_epoch {
            let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            let state = if members == 0 {
                "Empty"
            } else if self.target_epoch.is_none_or(|target| target < epoch) {
                "Assigning"
            } else if self.members.values().all(|reached| *reached == Some(epoch)) {
                "Stable"
            } else {
                "Reconciling"
            };
            return (GroupKind::Consumer, state, Some(members));
        }
        match self.classic {
            Some(Classic::Unreadable) => (GroupKind::Unknown, "Unknown", None),
            Some(Classic::Read(classic)) if classic.members > 0 => {
                (GroupKind::Classic, "Stable", Some(classic.members))
            }
            Some(Classic::Read(classic)) if !classic.simple => (GroupKind::Classic, "Empty", Some(0)),
            // Kafka 4 also writes an empty protocol type at a first join, so it proves nothing of a group that has
            // never committed.
            Some(Classic::Read(_)) if self.commits.is_empty() => (GroupKind::Unknown, "Empty", Some(0)),
            _ => (GroupKind::Simple, "Empty", Some(0)),
        }
    }
}

/// The one copy of a name.
pub(super) fn intern(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = name.into();
    names.insert(Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests;
