//! What clocks on walls say: for rules that know office hours. A rule has no table of time zones; the agent has.

use crate::{Context, Error, imports};

pub use crate::bindings::brokerwarden::rule::time::CivilTime;

impl CivilTime {
    /// Saturday or Sunday?
    pub fn is_weekend(&self) -> bool {
        self.weekday >= 6
    }

    /// Minutes since midnight, as the clock shows them.
    pub fn minute_of_day(&self) -> u16 {
        u16::from(self.hour) * 60 + u16::from(self.minute)
    }
}

/// A moment, in milliseconds since 1970, in a zone by its IANA name (`Asia/Seoul`).
///
/// # Errors
/// [`Error::InvalidArgument`] for a zone that there is not.
///
/// ```
/// use brokerwarden_rule::{mock::Mock, time};
/// let mut mock = Mock::new();
/// mock.set_zone("Asia/Seoul", 9 * 3600);
/// let leap_day = mock.run(|| time::in_zone("Asia/Seoul", 1_709_143_199_000)).unwrap();
/// assert_eq!((leap_day.month, leap_day.day, leap_day.hour, leap_day.weekday), (2, 29, 2, 4));
/// ```
pub fn in_zone(zone: &str, at_ms: u64) -> Result<CivilTime, Error> {
    imports::time::in_zone(zone, at_ms)
}

/// The time of the snapshot in a zone, by its IANA name (`Asia/Seoul`).
///
/// # Errors
/// [`Error::InvalidArgument`] for a zone that there is not.
pub fn now_in(ctx: &Context, zone: &str) -> Result<CivilTime, Error> {
    in_zone(zone, ctx.now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sunday_evening() {
        let time = CivilTime {
            year: 2026,
            month: 3,
            day: 29,
            weekday: 7,
            hour: 22,
            minute: 30,
            second: 0,
            utc_offset_seconds: 7200,
        };
        assert_eq!((time.is_weekend(), time.minute_of_day()), (true, 1350));
    }
}
