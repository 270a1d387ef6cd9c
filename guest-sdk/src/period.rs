//! Spans of time: as a `config:` block gives them, and as people read them.

use serde::{Deserialize, Deserializer, de};
use std::{fmt, time::Duration};

/// Units of a duration, in milliseconds; the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration, written in `config:` as in agent.yaml: `500ms`, `5s`, `1h30m` (units d, h, m, s, ms).
///
/// ```
/// use brokerwarden_rule::Period;
/// let period: Period = "1h30m".parse().unwrap();
/// assert_eq!(period.milliseconds(), 5_400_000);
/// assert_eq!(period.to_string(), "1 h 30 min");
/// assert_eq!(Period::of_seconds(7_260.4).to_string(), "2 h 1 min");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// So many milliseconds.
    pub const fn of_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// So many seconds, rounded; what is below zero or no number counts as 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "the cast saturates, as documented"
    )]
    pub fn of_seconds(seconds: f64) -> Self {
        Self((seconds * 1_000.0).round() as u64)
    }

    /// In milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// In seconds; exact up to 2^53 milliseconds.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "285,000 years are exact")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        Self::from_millis(period.0)
    }
}

impl fmt::Display for Period {
    /// The two largest units, for people: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.saturating_add(500) / 1_000;
        let (first, second) = match seconds {
            0 if self.0 > 0 => return write!(f, "{} ms", self.0),
            0..60 => return write!(f, "{seconds} s"),
            60..3_600 => ((seconds / 60, "min"), (seconds % 60, "s")),
            3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "min")),
            _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
        };
        write!(f, "{} {}", first.0, first.1)?;
        if second.0 > 0 { write!(f, " {} {}", second.0, second.1) } else { Ok(()) }
    }
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is no duration: write 500ms, 5s or 1h30m (units d, h, m, s, ms)");
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
            let (number, after) = rest.split_at_checked(digits).ok_or_else(refuse)?;
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(letters).ok_or_else(refuse)?;
            let number: u64 = number.parse().map_err(|_| refuse())?;
            let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
            total = number.checked_mul(*milliseconds).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
            rest = after;
        }
        if text.is_empty() { Err(refuse()) } else { Ok(Self(total)) }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_agent_yaml() {
        for (text, want) in [("500ms", 500), ("5s", 5_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)] {
            assert_eq!(text.parse(), Ok(Period(want)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "5y", "99999999999999999d", "1.5h", "5µs"] {
            let error = bad.parse::<Period>().unwrap_err();
            assert!(error.starts_with(&format!("{bad:?} is no duration: ")), "{error}");
        }
    }

    #[test]
    fn people_read_two_units() {
        let texts = [
            (0, "0 s"),
            (20, "20 ms"),
            (1_499, "1 s"),
            (59_600, "1 min"),
            (61_000, "1 min 1 s"),
            (12_000_000, "3 h 20 min"),
            (187_200_000, "2 d 4 h"),
        ];
        for (milliseconds, want) in texts {
            assert_eq!(Period(milliseconds).to_string(), want);
        }
        for odd in [f64::NAN, -5.0] {
            assert_eq!(Period::of_seconds(odd), Period(0));
        }
        assert_eq!(Period::of_seconds(f64::INFINITY), Period(u64::MAX));
    }
}
