//! `brokerwarden check`.

use super::{EXIT_OK, EXIT_USAGE};
use crate::config;
use std::{path::Path, process::ExitCode};

pub(super) fn main(path: &Path) -> ExitCode {
    match config::load(path, &config::process_environment) {
        Ok(config) => {
            print!("{}", config::effective(&config));
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::from(error));
            ExitCode::from(EXIT_USAGE)
        }
    }
}
