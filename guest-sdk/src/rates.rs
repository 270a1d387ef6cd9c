//! How fast counters rise.

use crate::{Error, Sample, bindings::brokerwarden::rule::rates as host};
use std::time::Duration;

/// Increase per second of each series that a Prometheus instant vector selector finds, over the last `window`, with all of its
/// labels (`__name__` among them). The agent keeps the values from the first time that the rule asks with this selector and window; so
/// ask in each evaluation, also in those that need no answer. A value that falls counts as a restart from zero. A series seen only once in the window is left out.
///
/// # Errors
/// [`Error::Unavailable`] until half of the window was seen, and where the series cannot be seen now; [`Error::InvalidArgument`] for a
/// bad selector, and for a window of zero or of more than a day; [`Error::LimitExceeded`] for too many selectors or series.
pub fn rate(selector: &str, window: Duration) -> Result<Vec<Sample>, Error> {
    host::rate(selector, u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
}
