//! Is what the reader has read still all there is? Pure. A reader that hangs, may no longer read, or is held up by an
//! open transaction says nothing of itself; that the log has grown past it for a while does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// By partition: until where the log was known to reach, and since when the reader is short of that.
#[derive(Debug, Default)]
pub struct Freshness {
    partitions: BTreeMap<u32, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// High watermark that the reader has still to get to (`None`: no leader gave one), and the time then.
    waiting: Option<(Option<i64>, Instant)>,
    /// When it was last looked whether only transaction markers are there.
    rechecked: Option<Instant>,
}

/// A reader that is short for this long is helped to see transaction markers, and again after as long: its Fetch takes
/// up to a second, and reading again begins another one.
pub const RECHECK_AFTER: Duration = Duration::from_secs(5);

impl Freshness {
    /// Takes the next offset that the reader will read of a partition, and its high watermark (if its leader gave one)
    /// in at `now`. Returns since how long the reader is short of what is known to be there; zero = it has all.
    pub fn see(&mut self, partition: u32, position: i64, high_watermark: Option<i64>, now: Instant) -> Duration {
        let seen = self.partitions.entry(partition).or_insert(Seen { waiting: None, rechecked: None });
        if let Some((Some(mark), _)) = seen.waiting
            && position >= mark
        {
            seen.waiting = None;
        }
        let has_all = high_watermark.is_some_and(|mark| position >= mark);
        match (has_all, seen.waiting) {
            (true, _) => {
                seen.waiting = None;
                Duration::ZERO
            }
            (false, None) => {
                seen.waiting = Some((high_watermark, now));
                Duration::ZERO
            }
            (false, Some((mark, since))) => {
                // A mark that comes late is what is waited for from now on, but the waiting has begun before.
                seen.waiting = Some((mark.or(high_watermark), since));
                now.saturating_duration_since(since)
            }
        }
    }

    /// Had the reader all that was known to be there when it was last looked?
    pub fn has_all(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|seen| seen.waiting.is_none())
    }

    /// The high watermark that the reader should have covered, if it is time to look why it has not.
    pub fn recheck(&mut self, partition: u32, now: Instant) -> Option<i64> {
        let seen = self.partitions.get_mut(&partition)?;
        let (mark, since) = seen.waiting?;
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
    fn check(script: &[(u64, i64, Option<i64>, u64)]) {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        for (second, position, mark, short_for) in script.iter().copied() {
            let short = freshness.see(0, position, mark, start + SECOND * u32::try_from(second).unwrap());
            assert_eq!(short, SECOND * u32::try_from(short_for).unwrap(), "at second {second}");
            assert!(short.is_zero() || !freshness.has_all(0), "at second {second}");
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
            freshness.see(0, position, mark, now);
            freshness.has_all(0)
        };
        assert!(!see(10, None) && see(10, Some(10)) && !see(10, Some(12)) && see(12, Some(12)));
    }

    #[test]
    fn a_recheck_leaves_the_reader_time_to_read() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let due: Vec<_> = (0..13)
            .filter(|second| {
                let now = start + SECOND * *second;
                freshness.see(0, 10, Some(12), now);
                freshness.recheck(0, now) == Some(12)
            })
            .collect();
        assert_eq!(due, [5, 10]);
    }

    #[test]
    fn an_end_that_nobody_tells_is_not_taken_for_reached() {
        check(&[(0, 10, None, 0), (5, 10, None, 5), (20, 10, None, 20), (25, 10, Some(10), 0)]);
        check(&[(0, 10, None, 0), (5, 10, Some(12), 5), (10, 12, Some(12), 0)]);
    }
}
