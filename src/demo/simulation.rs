//! Plays the schedule: which records are produced and which commits written next. Pure.
//! Does not know where records go; is told how far each partition has grown.

use super::{
    records::{self, Member},
    schedule::{self, GROUPS, Group, OFFSETS_PARTITIONS, OFFSETS_TOPIC, Pace, TOPICS},
};
use crate::{model::Timestamp, snapshot::kafka::partition_for};
use std::{collections::BTreeMap, time::Duration};

/// Distance between two commits of a group.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// After a pause longer than this (a sleeping laptop), only this much is made up for.
pub(super) const MAX_STEP: Duration = Duration::from_secs(2);

/// End offsets by topic and partition, as the cluster acknowledged them.
pub(super) type Ends = BTreeMap<String, BTreeMap<i32, i64>>;

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) key: Vec<u8>,
    /// `None` = a tombstone.
    pub(super) value: Option<Vec<u8>>,
}

/// So many whole things per second, over steps of any length.
#[derive(Debug, Default)]
struct Rate {
    thousandths: u64,
}

impl Rate {
    fn due(&mut self, per_second: u32, step: Duration) -> u64 {
        let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let all = self.thousandths.saturating_add(u64::from(per_second).saturating_mul(millis));
        self.thousandths = all.checked_rem(1000).unwrap_or(0);
        all.checked_div(1000).unwrap_or(0)
    }
}

#[derive(Debug)]
struct Position {
    topic: &'static str,
    partition: i32,
    offset: i64,
    rate: Rate,
}

#[derive(Debug)]
struct Consumer {
    group: &'static Group,
    positions: Vec<Position>,
    deleted: bool,
}

/// The producers and consumers.
#[derive(Debug)]
pub(super) struct Simulation {
    producers: Vec<(&'static str, i32, u32, Rate)>,
    consumers: Vec<Consumer>,
    produced: u64,
    last: Duration,
    next_commit: Duration,
    round: Option<u64>,
}

impl Simulation {
    pub(super) fn new() -> Self {
        let producers = TOPICS
            .iter()
            .flat_map(|topic| (0..topic.partitions).map(|p| (topic.name, p, topic.per_second, Rate::default())));
        let consumer = |group: &'static Group| {
            let partitions = group.reads.iter().flat_map(|(topic, count)| (0..*count).map(move |p| (*topic, p)));
            let position = |(topic, partition)| Position { topic, partition, offset: 0, rate: Rate::default() };
            Consumer { group, positions: partitions.map(position).collect(), deleted: false }
        };
        Self {
            producers: producers.collect(),
            consumers: GROUPS.iter().map(consumer).collect(),
            produced: 0,
            last: Duration::ZERO,
            next_commit: Duration::ZERO,
            round: None,
        }
    }

    /// What is written at `elapsed` after the start, given what the cluster holds. `now` dates the commits.
    pub(super) fn step(&mut self, elapsed: Duration, ends: &Ends, now: Timestamp) -> Vec<Record> {
        let step = elapsed.saturating_sub(self.last).min(MAX_STEP);
        self.last = elapsed;
        let mut out = Vec::new();
        self.produce(step, &mut out);
        let round = schedule::round(elapsed);
        let new_round = self.round != Some(round);
        self.round = Some(round);
        let commit = elapsed >= self.next_commit;
        if commit {
            self.next_commit = elapsed.saturating_add(COMMIT_INTERVAL);
        }
        for consumer in &mut self.consumers {
            match schedule::pace(consumer.group.name, elapsed) {
                Pace::Deleted => consumer.delete(&mut out),
                Pace::Stalled => {
                    if new_round {
                        consumer.join(round, now, &mut out);
                    }
                }
                Pace::Reads(per_second) => {
                    let back = consumer.deleted;
                    if new_round || back {
                        consumer.join(round, now, &mut out);
                    }
                    consumer.read(per_second, step, ends, back);
                    if commit || back {
                        consumer.commit(now, &mut out);
                    }
                }
            }
        }
        out
    }

    fn produce(&mut self, step: Duration, out: &mut Vec<Record>) {
        for (topic, partition, per_second, rate) in &mut self.producers {
            for _ in 0..rate.due(*per_second, step) {
                self.produced = self.produced.saturating_add(1);
                let key = format!("{topic}-{}", self.produced).into_bytes();
                let value = Some(format!("{{\"number\":{}}}", self.produced).into_bytes());
                out.push(Record { topic, partition: *partition, key, value });
            }
        }
    }
}

impl Consumer {
    /// Reads on; a group that was deleted begins anew at the end.
    fn read(&mut self, per_second: u32, step: Duration, ends: &Ends, from_end: bool) {
        for position in &mut self.positions {
            let due = i64::try_from(position.rate.due(per_second, step)).unwrap_or(i64::MAX);
            let Some(end) = ends.get(position.topic).and_then(|ends| ends.get(&position.partition)) else { continue };
            let reached = if from_end { *end } else { position.offset.saturating_add(due).min(*end) };
            position.offset = position.offset.max(reached);
        }
    }

    fn commit(&self, now: Timestamp, out: &mut Vec<Record>) {
        for position in &self.positions {
            let key = records::offset_key(self.group.name, position.topic, position.partition);
            out.push(self.record(key, Some(records::offset_value(position.offset, now))));
        }
    }

    /// Writes the group's metadata as after a rebalance: partition by partition to its members in turn.
    fn join(&mut self, round: u64, now: Timestamp, out: &mut Vec<Record>) {
        self.deleted = false;
        let names = self.group.members;
        let assignments: Vec<Vec<(&str, Vec<i32>)>> =
            (0..names.len()).map(|member| share(self.group.reads, member, names.len())).collect();
        let members: Vec<Member<'_>> = names
            .iter()
            .zip(&assignments)
            .map(|(name, assignment)| Member { id: name, client_id: name, assignment })
            .collect();
        let generation = i32::try_from(round.saturating_add(1)).unwrap_or(i32::MAX);
        let value = records::group_value(generation, &members, now);
        out.push(self.record(records::group_key(self.group.name), Some(value)));
    }

    /// Writes what Kafka writes when a group is deleted: tombstones for its commits, then for itself.
    fn delete(&mut self, out: &mut Vec<Record>) {
        if std::mem::replace(&mut self.deleted, true) {
            return;
        }
        for position in &self.positions {
            let key = records::offset_key(self.group.name, position.topic, position.partition);
            out.push(self.record(key, None));
        }
        out.push(self.record(records::group_key(self.group.name), None));
    }

    /// A record in the partition that the group's name leads to.
    fn record(&self, key: Vec<u8>, value: Option<Vec<u8>>) -> Record {
        let partitions = usize::try_from(OFFSETS_PARTITIONS).unwrap_or(0);
        let partition = i32::try_from(partition_for(self.group.name, partitions)).unwrap_or(0);
        Record { topic: OFFSETS_TOPIC, partition, key, value }
    }
}

/// What the member of that number reads when partitions are dealt out in turn.
fn share<'a>(reads: &[(&'a str, i32)], member: usize, members: usize) -> Vec<(&'a str, Vec<i32>)> {
    let mine = |count: i32| (0..count).skip(member).step_by(members.max(1)).collect();
    reads.iter().map(|(topic, count)| (*topic, mine(*count))).collect()
}

#[cfg(test)]
mod tests;
