//! `brokerwarden rule check`: what a module is, what it costs, and all that keeps it from being a rule.

use crate::{
    cli::{EXIT_CHECK_FAILED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE},
    clock, config,
    rules::{self, Limits, Overlay, check::Report},
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// Checks `module` with the settings in `settings`, by default those of the YAML file beside it.
pub(super) fn main(module: &Path, settings: Option<&Path>) -> ExitCode {
    let bytes = match read(module, rules::limits::MAX_MODULE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return failed(error, EXIT_USAGE),
    };
    let (overlay, sidecar_problem) = match self::settings(module, settings) {
        Ok(Ok(overlay)) => (overlay, None),
        Ok(Err(problem)) => (Overlay::default(), Some(problem)),
        Err(error) => return failed(error, EXIT_USAGE),
    };
    let name = module.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let config = overlay.config.as_deref().unwrap_or("{}");
    let limits = Limits::default();
    let compiler = Path::new("/proc/self/exe");
    let mut report = match rules::check::check(&name, &bytes, config, &limits, compiler, clock::now()) {
        Ok(report) => report,
        Err(error) => return failed(error, EXIT_RUNTIME),
    };
    report.problems.extend(sidecar_problem);
    print!("{}", text(module, bytes.len(), &report, &limits));
    if report.problems.is_empty() {
        println!("it can go live");
        return ExitCode::from(EXIT_OK);
    }
    for problem in &report.problems {
        eprintln!("{}: {problem}", module.display());
    }
    ExitCode::from(EXIT_CHECK_FAILED)
}

fn failed(error: impl Into<anyhow::Error>, code: u8) -> ExitCode {
    eprintln!("{:#}", error.into());
    ExitCode::from(code)
}

/// A file, read whole.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > most) {
        return Err(failed(io::Error::other(format!("it is over {} MiB, which no agent reads", most >> 20))));
    }
    Ok(bytes)
}

/// What the rule's YAML says; the inner error is what is wrong with it.
fn settings(module: &Path, settings: Option<&Path>) -> Result<Result<Overlay, String>, ReadError> {
    let beside = module.with_extension("yaml");
    let path = match settings {
        Some(path) => path,
        None if beside.is_file() => &beside,
        None => return Ok(Ok(Overlay::default())),
    };
    let bytes = read(path, rules::limits::MAX_SIDECAR_BYTES)?;
    let overlay =
        String::from_utf8(bytes).map_err(|error| error.to_string()).and_then(|text| config::parse_sidecar(&text));
    Ok(overlay.map_err(|problem| format!("{}: {problem}", path.display())))
}

/// The report for people.
fn text(module: &Path, size: usize, report: &Report, limits: &Limits) -> String {
    let form = if report.core_module { "core module, made a component at load" } else { "component" };
    let mut lines =
        vec![format!("{}", module.display()), format!("  {form}, {}, sha256 {}", bytes(size), report.sha256)];
    for (what, interfaces) in [("imports", &report.imports), ("exports", &report.exports)] {
        lines.extend(interfaces.iter().map(|interface| format!("  {what} {interface}")));
    }
    if let Some(compiled) = &report.compiled {
        let most = u64::try_from(compiled.bytes).unwrap_or(u64::MAX);
        lines.push(format!(
            "  compiled in {} to {} (limits: {} of CPU time, {} MiB)",
            duration(compiled.wall),
            bytes(usize::try_from(most).unwrap_or(usize::MAX)),
            duration(rules::limits::COMPILE_CPU),
            rules::limits::MAX_COMPILED_BYTES >> 20
        ));
    }
    for run in &report.runs {
        lines.push(format!("  dry run on {}: {}", run.on, run.said));
        lines.push(format!(
            "    took {} of CPU time and {} of memory (limits: {}, {} MiB)",
            duration(run.cpu),
            bytes(usize::try_from(run.memory).unwrap_or(usize::MAX)),
            duration(limits.time),
            limits.memory >> 20
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn bytes(size: usize) -> String {
    match size {
        0..10_240 => format!("{size} bytes"),
        10_240..10_485_760 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

/// Rounded to what matters.
fn duration(time: Duration) -> String {
    let rounded = if time >= Duration::from_secs(1) {
        Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / 10 * 10)
    } else {
        Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / 10 * 10)
    };
    format!("{rounded:?}")
}
