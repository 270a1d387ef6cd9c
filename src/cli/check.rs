//! `brokerwarden check`.

use super::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE};
use crate::{
    clock,
    config::{self, LoadError, Problem},
    rules,
};
use std::{path::Path, process::ExitCode};

pub(super) fn main(path: &Path) -> ExitCode {
    let config = match config::load(path, &config::process_environment) {
        Ok(config) => config,
        Err(error) => return failed(error, EXIT_USAGE),
    };
    // The files that it names are for the agent's user to read, and perhaps for nobody else.
    if let Some(Err(problems)) = config.http.web_config_file.as_deref().map(config::web_config) {
        eprintln!("http.web_config_file: {problems}");
        return ExitCode::from(EXIT_USAGE);
    }
    // Only once all else is well: it takes its time.
    match rules::faults(&config.rules, clock::now()) {
        Err(error) => failed(error, EXIT_RUNTIME),
        Ok(faults) if !faults.is_empty() => {
            let problem = |fault: rules::Fault| Problem {
                path: format!("rules[{}].{}", fault.rule, fault.key),
                text: fault.text,
            };
            failed(LoadError::Problems(faults.into_iter().map(problem).collect()), EXIT_USAGE)
        }
        Ok(_) => {
            print!("{}", config::effective(&config));
            ExitCode::from(EXIT_OK)
        }
    }
}

fn failed(error: impl Into<anyhow::Error>, code: u8) -> ExitCode {
    eprintln!("{:#}", error.into());
    ExitCode::from(code)
}
