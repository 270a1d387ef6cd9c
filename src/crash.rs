//! Where tests kill the agent: a child of theirs ends by SIGKILL when it comes to a named place for the nth time.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// The variable of the environment that says where: `PLACE:N`.
pub(crate) const VARIABLE: &str = "BROKERWARDEN_TEST_CRASH";

/// All places, in the order in which an alert comes to them.
pub(crate) const PLACES: [&str; 6] = ["decided", "committed", "handed over", "sending", "told", "acknowledged"];

/// Ends the process here, if here is where it is to end.
pub(crate) fn point(place: &str) {
    static WHERE: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let asked = WHERE.get_or_init(|| {
        let asked = std::env::var(VARIABLE).ok()?;
        let (place, count) = asked.split_once(':')?;
        Some((place.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = asked else { return };
    if wanted == place && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        loop {
            std::thread::park();
        }
    }
}
