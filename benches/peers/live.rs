//! So many commits a second in `__consumer_offsets` while an agent reads it: does it keep up, or say how far it is
//! behind, and does its memory stay bounded? The records are written by a producer, since no broker takes that many
//! commits from so few clients.

use crate::{
    harness::{kafka::Cluster, pause},
    measure,
    options::Options,
    process, say,
    scrape::{family, scrape},
    seed::{RECORDS, Size, group_name, send, topic_name},
    subject::{self, Running, Subject},
};
use brokerwarden::{
    bench::{offset_key, offset_value},
    model::Timestamp,
    snapshot::partition_for,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Brokers take records for their internal topics from a client of this name only.
const CLIENT: &str = "__admin_client";

/// Between two looks at the agent.
const LOOK: Duration = Duration::from_secs(1);

/// Records that are sent without a look at the clock.
const BURST: u64 = 200;

/// Longest wait until all is read that was written.
const CATCH_UP: Duration = Duration::from_mins(3);

/// What the agent said at one moment.
struct Moment {
    at: Duration,
    written: u64,
    behind: f64,
    memory: u64,
    cpu: Duration,
}

/// Were all read that were written?
pub(crate) fn run(cluster: &Cluster, options: &Options, size: Size, rate: u64) -> bool {
    let started = Instant::now();
    let beside = (options.brokers == 1).then_some(1);
    let mut subject = Subject { processes: vec![subject::agent(cluster, options, beside)] };
    measure::await_lags(&mut subject, size, started).expect("all lags");
    measure::settle(options, size);
    let agent = &subject.processes[0];
    let keys = Keys::new(cluster, size);
    say(&format!("{rate} commits a second for {:?}, on {} keys", options.duration, keys.0.len()));

    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let mut moments = vec![observe(agent, start, 0)];
    thread::scope(|scope| {
        scope.spawn(|| {
            write(cluster, &keys, rate, options.duration, &written);
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            pause(LOOK);
            moments.push(observe(agent, start, written.load(Ordering::SeqCst)));
        }
    });
    let wrote = start.elapsed();
    let written = written.into_inner();
    println!("| s | written | said to be behind | RSS MiB | CPU s per s |\n|---|---|---|---|---|");
    for pair in moments.windows(2) {
        let (before, now) = (&pair[0], &pair[1]);
        let cpu = now.cpu.saturating_sub(before.cpu).as_secs_f64() / now.at.saturating_sub(before.at).as_secs_f64();
        println!("| {:.0} | {} | {} | {} | {cpu:.2} |", now.at.as_secs_f64(), now.written, now.behind, now.memory);
    }
    let seconds = wrote.as_secs_f64();
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for people")]
    let reached = written as f64 / seconds;
    println!("\n{written} commits in {seconds:.1} s: {reached:.0} a second");

    let behind = Instant::now();
    let read = await_all(agent, &keys, written);
    match &read {
        Ok(()) => println!("all were read {:.1} s after the last was written", behind.elapsed().as_secs_f64()),
        Err(reason) => println!("NOT all were read: {reason}"),
    }
    let (memory, peak) = process::memory(agent.id());
    println!("RSS: {} MiB before, {memory} MiB after, {peak} MiB at its peak", moments[0].memory);
    subject.processes[0].must_run();
    read.is_ok()
}

/// Every group and partition: where its records go, and their key.
struct Keys(Vec<(i32, Vec<u8>)>);

impl Keys {
    fn new(cluster: &Cluster, size: Size) -> Self {
        let partitions = cluster.client().until_partitions("the offsets topic is there", |partitions| {
            let count = partitions.iter().filter(|partition| partition.topic == OFFSETS_TOPIC).count();
            Some(count).filter(|count| *count > 0).ok_or_else(|| "it is not".to_owned())
        });
        let of_group = |group: u32| {
            let name = group_name(group);
            let at = i32::try_from(partition_for(&name, partitions)).unwrap();
            size.commits_of(group).map(move |(topic, partition, _)| {
                (at, offset_key(&name, &topic_name(topic), i32::try_from(partition).unwrap()))
            })
        };
        Self((0..size.groups).flat_map(of_group).collect())
    }

    /// The offset in the record of that number: within the log, and another one each time.
    fn offset(&self, record: u64) -> i64 {
        let round = record / u64::try_from(self.0.len()).unwrap();
        i64::try_from(round % (u64::from(RECORDS) + 1)).unwrap()
    }
}

fn write(cluster: &Cluster, keys: &Keys, rate: u64, time: Duration, written: &AtomicU64) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap_all())
        .set("client.id", CLIENT)
        .set("acks", "1")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer = config.create().unwrap();
    let (start, mut number) = (Instant::now(), 0);
    while start.elapsed() < time {
        let due = u64::try_from(start.elapsed().as_millis()).unwrap() * rate / 1000;
        if number >= due {
            pause(Duration::from_millis(1));
            continue;
        }
        for _ in 0..BURST {
            let (partition, key) = &keys.0[usize::try_from(number % u64::try_from(keys.0.len()).unwrap()).unwrap()];
            let value = offset_value(keys.offset(number), now());
            send(&producer, || BaseRecord::to(OFFSETS_TOPIC).partition(*partition).key(key).payload(&value));
            number += 1;
        }
        producer.poll(Duration::ZERO);
        written.store(number, Ordering::SeqCst);
    }
    producer.flush(Duration::from_mins(1)).unwrap();
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(now.as_millis()).unwrap())
}

fn observe(agent: &Running, start: Instant, written: u64) -> Moment {
    let page = scrape(agent.address(), true).and_then(|answer| answer.text()).unwrap();
    Moment {
        at: start.elapsed(),
        written,
        behind: family(&page, "brokerwarden_offsets_reader_behind_records").sum,
        memory: process::memory(agent.id()).0,
        cpu: process::cpu(agent.id()),
    }
}

/// Waits until the page has the last commit of every key.
fn await_all(agent: &Running, keys: &Keys, written: u64) -> Result<(), String> {
    let count = u64::try_from(keys.0.len()).unwrap();
    if written < count {
        return Err(format!("only {written} records for {count} keys were written: not each had one"));
    }
    let last: i64 = (written - count..written).map(|record| keys.offset(record)).sum();
    let start = Instant::now();
    loop {
        let page = scrape(agent.address(), true)?.text()?;
        let found = family(&page, "kafka_consumergroup_current_offset");
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            clippy::float_cmp,
            reason = "small whole numbers"
        )]
        if found.sum == last as f64 {
            return Ok(());
        }
        if start.elapsed() > CATCH_UP {
            let behind = family(&page, "brokerwarden_offsets_reader_behind_records").sum;
            return Err(format!("offsets add up to {}, not {last}; said to be behind: {behind}", found.sum));
        }
        pause(Duration::from_millis(200));
    }
}
