//! What the records of one partition of `__consumer_offsets` add up to. Pure.

use super::{
    super::{
        kinds::Modern,
        names::Names,
        records::{self, Key, Protocol, RecordError},
    },
    KeptCommit,
    saved::{SavedGroup, Unsaved},
    weight,
};
use crate::{model::Timestamp, snapshot::GroupKind};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What was read of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub(super) struct OffsetsPartition {
    /// The next offset that we will read; `None` before the first record.
    pub(super) position: Option<i64>,
    pub(super) caught_up: bool,
    /// Records that came before the end was first reached.
    pub(super) replayed: u64,
    /// Before this offset there is nothing that would still be delivered once the end is reached again.
    pub(super) stable: Option<i64>,
    pub(super) groups: HashMap<Arc<str>, GroupRecords>,
    /// Groups, their members and commits, by the weight of their names.
    pub(super) entries: usize,
    /// Something was not taken for want of room.
    pub(super) overflowed: bool,
    /// What of it is not in the checkpoint.
    pub(super) unsaved: Unsaved,
}

/// What the records of one group add up to.
#[derive(Debug, Default)]
pub(super) struct GroupRecords {
    pub(super) classic: Option<Classic>,
    pub(super) state_number: u64,
    pub(super) modern: Option<Box<Modern>>,
    pub(super) commits: BTreeMap<Arc<str>, BTreeMap<u32, KeptCommit>>,
}

/// A classic group's metadata.
#[derive(Clone, Copy, Debug)]
pub(super) enum Classic {
    /// As it was read.
    Read(records::ClassicGroup),
    /// There is one, and it cannot be read.
    Unreadable,
}

impl OffsetsPartition {
    /// Is there an entry already for what a key is about?
    pub(super) fn has(&self, key: &Key<'_>) -> bool {
        match *key {
            Key::Commit { group, topic, partition } => {
                let commits = self.groups.get(group).and_then(|records| records.commits.get(topic));
                u32::try_from(partition).is_ok_and(|id| commits.is_some_and(|commits| commits.contains_key(&id)))
            }
            Key::ClassicGroup(group) | Key::Group(_, group) | Key::Target(_, group) | Key::Topology(group) => {
                self.groups.contains_key(group)
            }
            Key::Member(_, group, member) => {
                let modern = self.groups.get(group).and_then(|records| records.modern.as_ref());
                modern.is_some_and(|modern| modern.has(member))
            }
            Key::Standing(..) | Key::Other(_) => true,
        }
    }

    /// Takes one record in.
    pub(super) fn take(
        &mut self,
        key: Key<'_>,
        value: Option<&[u8]>,
        topics: &mut Names,
        states_read: &mut u64,
    ) -> Result<(), RecordError> {
        match (key, value) {
            (Key::Commit { group, topic, partition }, value) => {
                let Ok(committed) = u32::try_from(partition) else { return Ok(()) };
                let Some(value) = value else {
                    self.change(group, |records| records.uncommit(topic, committed));
                    return Ok(());
                };
                let commit = records::commit(value);
                let kept = KeptCommit {
                    offset: commit.ok().map(|commit| commit.offset),
                    at: commit.ok().and_then(|commit| u64::try_from(commit.timestamp).ok()).map(Timestamp),
                };
                let (topic, weight) = (topics.intern(topic), weight(topic));
                if self.group(group).commits.entry(topic).or_default().insert(committed, kept).is_none() {
                    self.entries = self.entries.saturating_add(weight);
                }
                commit?;
            }
            (Key::ClassicGroup(group), Some(value)) => {
                let read = records::classic_group(value);
                *states_read = states_read.saturating_add(1);
                let group = self.group(group);
                group.classic = Some(read.map_or(Classic::Unreadable, Classic::Read));
                group.state_number = *states_read;
                read?;
            }
            (Key::ClassicGroup(group), None) => self.change(group, |records| records.classic = None),
            (Key::Group(protocol, group), Some(value)) => {
                let epoch = records::epoch(value);
                self.modern(protocol, group, |modern| modern.epoch = Some(epoch));
                epoch?;
            }
            (Key::Group(protocol, group), None) => self.change_modern(protocol, group, |modern| {
                modern.epoch = None;
                modern.clear();
            }),
            (Key::Target(protocol, group), Some(value)) => {
                let epoch = records::epoch(value);
                self.modern(protocol, group, |modern| modern.target = Some(epoch));
                epoch?;
            }
            (Key::Target(protocol, group), None) => self.change_modern(protocol, group, |modern| modern.target = None),
            (Key::Member(protocol, group, member), Some(_)) => {
                self.modern(protocol, group, |modern| modern.join(member));
            }
            (Key::Member(protocol, group, member), None) => {
                self.change_modern(protocol, group, |modern| modern.leave(member));
            }
            (Key::Standing(protocol, group, member), value) => {
                let standing = value.map(|value| records::standing(protocol, value));
                self.change_modern(protocol, group, |modern| modern.stands(member, standing));
                standing.transpose()?;
            }
            (Key::Topology(group), Some(_)) => self.modern(Protocol::Streams, group, |modern| modern.topology = true),
            (Key::Topology(group), None) => {
                self.change_modern(Protocol::Streams, group, |modern| modern.topology = false);
            }
            (Key::Other(_), _) => {}
        }
        Ok(())
    }

    /// Takes in a group as it was saved.
    pub(super) fn restore(&mut self, name: &str, saved: SavedGroup, topics: &mut Names) {
        let records = GroupRecords::restored(saved, topics);
        self.entries = self.entries.saturating_add(weight(name)).saturating_add(records.size());
        self.groups.insert(name.into(), records);
    }

    fn group(&mut self, name: &str) -> &mut GroupRecords {
        // Names are allocated once, not for each of their records.
        let name = if let Some((known, _)) = self.groups.get_key_value(name) {
            Arc::clone(known)
        } else {
            self.entries = self.entries.saturating_add(weight(name));
            name.into()
        };
        self.groups.entry(name).or_default()
    }

    /// Changes a group that exists, and forgets it when nothing of it is left.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut GroupRecords)) {
        let Some(records) = self.groups.get_mut(name) else { return };
        let before = records.size();
        change(records);
        let (after, gone) = (records.size(), records.is_gone());
        self.entries = self.entries.saturating_sub(before).saturating_add(after);
        if gone {
            self.groups.remove(name);
            self.entries = self.entries.saturating_sub(after).saturating_sub(weight(name));
        }
    }

    /// Changes a modern group. What there is of one of another protocol is of a group that had its name before.
    fn modern(&mut self, protocol: Protocol, name: &str, change: impl FnOnce(&mut Modern)) {
        let modern = &mut self.group(name).modern;
        let before = modern.as_ref().map_or(0, |modern| modern.size());
        if modern.as_ref().is_some_and(|modern| modern.protocol() != protocol) {
            *modern = None;
        }
        let modern = modern.get_or_insert_with(|| Box::new(Modern::new(protocol)));
        change(modern);
        let after = modern.size();
        self.entries = self.entries.saturating_sub(before).saturating_add(after);
    }

    /// Changes a modern group if there is one of that protocol, and forgets it when nothing of it is left.
    fn change_modern(&mut self, protocol: Protocol, name: &str, change: impl FnOnce(&mut Modern)) {
        self.change(name, |records| {
            if let Some(modern) = records.modern.as_mut().filter(|modern| modern.protocol() == protocol) {
                change(modern);
                if modern.is_gone() {
                    records.modern = None;
                }
            }
        });
    }
}

impl GroupRecords {
    fn is_gone(&self) -> bool {
        self.classic.is_none() && self.modern.is_none() && self.commits.is_empty()
    }

    /// Members and commits that have a record of their own, by the weight of their names.
    pub(super) fn size(&self) -> usize {
        let members = self.modern.as_ref().map_or(0, |modern| modern.size());
        let of_topic = |(topic, commits): (&Arc<str>, &BTreeMap<_, _>)| commits.len().saturating_mul(weight(topic));
        self.commits.iter().map(of_topic).fold(members, usize::saturating_add)
    }

    fn uncommit(&mut self, topic: &str, partition: u32) {
        if let Some(commits) = self.commits.get_mut(topic) {
            commits.remove(&partition);
            if commits.is_empty() {
                self.commits.remove(topic);
            }
        }
    }

    /// Kind, state and members. The topic does not carry a classic group's transient states.
    pub(super) fn describe(&self) -> (GroupKind, &'static str, Option<u32>) {
        if let Some(modern) = &self.modern {
            return modern.describe();
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
