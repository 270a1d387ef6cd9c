//! How far another clock is from ours, by the header Date. Pure.

use super::finding::Finding;
use crate::model::Timestamp;
use std::time::Duration;

/// A clock that is further away is warned of: lag in seconds compares what brokers wrote with our clock.
const MOST_SKEW: Duration = Duration::from_secs(5);

/// Judges a Date that was written between two moments of ours; `None` where it cannot be read.
pub(super) fn judge(about: &str, date: &str, before: Timestamp, after: Timestamp) -> Option<Finding> {
    let parsed = jiff::fmt::rfc2822::parse(date).ok()?;
    let theirs = Timestamp(u64::try_from(parsed.timestamp().as_millisecond()).ok()?);
    // It has whole seconds: what it says may be up to one second old.
    let newest = theirs.plus(Duration::from_secs(1));
    let (behind, ahead) = (before.since(newest), theirs.since(after));
    let (skew, way) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    let about = format!("{about} clock");
    Some(if skew > MOST_SKEW {
        let found = format!("{} s {way} ours", skew.as_secs());
        Finding::warn(about, found, "look at NTP on both hosts: lag in seconds is wrong by that much")
    } else {
        Finding::ok(about, "agrees with ours")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    #[test]
    fn clocks_are_compared_with_the_whole_time_of_the_request() {
        let at = |seconds: u64| Timestamp(1_000_000_000_000 + seconds * 1000);
        let date = "Sun, 09 Sep 2001 01:46:40 GMT"; // at(0)
        for (before, after, level) in [
            (0, 0, Level::Ok),
            (6, 7, Level::Ok),
            (7, 9, Level::Warn),
            // A walk of 20 s, in which it was written.
            (0, 20, Level::Ok),
        ] {
            let found = judge("jmx a", date, at(before), at(after)).unwrap();
            assert_eq!(found.level, level, "{before} {after}: {found}");
        }
        let ahead = judge("jmx a", date, Timestamp(999_999_900_000), Timestamp(999_999_990_000)).unwrap();
        assert!(ahead.to_string().starts_with("warn  jmx a clock: 10 s ahead of ours"), "{ahead}");
        assert_eq!(judge("jmx a", "yesterday", at(0), at(0)), None);
    }
}
