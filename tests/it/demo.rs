//! The demo in a pipe: plain lines, and ctrl-C, a closed terminal or its time end it, and it leaves nothing behind.

use crate::harness::{holds, process::Process, within};
use rustix::process::Signal;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long it may take to end, by the demo's promise.
const END: Duration = Duration::from_secs(5);

fn start(arguments: &[&str], dir: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brokerwarden"));
    command.args(["demo", "--listen", "127.0.0.1:0"]).args(arguments);
    Process::start("the demo", &mut command, &dir.join("log"))
}

fn folder_of(demo: &Process) -> PathBuf {
    Path::new("/tmp").join(format!("brokerwarden-demo-{}-0", demo.id()))
}

#[test]
fn signals_end_the_demo_in_time() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = tempfile::tempdir().unwrap();
        let mut demo = start(&[], dir.path());
        within(Duration::from_mins(1), "the demo shows a group", || {
            let output = demo.output();
            holds(output.contains("metrics: http://127.0.0.1:") && output.contains("checkout"), output)
        });
        let folder = folder_of(&demo);
        assert!(folder.is_dir(), "the demo's folder is elsewhere");
        let start = Instant::now();
        demo.signal(signal);
        let status = demo.wait(END + Duration::from_secs(10));
        assert!(start.elapsed() <= END, "{signal:?}: {:?}", start.elapsed());
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", demo.output());
        assert!(!folder.exists(), "{signal:?}: the demo left its folder");
    }
}

#[test]
fn the_demo_ends_when_its_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = start(&["--for", "3s"], dir.path());
    let folder = folder_of(&demo);
    let status = demo.wait(Duration::from_mins(1));
    assert_eq!(status.code(), Some(0), "{}", demo.output());
    assert!(demo.output().contains("metrics: http://127.0.0.1:"), "{}", demo.output());
    assert!(!folder.exists(), "the demo left its folder");
}
