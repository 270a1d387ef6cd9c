//! Partitions of `__consumer_offsets` that are read for the first time: have they been read, or do they not get on? Pure.
//! librdkafka tells the end of a partition only to who stands at it, which under steady traffic may be never.

use super::freshness::Moment;
use crate::model::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// By partition.
#[derive(Debug, Default)]
pub struct Replays {
    partitions: BTreeMap<u32, Replay>,
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    /// The first end that was told, and not later than when.
    end: Option<(i64, Timestamp)>,
    position: Option<i64>,
    /// Since when it is there.
    since: Instant,
}

/// How a partition gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is being read.
    Reading,
    /// All was read that was written before then.
    Read(Timestamp),
    /// Nothing was read of it for this long.
    Still(Duration),
}

impl Replays {
    /// Takes in the next offset that the reader will read of a partition (`None`: nothing was read yet), and its high
    /// watermark, if its leader gave one.
    pub fn see(&mut self, partition: u32, position: Option<i64>, end: Option<i64>, moment: Moment) -> Progress {
        let told = end.map(|end| (end, moment.at));
        let new = Replay { end: told, position, since: moment.now };
        let replay = self.partitions.entry(partition).or_insert(new);
        if let Some((_, at)) = replay.end.filter(|(end, _)| position.is_some_and(|position| position >= *end)) {
            self.partitions.remove(&partition);
            return Progress::Read(at);
        }
        replay.end = replay.end.or(told);
        if replay.position != position {
            (replay.position, replay.since) = (position, moment.now);
            return Progress::Reading;
        }
        match moment.now.saturating_duration_since(replay.since) {
            Duration::ZERO => Progress::Reading,
            still => Progress::Still(still),
        }
    }

    /// Forgets all partitions but these.
    pub fn keep(&mut self, replaying: &BTreeSet<u32>) {
        self.partitions.retain(|partition, _| replaying.contains(partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One partition, seen at the seconds of a script.
    #[track_caller]
    fn check(script: &[(u64, Option<i64>, Option<i64>, Progress)]) {
        let (mut replays, start) = (Replays::default(), Instant::now());
        for (second, position, end, want) in script.iter().copied() {
            let moment = Moment { now: start + Duration::from_secs(second), at: Timestamp(second) };
            assert_eq!(replays.see(0, position, end, moment), want, "at second {second}");
        }
    }

    fn still(seconds: u64) -> Progress {
        Progress::Still(Duration::from_secs(seconds))
    }

    #[test]
    fn under_steady_traffic_it_is_read_once_it_passed_an_end_of_before() {
        let first = (0, None, Some(100), Progress::Reading);
        let passed = (2, Some(100), Some(140), Progress::Read(Timestamp(0)));
        check(&[first, (1, Some(60), Some(120), Progress::Reading), passed]);
        let late = [(0, None, Progress::Reading), (1, Some(120), Progress::Reading)];
        let late = late.map(|(second, end, want)| (second, Some(60 + i64::try_from(second).unwrap()), end, want));
        check(&[late[0], late[1], (3, Some(125), Some(140), Progress::Read(Timestamp(1)))]);
        // It stands at the end, which its leader has just told.
        check(&[(0, Some(60), Some(60), Progress::Read(Timestamp(0)))]);
    }

    #[test]
    fn one_that_does_not_get_on_stands_still() {
        check(&[
            (0, None, Some(100), Progress::Reading),
            (5, None, Some(100), still(5)),
            (11, None, None, still(11)),
            (12, Some(1), Some(100), Progress::Reading),
            (13, Some(2), Some(100), Progress::Reading),
            (30, Some(2), Some(100), still(17)),
            (31, Some(100), None, Progress::Read(Timestamp(0))),
        ]);
    }

    #[test]
    fn what_is_not_read_any_more_is_forgotten() {
        let (mut replays, now) = (Replays::default(), Instant::now());
        let moment = |second| Moment { now: now + Duration::from_secs(second), at: Timestamp(second) };
        replays.see(0, None, Some(9), moment(0));
        replays.see(1, None, Some(9), moment(0));
        replays.keep(&BTreeSet::from([1]));
        assert_eq!(replays.see(0, None, Some(9), moment(5)), Progress::Reading);
        assert_eq!(replays.see(1, None, Some(9), moment(5)), still(5));
    }
}
