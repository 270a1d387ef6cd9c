//! How fast a receiver is told. Pure.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// So many messages in any such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub messages: usize,
    /// In this time.
    pub per: Duration,
}

/// When the last messages went out.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent: VecDeque<Instant>,
}

impl Pace {
    /// Takes a place, or says how long there is none.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        while self.sent.len() > rate.messages {
            self.sent.pop_front();
        }
        if self.sent.len() == rate.messages
            && let Some(first) = self.sent.front()
        {
            let wait = first.checked_add(rate.per).unwrap_or(now).saturating_duration_since(now);
            if !wait.is_zero() {
                return Err(wait);
            }
            self.sent.pop_front();
        }
        self.sent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_go_out_in_any_such_time() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let rate = Rate { messages: 3, per: Duration::from_secs(10) };
        let mut now = start;
        let mut sent = Vec::new();
        for step in 0..30u64 {
            now += Duration::from_millis(700 * (step % 4));
            while let Err(wait) = pace.take(rate, now) {
                now += wait;
            }
            sent.push(now);
        }
        for four in sent.windows(4) {
            assert!(four[3] - four[0] >= rate.per, "{sent:?}");
        }
        assert!(sent[29] - start <= Duration::from_secs(110), "slower than it may be: {sent:?}");
    }

    #[test]
    fn another_rate_holds_at_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let second = Duration::from_secs(1);
        for _ in 0..5 {
            assert_eq!(pace.take(Rate { messages: 10, per: second }, start), Ok(()));
        }
        assert_eq!(pace.take(Rate { messages: 1, per: second }, start), Err(second));
        assert_eq!(pace.take(Rate { messages: 1, per: second * 60 }, start), Err(second * 60));
        assert_eq!(pace.take(Rate { messages: 10, per: second }, start), Ok(()), "no place is taken by waiting");
    }
}
