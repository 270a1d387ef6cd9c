//! `brokerwarden rule …`: for those who write rules and look after them.

mod check;
mod new;

use clap::Subcommand;
use std::{path::PathBuf, process::ExitCode};

#[derive(Subcommand)]
pub(super) enum RuleCommand {
    /// Write a new rule: a project that builds with its language's own tools, with tests and cases.
    New {
        /// Its name: lower-case letters, digits and '-'.
        #[arg(value_name = "NAME")]
        name: String,
        /// The language.
        #[arg(long, value_enum)]
        lang: new::Language,
        /// Where to write it; default: a folder of its name, here.
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Check a module before it goes live: what it imports, what it costs, a dry run; says all that is wrong at once.
    Check {
        /// The module.
        #[arg(value_name = "FILE.wasm")]
        module: PathBuf,
        /// The rule's YAML; default: the one beside the module, if there is one.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub(super) fn main(command: RuleCommand) -> ExitCode {
    match command {
        RuleCommand::New { name, lang, path } => new::main(&name, lang, path.as_deref()),
        RuleCommand::Check { module, config } => check::main(&module, config.as_deref()),
    }
}
