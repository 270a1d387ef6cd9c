//! Moments as the receivers want to read them.

use crate::model::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// 9999-12-31T23:59:59.999Z, the last that the format can say.
const LAST: u64 = 253_402_300_799_999;

/// RFC 3339, UTC, milliseconds.
pub fn rfc3339(at: Timestamp) -> String {
    let since = Duration::from_millis(at.0.min(LAST));
    let moment = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_moment_can_be_written() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp(1_795_345_401_537)), "2026-11-22T11:03:21.537Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
