//! Is what the reader has read still all there is? Pure. A reader that hangs, may no longer read, or is held up by an
//! open transaction says nothing of itself; that the log has grown past it for a while does.

use crate::model::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// By partition: until where the log was known to reach, and since when the reader is short of that.
#[derive(Debug, Default)]
pub struct Freshness {
    partitions: BTreeMap<u32, Seen>,
}

/// A moment by both clocks: the one stands still while the host is suspended, the other may be set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that is never set.
    pub now: Instant,
    /// By the wall clock.
    pub at: Timestamp,
}

impl Moment {
    fn since(self, earlier: Self) -> Duration {
        self.now.saturating_duration_since(earlier.now).max(self.at.since(earlier.at))
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    waiting: Option<Waiting>,
    /// When it was last looked whether only transaction markers are there.
    rechecked: Option<Instant>,
    /// When it was last seen.
    last: Moment,
    /// What was written before then was read.
    until: Option<Timestamp>,
}

/// The reader is short of what is there.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// High watermark that the reader has still to get to, and not later than when it was told; `None`: no leader gave one.
    mark: Option<(i64, Timestamp)>,
    since: Instant,
    /// For how long before that nobody looked.
    unseen: Duration,
}

/// A reader that is short for this long is helped to see transaction markers, and again after as long: its Fetch takes
/// up to a second, and reading again begins another one.
pub const RECHECK_AFTER: Duration = Duration::from_secs(5);

impl Freshness {
    /// Takes the next offset that the reader will read of a partition, and its high watermark (if its leader gave one)
    /// in at a moment. Returns since how long the reader is short of what is known to be there; zero = it has all. Where
    /// nobody looked for longer than `longest` (an outage, a host that was suspended), that time counts, too: nothing tells
    /// that the reader was not cut off just as long.
    pub fn see(
        &mut self,
        partition: u32,
        position: i64,
        high_watermark: Option<i64>,
        moment: Moment,
        longest: Duration,
    ) -> Duration {
        let new = Seen { waiting: None, rechecked: None, last: moment, until: None };
        let seen = self.partitions.entry(partition).or_insert(new);
        let gap = Some(moment.since(seen.last)).filter(|gap| *gap > longest).unwrap_or_default();
        let last = std::mem::replace(&mut seen.last, moment);
        if let Some((_, told)) = seen.waiting.and_then(|waiting| waiting.mark).filter(|(mark, _)| position >= *mark) {
            (seen.waiting, seen.until) = (None, Some(told));
        }
        if high_watermark.is_some_and(|mark| position >= mark) {
            (seen.waiting, seen.until) = (None, Some(moment.at));
            return Duration::ZERO;
        }
        let mark = high_watermark.map(|mark| (mark, moment.at));
        let waiting = match seen.waiting {
            None => Waiting { mark, since: moment.now, unseen: gap },
            // A mark that comes late is what is waited for from now on, but the waiting has begun before.
            Some(before) => Waiting {
                mark: before.mark.or(mark),
                // What the clock counted while nobody looked is in `since`.
                unseen: before
                    .unseen
                    .saturating_add(gap.saturating_sub(moment.now.saturating_duration_since(last.now))),
                ..before
            },
        };
        seen.waiting = Some(waiting);
        moment.now.saturating_duration_since(waiting.since).saturating_add(waiting.unseen)
    }

    /// All of a partition that was written before then was read when it was last looked, if anything is known of that: the
    /// reader has passed an end that was told at that time or later.
    pub fn has_until(&self, partition: u32) -> Option<Timestamp> {
        self.partitions.get(&partition).and_then(|seen| seen.until)
    }

    /// The high watermark that the reader should have covered, if it is time to look why it has not.
    pub fn recheck(&mut self, partition: u32, now: Instant) -> Option<i64> {
        let seen = self.partitions.get_mut(&partition)?;
        let waiting = seen.waiting?;
        let short = now.saturating_duration_since(waiting.since).saturating_add(waiting.unseen);
        let looked = seen.rechecked.filter(|rechecked| *rechecked >= waiting.since);
        if looked.map_or(short, |looked| now.saturating_duration_since(looked)) < RECHECK_AFTER {
            return None;
        }
        seen.rechecked = Some(now);
        waiting.mark.map(|(mark, _)| mark)
    }

    /// Forgets partitions that are not followed any more.
    pub fn keep(&mut self, followed: &BTreeSet<u32>) {
        self.partitions.retain(|partition, _| followed.contains(partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(15);

    /// So many seconds later by the one clock, and by the other one.
    fn moment(start: Instant, second: u64, by_wall: u64) -> Moment {
        Moment { now: start + Duration::from_secs(second), at: Timestamp(1_000_000 + 1000 * by_wall) }
    }

    fn has_all(freshness: &Freshness) -> bool {
        freshness.partitions[&0].waiting.is_none()
    }

    /// One partition, seen at the seconds of a script.
    #[track_caller]
    fn check(script: &[(u64, i64, Option<i64>, u64)]) {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        for (second, position, mark, short_for) in script.iter().copied() {
            let short = freshness.see(0, position, mark, moment(start, second, second), LONGEST);
            assert_eq!(short, SECOND * u32::try_from(short_for).unwrap(), "at second {second}");
            assert!(short.is_zero() || !has_all(&freshness), "at second {second}");
        }
    }

    #[test]
    fn a_reader_that_keeps_up_is_never_short() {
        check(&[(0, 10, Some(10), 0), (5, 10, Some(12), 0), (10, 12, Some(15), 0), (15, 16, Some(17), 0)]);
    }

    #[test]
    fn a_reader_that_stands_still_while_the_log_grows_is_short_since_then() {
        check(&[(0, 10, Some(10), 0), (5, 10, Some(12), 0), (10, 10, Some(14), 5), (25, 10, Some(14), 20)]);
        // It has to get to what was there, not to what came since.
        check(&[(0, 10, Some(12), 0), (5, 11, Some(14), 5), (10, 13, Some(99), 0)]);
    }

    #[test]
    fn only_what_an_end_was_told_of_is_known_to_be_all() {
        let (mut freshness, now) = (Freshness::default(), Instant::now());
        let mut see = |position, mark| {
            freshness.see(0, position, mark, moment(now, 0, 0), LONGEST);
            has_all(&freshness)
        };
        assert!(!see(10, None) && see(10, Some(10)) && !see(10, Some(12)) && see(12, Some(12)));
    }

    #[test]
    fn a_recheck_leaves_the_reader_time_to_read() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let due: Vec<_> = (0..13)
            .filter(|second| {
                let moment = moment(start, *second, *second);
                freshness.see(0, 10, Some(12), moment, LONGEST);
                freshness.recheck(0, moment.now) == Some(12)
            })
            .collect();
        assert_eq!(due, [5, 10]);
    }

    #[test]
    fn an_end_that_nobody_tells_is_not_taken_for_reached() {
        check(&[(0, 10, None, 0), (5, 10, None, 5), (20, 10, None, 20), (25, 10, Some(10), 0)]);
        check(&[(0, 10, None, 0), (5, 10, Some(12), 5), (10, 12, Some(12), 0)]);
    }

    /// After ten minutes without brokers, or asleep, the first look compares an end of now with a commit of then.
    #[test]
    fn a_reader_that_nobody_looked_at_may_have_been_cut_off_as_long() {
        check(&[(0, 10, Some(10), 0), (16, 10, Some(12), 16), (18, 10, Some(12), 18), (19, 12, Some(12), 0)]);
        check(&[(0, 10, Some(10), 0), (15, 10, Some(12), 0), (20, 10, Some(12), 5)]);
        // Nothing has happened meanwhile, or all of it is read already.
        check(&[(0, 10, Some(10), 0), (600, 10, Some(10), 0), (605, 10, Some(12), 0)]);
        check(&[(0, 10, Some(12), 0), (600, 13, Some(13), 0)]);
        check(&[(0, 10, Some(12), 0), (600, 12, Some(13), 600)]);
        // It was short before: all of the time counts, once.
        check(&[(0, 10, Some(12), 0), (600, 10, Some(13), 600), (605, 10, Some(13), 605)]);
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let mut asleep = |second, by_wall, position, mark| {
            let moment = moment(start, second, by_wall);
            let short = freshness.see(0, position, Some(mark), moment, LONGEST).as_secs();
            (short, freshness.recheck(0, moment.now).is_some())
        };
        assert_eq!(asleep(0, 0, 10, 10), (0, false));
        assert_eq!(asleep(1, 600, 10, 12), (600, true), "by the wall clock; it is time to help it");
        assert_eq!(asleep(2, 601, 10, 12), (601, false));
        assert_eq!(asleep(3, 1202, 10, 12), (1202, false), "asleep again");
        assert_eq!(asleep(4, 1203, 12, 12), (0, false));
    }

    #[test]
    fn what_was_written_before_an_end_was_told_is_read_once_that_is_passed() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let mut until = |second, position, mark| {
            freshness.see(0, position, mark, moment(start, second, second), LONGEST);
            freshness.has_until(0).map(|until| (until.0 - 1_000_000) / 1000)
        };
        assert_eq!(until(0, 9, Some(10)), None);
        assert_eq!(until(1, 9, None), None);
        assert_eq!(until(2, 10, Some(12)), Some(0));
        assert_eq!(until(3, 11, Some(14)), Some(0));
        assert_eq!(until(4, 13, Some(16)), Some(2), "it never has all, and still gets on");
        assert_eq!(until(5, 16, Some(16)), Some(5));
    }
}
