//! Tables in Markdown.

use crate::{measure::Cost, options::Options, seed::Size};
use std::{fmt::Write as _, fs, process::Command, time::SystemTime};

/// Date, machine and versions, as a table must have them beside it.
pub(crate) fn machine(options: &Options) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = now.split('T').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "{date}; {cores} cores of {model}, {memory} GiB; brokerwarden {} ({commit}) with {} rules{}, {}, {} brokers; \
         all on one machine",
        env!("CARGO_PKG_VERSION"),
        options.rules,
        if options.jmx { " and JMX pages" } else { "" },
        options.kafka().name(),
        options.brokers,
    )
}

/// All costs of one size; in brackets how many times ours.
pub(crate) fn costs(size: Size, brokers: usize, costs: &[Cost]) -> String {
    let Some(ours) = costs.first() else { return String::new() };
    let mut text = format!(
        "| {} partitions, {} groups, {} commits, brokers: {brokers} | requests per cycle | CPU s per cycle \
         | scrape, plain, ms | scrape, gzip, ms | RSS MiB | its peak | ready after s | series | page MB | gzip MB | lags |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        grouped(size.partitions),
        grouped(size.groups),
        grouped(size.commits()),
    );
    for (row, cost) in costs.iter().enumerate() {
        let of = |read: fn(&Cost) -> f64, digits| cell(read(cost), (row > 0).then(|| read(ours)), digits);
        let ready = cost.ready.as_ref().map_or("never".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {ready} | {} | {:.1} | {:.2} | {} |",
            cost.name,
            of(Cost::all_requests, 1),
            of(|cost| cost.cpu, 3),
            of(|cost| cost.plain.as_secs_f64() * 1000.0, 1),
            of(|cost| cost.gzip.as_secs_f64() * 1000.0, 1),
            of(|cost| float(cost.memory), 0),
            of(|cost| float(cost.peak), 0),
            of(|cost| float(cost.series), 0),
            megabytes(cost.plain_bytes),
            megabytes(cost.gzip_bytes),
            if cost.right { "right" } else { "not all right" },
        )
        .unwrap();
    }
    text.push_str("\nRequests per cycle by kind, as brokers counted them:\n\n");
    for cost in costs {
        let kinds: Vec<_> = cost.requests.iter().map(|(kind, rate)| format!("{kind} {rate:.1}")).collect();
        writeln!(text, "- {}: {}", cost.name, kinds.join(", ")).unwrap();
        if let Err(reason) = &cost.ready {
            writeln!(text, "  (did not get ready: {reason})").unwrap();
        }
    }
    text
}

/// How many times as much the larger size costs.
pub(crate) fn growth(small: &[Cost], large: &[Cost]) -> String {
    let mut text =
        "| times as much for three times as much | requests | CPU | scrape, plain | scrape, gzip | its peak \
                    | ready | series |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    let pairs = small.iter().filter_map(|small| Some((small, large.iter().find(|large| large.name == small.name)?)));
    for (small, large) in pairs {
        let of = |read: fn(&Cost) -> f64| times(read(large), read(small));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            small.name,
            of(Cost::all_requests),
            of(|cost| cost.cpu),
            of(|cost| cost.plain.as_secs_f64()),
            of(|cost| cost.gzip.as_secs_f64()),
            of(|cost| float(cost.peak)),
            of(|cost| cost.ready.as_ref().map_or(f64::NAN, std::time::Duration::as_secs_f64)),
            of(|cost| float(cost.series)),
        )
        .unwrap();
    }
    text
}

fn cell(value: f64, ours: Option<f64>, digits: usize) -> String {
    let shown = if value >= 1000.0 { grouped(rounded(value)) } else { format!("{value:.digits$}") };
    ours.map_or_else(|| shown.clone(), |ours| format!("{shown} ({} ×)", times(value, ours)))
}

/// Two digits that count; `–` where there is nothing to compare with.
fn times(value: f64, other: f64) -> String {
    let times = value / other;
    if !times.is_finite() || other <= 0.0 {
        "–".to_owned()
    } else if times >= 10.0 {
        grouped(rounded(times))
    } else {
        format!("{times:.1}")
    }
}

/// With a comma for each thousand.
pub(crate) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for a table")]
fn rounded(value: f64) -> u32 {
    value.round() as u32
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for a table")]
fn float(value: u64) -> f64 {
    value as f64
}

pub(crate) fn megabytes(bytes: usize) -> f64 {
    float(u64::try_from(bytes).unwrap()) / 1e6
}
