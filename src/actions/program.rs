//! One run of a program: no shell, no environment but what is named, no input, a process group of its own; its output is
//! kept up to a cap, and read beyond it; killed with its group when its time is over.

use super::{
    settings::Exec,
    spawn::{Running, Spawner},
};
use crate::{
    files,
    model::{BoundedText, Secret},
    pipeline::{Deed, MAX_RESULT_TEXT},
    supervise::Stop,
};
use rustix::process::Signal;
use std::{
    io::{self, PipeReader, PipeWriter},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    time::{Instant, sleep, sleep_until},
};

/// Bytes of a program's output that are kept; the rest is read and thrown away.
pub const MAX_OUTPUT: usize = 64 << 10;
/// How long a program may take to end by itself when it was told to.
pub const KILL_AFTER: Duration = Duration::from_secs(1);
/// How long a program's output is still read after its end, if others hold the pipe.
pub(super) const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// Bytes of a file that holds a value of the environment.
const MAX_SECRET_FILE: u64 = 64 << 10;
/// Bytes read at once.
const READ_STEP: usize = 64 << 10;
/// Wait between two reads of output that is not kept: somebody who writes without end costs us little.
const THROWN_PAUSE: Duration = Duration::from_millis(1);
/// How often we look whether a program has ended.
const LOOK: Duration = Duration::from_millis(10);
/// What is said before the output.
const MAX_WORDS: usize = 200;

/// What a program said, as far as it is kept.
struct Output {
    pipe: Option<pipe::Receiver>,
    kept: Vec<u8>,
    thrown: u64,
}

impl Output {
    /// Reads once; for ever where there is nothing more to come. Cancel-safe.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let room = MAX_OUTPUT.saturating_sub(self.kept.len());
        if room == 0 {
            sleep(THROWN_PAUSE).await;
        }
        let mut buffer = vec![0; READ_STEP];
        match pipe.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                let kept = buffer.get(..count.min(room)).unwrap_or_default();
                self.kept.extend_from_slice(kept);
                let thrown = u64::try_from(count.saturating_sub(kept.len())).unwrap_or(0);
                self.thrown = self.thrown.saturating_add(thrown);
            }
            _ => self.pipe = None,
        }
    }

    /// Reads until `done` or for that long.
    async fn read_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !done(self) {
            tokio::select! {
                biased;
                () = sleep_until(end) => return,
                () = self.read() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// For people, behind what is to be said first.
    fn shown(&self, words: &str) -> String {
        let output = String::from_utf8_lossy(&self.kept);
        let output = output.trim();
        if output.is_empty() {
            return words.to_owned();
        }
        let most = MAX_RESULT_TEXT.saturating_sub(MAX_WORDS);
        // Escapes are longer than what they stand for.
        let shown = format!("{words}: {}", BoundedText(output, most));
        crate::model::clip(&shown, MAX_RESULT_TEXT).to_owned()
    }
}

/// Runs a program to its end. `None`: we were told to stop, and it was killed.
pub(super) async fn run(
    exec: &Exec,
    deed: &Deed,
    timeout: Duration,
    spawner: &Spawner,
    cut: &Stop,
) -> Option<Result<String, String>> {
    let end = Instant::now() + timeout;
    let (running, mut output) = tokio::select! {
        started = start(exec, deed, spawner) => match started {
            Ok(started) => started?,
            Err(error) => return Some(Err(error)),
        },
        () = sleep_until(end) => return Some(Err(format!("it could not be started within {timeout:?}"))),
        () = cut.wait() => return None,
    };
    let in_time = loop {
        if running.has_ended() {
            break true;
        }
        tokio::select! {
            biased;
            () = cut.wait() => {
                kill(&running, &mut output).await;
                running.take_status();
                return None;
            }
            () = sleep_until(end) => break false,
            () = output.read() => {}
            () = sleep(LOOK) => {}
        }
    };
    if !in_time {
        kill(&running, &mut output).await;
    }
    output.read_until(OUTPUT_GRACE, |output| output.pipe.is_none()).await;
    let status = running.take_status();
    tracing::debug!(
        action = %deed.action,
        output = %BoundedText(&String::from_utf8_lossy(&output.kept), MAX_OUTPUT),
        thrown_away = output.thrown,
        "output of a program"
    );
    Some(match (in_time, status) {
        (true, Some(status)) => said(status, &output),
        (true, None) => Err(output.shown("nobody knows how it ended")),
        (false, Some(_)) => Err(output.shown(&format!("it did not end within {timeout:?} and was killed"))),
        (false, None) => Err(output.shown(&format!("it did not end within {timeout:?}, nor when it was killed"))),
    })
}

fn said(status: ExitStatus, output: &Output) -> Result<String, String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(output.shown("exit code 0")),
        (Some(code), _) => Err(output.shown(&format!("exit code {code}"))),
        (None, Some(signal)) => Err(output.shown(&format!("ended by signal {signal}"))),
        (None, None) => Err(output.shown("nobody knows how it ended")),
    }
}

/// Asks the group to end, then ends it.
async fn kill(running: &Running, output: &mut Output) {
    running.signal(Signal::TERM);
    output.read_until(KILL_AFTER, |_| running.has_ended()).await;
    // Also where the program itself has ended: others of its group may not have.
    running.signal(Signal::KILL);
    output.read_until(KILL_AFTER, |_| running.has_ended()).await;
}

/// `None`: we are stopping.
async fn start(exec: &Exec, deed: &Deed, spawner: &Spawner) -> Result<Option<(Running, Output)>, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
    let command = command(exec, deed, writer)?;
    let running = spawner.spawn(command).await;
    let Some(running) = running.map_err(|error| format!("cannot start {}: {error}", exec.program))? else {
        return Ok(None);
    };
    let pipe = receiver(reader).map_err(|error| format!("cannot read its output: {error}"))?;
    Ok(Some((running, Output { pipe: Some(pipe), kept: Vec::new(), thrown: 0 })))
}

fn receiver(reader: PipeReader) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
}

fn command(exec: &Exec, deed: &Deed, output: PipeWriter) -> Result<Command, String> {
    let mut command = Command::new(&exec.program);
    for argument in arguments(exec, deed)? {
        command.arg(argument);
    }
    command.env_clear().current_dir("/").process_group(0);
    for (name, value) in &exec.environment {
        let value = match value {
            Secret::Inline(value) => value.clone(),
            Secret::File(path) => files::read_secret(path, MAX_SECRET_FILE)
                .map_err(|error| format!("cannot read the file for environment.{name}: {error}"))?,
        };
        command.env(name, value);
    }
    for (name, value) in [
        ("BROKERWARDEN_ACTION", &deed.action),
        ("BROKERWARDEN_RULE", &deed.rule),
        ("BROKERWARDEN_KEY", &deed.key),
        ("BROKERWARDEN_IDEMPOTENCY_KEY", &deed.idempotency_key),
        ("BROKERWARDEN_CLUSTER", &deed.cluster),
    ] {
        command.env(name, value);
    }
    let errors = output.try_clone().map_err(|error| format!("no pipe for its output: {error}"))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    Ok(command)
}

/// All arguments, filled.
pub(super) fn arguments(exec: &Exec, deed: &Deed) -> Result<Vec<String>, String> {
    let filled = |argument: &super::argument::Argument| {
        argument.filled(&deed.params).ok_or_else(|| format!("a parameter of {} is missing", argument.text()))
    };
    exec.arguments.iter().map(filled).collect()
}
