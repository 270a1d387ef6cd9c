//! What one collector costs: from its start until it knows all lags, then cycle by cycle.

use crate::{
    harness::{kafka::Cluster, pause},
    options::Options,
    process,
    requests::{Counts, Rates},
    scrape::{self, Family, count_series, scrape},
    seed::Size,
    subject::{Running, Subject, What},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A cycle: what the agent's `interval` is, and how often somebody scrapes.
const CYCLE: Duration = Duration::from_secs(5);

/// Longest wait until all lags are known.
const READY: Duration = Duration::from_mins(3);

/// Between two looks whether they are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Partitions of one leader that the agent asks about the time before its start, in one cycle (`kafka::seeds`).
const SEEDED_AT_ONCE: u32 = 700;

/// Scrapes without compression.
const PLAIN_SCRAPES: u32 = 3;

/// What it cost. Of several processes: all together, but for memory and time, which are the largest's.
pub(crate) struct Cost {
    pub(crate) name: String,
    /// From the start until the page held all lags; `Err` = it never did.
    pub(crate) ready: Result<Duration, String>,
    /// What the page holds.
    pub(crate) series: u64,
    pub(crate) plain_bytes: usize,
    pub(crate) gzip_bytes: usize,
    /// Is each lag the known one (by their sum)?
    pub(crate) right: bool,
    /// By kind, for each cycle.
    pub(crate) requests: BTreeMap<String, f64>,
    /// Seconds for each cycle, with one compressed scrape.
    pub(crate) cpu: f64,
    /// Medians of scrapes.
    pub(crate) plain: Duration,
    pub(crate) gzip: Duration,
    /// MiB.
    pub(crate) memory: u64,
    pub(crate) peak: u64,
}

impl Cost {
    pub(crate) fn all_requests(&self) -> f64 {
        self.requests.values().sum()
    }
}

/// All that the pages of a subject hold together.
struct Pages {
    lags: Family,
    series: u64,
    plain_bytes: usize,
    took: Duration,
}

pub(crate) fn measure(cluster: &Cluster, options: &Options, size: Size, what: &What, idle: &Rates) -> Cost {
    let started = Instant::now();
    let mut subject = what.start(cluster, options);
    let ready = await_lags(&mut subject, size, started);
    settle(options, size);

    let counts = Counts::of(cluster);
    let cpu_before = cpu(&subject);
    let (mut gzip, mut gzip_bytes) = (Vec::new(), 0);
    for _ in 0..options.rounds {
        let cycle = Instant::now();
        let mut slowest = Duration::ZERO;
        gzip_bytes = 0;
        for running in &subject.processes {
            let answer = scrape(running.address(), true).unwrap_or_else(|error| panic!("{}: {error}", what.name()));
            slowest = slowest.max(answer.took);
            gzip_bytes += answer.body.len();
        }
        gzip.push(slowest);
        pause(CYCLE.saturating_sub(cycle.elapsed()));
    }
    let cpu_after = cpu(&subject);
    let counts_after = Counts::of(cluster);
    let seconds = Rates::seconds(&counts, &counts_after);
    let per_cycle = if what.has_its_own_pace() { CYCLE.as_secs_f64() } else { seconds / f64::from(options.rounds) };
    let on_top = Rates::on_top(&counts, &counts_after, idle);

    let mut plain = Vec::new();
    let mut pages = None;
    for _ in 0..PLAIN_SCRAPES {
        let seen = look(&subject).unwrap_or_else(|error| panic!("{}: {error}", what.name()));
        plain.push(seen.took);
        pages = Some(seen);
    }
    let pages = pages.expect("at least one scrape");
    let memory = subject.processes.iter().map(|running| process::memory(running.id()));
    let (memory, peak) = memory.fold((0, 0), |(now, peak), (one, highest)| (one.max(now), highest.max(peak)));
    Cost {
        name: what.name(),
        ready,
        series: pages.series,
        plain_bytes: pages.plain_bytes,
        gzip_bytes,
        right: is_right(pages.lags, size),
        requests: on_top.into_iter().map(|(kind, rate)| (kind, rate * per_cycle)).collect(),
        cpu: cpu_after.saturating_sub(cpu_before).as_secs_f64() / f64::from(options.rounds),
        plain: median(&mut plain),
        gzip: median(&mut gzip),
        memory,
        peak,
    }
}

/// Waits until what only a start costs is over: looks at the time before it, and the compilation of rules.
pub(crate) fn settle(options: &Options, size: Size) {
    let of_one_leader = size.partitions / u32::try_from(options.brokers).unwrap();
    pause(CYCLE * (of_one_leader.div_ceil(SEEDED_AT_ONCE) + 3));
}

/// Scrapes until there is a lag for each commit; how long after the start that was.
pub(crate) fn await_lags(subject: &mut Subject, size: Size, started: Instant) -> Result<Duration, String> {
    loop {
        let reason = match look(subject) {
            Ok(pages) if pages.lags.series >= size.commits() => return Ok(started.elapsed()),
            Ok(pages) => format!("{} of {} lags", pages.lags.series, size.commits()),
            Err(error) => error,
        };
        subject.processes.iter_mut().for_each(Running::must_run);
        if started.elapsed() > READY {
            return Err(format!("not within {READY:?}: {reason}"));
        }
        pause(LOOK_AGAIN);
    }
}

fn look(subject: &Subject) -> Result<Pages, String> {
    let mut all = Pages { lags: Family::default(), series: 0, plain_bytes: 0, took: Duration::ZERO };
    for running in &subject.processes {
        let answer = scrape(running.address(), false)?;
        let text = answer.text()?;
        let lags = scrape::lags(&text);
        all.lags.series += lags.series;
        all.lags.sum += lags.sum;
        all.series += count_series(&text);
        all.plain_bytes += text.len();
        all.took = all.took.max(answer.took);
    }
    Ok(all)
}

/// Are these the lags that were seeded?
#[expect(clippy::float_cmp, reason = "whole numbers")]
pub(crate) fn is_right(lags: Family, size: Size) -> bool {
    let sum = f64::from(u32::try_from(size.lag()).unwrap());
    lags.series == size.commits() && lags.sum == sum
}

fn cpu(subject: &Subject) -> Duration {
    subject.processes.iter().map(|running| process::cpu(running.id())).sum()
}

pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
