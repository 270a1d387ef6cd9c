//! `brokerwarden rule state`.

use super::data_dir;
use crate::{
    cli::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE},
    control::{self, Answer, AskError, Request},
    rules::StateValue,
};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

pub(super) fn main(rule: &str, reset: bool, config: &Path) -> ExitCode {
    let data_dir = match data_dir(config) {
        Ok(data_dir) => data_dir,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let rule = rule.to_owned();
    let request = if reset { Request::ResetState { rule } } else { Request::State { rule } };
    let told = control::ask(&data_dir, request).and_then(show);
    match told {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::from(error));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// One line for each key: key, tab, value. What would confuse a terminal is escaped; what is no text is in hex after `0x`.
fn show(answers: control::Answers) -> Result<(), AskError> {
    let mut out = io::stdout().lock();
    for answer in answers {
        if let Answer::Entry(entry) = answer? {
            let key = entry.key.escape_debug();
            match entry.value {
                StateValue::Text(text) => writeln!(out, "{key}\t{}", text.escape_debug())?,
                StateValue::Hex(hex) => writeln!(out, "{key}\t0x{hex}")?,
            }
        }
    }
    Ok(out.flush()?)
}
