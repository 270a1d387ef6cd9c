//! Many scrapers at once: do they cost the agent more than their answers' bytes, and does each get one whole page of one
//! snapshot?

use crate::{
    harness::{kafka::Cluster, page::Page, pause},
    measure,
    options::Options,
    process, say,
    scrape::{Scrape, family, lags, scrape},
    seed::Size,
    subject::{self, Subject},
    table,
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// How often each scrapes.
const EVERY: Duration = Duration::from_secs(1);

/// Of so many one takes the page uncompressed.
const ONE_PLAIN_OF: u32 = 10;

/// How long the agent is watched without any, and with one.
const COMPARE: Duration = Duration::from_secs(20);

/// Families without labels that stand on each page once.
const ONCE: &[&str] = &["brokerwarden_snapshots_total", "kafka_brokers"];

/// What scrapers saw.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    bytes: usize,
    failed: Vec<String>,
    /// Each compressed page once, by its hash: they are looked at when time no longer counts.
    pages: HashMap<u64, Scrape>,
}

pub(crate) fn run(cluster: &Cluster, options: &Options, size: Size, scrapers: u32) {
    let started = Instant::now();
    let beside = (options.brokers == 1).then_some(1);
    let mut subject = Subject { processes: vec![subject::agent(cluster, options, beside)] };
    measure::await_lags(&mut subject, size, started).expect("all lags");
    measure::settle(options, size);
    let agent = &subject.processes[0];
    println!(
        "| scrapers, each once a second | CPU s per s | CPU ms per scrape | median ms | 99th of 100, ms | longest, ms \
         | scrapes | MB/s | failed | RSS peak MiB |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut idle = 0.0;
    for (number, time) in [(0, COMPARE), (1, COMPARE), (scrapers, options.duration)] {
        say(&format!("{number} scrapers"));
        let before = process::cpu(agent.id());
        let seen = scrape_all(agent.address(), number, time);
        let cpu = process::cpu(agent.id()).saturating_sub(before).as_secs_f64() / time.as_secs_f64();
        if number == 0 {
            idle = cpu;
        }
        print_row(number, time, cpu, idle, process::memory(agent.id()).1, seen, size);
    }
    subject.processes[0].must_run();
}

fn scrape_all(address: SocketAddr, scrapers: u32, time: Duration) -> Seen {
    let seen = Mutex::new(Seen::default());
    let start = Instant::now();
    thread::scope(|scope| {
        for scraper in 0..scrapers {
            let seen = &seen;
            scope.spawn(move || {
                let gzip = scraper % ONE_PLAIN_OF != ONE_PLAIN_OF - 1;
                // All at once in each second, as bad as it can be.
                for round in 0_u32.. {
                    let due = EVERY * round;
                    if due >= time {
                        return;
                    }
                    pause(due.saturating_sub(start.elapsed()));
                    let answer = scrape(address, gzip);
                    keep(&mut seen.lock().unwrap(), answer);
                }
            });
        }
    });
    pause(time.saturating_sub(start.elapsed()));
    seen.into_inner().unwrap()
}

fn keep(seen: &mut Seen, answer: Result<Scrape, String>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return seen.failed.push(error),
    };
    seen.took.push(answer.took);
    seen.bytes += answer.body.len();
    if answer.gzip {
        let mut hasher = DefaultHasher::new();
        answer.body.hash(&mut hasher);
        seen.pages.entry(hasher.finish()).or_insert(answer);
    } else if let Err(fault) = look(&answer.body) {
        // Too large to keep all, too many to read all strictly.
        seen.failed.push(fault);
    }
}

/// A quick look at an uncompressed page.
fn look(body: &[u8]) -> Result<(), String> {
    let page = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    if !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    match ONCE.iter().find(|name| family(page, name).series != 1) {
        Some(name) => Err(format!("{name} does not stand there once")),
        None => Ok(()),
    }
}

/// A strict one: well-formed, each family in one piece and each series once, and all lags as they are known to be.
fn read(scrape: &Scrape, size: Size) -> Result<(), String> {
    let text = scrape.text()?;
    look(text.as_bytes())?;
    if !measure::is_right(lags(&text), size) {
        return Err(format!("lags are {:?}", lags(&text)));
    }
    Page::parse(text).map(drop)
}

fn print_row(number: u32, time: Duration, cpu: f64, idle: f64, peak: u64, mut seen: Seen, size: Size) {
    let different = seen.pages.len();
    for page in std::mem::take(&mut seen.pages).into_values() {
        if let Err(fault) = read(&page, size) {
            seen.failed.push(fault);
        }
    }
    seen.took.sort_unstable();
    let milliseconds = |at: usize| seen.took.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0);
    let scrapes = seen.took.len();
    let each = (cpu - idle) * time.as_secs_f64() * 1000.0 / f64::from(u32::try_from(scrapes.max(1)).unwrap());
    println!(
        "| {number} | {cpu:.3} | {each:.2} | {:.1} | {:.1} | {:.1} | {scrapes} | {:.1} | {} | {peak} |",
        milliseconds(scrapes / 2),
        milliseconds(scrapes * 99 / 100),
        milliseconds(scrapes.saturating_sub(1)),
        table::megabytes(seen.bytes) / time.as_secs_f64(),
        seen.failed.len(),
    );
    if scrapes > 0 {
        eprintln!("{different} different compressed pages were read strictly");
    }
    for fault in seen.failed.iter().take(5) {
        eprintln!("failed: {fault}");
    }
}
