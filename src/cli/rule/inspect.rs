//! `brokerwarden rule inspect`.

use super::data_dir;
use crate::{
    cli::{EXIT_CHECK_FAILED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE},
    control::{self, Answer, Request},
    files,
    rules::{self, EvaluationReport, Interfaces, Limits, LimitsReport, RuleReport, StateReport, limits},
};
use std::{
    fmt::{self, Display, Formatter},
    path::Path,
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

pub(super) fn main(rule: &str, config: &Path) -> ExitCode {
    let path = Path::new(rule);
    if rule.contains('/') || path.extension().is_some_and(|extension| extension == "wasm") {
        return of_file(path);
    }
    let data_dir = match data_dir(config) {
        Ok(data_dir) => data_dir,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let answers = match control::ask(&data_dir, Request::Inspect { rule: rule.to_owned() }) {
        Ok(answers) => answers,
        Err(error) => return failed(error),
    };
    for answer in answers {
        match answer {
            Ok(Answer::Rule(report)) => print!("{}", Shown(&report)),
            Ok(_) => {}
            Err(error) => return failed(error),
        }
    }
    ExitCode::from(EXIT_OK)
}

fn failed(error: control::AskError) -> ExitCode {
    eprintln!("{:#}", anyhow::Error::from(error));
    ExitCode::from(EXIT_RUNTIME)
}

fn of_file(path: &Path) -> ExitCode {
    let read = files::read_short(path, limits::MAX_MODULE_BYTES).map_err(|error| error.to_string());
    match read.and_then(|bytes| Ok((bytes.len(), rules::sha256(&bytes), rules::interfaces(&bytes)?))) {
        Ok((bytes, sha256, interfaces)) => {
            println!("file     {}\nsize     {bytes} bytes\nsha256   {sha256}", path.display());
            print!("{}", ShownInterfaces(&interfaces));
            println!("limits   {} (the defaults)", ShownLimits(&Limits::default().report()));
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(EXIT_CHECK_FAILED)
        }
    }
}

struct Shown<'a>(&'a RuleReport);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let RuleReport { name, module, .. } = report;
        writeln!(f, "rule     {name}\nmodule   {module}")?;
        match report.generation {
            Some(generation) => writeln!(f, "live     generation {generation}, sha256 {}", report.sha256)?,
            None => writeln!(f, "live     no")?,
        }
        if report.shadow {
            writeln!(f, "shadow   evaluated and shown; told to nobody")?;
        }
        for (what, error) in [("refused  ", &report.load_error), ("error    ", &report.last_error)] {
            if let Some(error) = error {
                writeln!(f, "{what}{}", error.escape_debug())?;
            }
        }
        write!(f, "{}", ShownInterfaces(&report.interfaces))?;
        match report.interval_ms {
            Some(interval) => writeln!(f, "interval {}", humantime::format_duration(Duration::from_millis(interval)))?,
            None => writeln!(f, "interval each snapshot")?,
        }
        writeln!(f, "limits   {}", ShownLimits(&report.limits))?;
        let StateReport { version, keys, bytes, earlier } = &report.state;
        write!(f, "state    {keys} keys, {bytes} bytes")?;
        if let Some(version) = version {
            write!(f, ", of version {version}")?;
        }
        if let Some(earlier) = earlier {
            write!(f, "; that of version {earlier} is kept for going back")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "last {} evaluations{}",
            report.evaluations.len(),
            if report.evaluations.is_empty() { "" } else { ":" }
        )?;
        for EvaluationReport { snapshot, at_ms, outcome, cpu_us, wall_us, memory } in &report.evaluations {
            let at = UNIX_EPOCH.checked_add(Duration::from_millis(*at_ms)).map(humantime::format_rfc3339_millis);
            let at = at.map(|at| at.to_string()).unwrap_or_default();
            let outcome = outcome.escape_debug();
            writeln!(f, "  {at}  snapshot {snapshot}  CPU {cpu_us} µs, wall {wall_us} µs, {memory} bytes  {outcome}")?;
        }
        Ok(())
    }
}

struct ShownInterfaces<'a>(&'a Interfaces);

impl Display for ShownInterfaces<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, names) in [("imports", &self.0.imports), ("exports", &self.0.exports)] {
            for name in names {
                writeln!(f, "{what}  {}", name.escape_debug())?;
            }
        }
        Ok(())
    }
}

struct ShownLimits<'a>(&'a LimitsReport);

impl Display for ShownLimits<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let LimitsReport { time_ms, memory, state, alerts } = self.0;
        write!(f, "{time_ms} ms CPU, {memory} bytes of memory, {state} bytes of state, {alerts} alerts")
    }
}
