//! `brokerwarden rule replay`.

use super::{
    super::{EXIT_CHECK_FAILED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE, log},
    cache::{NoRule, Rules, module},
};
use crate::{
    config,
    recording::Reader,
    rules::{Module, Overlay},
    ruletest::replay::{Candidate, MAX_CANDIDATES, ReplayError, replay},
};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write, stdout},
    path::Path,
    process::ExitCode,
};

pub(super) fn main(file: &Path, modules: &[String], name: Option<&str>) -> ExitCode {
    let guard = log::start("warn", log::LogFormat::Text);
    let code = play(file, modules, name).unwrap_or_else(|(code, text)| {
        eprintln!("{text}");
        code
    });
    drop(guard);
    ExitCode::from(code)
}

/// The exit code, with what to say where that was not said yet.
fn play(file: &Path, modules: &[String], name: Option<&str>) -> Result<u8, (u8, String)> {
    if modules.len() > MAX_CANDIDATES {
        return Err((EXIT_USAGE, format!("--rule: {} modules; allowed: at most {MAX_CANDIDATES}", modules.len())));
    }
    let unusable = |error: &dyn std::fmt::Display| (EXIT_USAGE, format!("{}: {error}", file.display()));
    let opened = File::open(file).map_err(|error| unusable(&error))?;
    let mut reader = Reader::new(BufReader::new(opened)).map_err(|error| unusable(&error))?;
    let mut rules = Rules::new().map_err(|text| (EXIT_RUNTIME, text))?;
    let mut candidates = Vec::new();
    for text in modules {
        candidates.push(candidate(&mut rules, text)?);
    }
    let mut out = BufWriter::new(stdout().lock());
    let played = replay(&rules.host, &mut reader, &candidates, name, &mut out);
    let played = played.and_then(|()| Ok(out.flush()?));
    match played {
        Ok(()) => Ok(EXIT_OK),
        // Whoever reads has seen enough.
        Err(ReplayError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(EXIT_OK),
        Err(error) => {
            let code = match error {
                ReplayError::Config { .. } => EXIT_CHECK_FAILED,
                ReplayError::Write(_) => EXIT_RUNTIME,
                _ => EXIT_USAGE,
            };
            drop(out);
            Err((code, crate::model::with_causes(&error)))
        }
    }
}

fn candidate(rules: &mut Rules, text: &str) -> Result<Candidate, (u8, String)> {
    let module = module(text);
    let (code, name) = rules.load(&module).map_err(|error| match error {
        NoRule::Unreadable(text) => (EXIT_USAGE, format!("--rule: {text}")),
        NoRule::Refused(text) => (EXIT_CHECK_FAILED, text),
    })?;
    let beside = match &module {
        Module::File(path) => beside(&path.with_extension("yaml")).map_err(|text| (EXIT_USAGE, text))?,
        Module::Builtin(_) => Overlay::default(),
    };
    Ok(Candidate { module: text.to_owned(), name, code, beside })
}

/// The YAML beside a module, if there is one.
fn beside(path: &Path) -> Result<Overlay, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let most = u64::try_from(config::MAX_SIDECAR_BYTES).unwrap_or(u64::MAX);
    match crate::files::read_short(path, most) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
            config::parse_sidecar(&text).map_err(|error| wrong(&error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Overlay::default()),
        Err(error) => Err(wrong(&error)),
    }
}
