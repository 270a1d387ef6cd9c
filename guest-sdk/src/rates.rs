//! How fast counters rise.

use crate::{Error, Sample, imports};
use std::time::Duration;

/// Increase per second of each series that a Prometheus instant vector selector finds, over the last `window`, with all of its
/// labels (`__name__` among them). The agent keeps the values from the first time that the rule asks with this selector and window; so
/// ask in each evaluation, also in those that need no answer. A value that falls counts as a restart from zero. A series seen only once in the window is left out.
///
/// # Errors
/// [`Error::Unavailable`] until half of the window was seen, and where the series cannot be seen now; [`Error::InvalidArgument`] for a
/// bad selector, and for a window of zero or of more than a day; [`Error::LimitExceeded`] for too many selectors or series.
///
/// ```
/// use brokerwarden_rule::{mock::Mock, prelude::*};
/// use std::time::Duration;
///
/// struct Busy;
///
/// impl Rule for Busy {
///     type Config = NoConfig;
///
///     fn evaluate(_ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
///         let bytes = rates::rate("bytes_total", Duration::from_secs(60))?;
///         Ok(bytes.iter().map(|sample| Alert::broker().name("Busy").value(sample.value)).collect())
///     }
/// }
///
/// let mut mock = Mock::new();
/// mock.set_sample("bytes_total", 5.0);
/// assert!(matches!(mock.evaluate::<Busy>("{}"), Err(Failure::Unavailable(_))));
/// mock.advance_ms(50_000);
/// mock.set_sample("bytes_total", 1_005.0);
/// assert_eq!(mock.evaluate::<Busy>("{}").unwrap().alerts[0].value, Some(20.0));
/// ```
pub fn rate(selector: &str, window: Duration) -> Result<Vec<Sample>, Error> {
    imports::rates::rate(selector, u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
}
