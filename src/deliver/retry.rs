//! How long a notifier waits, and for how long it tries. Pure.

use std::time::Duration;

/// Longest answer to `Retry-After` that is honoured.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// See [`Timing::timeout`].
pub const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// See [`Timing::first_retry`].
pub const FIRST_RETRY: Duration = Duration::from_millis(500);
/// See [`Timing::longest_retry`].
pub const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// See [`Timing::max_age`].
pub const MAX_WEBHOOK_AGE: Duration = Duration::from_hours(1);
/// See [`Timing::last_words`].
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// See [`Timing::flush`].
pub const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Deadlines and delays of all notifiers; other than the default only in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Longest time for one request and its whole answer.
    pub timeout: Duration,
    /// Wait after the first failure; doubled after each further one.
    pub first_retry: Duration,
    /// Longest wait between two attempts.
    pub longest_retry: Duration,
    /// Webhooks: a transition older than this is given up.
    pub max_age: Duration,
    /// How long we listen for the pipeline's last deliveries when told to stop.
    pub last_words: Duration,
    /// How long a notifier may tell what is left after that.
    pub flush: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            timeout: POST_TIMEOUT,
            first_retry: FIRST_RETRY,
            longest_retry: LONGEST_RETRY,
            max_age: MAX_WEBHOOK_AGE,
            last_words: LAST_WORDS,
            flush: FLUSH_TIME,
        }
    }
}

/// Failures in a row of one receiver.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It works.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: doubled each time, half of it random so that many agents do not come back at
    /// once, and never shorter than the receiver asked for.
    pub fn failed(&mut self, timing: &Timing, retry_after: Option<Duration>, random: u64) -> Duration {
        let factor = 1u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let half = timing.first_retry.saturating_mul(factor).min(timing.longest_retry) / 2;
        let share = u32::try_from(random % 1024).unwrap_or(0);
        let wait = half.saturating_add(half.saturating_mul(share) / 1023);
        wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let timing = Timing::default();
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.failed(&timing, None, 1023).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(&timing, None, 0).as_millis(), 30_000);
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(&timing, None, 0).as_millis(), 250);
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_up_to_a_cap() {
        let mut backoff = Backoff::default();
        let timing = Timing::default();
        assert_eq!(backoff.failed(&timing, Some(Duration::from_secs(7)), 0).as_secs(), 7);
        assert_eq!(backoff.failed(&timing, Some(Duration::from_hours(24)), 0), MAX_RETRY_AFTER);
        assert_eq!(backoff.failed(&timing, Some(Duration::ZERO), 1023).as_secs(), 2);
    }
}
