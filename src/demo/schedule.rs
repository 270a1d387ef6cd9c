//! What the demo's cluster does, and when: topics, groups, and who misbehaves at which second. Pure data.
//! Does not know how records are made or sent.

use std::time::Duration;

/// After this long the schedule starts again.
pub const LOOP: Duration = Duration::from_secs(90);

/// Lag above which the demo's rule raises an alert.
pub const THRESHOLD: u32 = 300;

/// A topic and how fast it grows.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) partitions: i32,
    /// Records per second and partition.
    pub(super) per_second: u32,
}

/// The topics that producers write to.
pub(super) const TOPICS: &[Topic] = &[
    Topic { name: "audit", partitions: 1, per_second: 10 },
    Topic { name: "orders", partitions: 4, per_second: 15 },
    Topic { name: "payments", partitions: 3, per_second: 10 },
];

/// Where Kafka keeps commits; the mock knows no such thing, so that we fill it ourselves.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Its partitions.
pub(super) const OFFSETS_PARTITIONS: i32 = 8;

/// A consumer group and what it reads: of each topic the first so many partitions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Client ids of its members; none = an empty group.
    pub(super) members: &'static [&'static str],
    pub(super) reads: &'static [(&'static str, i32)],
}

/// The consumer groups.
pub(super) const GROUPS: &[Group] = &[
    Group { name: BILLING, members: &["billing-1", "billing-2"], reads: &[("orders", 4), ("payments", 3)] },
    Group { name: CHECKOUT, members: &["checkout-1", "checkout-2"], reads: &[("orders", 4)] },
    // Never commits on the last partition of its topic.
    Group { name: "fraud-check", members: &["fraud-check-1"], reads: &[("payments", 2)] },
    Group { name: LEGACY_IMPORT, members: &[], reads: &[("audit", 1)] },
    Group { name: SLOW_REPORTS, members: &["slow-reports-1"], reads: &[("payments", 3)] },
];

pub(super) const BILLING: &str = "billing";
pub(super) const CHECKOUT: &str = "checkout";
pub(super) const LEGACY_IMPORT: &str = "legacy-import";
pub(super) const SLOW_REPORTS: &str = "slow-reports";

/// Groups that the demo's rule looks at.
pub(super) const WATCHED: &[&str] = &[BILLING, CHECKOUT, SLOW_REPORTS];

/// What a group does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Reads up to so many records per second and partition, and commits.
    Reads(u32),
    /// Neither reads nor commits, though its members live.
    Stalled,
    /// Was deleted.
    Deleted,
}

const FAST: Pace = Pace::Reads(150);

/// What a group does `elapsed` after the start.
pub(super) fn pace(group: &str, elapsed: Duration) -> Pace {
    match (group, second(elapsed)) {
        (CHECKOUT, 8..30) => Pace::Stalled,
        // A little slower than its topic grows.
        (SLOW_REPORTS, 0..60) => Pace::Reads(6),
        (LEGACY_IMPORT, 40..80) => Pace::Deleted,
        _ => FAST,
    }
}

/// What happens `elapsed` after the start, for people.
pub fn happening(elapsed: Duration) -> &'static str {
    match second(elapsed) {
        0..8 => "all groups read; slow-reports reads a little slower than its topic grows",
        8..30 => "checkout has stopped committing; its lag rises until the alert fires",
        30..36 => "checkout reads again; its alert resolves",
        36..40 => "slow-reports still falls behind",
        40..60 => "slow-reports still falls behind; the group legacy-import was deleted",
        60..80 => "slow-reports catches up; its alert resolves",
        _ => "all groups keep up; legacy-import is back; soon it all starts again",
    }
}

/// How often the schedule started again.
pub(super) fn round(elapsed: Duration) -> u64 {
    elapsed.as_secs().checked_div(LOOP.as_secs()).unwrap_or(0)
}

fn second(elapsed: Duration) -> u64 {
    elapsed.as_secs().checked_rem(LOOP.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_reads_what_exists_and_the_loop_repeats() {
        for group in GROUPS {
            for (topic, partitions) in group.reads {
                let topic = TOPICS.iter().find(|t| t.name == *topic).unwrap();
                assert!(*partitions <= topic.partitions, "{} reads {}", group.name, topic.name);
            }
        }
        assert!(GROUPS.is_sorted_by_key(|group| group.name) && TOPICS.is_sorted_by_key(|topic| topic.name));
        let check = |at, want| {
            assert_eq!(pace(CHECKOUT, Duration::from_secs(at)), want);
            assert_eq!(pace(CHECKOUT, Duration::from_secs(at) + 3 * LOOP), want);
        };
        check(7, FAST);
        check(8, Pace::Stalled);
        check(30, FAST);
        assert_eq!(happening(Duration::from_secs(9)), happening(Duration::from_secs(9) + LOOP));
        assert_eq!((round(Duration::from_secs(89)), round(LOOP)), (0, 1));
    }
}
