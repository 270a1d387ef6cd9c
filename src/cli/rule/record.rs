//! `brokerwarden rule record`.

use super::data_dir;
use crate::{
    cli::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE},
    clock,
    control::{self, Answer, AskError, Request},
    model::hex,
    model::with_causes,
    recording::Reader,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write},
    ops::RangeInclusive,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Allowed lengths of a recording.
pub const DURATIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

pub(super) fn main(duration: Duration, out: Option<PathBuf>, config: &Path) -> ExitCode {
    let (code, text) = match record(duration, out, config) {
        Ok(text) => {
            println!("{text}");
            return ExitCode::from(EXIT_OK);
        }
        Err(failed) => failed,
    };
    eprintln!("{text}");
    ExitCode::from(code)
}

/// What was recorded, in a sentence; else the exit code and what is wrong.
fn record(duration: Duration, out: Option<PathBuf>, config: &Path) -> Result<String, (u8, String)> {
    if !DURATIONS.contains(&duration) {
        return Err((EXIT_USAGE, "--for: allowed: a duration from 1s to 24h".to_owned()));
    }
    let data_dir = data_dir(config).map_err(|text| (EXIT_USAGE, text))?;
    let for_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let answers = control::ask(&data_dir, Request::Record { for_ms });
    let answers = answers.map_err(|error| (EXIT_RUNTIME, with_causes(&error)))?;
    let path = out.unwrap_or_else(default_path);
    // What rules remember is nobody else's to read.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| (EXIT_USAGE, format!("cannot write {}: {error}", path.display())))?;
    let ended = write(answers, &mut file);
    let read = count(&path);
    let told = |(snapshots, bytes): (u64, u64)| format!("{}: {snapshots} snapshots, {bytes} bytes", path.display());
    match (ended, read) {
        (Ok(()), Ok(read)) => Ok(told(read)),
        (Ok(()), Err(text)) => Err((EXIT_RUNTIME, format!("{}: {text}", path.display()))),
        // What came before is good for a replay all the same.
        (Err(error), Ok(read)) => Err((EXIT_RUNTIME, format!("{}\nthe recording ended early: {error}", told(read)))),
        (Err(error), Err(_)) => {
            fs::remove_file(&path).ok(); // it was made here, and there is nothing in it
            Err((EXIT_RUNTIME, error))
        }
    }
}

fn default_path() -> PathBuf {
    let now = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(clock::now().0));
    let time = now.map(|now| humantime::format_rfc3339_seconds(now).to_string()).unwrap_or_default();
    PathBuf::from(format!("recording-{}.bwrec", time.replace(':', "-")))
}

fn write(answers: control::Answers, file: &mut File) -> Result<(), String> {
    for answer in answers {
        match answer {
            Ok(Answer::Piece(piece)) => {
                let bytes = hex::bytes(&piece).ok_or("the agent's answer cannot be read")?;
                file.write_all(&bytes).map_err(|error| format!("cannot write: {error}"))?;
            }
            Ok(_) => return Err("the agent answers something else".to_owned()),
            Err(AskError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("the agent ended".to_owned());
            }
            Err(error) => return Err(with_causes(&error)),
        }
    }
    file.sync_all().map_err(|error| format!("cannot write: {error}"))
}

/// Reads what was written: how many snapshots, and how many bytes.
fn count(path: &Path) -> Result<(u64, u64), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let mut reader = Reader::new(BufReader::new(file)).map_err(|error| with_causes(&error))?;
    let mut snapshots = 0u64;
    while reader.next_snapshot().map_err(|error| with_causes(&error))?.is_some() {
        snapshots = snapshots.saturating_add(1);
    }
    Ok((snapshots, bytes))
}
