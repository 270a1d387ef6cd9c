//! What collectors cost brokers and host: this agent beside other exporters, on the same cluster in the same run.
//! `cargo bench --bench peers -- --help`; README.md has examples. Needs the Kafka that tests/run fetches. Nothing listens
//! or connects beyond 127.0.0.1, and all ends by itself.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that goes wrong is to end loudly; the result is what is printed"
)]

#[expect(dead_code, unused_imports, reason = "tests use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;

mod live;
mod measure;
mod options;
mod process;
mod requests;
mod scrape;
mod scrapers;
mod seed;
mod subject;
mod table;

use clap::Parser as _;
use harness::{kafka::Cluster, pause};
use measure::Cost;
use options::Options;
use requests::Rates;
use seed::Size;
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
};

fn main() -> ExitCode {
    let options = Options::parse();
    let size = match options.size() {
        Ok(size) => size,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    let limit = options.limit;
    std::thread::spawn(move || {
        pause(limit);
        // What was started is killed by its watch, which sees this process end.
        eprintln!("not done within --limit {limit:?}");
        std::process::exit(2);
    });
    println!("{}\n", table::machine(&options));
    say(&format!("a cluster of {} brokers, {}", options.brokers, options.kafka().name()));
    let cluster = Cluster::to_measure(options.kafka(), options.brokers);
    seed::grow(&cluster, Size::NOTHING, size);
    if let Some(scrapers) = options.scrapers {
        scrapers::run(&cluster, &options, size, scrapers);
    } else if let Some(rate) = options.live {
        if !live::run(&cluster, &options, size, rate) {
            return ExitCode::FAILURE;
        }
    } else {
        let costs = measure_all(&cluster, &options, size);
        print!("{}", table::costs(size, options.brokers, &costs));
        if options.growth {
            let larger = size.times(3);
            seed::grow(&cluster, size, larger);
            let larger_costs = measure_all(&cluster, &options, larger);
            print!("\n{}", table::costs(larger, options.brokers, &larger_costs));
            print!("\n{}", table::growth(&costs, &larger_costs));
        }
    }
    ExitCode::SUCCESS
}

/// One collector after the other.
fn measure_all(cluster: &Cluster, options: &Options, size: Size) -> Vec<Cost> {
    say("requests of the brokers among themselves");
    let baseline = Rates::of_idle_cluster(cluster);
    let mut costs = Vec::new();
    for what in options.subjects() {
        say(&what.name());
        let measured = catch_unwind(AssertUnwindSafe(|| measure::measure(cluster, options, size, &what, &baseline)));
        match measured {
            Ok(cost) => costs.push(cost),
            // What was measured before is not to be lost. Without ours there is nothing to compare with.
            Err(_) if !costs.is_empty() => say(&format!("{} could not be measured", what.name())),
            Err(panic) => resume_unwind(panic),
        }
    }
    costs
}

/// Where it is, for those who wait.
fn say(what: &str) {
    eprintln!("[{}] {what}", humantime::format_rfc3339_seconds(std::time::SystemTime::now()));
}
