//! `brokerwarden actions`: the switch that holds all actions of an agent, whether it runs or not.

use super::{EXIT_OK, EXIT_RUNTIME, EXIT_USAGE, run::load};
use crate::actions::{self, PAUSE_FILE, Paused, SEEN_WITHIN};
use clap::Subcommand;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

/// The switch is a file in data_dir, `actions.paused`: to make it and to remove it by hand does the same.
#[derive(Subcommand)]
pub(super) enum ActionsCommand {
    /// Let no action begin from now on; those that run end. Holds over restarts, until `actions resume`.
    Pause {
        /// The configuration file of the agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Let actions begin again; those that waited for more than an hour are not done any more.
    Resume {
        /// The configuration file of the agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Say whether actions are paused, and since when.
    Status {
        /// The configuration file of the agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
}

pub(super) fn main(command: &ActionsCommand) -> ExitCode {
    let (ActionsCommand::Pause { config } | ActionsCommand::Resume { config } | ActionsCommand::Status { config }) =
        command;
    let data_dir = match load(config) {
        Ok(config) => config.data_dir,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let file = data_dir.join(PAUSE_FILE);
    let done = match command {
        ActionsCommand::Pause { .. } => actions::pause(&data_dir).map(|new| pause_words(new, &file)),
        ActionsCommand::Resume { .. } => actions::resume(&data_dir).map(|was| resume_words(was, &file)),
        ActionsCommand::Status { .. } => actions::paused(&data_dir).map(|paused| status_words(paused, &file)),
    };
    match done {
        Ok(words) => {
            println!("{words}");
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn pause_words(new: bool, file: &Path) -> String {
    let file = file.display();
    if new {
        format!("actions are paused: none begins within {SEEN_WITHIN:?} from now, those that run end ({file} is there)")
    } else {
        format!("actions were paused already ({file} was there)")
    }
}

fn resume_words(was: bool, file: &Path) -> String {
    let file = file.display();
    if was {
        format!("actions are resumed ({file} is gone)")
    } else {
        format!("actions were not paused ({file} was not there)")
    }
}

fn status_words(paused: Option<Paused>, file: &Path) -> String {
    let file = file.display();
    let Some(Paused { since }) = paused else { return format!("actions are not paused ({file} is not there)") };
    let since = since.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_millis(since.0)));
    let since = since.map(|since| format!(" since {}", humantime::format_rfc3339_seconds(since))).unwrap_or_default();
    format!("actions are paused{since} ({file} is there)")
}
