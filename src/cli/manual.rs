//! `brokerwarden completions` and `brokerwarden man`: what shells and `man` are told of the command line, made from it.

use super::{Arguments, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE};
use clap::{Command, CommandFactory, ValueEnum};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// A shell that completes what is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    /// GNU bash, with bash-completion.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Prints the script that a shell completes by.
pub(super) fn completions(shell: Shell) -> ExitCode {
    written(&script(shell))
}

/// Prints the manual page of a command in roff; none = of the program.
pub(super) fn man(path: &[String]) -> ExitCode {
    match page(path) {
        Ok(page) => written(&page),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn written(bytes: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut command = shown(Arguments::command());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "brokerwarden", &mut script);
    script
}

/// Without what only the agent itself starts: scripts offer hidden commands as well.
fn shown(command: Command) -> Command {
    let hidden = command.get_subcommands().any(Command::is_hide_set);
    if !hidden {
        return command;
    }
    let kept: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).cloned().collect();
    let bare = Command::default().name("brokerwarden").version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    let bare = bare.subcommands(kept).args(command.get_arguments().cloned());
    match command.get_about() {
        Some(about) => bare.about(about.clone()),
        None => bare,
    }
}

fn page(path: &[String]) -> Result<Vec<u8>, String> {
    let mut command = Arguments::command();
    command.build();
    for name in path {
        let below = command.find_subcommand(name).cloned();
        command = below.ok_or_else(|| format!("{}: no command of this name: {name}", command.get_name()))?;
    }
    // `brokerwarden rule test` is brokerwarden-rule-test(1).
    let name = command.get_display_name().unwrap_or("brokerwarden").to_owned();
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).title(name).render(&mut page);
    rendered.map(|()| page).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_shell_is_told_of_every_command_but_hidden_ones() {
        for (shell, mark) in [
            (Shell::Bash, "complete -F"),
            (Shell::Zsh, "#compdef brokerwarden"),
            (Shell::Fish, "complete -c brokerwarden"),
        ] {
            let script = String::from_utf8(script(shell)).unwrap();
            assert!(script.contains(mark), "{shell:?}");
            for word in ["doctor", "migrate", "kafka_exporter", "replay", "log-format"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
            assert!(!script.contains("compile-rule"), "{shell:?}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let text = |words: &str| String::from_utf8(page(&path(words)).unwrap()).unwrap();
        let whole = text("");
        assert!(whole.contains(".TH brokerwarden 1") && whole.contains("Exit codes"), "{whole}");
        assert!(whole.contains("doctor") && !whole.contains("compile"), "{whole}");
        assert!(text("rule test").contains("brokerwarden\\-rule\\-test"), "{}", text("rule test"));
        assert!(text("run").contains("log\\-format"), "{}", text("run"));
        assert_eq!(page(&path("rule frob")).unwrap_err(), "rule: no command of this name: frob");
    }
}
