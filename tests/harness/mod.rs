//! What both test binaries share: the agent as a child process, fakes for what it talks to, and the real things.
//! Knows the agent only from outside: its command line, its YAML, its HTTP surface.

pub(crate) mod attacks;
pub(crate) mod bombs;
pub(crate) mod browser;
pub(crate) mod by_hand;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod oracle;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod stub;
pub(crate) mod wire;

use std::{
    collections::BTreeSet,
    fmt::Display,
    net::{SocketAddr, TcpListener},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Distance between two looks at something that tells nobody when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value; the last reason why it did not is the message when `limit` is over.
#[track_caller]
pub(crate) fn within<T, E: Display>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(reason) if start.elapsed() >= limit => panic!("not within {limit:?}: {what}; last seen: {reason}"),
            Err(_) => pause(LOOK_AGAIN),
        }
    }
}

/// For conditions without a better reason than "not yet".
pub(crate) fn holds(condition: bool, otherwise: impl Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_string()) }
}

/// The only sleep of the tests: between two looks, and in fakes whose fault is to be slow.
#[expect(clippy::disallowed_methods, reason = "there is no stop signal of the agent's in here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A port of 127.0.0.1 that nothing listens on. Not from the range that outgoing connections are given theirs from: a
/// broker that is killed and started again must find its port free. Never the same one twice in a process.
pub(crate) fn free_port() -> u16 {
    const FROM: u32 = 15_000;
    const UP_TO: u32 = 32_000;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    // Two test processes at once start looking in different places.
    let start = std::process::id().wrapping_mul(7919);
    (0..UP_TO - FROM)
        .map(|step| u16::try_from(FROM + (start.wrapping_add(step)) % (UP_TO - FROM)).unwrap())
        .find(|port| is_free(*port) && given.insert(*port))
        .expect("a free port")
}

/// Could somebody listen there?
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

/// 127.0.0.1 with that port.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A folder of its own below target/tmp.
pub(crate) fn temp_dir(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
