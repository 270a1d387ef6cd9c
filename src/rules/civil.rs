//! Answers `time.in-zone`: the wall clock of a time zone, from a table that is part of the agent. So the answer does not
//! depend on what is installed on the host, and is the same in a replay elsewhere.

use super::{
    bindings::{time::CivilTime, types::Error},
    limits,
};
use crate::model::BoundedText;
use jiff::{Timestamp, tz::TimeZoneDatabase};

/// Date and time in `zone` at `at_ms` milliseconds since 1970.
pub(super) fn in_zone(zone: &str, at_ms: u64) -> Result<CivilTime, Error> {
    let unknown = || {
        let shown = BoundedText(zone, limits::MAX_SHOWN_NAME).to_string();
        Error::InvalidArgument(format!("no time zone {shown:?}: an IANA name is wanted, as \"Asia/Seoul\""))
    };
    if zone.len() > limits::MAX_ZONE_NAME {
        return Err(unknown());
    }
    let zone = TimeZoneDatabase::bundled().get(zone).map_err(|_| unknown())?;
    let out_of_range = || Error::InvalidArgument(format!("{at_ms} ms since 1970 is after the year 9999"));
    let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).ok_or_else(out_of_range)?;
    let there = at.to_zoned_datetime(zone);
    // None of these is ever negative.
    let small = |value: i8| u8::try_from(value).unwrap_or_default();
    Ok(CivilTime {
        year: there.year().into(),
        month: small(there.month()),
        day: small(there.day()),
        weekday: small(there.weekday().to_monday_one_offset()),
        hour: small(there.hour()),
        minute: small(there.minute()),
        second: small(there.second()),
        utc_offset_seconds: there.offset().seconds(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(zone: &str, at_ms: u64, want: &str) {
        let time = in_zone(zone, at_ms).unwrap();
        let CivilTime { year, month, day, weekday, hour, minute, second, utc_offset_seconds } = time;
        let said =
            format!("{year}-{month:02}-{day:02} {weekday} {hour:02}:{minute:02}:{second:02} {utc_offset_seconds}");
        assert_eq!(said, want, "{zone}");
    }

    #[test]
    fn clocks_of_the_world() {
        // 2026-03-29 01:00 UTC, a Sunday: the European Union goes over to summer time.
        let change = 1_774_746_000_000;
        check("UTC", change, "2026-03-29 7 01:00:00 0");
        check("Asia/Seoul", change, "2026-03-29 7 10:00:00 32400");
        check("Europe/Berlin", change - 1, "2026-03-29 7 01:59:59 3600");
        check("Europe/Berlin", change, "2026-03-29 7 03:00:00 7200");
        check("America/St_Johns", change, "2026-03-28 6 22:30:00 -9000");
        check("UTC", 0, "1970-01-01 4 00:00:00 0");
    }

    #[test]
    fn an_unknown_zone_and_a_time_beyond_the_calendar_are_refused() {
        let refused = |zone: &str, at_ms| matches!(in_zone(zone, at_ms), Err(Error::InvalidArgument(_)));
        for zone in ["Asia/Soul", "", "../../etc/passwd", "/etc/localtime", &"x".repeat(10_000)] {
            assert!(refused(zone, 1), "{zone:?}");
        }
        assert!(refused("UTC", u64::MAX) && refused("UTC", i64::MAX.unsigned_abs()));
        assert!(!refused("UTC", 253_402_207_200_000));
    }
}
