//! What the records of `__consumer_offsets` add up to: per partition of it, the groups and their commits.
//! Pure: does not know how records arrive.

mod partition;
mod saved;

pub use saved::{End, MAX_UNSAVED, Round, SavedGroup};

use super::{
    names::Names,
    records::{self, RecordError},
};
use crate::{
    model::{BrokerId, Timestamp},
    snapshot::{GroupKind, partition_for},
};
use partition::OffsetsPartition;
use saved::Unsaved;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

/// Groups, members and commits that are kept of all partitions together. Beyond, no new ones are taken.
pub const MAX_ENTRIES: usize = 5_000_000;
/// A name counts as one entry more for each so many bytes.
pub const NAME_BYTES: usize = 256;

/// As how many entries something of that name counts.
pub fn weight(name: &str) -> usize {
    name.len().checked_div(NAME_BYTES).unwrap_or(0).saturating_add(1)
}

/// Why a record was passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
    /// There is no room for what it tells of.
    #[error("there are {MAX_ENTRIES} groups, members and commits already")]
    Limit,
}

impl Skipped {
    /// Short, for a label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreadable(RecordError::Truncated) => "truncated",
            Self::Unreadable(RecordError::NotUtf8) => "not_utf8",
            Self::Unreadable(RecordError::UnknownVersion) => "unknown_version",
            Self::Limit => "limit",
        }
    }
}

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
#[derive(Debug)]
pub struct Offsets {
    partitions: BTreeMap<u32, OffsetsPartition>,
    topics: Names,
    states_read: u64,
    /// Of all partitions.
    entries: usize,
    limit: usize,
    /// Is it noted what changes, for a checkpoint?
    saves: bool,
    /// How often the reading of a partition has begun.
    lives: u64,
    /// Groups whose changes are noted.
    noted: usize,
}

impl Default for Offsets {
    fn default() -> Self {
        let (partitions, topics) = (BTreeMap::new(), Names::default());
        Self { partitions, topics, states_read: 0, entries: 0, limit: MAX_ENTRIES, saves: false, lives: 0, noted: 0 }
    }
}

impl Offsets {
    /// Follows exactly these partitions: others are forgotten, new ones begin empty.
    pub fn follow(&mut self, partitions: &BTreeSet<u32>) {
        self.partitions.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            self.partitions.entry(*partition).or_insert_with(|| {
                let unsaved = Unsaved::anew(&mut self.lives);
                OffsetsPartition { unsaved, ..OffsetsPartition::default() }
            });
        }
        self.entries = self.partitions.values().map(|partition| partition.entries).fold(0, usize::saturating_add);
        self.noted = self.partitions.values().map(|partition| partition.unsaved.count()).fold(0, usize::saturating_add);
    }

    /// Where to go on reading a partition; `None` = from its beginning.
    pub fn position(&self, partition: u32) -> Option<i64> {
        self.partitions.get(&partition)?.position
    }

    /// Was a partition read to its end at least once since it is followed?
    pub fn caught_up(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| partition.caught_up)
    }

    /// The partition that a group has records in, where the topic has so many. If there are several, the one that its name
    /// names: since the topic was given more partitions the others have nothing new.
    pub fn partition_of(&self, group: &str, partitions: usize) -> Option<u32> {
        let has = |partition: &&OffsetsPartition| partition.groups.contains_key(group);
        let home = home(group, partitions).filter(|home| self.partitions.get(home).as_ref().is_some_and(has));
        home.or_else(|| self.partitions.iter().find(|(_, partition)| has(partition)).map(|(number, _)| *number))
    }

    /// Has a partition more records than that? Known only of those that were read without reaching the end: offsets say
    /// nothing of it, since compaction leaves gaps.
    pub fn is_longer(&self, partition: u32, than: u64) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| !partition.caught_up && partition.replayed > than)
    }

    /// Is something of a partition not kept, since there was no room for it? So it is until the partition is read anew.
    pub fn overflowed(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| partition.overflowed)
    }

    /// How many states of classic groups were read: what came later has a higher number.
    pub fn states_read(&self) -> u64 {
        self.states_read
    }

    /// No transaction is open before this offset of a partition, and it is read again from our position: when it then
    /// reaches its end, that offset was reached as well.
    pub fn stable_until(&mut self, partition: u32, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.stable = Some(offset);
        }
    }

    /// Notes that a partition was read to its end at that moment, or to an open transaction: readers of committed records are told of
    /// both alike, and not where it was. Only past what is known to be stable are there no more than records that are
    /// never delivered (transaction markers, aborted commits).
    pub fn reached_end(&mut self, partition: u32, at: Timestamp) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.caught_up = true;
            partition.position = partition.position.max(partition.stable.take());
            partition.unsaved.end =
                partition.position.map(|position| End { position, epoch: partition.unsaved.epoch, at });
        }
    }

    /// Takes one record in. A record of a partition that is not followed does not count. A record before our
    /// position means that the log was cut or made anew: what it said before is forgotten.
    ///
    /// # Errors
    /// When the record cannot be read. It counts as read all the same, and what it was about as not known: what an
    /// earlier record said of that is no longer true. When there is no room for it, the partition has overflowed.
    pub fn apply(&mut self, partition: u32, offset: i64, key: &[u8], value: Option<&[u8]>) -> Result<(), Skipped> {
        let Some(partition) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if partition.position.is_some_and(|position| offset < position) {
            self.entries = self.entries.saturating_sub(partition.entries);
            self.noted = self.noted.saturating_sub(partition.unsaved.count());
            let unsaved = Unsaved::anew(&mut self.lives);
            *partition = OffsetsPartition { unsaved, ..OffsetsPartition::default() };
        }
        partition.position = Some(offset.saturating_add(1));
        partition.replayed = partition.replayed.saturating_add(u64::from(!partition.caught_up));
        let key = records::key(key)?;
        if let Some(group) = key.group().filter(|_| self.saves) {
            partition.unsaved.changed(group, &mut self.noted);
        }
        let (before, room) = (partition.entries, self.entries < self.limit);
        let taken = if room || value.is_none() || partition.has(&key) {
            partition.take(key, value, &mut self.topics, &mut self.states_read).map_err(Skipped::Unreadable)
        } else {
            partition.overflowed = true;
            Err(Skipped::Limit)
        };
        self.entries = self.entries.saturating_sub(before).saturating_add(partition.entries);
        taken
    }

    /// Copies out the groups that are wanted, from partitions that were read to their end, sorted by name. Only
    /// commits on wanted topics are in them. The topic has so many `partitions`, of which we may follow a few.
    pub fn groups(
        &self,
        group: impl Fn(&str) -> bool,
        topic: impl Fn(&str) -> bool,
        partitions: usize,
    ) -> Vec<GroupCommits> {
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
        // A group has its records in one partition, until the topic is given more: then those of its old one stay there.
        groups.dedup_by(|later, first| {
            let twice = later.name == first.name;
            if twice && later.offsets_partition == home(&later.name, partitions) {
                std::mem::swap(later, first);
            }
            twice
        });
        groups
    }
}

/// Where Kafka keeps a group.
fn home(group: &str, partitions: usize) -> Option<u32> {
    u32::try_from(partition_for(group, partitions)).ok()
}

#[cfg(test)]
mod tests;
