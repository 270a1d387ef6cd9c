//! Is what the reader has read still all there is? Pure. A reader that hangs, may no longer read, or is held up by an
//! open transaction says nothing of itself; that the log has grown past it for a while does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Where the reader stands in a partition of `__consumer_offsets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The next offset that it will read.
    pub position: i64,
    /// How often it reached the end of the log. Records that are never delivered (transaction markers, aborted
    /// commits) move the end, but not the position.
    pub ends_reached: u64,
}

/// By partition: until where the log was known to reach, and since when the reader is short of that.
#[derive(Debug, Default)]
pub struct Freshness {
    partitions: BTreeMap<u32, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// High watermark that the reader has certainly covered; `None` before any was.
    covered: Option<i64>,
    /// High watermark that it has still to cover (`None`: no leader gave one), its progress and the time then.
    waiting: Option<(Option<i64>, Progress, Instant)>,
    /// When it was last looked whether only transaction markers are there.
    rechecked: Option<Instant>,
}

/// A reader that is short for this long is helped to see transaction markers, and again after as long: its Fetch takes
/// up to a second, and reading again begins another one.
pub const RECHECK_AFTER: Duration = Duration::from_secs(5);

impl Freshness {
    /// Takes one partition's progress and high watermark (if its leader gave one) in at `now`. Returns since how long
    /// the reader is short of what is known to be there; zero = it has all.
    pub fn see(&mut self, partition: u32, progress: Progress, high_watermark: Option<i64>, now: Instant) -> Duration {
        let seen = self.partitions.entry(partition).or_insert(Seen { covered: None, waiting: None, rechecked: None });
        if let Some((Some(mark), then, _)) = seen.waiting
            && (progress.position >= mark || progress.ends_reached > then.ends_reached)
        {
            seen.covered = Some(mark);
            seen.waiting = None;
        }
        let has_all = high_watermark
            .is_some_and(|mark| progress.position >= mark || seen.covered.is_some_and(|covered| covered >= mark));
        match (has_all, seen.waiting) {
            (true, _) => {
                seen.waiting = None;
                Duration::ZERO
            }
            (false, None) => {
                seen.waiting = Some((high_watermark, progress, now));
                Duration::ZERO
            }
            (false, Some((mark, then, since))) => {
                // A mark that comes late is what is waited for from now on, but the waiting has begun before.
                seen.waiting = Some((mark.or(high_watermark), if mark.is_some() { then } else { progress }, since));
                now.saturating_duration_since(since)
            }
        }
    }

    /// The high watermark that the reader should have covered, if it is time to look why it has not.
    pub fn recheck(&mut self, partition: u32, now: Instant) -> Option<i64> {
        let seen = self.partitions.get_mut(&partition)?;
        let (mark, _, since) = seen.waiting?;
        let from = seen.rechecked.map_or(since, |rechecked| rechecked.max(since));
        if now.saturating_duration_since(from) < RECHECK_AFTER {
            return None;
        }
        seen.rechecked = Some(now);
        mark
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

    /// One partition, seen at the seconds of a script.
    #[track_caller]
    fn check(script: &[(u64, i64, u64, Option<i64>, u64)]) {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        for (second, position, ends_reached, mark, short_for) in script.iter().copied() {
            let progress = Progress { position, ends_reached };
            let short = freshness.see(0, progress, mark, start + SECOND * u32::try_from(second).unwrap());
            assert_eq!(short, SECOND * u32::try_from(short_for).unwrap(), "at second {second}");
        }
    }

    #[test]
    fn a_reader_that_keeps_up_is_never_short() {
        check(&[(0, 10, 1, Some(10), 0), (5, 10, 1, Some(12), 0), (10, 12, 1, Some(15), 0), (15, 16, 2, Some(17), 0)]);
    }

    #[test]
    fn a_reader_that_stands_still_while_the_log_grows_is_short_since_then() {
        check(&[(0, 10, 1, Some(10), 0), (5, 10, 1, Some(12), 0), (10, 10, 1, Some(14), 5), (25, 10, 1, Some(14), 20)]);
        // It has to get to what was there, not to what came since.
        check(&[(0, 10, 1, Some(12), 0), (5, 11, 1, Some(14), 5), (10, 13, 1, Some(99), 0)]);
    }

    #[test]
    fn markers_at_the_end_are_covered_by_reaching_the_end() {
        check(&[(0, 10, 1, Some(11), 0), (5, 10, 2, Some(11), 0), (90, 10, 2, Some(11), 0), (95, 10, 2, Some(12), 0)]);
    }

    #[test]
    fn a_recheck_leaves_the_reader_time_to_read() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let due: Vec<_> = (0..13)
            .filter(|second| {
                let now = start + SECOND * *second;
                freshness.see(0, Progress { position: 10, ends_reached: 1 }, Some(12), now);
                freshness.recheck(0, now) == Some(12)
            })
            .collect();
        assert_eq!(due, [5, 10]);
    }

    #[test]
    fn an_end_that_nobody_tells_is_not_taken_for_reached() {
        check(&[(0, 10, 1, None, 0), (5, 10, 1, None, 5), (20, 10, 1, None, 20), (25, 10, 1, Some(10), 0)]);
        check(&[(0, 10, 1, None, 0), (5, 10, 1, Some(12), 5), (10, 12, 1, Some(12), 0)]);
    }
}
