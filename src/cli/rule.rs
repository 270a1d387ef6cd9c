//! `brokerwarden rule …`: for those who write rules and look after them.

mod cache;
mod check;
mod inspect;
mod new;
mod record;
mod replay;
mod state;
mod test;

use clap::Subcommand;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

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
    /// Run the cases of a rule: what it must say of what is observed, in YAML, without Kafka and without an agent.
    ///
    /// Exit codes: 0 all hold, 1 a case fails or the module is no rule, 64 a file that cannot be read or understood.
    Test {
        /// Files of cases.
        #[arg(required = true, value_name = "CASES.yaml")]
        files: Vec<PathBuf>,
        /// Only cases whose name this regular expression finds.
        #[arg(long, value_name = "REGEX")]
        run: Option<String>,
        /// The rule to test, in place of the one that the files name: a .wasm file or builtin:NAME.
        #[arg(long, value_name = "MODULE")]
        rule: Option<String>,
    },
    /// Record what the running agent observes, with its rules' state and alerts: for `rule replay`.
    Record {
        /// How long, e.g. 10m.
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// The file to write, which must not be there yet; default: recording-TIME.bwrec.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The configuration file of the running agent.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Play modules on a recording of `rule record`, and tell side by side what each would have said.
    ///
    /// They stand for one rule of the recording: each begins with that one's configuration, state and alerts. A YAML file
    /// beside a module (new.yaml beside new.wasm) goes before what was recorded.
    Replay {
        /// The recording.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A module, once for each: a .wasm file or builtin:NAME.
        #[arg(long = "rule", value_name = "MODULE", required = true)]
        rules: Vec<String>,
        /// The rule of the recording that they stand for, where that is not clear.
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
    },
}

/// `data_dir` of a configuration.
fn data_dir(config: &Path) -> Result<PathBuf, String> {
    super::run::load(config).map(|config| config.data_dir)
}

pub(super) fn main(command: RuleCommand) -> ExitCode {
    match command {
        RuleCommand::New { name, lang, path } => new::main(&name, lang, path.as_deref()),
        RuleCommand::Check { module, config } => check::main(&module, config.as_deref()),
        RuleCommand::Inspect { rule, config } => inspect::main(&rule, &config),
        RuleCommand::State { rule, reset, config } => state::main(&rule, reset, &config),
        RuleCommand::Test { files, run, rule } => test::main(&files, run.as_deref(), rule.as_deref()),
        RuleCommand::Record { duration, out, config } => record::main(duration, out, &config),
        RuleCommand::Replay { file, rules, name } => replay::main(&file, &rules, name.as_deref()),
    }
}
