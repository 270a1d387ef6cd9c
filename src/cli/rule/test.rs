//! `brokerwarden rule test`.

use super::{
    super::{EXIT_CHECK_FAILED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE, log},
    cache::{NoRule, Rules, module},
};
use crate::{
    config::Problem,
    ruletest::{self, Styles, case::CasesFile},
};
use regex::Regex;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

pub(super) fn main(files: &[PathBuf], run: Option<&str>, rule: Option<&str>) -> ExitCode {
    let guard = log::start("warn", log::LogFormat::Text);
    let code = test(files, run, rule).unwrap_or_else(|(code, text)| {
        eprintln!("{text}");
        code
    });
    drop(guard);
    ExitCode::from(code)
}

/// The exit code, with what to say where that was not said yet.
fn test(files: &[PathBuf], run: Option<&str>, rule: Option<&str>) -> Result<u8, (u8, String)> {
    let usage = |text: String| (EXIT_USAGE, text);
    let filter = run.map(Regex::new).transpose().map_err(|error| usage(format!("--run: {error}")))?;
    // All of them before the first is run: what cannot be understood is told at once.
    let read: Vec<_> = files.iter().map(|path| (path, cases(path, rule))).collect();
    let unusable: Vec<_> = read.iter().filter_map(|(_, cases)| cases.as_ref().err()).map(String::as_str).collect();
    if !unusable.is_empty() {
        return Err(usage(unusable.join("\n")));
    }
    let mut rules = Rules::new().map_err(|text| (EXIT_RUNTIME, text))?;
    let terminal = std::io::stdout().is_terminal();
    let styles = if terminal { Styles::COLOURED } else { Styles::PLAIN };
    let (mut ran, mut failed) = (0usize, 0usize);
    for (path, file) in read.into_iter().filter_map(|(path, file)| Some((path, file.ok()?))) {
        let (of_file, bad) = run_file(&mut rules, path, &file, rule, filter.as_ref(), &styles)?;
        ran = ran.saturating_add(of_file);
        failed = failed.saturating_add(bad);
    }
    if ran == 0 {
        return Err(usage(format!("no case has a name that --run {:?} finds", run.unwrap_or_default())));
    }
    Ok(if failed == 0 { EXIT_OK } else { EXIT_CHECK_FAILED })
}

/// Reads a file of cases. The error names all its problems.
fn cases(path: &Path, rule: Option<&str>) -> Result<CasesFile, String> {
    let shown = path.display();
    let unreadable = |error: &dyn std::fmt::Display| format!("cannot read {shown}: {error}");
    let bytes = crate::files::read_short(path, ruletest::MAX_CASES_BYTES).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let listed = |problems: Vec<Problem>| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("{shown}: {problem}")).collect();
        lines.join("\n")
    };
    let file = ruletest::parse(&text, folder).map_err(listed)?;
    if file.module.is_none() && rule.is_none() {
        return Err(format!(
            "{shown}: rule: missing; allowed: a .wasm file, builtin:NAME, or --rule on the command line"
        ));
    }
    Ok(file)
}

/// Runs the cases of a file and tells of them: how many ran, how many failed.
fn run_file(
    rules: &mut Rules,
    path: &Path,
    file: &CasesFile,
    rule: Option<&str>,
    filter: Option<&Regex>,
    styles: &Styles,
) -> Result<(usize, usize), (u8, String)> {
    let cases: Vec<_> =
        file.cases.iter().filter(|case| filter.is_none_or(|filter| filter.is_match(&case.name))).collect();
    let Some(module) = rule.map(module).or_else(|| file.module.clone()).filter(|_| !cases.is_empty()) else {
        return Ok((0, 0));
    };
    let (code, name) = rules.load(&module).map_err(|error| match error {
        NoRule::Unreadable(text) => (EXIT_USAGE, format!("{}: rule: {text}", path.display())),
        NoRule::Refused(text) => (EXIT_CHECK_FAILED, text),
    })?;
    let mut reports = String::new();
    let mut failed = 0usize;
    let mut took = Duration::ZERO;
    for case in &cases {
        let started = Instant::now();
        let faults = ruletest::run(&rules.host, &code, &name, case);
        took = took.saturating_add(started.elapsed());
        if !faults.is_empty() {
            failed = failed.saturating_add(1);
            let name = format!("{:?}", case.name);
            reports.extend(["  ", &styles.bad(&name), "\n", &ruletest::report(&faults, styles)]);
        }
    }
    let count = cases.len();
    let shown = path.display();
    if failed == 0 {
        println!("{}    {shown}: {count} cases, {:.1} ms", styles.good("ok"), took.as_secs_f64() * 1000.0);
    } else {
        println!("{}  {shown}: {failed} of {count} cases failed", styles.bad("FAIL"));
        print!("{reports}");
    }
    Ok((count, failed))
}
