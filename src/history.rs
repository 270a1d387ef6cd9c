//! What was seen of each group on each partition in the past: a ring of columns that thins with age. Reads no clock. Each
//! snapshot makes the next history out of the one before; whoever holds one sees what was known at that moment.

use crate::{
    model::Timestamp,
    snapshot::{KafkaView, LagRow},
};
use std::{cmp::Ordering, collections::VecDeque, sync::Arc, time::Duration};

/// Bytes of the past of all groups and partitions, which rules and the page for people share.
pub const MAX_HISTORY_BYTES: usize = 16 << 20;
/// Bytes of it for one moment of one group on one partition.
pub const POINT_COST: usize = 8;
/// Bytes of it for one group on one partition, besides.
pub const ROW_COST: usize = 72;
/// How far back it reaches.
pub const REACH: Duration = Duration::from_hours(6);
/// Moments of it are at most a part of their age apart: one of so many; fewer where that is over the cap.
pub const PARTS: u32 = 16;
/// Groups on partitions of it of which it is not looked whether they are still there.
pub const ROWS_LEAST: usize = 1_000;

/// Stands for a number that was not known.
const UNKNOWN: i32 = i32::MIN;

/// The past, as far as it is kept. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct History {
    rows: Arc<Rows>,
    /// Oldest first.
    frames: VecDeque<Arc<Frame>>,
}

/// Which rows the columns are about; a row keeps its place as long as it is here.
#[derive(Clone, Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    /// Places by group, topic and partition.
    sorted: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Row {
    group: Arc<str>,
    topic: Arc<str>,
    partition: u32,
    /// Columns have the distance from these.
    committed: i64,
    log_end: i64,
}

/// What one snapshot said: a number for each row that was known then.
#[derive(Debug)]
struct Frame {
    at: Timestamp,
    committed: Box<[i32]>,
    log_end: Box<[i32]>,
}

/// What was seen of one row at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The snapshot's time.
    pub at: Timestamp,
    /// Committed offset.
    pub committed: Option<i64>,
    /// High watermark of the partition.
    pub log_end: Option<i64>,
}

impl History {
    /// The history that has this view as its newest moment.
    #[must_use]
    pub fn with(&self, at: Timestamp, kafka: &KafkaView) -> Self {
        let least = kafka.rows.len().saturating_mul(ROW_COST.saturating_add(POINT_COST));
        if least > MAX_HISTORY_BYTES {
            return Self::default();
        }
        let mut next = self.clone();
        // A clock that was set back: what lies in the future now is no past.
        next.frames.retain(|frame| frame.at < at);
        let (mut committed, mut log_end) = (vec![UNKNOWN; next.rows.rows.len()], vec![UNKNOWN; next.rows.rows.len()]);
        let mut new = Vec::new();
        next.rows.meet(kafka, |place, row| {
            let kept = place.and_then(|place| {
                let base = next.rows.rows.get(place)?;
                let (committed_by, end_by) =
                    (distance(row.committed, base.committed)?, distance(row.log_end, base.log_end)?);
                *committed.get_mut(place)? = committed_by;
                *log_end.get_mut(place)? = end_by;
                Some(())
            });
            if kept.is_none() && (row.committed.is_some() || row.log_end.is_some()) {
                new.push(row);
            }
        });
        if !new.is_empty() {
            let rows = Arc::make_mut(&mut next.rows);
            for row in new {
                let group = kafka.group_of(row.group).map_or_else(|| "".into(), |group| Arc::clone(&group.name));
                let (committed_base, end_base) = (row.committed.unwrap_or_default(), row.log_end.unwrap_or_default());
                rows.rows.push(Row {
                    group,
                    topic: Arc::clone(&row.topic),
                    partition: row.partition,
                    committed: committed_base,
                    log_end: end_base,
                });
                committed.push(if row.committed.is_some() { 0 } else { UNKNOWN });
                log_end.push(if row.log_end.is_some() { 0 } else { UNKNOWN });
            }
            rows.sort();
        }
        next.frames.push_back(Arc::new(Frame { at, committed: committed.into(), log_end: log_end.into() }));
        next.thin(at);
        next.forget_rows();
        next
    }

    /// Its newest moment.
    pub fn newest(&self) -> Option<Timestamp> {
        self.frames.back().map(|frame| frame.at)
    }

    /// Leaves out moments that lie close together for their age, and what is too old. Where that is not enough for the cap,
    /// what remains lies further apart, and then reaches back less.
    fn thin(&mut self, now: Timestamp) {
        self.frames.retain(|frame| now.since(frame.at) <= REACH);
        for parts in (1..=PARTS).rev() {
            self.thin_to(now, parts);
            if self.bytes() <= MAX_HISTORY_BYTES {
                return;
            }
        }
        while self.bytes() > MAX_HISTORY_BYTES && self.frames.len() > 1 {
            self.frames.pop_front();
        }
    }

    /// Keeps moments apart by at least their age divided by `parts`; the newest two stay.
    fn thin_to(&mut self, now: Timestamp, parts: u32) {
        let mut kept: VecDeque<Arc<Frame>> = VecDeque::new();
        let mut coming = std::mem::take(&mut self.frames).into_iter().peekable();
        while let Some(frame) = coming.next() {
            let between = kept.back().zip(coming.peek());
            let close = between.is_some_and(|(before, after)| after.at.since(before.at) <= now.since(frame.at) / parts);
            if !close {
                kept.push_back(frame);
            }
        }
        self.frames = kept;
    }

    fn bytes(&self) -> usize {
        let points: usize = self.frames.iter().map(|frame| frame.committed.len()).sum();
        points.saturating_mul(POINT_COST).saturating_add(self.rows.rows.len().saturating_mul(ROW_COST))
    }

    /// Makes the columns anew when most rows in them are not seen any more.
    fn forget_rows(&mut self) {
        let known = self.rows.rows.len();
        let Some(newest) = self.frames.back() else { return };
        let seen = newest.places().count();
        if known < ROWS_LEAST || seen.saturating_mul(2) > known {
            return;
        }
        let mut used = vec![false; known];
        for place in self.frames.iter().flat_map(|frame| frame.places()) {
            if let Some(used) = used.get_mut(place) {
                *used = true;
            }
        }
        if used.iter().filter(|used| **used).count().saturating_mul(2) > known {
            return;
        }
        let chosen = |column: &[i32]| -> Box<[i32]> {
            column.iter().zip(&used).filter(|(_, used)| **used).map(|(value, _)| *value).collect()
        };
        for frame in &mut self.frames {
            *frame =
                Arc::new(Frame { at: frame.at, committed: chosen(&frame.committed), log_end: chosen(&frame.log_end) });
        }
        let mut rows = Rows {
            rows: self.rows.rows.iter().zip(&used).filter(|(_, used)| **used).map(|(row, _)| row.clone()).collect(),
            sorted: Vec::new(),
        };
        rows.sort();
        self.rows = Arc::new(rows);
    }

    /// What was seen at `since` and later of each of `rows`, oldest first. `rows` are some of `kafka`'s, in their order.
    pub fn points(&self, kafka: &KafkaView, rows: &[&LagRow], since: Timestamp) -> impl Iterator<Item = Vec<Point>> {
        // A row whose numbers went too far from where they began has several places.
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
        let mut wanted = rows.iter().zip(&mut places).peekable();
        for place in self.rows.sorted.iter().filter_map(|place| usize::try_from(*place).ok()) {
            let Some(row) = self.rows.rows.get(place) else { continue };
            while wanted.next_if(|(want, _)| row.compare(kafka, want) == Ordering::Greater).is_some() {}
            if let Some((want, places)) = wanted.peek_mut()
                && row.compare(kafka, want) == Ordering::Equal
            {
                places.push(place);
            }
        }
        let from = self.frames.partition_point(|frame| frame.at < since);
        places.into_iter().map(move |places| {
            let point = |frame: &Arc<Frame>| places.iter().find_map(|place| self.point(frame, *place));
            self.frames.range(from..).filter_map(point).collect()
        })
    }

    fn point(&self, frame: &Frame, place: usize) -> Option<Point> {
        let base = self.rows.rows.get(place)?;
        let (committed, log_end) = frame.at_place(place)?;
        let number = |base: i64, by: i32| (by != UNKNOWN).then(|| base.saturating_add(by.into()));
        Some(Point {
            at: frame.at,
            committed: number(base.committed, committed),
            log_end: number(base.log_end, log_end),
        })
    }
}

impl Frame {
    /// What it has of a row; `None` where that was not seen.
    fn at_place(&self, place: usize) -> Option<(i32, i32)> {
        let both = (*self.committed.get(place)?, *self.log_end.get(place)?);
        (both != (UNKNOWN, UNKNOWN)).then_some(both)
    }

    /// Rows that it has something of.
    fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.committed.len()).filter(|place| self.at_place(*place).is_some())
    }
}

/// How far `value` is from where its row began; `None` = too far. Not known is known to be so.
fn distance(value: Option<i64>, base: i64) -> Option<i32> {
    match value {
        None => Some(UNKNOWN),
        Some(value) => i32::try_from(value.checked_sub(base)?).ok().filter(|by| *by != UNKNOWN),
    }
}

impl Row {
    fn compare(&self, kafka: &KafkaView, row: &LagRow) -> Ordering {
        let group = kafka.group_of(row.group).map_or("", |group| &group.name);
        let text = |a: &str, b: &str| if std::ptr::eq(a, b) { Ordering::Equal } else { a.cmp(b) };
        text(&self.group, group)
            .then_with(|| text(&self.topic, &row.topic))
            .then_with(|| self.partition.cmp(&row.partition))
    }
}

impl Rows {
    fn sort(&mut self) {
        let rows = &self.rows;
        let key = |place: &u32| {
            let row = usize::try_from(*place).ok().and_then(|place| rows.get(place));
            // Of two places of one row, the newer first.
            row.map(|row| (&row.group, &row.topic, row.partition, std::cmp::Reverse(*place)))
        };
        self.sorted = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        self.sorted.sort_by(|a, b| key(a).cmp(&key(b)));
    }

    /// Calls `each` for each row of the view, with its newest place. Both are sorted.
    fn meet<'a>(&self, kafka: &'a KafkaView, mut each: impl FnMut(Option<usize>, &'a LagRow)) {
        let mut places = self.sorted.iter().filter_map(|place| usize::try_from(*place).ok()).peekable();
        for row in &kafka.rows {
            let compare =
                |place: &usize| self.rows.get(*place).map_or(Ordering::Less, |known| known.compare(kafka, row));
            while places.next_if(|place| compare(place) == Ordering::Less).is_some() {}
            each(places.peek().copied().filter(|place| compare(place) == Ordering::Equal), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Group, GroupKind};

    type Seen<'a> = (&'a str, &'a str, u32, Option<i64>, Option<i64>);

    /// A view with these rows of group, topic, partition, commit and end; sorted.
    fn view(rows: &[Seen<'_>]) -> KafkaView {
        let mut names: Vec<_> = rows.iter().map(|row| row.0).collect();
        names.dedup();
        let group = |name: &&str| Group {
            name: (*name).into(),
            kind: GroupKind::Classic,
            state: "Stable",
            members: None,
            coordinator: None,
            ours: true,
        };
        let row = |(group, topic, partition, committed, end): &Seen<'_>| {
            let group = names.iter().position(|name| name == group).unwrap();
            LagRow::new(u32::try_from(group).unwrap(), (*topic).into(), *partition, *committed, None, None, *end)
        };
        KafkaView {
            groups: names.iter().map(group).collect(),
            rows: rows.iter().map(row).collect(),
            ..KafkaView::default()
        }
    }

    /// Time in seconds, commit, end.
    type Told = (u64, Option<i64>, Option<i64>);

    /// What the history has of each row of `view`.
    fn told(history: &History, view: &KafkaView, since: u64) -> Vec<Vec<Told>> {
        let rows: Vec<_> = view.rows.iter().collect();
        let point = |point: Point| (point.at.0 / 1000, point.committed, point.log_end);
        let series = history.points(view, &rows, Timestamp(since * 1000));
        series.map(|points| points.into_iter().map(point).collect()).collect()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn rows_come_and_go_and_gaps_are_gaps() {
        let both = view(&[("a", "t", 0, Some(1), Some(5)), ("b", "t", 0, Some(2), None)]);
        let none = view(&[]);
        let unknown =
            view(&[("a", "t", 0, None, None), ("aa", "t", 0, Some(7), Some(7)), ("b", "t", 0, Some(3), Some(9))]);
        let last =
            view(&[("a", "t", 0, Some(4), Some(5)), ("b", "s", 3, Some(0), Some(0)), ("b", "t", 0, Some(3), Some(9))]);
        let mut history = History::default();
        for (second, seen) in [(1, &both), (2, &none), (3, &unknown), (4, &last)] {
            history = history.with(at(second), seen);
        }
        let want = vec![
            vec![(1, Some(1), Some(5)), (4, Some(4), Some(5))],
            vec![(4, Some(0), Some(0))],
            vec![(1, Some(2), None), (3, Some(3), Some(9)), (4, Some(3), Some(9))],
        ];
        assert_eq!(told(&history, &last, 0), want);
        assert_eq!(told(&history, &last, 4)[2], [(4, Some(3), Some(9))]);
        let rows: Vec<_> = last.rows.iter().skip(2).collect();
        assert_eq!(history.points(&last, &rows, at(2)).map(|points| points.len()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn offsets_may_go_anywhere() {
        let mut history = History::default();
        let offsets = [0, i64::MAX, 5, i64::from(i32::MAX) + 5, i64::MIN, -1];
        for (second, offset) in (1..).zip(offsets) {
            history = history.with(at(second), &view(&[("g", "t", 0, Some(offset), Some(offset))]));
        }
        let last = view(&[("g", "t", 0, Some(-1), Some(-1))]);
        let committed: Vec<_> = told(&history, &last, 0).remove(0).into_iter().map(|point| point.1.unwrap()).collect();
        assert_eq!(committed, offsets);
    }

    #[test]
    fn the_past_thins_with_age_and_ends() {
        let mut history = History::default();
        let seen = view(&[("g", "t", 0, Some(1), Some(1))]);
        for second in (0..30_000).step_by(5) {
            history = history.with(at(second), &seen);
        }
        let times: Vec<_> = told(&history, &seen, 0).remove(0).into_iter().map(|point| point.0).collect();
        let last = 29_995;
        assert!((last - times[0]) <= REACH.as_secs() && last - times[0] > 20_000, "{times:?}");
        for pair in times.windows(2) {
            let age = last - pair[0];
            assert!(pair[1] - pair[0] <= (age / 16).max(5), "{age}: {pair:?}");
        }
        assert_eq!(times[times.len() - 16..], (0..16).map(|n| last - 75 + 5 * n).collect::<Vec<_>>());
        assert!(times.len() < 250, "{}", times.len());
    }

    #[test]
    fn a_large_cluster_is_remembered_more_coarsely_and_not_longer_than_the_cap() {
        let topics: Vec<_> = (0..20_000).collect();
        let rows: Vec<Seen<'_>> = topics.iter().map(|partition| ("g", "t", *partition, Some(1), Some(2))).collect();
        let seen = view(&rows);
        let mut history = History::default();
        for second in (0..20_000).step_by(40) {
            history = history.with(at(second), &seen);
        }
        assert!(history.bytes() <= MAX_HISTORY_BYTES);
        let (first, last) = (history.frames[0].at, history.frames.back().unwrap().at);
        assert!(history.frames.len() > 50 && last.since(first).as_secs() > 10_000, "{}", history.frames.len());
    }

    #[test]
    fn rows_that_are_gone_do_not_pile_up() {
        let mut history = History::default();
        for round in 0..40 {
            let names: Vec<_> = (0..1000).map(|number| format!("g{round:02}-{number:04}")).collect();
            let rows: Vec<Seen<'_>> = names.iter().map(|name| (name.as_str(), "t", 0, Some(1), Some(2))).collect();
            // Days apart, so that no moment before is kept.
            history = history.with(at(round * 200_000 + 1), &view(&rows));
        }
        assert!(history.rows.rows.len() <= 2 * ROWS_LEAST, "{}", history.rows.rows.len());
        let last = view(&[("g39-0500", "t", 0, Some(1), Some(2))]);
        assert_eq!(told(&history, &last, 0)[0].len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_has_no_past_before_it() {
        let seen = view(&[("g", "t", 0, Some(1), Some(1))]);
        let history = History::default().with(at(100), &seen).with(at(50), &seen);
        assert_eq!(told(&history, &seen, 0)[0], [(50, Some(1), Some(1))]);
    }
}
