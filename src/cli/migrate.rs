//! `brokerwarden migrate`: from another exporter's command line to an agent.yaml.

mod flags;
mod kafka_exporter;

use super::{EXIT_OK, EXIT_USAGE};
use clap::Subcommand;
use std::process::ExitCode;

/// What is migrated from.
#[derive(Subcommand)]
pub(super) enum MigrateCommand {
    /// Print the agent.yaml of an agent that stands in for a kafka_exporter with these flags.
    ///
    /// On standard error: each flag that has no counterpart, and what to do about it. Nothing is read or contacted, and no
    /// password is printed.
    #[command(name = "kafka_exporter")]
    KafkaExporter {
        /// The flags of kafka_exporter, after `--`.
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<String>,
    },
}

pub(super) fn main(command: &MigrateCommand) -> ExitCode {
    let MigrateCommand::KafkaExporter { flags } = command;
    match kafka_exporter::agent_yaml(flags) {
        Ok(migrated) => {
            for note in &migrated.notes {
                eprintln!("{note}");
            }
            print!("{}", migrated.yaml);
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
