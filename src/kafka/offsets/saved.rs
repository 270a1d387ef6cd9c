//! What was read of `__consumer_offsets`, as it is saved and read back: group by group, and only what changed. Pure.
//!
//! A checkpoint is true at its position: it has all that records before that one said. What it has of later records does no
//! harm, since they are read again, in the same order, before anything is told of the partition.

use super::{
    KeptCommit, Offsets,
    partition::{Classic, GroupRecords},
    weight,
};
use crate::{
    kafka::{
        kinds::{Modern, Told},
        names::Names,
        records::{ClassicGroup, Protocol, RecordError, Standing},
    },
    model::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Groups of all partitions together whose changes are noted one by one. Beyond, all of the partition in question is written
/// anew.
pub const MAX_UNSAVED: usize = 200_000;

/// Where a partition ended when it was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The next offset to read.
    pub position: i64,
    /// The leader epoch of the record before it, if brokers say so.
    pub epoch: Option<i32>,
    /// When that was: what was written before is read, as far as it could be read.
    pub at: Timestamp,
}

/// What of a partition is not in the checkpoint.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// Groups that changed, or went.
    groups: HashSet<Arc<str>>,
    /// All of them: what is saved is of another log, or too much changed.
    all: bool,
    /// When it was last read to its end.
    pub(super) end: Option<End>,
    /// Of the newest record.
    pub(super) epoch: Option<i32>,
    /// Which reading of the partition this is: what was begun in another one does not count.
    life: u64,
}

impl Unsaved {
    /// Of a partition that is read anew.
    pub(super) fn anew(lives: &mut u64) -> Self {
        *lives = lives.saturating_add(1);
        Self { all: true, life: *lives, ..Self::default() }
    }

    /// A group changed; `noted` counts those of all partitions.
    pub(super) fn changed(&mut self, group: &str, noted: &mut usize) {
        if self.all || self.groups.contains(group) {
            return;
        }
        if *noted >= MAX_UNSAVED {
            self.all = true;
            self.take(noted);
        } else {
            self.groups.insert(group.into());
            *noted = noted.saturating_add(1);
        }
    }

    /// How many groups are noted.
    pub(super) fn count(&self) -> usize {
        self.groups.len()
    }

    /// Takes the groups that are noted, which are then no more.
    fn take(&mut self, noted: &mut usize) -> HashSet<Arc<str>> {
        *noted = noted.saturating_sub(self.groups.len());
        std::mem::take(&mut self.groups)
    }
}

/// What is to be saved of a partition, up to a position.
#[derive(Debug, PartialEq, Eq)]
pub struct Round {
    /// The partition.
    pub partition: u32,
    /// Which reading of it.
    pub life: u64,
    /// Where it ended.
    pub end: End,
    /// What was saved before goes.
    pub all: bool,
    /// Groups to save, or to remove where there are none of that name.
    pub groups: Vec<Arc<str>>,
}

impl Offsets {
    /// Notes from now on what changes.
    #[must_use]
    pub fn saving() -> Self {
        Self { saves: true, ..Self::default() }
    }

    /// Notes the leader epoch of the newest record of a partition.
    pub fn saw_epoch(&mut self, partition: u32, epoch: Option<i32>) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.unsaved.epoch = epoch;
        }
    }

    /// The leader epoch at [`Offsets::position`].
    pub fn epoch(&self, partition: u32) -> Option<i32> {
        self.partitions.get(&partition)?.unsaved.epoch
    }

    /// Notes that all of a partition was read that was written before then. If that is so for the first time, it counts as
    /// read to its end.
    pub fn read_until(&mut self, partition: u32, at: Timestamp) {
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        known.caught_up = true;
        let at = known.unsaved.end.map_or(at, |end| end.at.max(at));
        known.unsaved.end = known.position.map(|position| End { position, epoch: known.unsaved.epoch, at });
    }

    /// Was the end of a partition last reached longer ago than `trusted`? Then tombstones of since may be gone from the log
    /// before we read on: what they removed would live on.
    pub fn is_outdated(&self, partition: u32, now: Timestamp, trusted: Duration) -> bool {
        let end = self.partitions.get(&partition).and_then(|known| known.unsaved.end);
        end.is_some_and(|end| now.since(end.at) > trusted)
    }

    /// Forgets all partitions that are outdated like that; which these were.
    pub fn forget_outdated(&mut self, now: Timestamp, trusted: Duration) -> Vec<u32> {
        let all = self.partitions.keys().copied();
        let outdated: Vec<u32> = all.filter(|partition| self.is_outdated(*partition, now, trusted)).collect();
        for partition in &outdated {
            self.forget(*partition);
        }
        outdated
    }

    /// Forgets what was read of a partition: it is to be read from its beginning.
    pub fn forget(&mut self, partition: u32) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            self.entries = self.entries.saturating_sub(partition.entries);
            partition.unsaved.take(&mut self.noted);
            *partition = super::OffsetsPartition { unsaved: Unsaved::anew(&mut self.lives), ..Default::default() };
        }
    }

    /// What is to be saved of each partition; from now on further changes are noted. Nothing of those that were not read to
    /// their end yet, or of which something is not kept.
    pub fn begin_saving(&mut self) -> Vec<Round> {
        let complete = self.partitions.iter_mut().filter(|(_, known)| known.caught_up && !known.overflowed);
        let noted = &mut self.noted;
        let rounds = complete.filter_map(|(number, known)| {
            let end = known.unsaved.end?;
            let all = std::mem::take(&mut known.unsaved.all);
            let changed = known.unsaved.take(noted);
            let groups =
                if all { known.groups.keys().map(Arc::clone).collect() } else { changed.into_iter().collect() };
            Some(Round { partition: *number, life: known.unsaved.life, end, all, groups })
        });
        rounds.collect()
    }

    /// A round of before was not saved: what it has is unsaved again.
    pub fn not_saved(&mut self, round: &Round) {
        if let Some(known) = self.partitions.get_mut(&round.partition).filter(|known| known.unsaved.life == round.life)
        {
            known.unsaved.all |= round.all;
            round.groups.iter().for_each(|group| known.unsaved.changed(group, &mut self.noted));
        }
    }

    /// Is the partition still that of this round?
    pub fn is_of(&self, round: &Round) -> bool {
        self.partitions.get(&round.partition).is_some_and(|known| known.unsaved.life == round.life)
    }

    /// A group as it is to be saved; `None` = there is none.
    pub fn to_save(&self, partition: u32, group: &str) -> Option<SavedGroup> {
        Some(self.partitions.get(&partition)?.groups.get(group)?.saved())
    }

    /// Takes in what was saved of a partition that is followed and of which nothing was read. False: it does not fit.
    pub fn restore(&mut self, partition: u32, end: End, groups: Vec<(String, SavedGroup)>) -> bool {
        let entries = groups.iter().map(|(name, group)| group.entries(name)).fold(0, usize::saturating_add);
        if self.entries.saturating_add(entries) > self.limit {
            return false;
        }
        let Some(known) = self.partitions.get_mut(&partition).filter(|known| known.position.is_none()) else {
            return false;
        };
        for (name, group) in groups {
            known.restore(&name, group, &mut self.topics);
        }
        known.position = Some(end.position);
        known.unsaved = Unsaved { epoch: end.epoch, life: known.unsaved.life, end: Some(end), ..Unsaved::default() };
        self.entries = self.entries.saturating_add(known.entries);
        true
    }
}

/// Partition, offset, time of the commit in milliseconds.
type SavedCommit = (u32, Option<i64>, Option<u64>);

/// A group as it is saved. Fields are only ever added, each with a default.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedGroup {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classic: Option<SavedClassic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modern: Option<SavedModern>,
    /// By topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    commits: BTreeMap<String, Vec<SavedCommit>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedClassic {
    Read { simple: bool, members: u32 },
    Unreadable,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedModern {
    protocol: SavedProtocol,
    epoch: Option<Saved<i32>>,
    target: Option<Saved<i32>>,
    topology: bool,
    members: Vec<(String, Option<Saved<SavedStanding>>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedProtocol {
    Consumer,
    Share,
    Streams,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Saved<T> {
    Read(T),
    Unreadable,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedStanding {
    epoch: i32,
    settled: bool,
    assigned: bool,
}

impl<T> Saved<T> {
    fn of<U>(told: Told<U>, read: impl FnOnce(U) -> T) -> Option<Self> {
        told.map(|told| told.map_or(Self::Unreadable, |value| Self::Read(read(value))))
    }

    fn told<U>(saved: Option<Self>, read: impl FnOnce(T) -> U) -> Told<U> {
        saved.map(|saved| match saved {
            Self::Read(value) => Ok(read(value)),
            // Which error it was matters to nobody any more.
            Self::Unreadable => Err(RecordError::UnknownVersion),
        })
    }
}

impl SavedGroup {
    /// With its name.
    fn entries(&self, name: &str) -> usize {
        let members = self.modern.iter().flat_map(|modern| &modern.members).map(|(member, _)| weight(member));
        let commits = self.commits.iter().map(|(topic, commits)| commits.len().saturating_mul(weight(topic)));
        members.chain(commits).fold(weight(name), usize::saturating_add)
    }
}

impl GroupRecords {
    fn saved(&self) -> SavedGroup {
        let standing = |of: Standing| SavedStanding { epoch: of.epoch, settled: of.settled, assigned: of.assigned };
        SavedGroup {
            classic: self.classic.map(|classic| match classic {
                Classic::Read(ClassicGroup { simple, members }) => SavedClassic::Read { simple, members },
                Classic::Unreadable => SavedClassic::Unreadable,
            }),
            modern: self.modern.as_ref().map(|modern| SavedModern {
                protocol: match modern.protocol() {
                    Protocol::Consumer => SavedProtocol::Consumer,
                    Protocol::Share => SavedProtocol::Share,
                    Protocol::Streams => SavedProtocol::Streams,
                },
                epoch: Saved::of(modern.epoch, |epoch| epoch),
                target: Saved::of(modern.target, |epoch| epoch),
                topology: modern.topology,
                members: modern.members().map(|(name, told)| (name.to_owned(), Saved::of(told, standing))).collect(),
            }),
            commits: self
                .commits
                .iter()
                .map(|(topic, commits)| {
                    let all = commits.iter().map(|(partition, kept)| (*partition, kept.offset, kept.at.map(|at| at.0)));
                    (topic.to_string(), all.collect())
                })
                .collect(),
        }
    }

    pub(super) fn restored(saved: SavedGroup, topics: &mut Names) -> Self {
        let standing = |of: SavedStanding| Standing { epoch: of.epoch, settled: of.settled, assigned: of.assigned };
        Self {
            classic: saved.classic.map(|classic| match classic {
                SavedClassic::Read { simple, members } => Classic::Read(ClassicGroup { simple, members }),
                SavedClassic::Unreadable => Classic::Unreadable,
            }),
            // Older than any list of groups of this run.
            state_number: 0,
            modern: saved.modern.map(|modern| {
                let mut restored = Modern::new(match modern.protocol {
                    SavedProtocol::Consumer => Protocol::Consumer,
                    SavedProtocol::Share => Protocol::Share,
                    SavedProtocol::Streams => Protocol::Streams,
                });
                restored.epoch = Saved::told(modern.epoch, |epoch| epoch);
                restored.target = Saved::told(modern.target, |epoch| epoch);
                restored.topology = modern.topology;
                for (name, told) in modern.members {
                    restored.join(&name);
                    restored.stands(&name, Saved::told(told, standing));
                }
                Box::new(restored)
            }),
            commits: saved
                .commits
                .into_iter()
                .map(|(topic, commits)| {
                    let all = commits
                        .into_iter()
                        .map(|(partition, offset, at)| (partition, KeptCommit { offset, at: at.map(Timestamp) }));
                    (topics.intern(&topic), all.collect())
                })
                .collect(),
        }
    }
}
