//! When were which offsets produced? For each partition a table of times and end offsets that thins with age. Pure.
//! Knows no clock, and not where times and offsets come from.

use super::ends::TopicPartition;
use crate::{model::Timestamp, snapshot::Age};
use std::{collections::HashMap, time::Duration};

/// How far back a table reaches. It reaches further where the end has stood still for longer.
pub const REACH: Duration = Duration::from_hours(48);
/// Up to which age two neighbouring points are how far apart at most, unless the end stood still in between.
pub const SPACINGS: [(Duration, Duration); 3] = [
    (Duration::from_mins(5), Duration::from_secs(5)),
    (Duration::from_hours(2), Duration::from_mins(1)),
    (REACH, Duration::from_mins(10)),
];
/// Points of all partitions together, two numbers each. Beyond, points are twice as far apart, and so on.
pub const MAX_POINTS: usize = 2_000_000;
/// Partitions that have a table. Beyond, the age of what is unread is not known. Far below [`MAX_POINTS`]: a table
/// cannot have fewer than two points, however coarse it is.
pub const MAX_PARTITIONS: usize = 200_000;
/// A partition that was not observed for this long is forgotten. One without a leader should not be.
pub const FORGET_AFTER: Duration = Duration::from_hours(1);

/// Times in between that a leader is asked about for one partition, besides those of [`Produced::seed`]. From 48 h to the
/// spacing it takes 9 for one commit; a group that catches up may need some more, one that stands still none.
pub const MAX_QUESTIONS: u32 = 40;

/// How often a table is thinned: looking at each point in each cycle would cost more than it saves.
const THIN_EVERY: Duration = Duration::from_mins(1);
/// Points that a table grows by at a time.
const ROOM: usize = 16;

/// At that time the log ended there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: Timestamp,
    end: i64,
}

/// End offsets over time, for every partition that a group has committed on.
///
/// A record between the ends of two neighbouring points was produced between their times, since the points are such
/// that the end grew there: of a stretch on which it stood still both edges are kept, and all between them says
/// nothing. So what an answer is wrong by is less than the distance of the two points: of a record that is `age` old,
/// the spacing for that age (times the coarseness, see [`MAX_POINTS`]) or, where nobody observed for longer, that
/// time; of a record from before our start the same, by what its partition's leader says of that time ([`Produced::seed`],
/// [`Produced::refine`]), unless it did not answer. Between the two points the records are taken to have come evenly.
#[derive(Debug)]
pub struct Produced {
    tables: HashMap<TopicPartition, Table>,
    /// All spacings are multiplied by this.
    coarseness: u32,
}

impl Default for Produced {
    fn default() -> Self {
        Self { tables: HashMap::new(), coarseness: 1 }
    }
}

#[derive(Debug)]
struct Table {
    /// Times rise, ends do not fall.
    points: Vec<Point>,
    /// Of offsets below, looks say only that they are older than this one.
    floor: i64,
    /// The partition's leader was asked what was before the first point.
    seeded: bool,
    /// The first point that was observed: earlier ones are the leader's word.
    observed: Timestamp,
    /// How often it was asked about a time in between.
    questions: u32,
    thinned: Timestamp,
}

/// What the leader of a partition should be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What was before our time, for [`Produced::seed`].
    Past,
    /// What was at this time, for [`Produced::refine`].
    At(Timestamp),
}

impl Produced {
    /// Takes in where a partition's log ended at a time. An end before the last one means that the log was cut or made
    /// anew: what is known of the partition is forgotten. A clock that steps back moves what is known back with it.
    pub fn observe(&mut self, partition: &TopicPartition, at: Timestamp, end: i64) {
        let seen = Point { at, end };
        if let Some(table) = self.tables.get_mut(partition) {
            table.observe(seen, self.coarseness);
        } else if self.tables.len() < MAX_PARTITIONS {
            self.tables.insert(partition.clone(), Table::new(seen));
        }
    }

    /// What should the partition's leader be asked, to tell how old the record at `offset` is? About the past only once, and
    /// not where our time is as long as a table reaches. Then about a time in between, while it is only known that the record
    /// came between two looks that are further apart than points of that age may be.
    pub fn question(&self, partition: &TopicPartition, offset: i64, now: Timestamp) -> Option<Question> {
        let table = self.tables.get(partition)?;
        let (first, last) = table.points.first().zip(table.points.last())?;
        if !table.seeded {
            return (offset < first.end && last.at.since(first.at) < REACH).then_some(Question::Past);
        }
        let (older, newer) = table.neighbours(offset);
        let (older, newer) = older.zip(newer)?;
        let apart = newer.at.since(older.at);
        let wide = apart > spacing(now.since(newer.at)).saturating_mul(self.coarseness);
        let asked_enough = table.questions >= MAX_QUESTIONS || offset < table.floor || newer.at > table.observed;
        (wide && !asked_enough).then(|| Question::At(older.at.plus(apart / 2)))
    }

    /// A question about a time in between was sent off: it counts whether it is answered or not.
    pub fn asked(&mut self, partition: &TopicPartition) {
        if let Some(table) = self.tables.get_mut(partition) {
            table.questions = table.questions.saturating_add(1);
        }
    }

    /// Takes in what the partition's leader said of a time before ours: the offset of the first record that was produced then
    /// or later, if there is one. Where that is out of line with what is known, times do not rise with offsets, and nothing
    /// more is asked.
    pub fn refine(&mut self, partition: &TopicPartition, at: Timestamp, offset: Option<i64>) {
        let Some(table) = self.tables.get_mut(partition) else { return };
        let place = table.points.partition_point(|point| point.at < at);
        let neighbours = place.checked_sub(1).and_then(|before| table.points.get(before)).zip(table.points.get(place));
        let Some((older, newer)) = neighbours.filter(|(_, newer)| at < newer.at && newer.at <= table.observed) else {
            return;
        };
        // Beyond the newer end: what came next was produced after that time.
        let end = offset.map_or(newer.end, |offset| offset.min(newer.end));
        if end < older.end {
            table.questions = MAX_QUESTIONS;
        } else {
            table.points.insert(place, Point { at, end });
        }
    }

    /// Takes in what the partition's leader said of the time before ours: for each time, newest first, the offset of
    /// the first record that was produced then or later, if there is one. Nothing is asked again, so no looks at all
    /// are an answer too.
    ///
    /// What was observed wins: a look at a time that was observed, or beyond what came later, does not count. Below
    /// the log start looks know nothing, since records that are gone cannot be found.
    pub fn seed(&mut self, partition: &TopicPartition, log_start: i64, looks: &[(Timestamp, Option<i64>)]) {
        let Some(table) = self.tables.get_mut(partition) else { return };
        if table.seeded {
            return;
        }
        table.seeded = true;
        let Some(first) = table.points.first().copied().filter(|first| log_start < first.end) else { return };
        let mut next = first;
        let mut points = Vec::with_capacity(looks.len());
        for (at, offset) in looks {
            let point = Point { at: *at, end: offset.unwrap_or(first.end) };
            if point.at < next.at && (log_start..=next.end).contains(&point.end) {
                points.push(point);
                next = point;
            }
        }
        if points.is_empty() {
            return;
        }
        table.floor = log_start;
        points.reverse();
        points.append(&mut table.points);
        table.points = points;
        table.thin(self.coarseness);
    }

    /// How long ago the record at `committed` was produced, which is the next that a group reads; `end` is the log's
    /// end at `now`. `None` = nothing is known of the partition. A record that is older than what is known counts as
    /// just as old as that, and is marked; nothing is extrapolated.
    pub fn since(&self, partition: &TopicPartition, committed: i64, end: i64, now: Timestamp) -> Option<Age> {
        if committed >= end {
            return Some(Age::CAUGHT_UP);
        }
        let table = self.tables.get(partition)?;
        let sought = committed.max(table.floor);
        let (older, newer) = table.neighbours(sought);
        let newer = newer.unwrap_or(Point { at: now, end });
        let produced = older.map_or(newer.at, |older| between(older, newer, sought));
        Some(Age { time: now.since(produced), at_least: older.is_none() || sought > committed })
    }

    /// Forgets partitions that are not observed any more and those of topics that are gone, and stays within [`MAX_POINTS`].
    /// To be called in each cycle.
    pub fn keep(&mut self, now: Timestamp, may_exist: impl Fn(&str) -> bool) {
        self.tables.retain(|(topic, _), table| {
            may_exist(topic) && table.points.last().is_some_and(|last| now.since(last.at) <= FORGET_AFTER)
        });
        self.fit(MAX_POINTS);
    }

    fn fit(&mut self, most: usize) {
        let points = self.points();
        if points > most {
            self.coarseness = self.coarseness.saturating_mul(2);
            let coarseness = self.coarseness;
            for table in self.tables.values_mut() {
                table.thin(coarseness);
            }
        } else if self.coarseness > 1 && points < most / 4 {
            self.coarseness /= 2;
        }
    }

    fn points(&self) -> usize {
        self.tables.values().map(|table| table.points.len()).sum()
    }
}

impl Table {
    fn new(seen: Point) -> Self {
        let (floor, seeded, questions) = (i64::MIN, false, 0);
        Self { points: vec![seen], floor, seeded, observed: seen.at, questions, thinned: seen.at }
    }

    /// The points that the record at `offset` came between.
    fn neighbours(&self, offset: i64) -> (Option<Point>, Option<Point>) {
        let at = self.points.partition_point(|point| point.end <= offset);
        (at.checked_sub(1).and_then(|at| self.points.get(at)).copied(), self.points.get(at).copied())
    }

    fn observe(&mut self, seen: Point, coarseness: u32) {
        match self.points.last().copied() {
            Some(last) if seen == last => return,
            Some(last) if seen.end < last.end => {
                *self = Self::new(seen);
                return;
            }
            Some(last) if seen.at <= last.at => self.step_back(last.at, seen.at),
            _ => {}
        }
        let spacing = spacing(Duration::ZERO).saturating_mul(coarseness);
        if let [.., before, last] = self.points.as_mut_slice()
            && spare(*before, *last, seen, spacing)
        {
            *last = seen;
            return;
        }
        if self.points.len() == self.points.capacity() {
            self.points.reserve_exact(ROOM);
        }
        self.points.push(seen);
        if seen.at.since(self.thinned) >= THIN_EVERY {
            self.thin(coarseness);
        }
    }

    /// The clock went back from `last` or later to `now`. Ages are what counts, so all times go back as far, and as
    /// if no time had passed since the last.
    fn step_back(&mut self, last: Timestamp, now: Timestamp) {
        let back = last.0.saturating_sub(now.0).saturating_add(1);
        for point in &mut self.points {
            point.at = Timestamp(point.at.0.saturating_sub(back));
        }
        self.observed = Timestamp(self.observed.0.saturating_sub(back));
        self.thinned = Timestamp(self.thinned.0.saturating_sub(back));
    }

    /// Leaves out what can be spared at its age now, and what is older than a table reaches. Of any three neighbours
    /// that are left two are further apart than the spacing, so there are at most twice as many points as spacings.
    fn thin(&mut self, coarseness: u32) {
        let Some(newest) = self.points.last().copied() else { return };
        self.thinned = newest.at;
        let mut kept: Vec<Point> = Vec::with_capacity(self.points.len());
        let mut rest = self.points.iter().copied().peekable();
        while let Some(point) = rest.next() {
            let spared = match (kept.last().copied(), rest.peek().copied()) {
                // The age of the younger neighbour: no record in between is younger.
                (Some(before), Some(after)) => {
                    spare(before, point, after, spacing(newest.at.since(after.at)).saturating_mul(coarseness))
                }
                (None, Some(after)) => newest.at.since(after.at) >= REACH,
                (_, None) => false,
            };
            if !spared {
                kept.push(point);
            }
        }
        kept.shrink_to(kept.len().saturating_add(ROOM));
        self.points = kept;
    }
}

/// Can the middle one of three points be spared? Yes, where the end stands still, or where the outer ones are near
/// enough to each other.
fn spare(before: Point, point: Point, after: Point, spacing: Duration) -> bool {
    (before.end == point.end && point.end == after.end) || after.at.since(before.at) <= spacing
}

/// How far apart points of that age may be.
fn spacing(age: Duration) -> Duration {
    let longest = SPACINGS.last().map_or(REACH, |(_, spacing)| *spacing);
    SPACINGS.iter().find(|(up_to, _)| age <= *up_to).map_or(longest, |(_, spacing)| *spacing)
}

/// When the record at `offset` came, if those between two points came evenly.
fn between(older: Point, newer: Point, offset: i64) -> Timestamp {
    let span = i128::from(newer.at.0.saturating_sub(older.at.0));
    let records = i128::from(newer.end).saturating_sub(older.end.into());
    let before = i128::from(offset).saturating_sub(older.end.into());
    let passed = span.saturating_mul(before).checked_div(records).unwrap_or(0).clamp(0, span);
    Timestamp(older.at.0.saturating_add(u64::try_from(passed).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
