//! The one place that reads the wall clock; pure files get their `now` as an argument.

use crate::model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The present moment. A clock before 1970 reads as 0.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
