//! `brokerwarden rule …`: for those who write rules and look after them.

mod inspect;
mod state;

use clap::Subcommand;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Subcommand)]
pub(super) enum RuleCommand {
    /// Show a rule: what it imports and exports, its limits, how its last evaluations went.
    Inspect {
        /// A rule of the running agent, or a .wasm file.
        #[arg(value_name = "NAME_OR_FILE")]
        rule: String,
        /// The configuration file of the running agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Show what a rule of the running agent remembers.
    State {
        /// The rule.
        #[arg(value_name = "NAME")]
        rule: String,
        /// Make it forget.
        #[arg(long)]
        reset: bool,
        /// The configuration file of the running agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
}

/// `data_dir` of a configuration.
fn data_dir(config: &Path) -> Result<PathBuf, String> {
    super::run::load(config).map(|config| config.data_dir)
}

pub(super) fn main(command: RuleCommand) -> ExitCode {
    match command {
        RuleCommand::Inspect { rule, config } => inspect::main(&rule, &config),
        RuleCommand::State { rule, reset, config } => state::main(&rule, reset, &config),
    }
}
