//! `brokerwarden store`: looks after the store of an agent that does not run.

use super::{EXIT_CHECK_FAILED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE};
use crate::{clock, config, store};
use clap::Subcommand;
use std::{path::PathBuf, process::ExitCode};

/// What is done with the store. The agent must not run meanwhile.
#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Look at every page of the store; exit code 1 when something is wrong with it.
    Check {
        /// The configuration file of the agent that it belongs to.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Save what can be read of a damaged store; the damaged file is kept beside it.
    Repair {
        /// The configuration file of the agent that it belongs to.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Print all that is in the store, one JSON object a line.
    Export {
        /// The configuration file of the agent that it belongs to.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
}

pub(super) fn main(command: &StoreCommand) -> ExitCode {
    let (StoreCommand::Check { config } | StoreCommand::Repair { config } | StoreCommand::Export { config }) = command;
    let folder = match config::load(config, &config::process_environment) {
        Ok(config) => config.data_dir,
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::from(error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match command {
        StoreCommand::Check { .. } => store::check(&folder).map(|report| print_check(&report)),
        StoreCommand::Repair { .. } => store::repair(&folder, clock::now()).map(|report| print_repair(&report)),
        StoreCommand::Export { .. } => store::export(&folder, &mut std::io::stdout().lock()).map(|()| EXIT_OK),
    };
    let code = done.unwrap_or_else(|error| {
        eprintln!("{:#}", anyhow::Error::from(error));
        EXIT_RUNTIME
    });
    ExitCode::from(code)
}

fn print_check(report: &store::CheckReport) -> u8 {
    println!("version {}, {} bytes", report.version, report.bytes);
    for (table, rows) in &report.rows {
        match rows {
            Some(rows) => println!("{table}: {rows} rows"),
            None => println!("{table}: cannot be read"),
        }
    }
    for problem in &report.problems {
        println!("damaged: {problem}");
    }
    if report.problems.is_empty() {
        println!("nothing is wrong with it");
        EXIT_OK
    } else {
        println!("`brokerwarden store repair` saves what can be read");
        EXIT_CHECK_FAILED
    }
}

fn print_repair(report: &store::RepairReport) -> u8 {
    for (table, rows, trouble) in &report.saved {
        match trouble {
            None => println!("{table}: all {rows} rows saved"),
            Some(trouble) => println!("{table}: {rows} rows saved, others cannot be read ({trouble})"),
        }
    }
    println!("how far offsets were read: not kept, Kafka has all of it");
    println!("the store that was there before: {}", report.kept_as.display());
    EXIT_OK
}
