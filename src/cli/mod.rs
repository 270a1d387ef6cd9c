//! The command line. Only here, and in tests, errors lose their type.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

mod actions;
mod check;
mod demo;
mod doctor;
mod log;
mod manual;
mod migrate;
mod notify;
mod rule;
mod run;
mod store;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Fine.
pub const EXIT_OK: u8 = 0;
/// A check failed.
pub const EXIT_CHECK_FAILED: u8 = 1;
/// Failed at run time.
pub const EXIT_RUNTIME: u8 = 2;
/// Bad usage or configuration (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// The agent beside every Kafka broker: consumer lag and JVM health on one /metrics page, alert rules in WebAssembly.
///
/// Exit codes: 0 fine, 1 a check failed, 2 failed at run time, 64 bad usage or configuration.
/// SIGHUP reloads configuration and rules (a bad configuration is refused whole); SIGTERM and SIGINT drain and stop.
/// RUST_LOG sets what is logged (default: info).
#[derive(Parser)]
#[command(name = "brokerwarden", version, verbatim_doc_comment, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
        /// How the log is written; default: BROKERWARDEN_LOG_FORMAT, else text.
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<log::LogFormat>,
    },
    /// Check a configuration: prints all its problems, or the effective configuration (secrets masked).
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Pause and resume actions, or see whether they are paused.
    #[command(subcommand)]
    Actions(actions::ActionsCommand),
    /// Try a notifier.
    Notify {
        #[command(subcommand)]
        command: NotifyCommand,
    },
    /// Show it all on an embedded cluster that misbehaves on a schedule; needs nothing else.
    Demo {
        /// Where to serve /metrics; port 0 takes a free one.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9308")]
        listen: std::net::SocketAddr,
        /// End after this long, e.g. 90s; otherwise at ctrl-C.
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
    },
    /// Look at what an agent with this configuration could not do here; a line each: ok, warn or FAIL, and what to do.
    ///
    /// Brokers, JMX pages and receivers are connected to, files and folders looked at; nothing is written. Run it as the
    /// agent's user. Ends with 1 when a line says FAIL.
    Doctor {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
    /// Print the agent.yaml that stands in for another exporter's command line.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Write, check, test and look after rules.
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    /// Look after the store in data_dir: alerts, rule state, how far offsets were read.
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Print a script by which a shell completes this command line.
    Completions {
        /// The shell.
        shell: manual::Shell,
    },
    /// Print a manual page in roff, of the program or of one of its commands (such as `man rule test`).
    Man {
        /// The command; none: the program.
        command: Vec<String>,
    },
    /// Compile a rule from standard input to standard output; what the agent starts itself, in a process apart.
    #[command(hide = true)]
    CompileRule,
}

#[derive(Subcommand)]
enum NotifyCommand {
    /// Tell a test alert, marked as one, to each receiver of a notifier, and say what it answered.
    ///
    /// Not tried again. `match` and `rate` do not count. An incident at PagerDuty is resolved at once. Ends with 1 when a
    /// receiver was not told.
    Test {
        /// The notifier's name in the configuration.
        name: String,
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = "agent.yaml")]
        config: PathBuf,
    },
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { EXIT_OK };
            error.print().ok(); // there is nowhere left to say that stderr is gone
            return ExitCode::from(code);
        }
    };
    match arguments.command {
        Command::Run { config, log_format } => run::main(&config, log_format),
        Command::Actions(command) => actions::main(&command),
        Command::Check { config } => check::main(&config),
        Command::Notify { command: NotifyCommand::Test { name, config } } => notify::test(&name, &config),
        Command::Demo { listen, duration } => demo::main(listen, duration),
        Command::Doctor { config } => doctor::main(&config),
        Command::Migrate(command) => migrate::main(&command),
        Command::Rule(command) => rule::main(command),
        Command::Store { command } => store::main(&command),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::man(&command),
        Command::CompileRule => crate::rules::child_main(),
    }
}
