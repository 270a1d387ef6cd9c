//! Who may try to log in how often. Failures count, by address; pure.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Log-ins from one address that may fail one after the other; then they wait.
pub const FAILED_LOGINS: u32 = 10;

/// After these: one in this time.
pub const FAILED_LOGIN_INTERVAL: Duration = Duration::from_secs(5);

/// Addresses whose failures are counted apart; further ones share one count.
pub const MAX_ADDRESSES: usize = 1000;

/// What failed lately. Of each address the moment when all its failures will be made up for.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    addresses: HashMap<IpAddr, Instant>,
    others: Option<Instant>,
}

impl Throttle {
    /// Counts an attempt as one that failed, until [`Self::succeeded`] says otherwise: attempts at the same time count.
    ///
    /// # Errors
    /// How long to wait, where too many failed.
    pub(super) fn attempt(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, until| *until > now);
        }
        let full = self.addresses.len() >= MAX_ADDRESSES;
        let until = match self.addresses.get(&address) {
            Some(until) => Some(*until),
            None if full => self.others,
            None => None,
        };
        let until = until.unwrap_or(now).max(now);
        let most = FAILED_LOGIN_INTERVAL.saturating_mul(FAILED_LOGINS.saturating_sub(1));
        if let Some(wait) = until.duration_since(now).checked_sub(most).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        let until = until + FAILED_LOGIN_INTERVAL;
        if full && !self.addresses.contains_key(&address) {
            self.others = Some(until);
        } else {
            self.addresses.insert(address, until);
        }
        Ok(())
    }

    /// An attempt from there was none that failed.
    pub(super) fn succeeded(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        let earlier = |until: Instant| until.checked_sub(FAILED_LOGIN_INTERVAL).filter(|until| *until > now);
        match self.addresses.get_mut(&address) {
            Some(until) => match earlier(*until) {
                Some(earlier) => *until = earlier,
                None => {
                    self.addresses.remove(&address);
                }
            },
            None => self.others = self.others.and_then(earlier),
        }
    }
}

/// Who has one address of IPv6 has 2⁶⁴ of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn failures_are_few_at_once_and_slow_after_that() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..FAILED_LOGINS {
            assert_eq!(throttle.attempt(address(1), start), Ok(()));
        }
        assert_eq!(throttle.attempt(address(1), start), Err(5 * SECOND));
        // To knock again costs nothing more, and others are not held up.
        assert_eq!(throttle.attempt(address(1), start + 4 * SECOND), Err(SECOND));
        assert_eq!(throttle.attempt(address(2), start), Ok(()));
        assert_eq!(throttle.attempt(address(1), start + 5 * SECOND), Ok(()));
        assert_eq!(throttle.attempt(address(1), start + 5 * SECOND), Err(5 * SECOND));
        // A minute without them makes up for all.
        let later = start + 60 * SECOND;
        for _ in 0..FAILED_LOGINS {
            assert_eq!(throttle.attempt(address(1), later), Ok(()));
        }
        assert!(throttle.attempt(address(1), later).is_err());
    }

    #[test]
    fn what_succeeds_is_not_counted() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(throttle.attempt(address(1), start), Ok(()));
            throttle.succeeded(address(1), start);
        }
        assert!(throttle.addresses.is_empty());
    }

    #[test]
    fn addresses_are_counted_apart_as_long_as_there_is_room() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let most = u32::try_from(MAX_ADDRESSES).unwrap();
        for number in 0..most {
            assert_eq!(throttle.attempt(address(number), start), Ok(()));
        }
        // All others together have as much as one.
        let passed = (most..2 * most).filter(|number| throttle.attempt(address(*number), start).is_ok()).count();
        assert_eq!((passed, throttle.addresses.len()), (10, MAX_ADDRESSES));
        assert_eq!(throttle.attempt(address(0), start), Ok(()), "who was there before goes on");
        throttle.succeeded(address(most), start);
        assert_eq!(throttle.attempt(address(most + 1), start), Ok(()));
        // Those of whom nothing was heard for a while make room.
        assert_eq!(throttle.attempt(address(3 * most), start + 6 * SECOND), Ok(()));
        assert_eq!(throttle.addresses.len(), 2);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..FAILED_LOGINS {
            let address = format!("2001:db8:1:2:{number}::1").parse().unwrap();
            assert_eq!(throttle.attempt(address, start), Ok(()));
        }
        assert!(throttle.attempt("2001:db8:1:2::9".parse().unwrap(), start).is_err());
        assert!(throttle.attempt("2001:db8:1:3::9".parse().unwrap(), start).is_ok());
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), address(1));
    }
}
