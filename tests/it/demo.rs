//! The demo in a pipe: plain lines, and ctrl-C ends it in time and leaves nothing behind.

use crate::harness::{holds, process::Process, within};
use rustix::process::Signal;
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How long it may take to end, by the demo's promise.
const END: Duration = Duration::from_secs(5);

#[test]
fn ctrl_c_ends_the_demo_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_brokerwarden"));
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Process::start("the demo", &mut command, &dir.path().join("log"));
    within(Duration::from_mins(1), "the demo shows a group", || {
        let output = demo.output();
        holds(output.contains("metrics: http://127.0.0.1:") && output.contains("checkout"), output)
    });
    let folder = Path::new("/tmp").join(format!("brokerwarden-demo-{}-0", demo.id()));
    assert!(folder.is_dir(), "the demo's folder is elsewhere");
    let start = Instant::now();
    demo.signal(Signal::INT);
    let status = demo.wait(END + Duration::from_secs(10));
    assert!(start.elapsed() <= END, "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(0), "{}", demo.output());
    assert!(!folder.exists(), "the demo left its folder");
}
