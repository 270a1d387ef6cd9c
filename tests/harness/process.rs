//! A child process with its output in a file, that does not outlive the test binary, however that ends.

use super::within;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// Lines of its output that a failed test shows.
const SHOWN_LINES: usize = 60;

/// Kills the group when its input closes, which the kernel sees to when the test binary is gone. Not
/// PR_SET_PDEATHSIG: that fires when the *thread* ends that started the child, and a cluster is shared by many tests.
const WATCH: &str = r#"read -r _; kill -9 "-$1" 2>/dev/null; [ -z "$2" ] || rm -rf -- "$2""#;

/// A running child in a process group of its own; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    watch: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::start_in(name, command, log, None)
    }

    /// The same for a process that lives as long as the test binary: `leftovers` is removed after it.
    pub(crate) fn start_in(name: &str, command: &mut Command, log: &Path, leftovers: Option<&Path>) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(child.id().to_string())
            .arg(leftovers.unwrap_or(Path::new("")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, watch, log: log.to_owned() }
    }

    /// Sends a signal to the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        within(limit, &format!("{name} ends"), || self.ended().ok_or("it still runs"))
    }

    /// Fails when it ended, with its last words.
    #[track_caller]
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}:\n{}", self.name, self.last_words());
        }
    }

    /// All that it printed.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- last words of {} ----\n{}\n----", self.name, self.last_words());
        }
        // The watch first: after the wait below the process id may be somebody else's.
        self.watch.kill().ok();
        self.watch.wait().ok();
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

/// Runs a program to its end, with `input` on its standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A thread of its own: a program that prints before it has read all would wait for us, and we for it.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}
