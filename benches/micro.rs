//! What single steps of a cycle cost, without Kafka: `cargo bench --bench micro`. Sizes are multiples of the smallest of
//! benches/peers: 2,000 partitions, 500 groups, 20,000 commits.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use bare::Bare;
use brokerwarden::{
    bench::{Found, Gzip, Replay, Rule, offset_key, offset_value},
    model::{Timestamp, families},
    page::{self, Config, foreign},
    rules::builtin,
    snapshot::{Exposition, KafkaView, ObservedPage, Snapshot},
};
use bytes::Bytes;
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use flate2::read::GzDecoder;
use regex::Regex;
use std::{io::Read as _, sync::Arc, time::Duration};

#[expect(dead_code, reason = "tests use the rest")]
#[path = "../tests/harness/attacks.rs"]
mod attacks;
#[path = "micro/bare.rs"]
mod bare;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../tests/harness/bombs.rs"]
mod bombs;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../tests/harness/guests.rs"]
mod guests;

/// The sizes, as multiples.
const TIMES: [u32; 2] = [1, 3];

const TOPICS: u32 = 200;
const PARTITIONS: u32 = 10;
const GROUPS: u32 = 500;
const TOPICS_OF_GROUP: u32 = 4;
const OFFSETS_PARTITIONS: u32 = 50;

/// Where logs end now, and the highest lag.
const END: i64 = 20;

/// A minute ago, and now: so that lag in seconds is known as well.
const BEFORE: Timestamp = Timestamp(1_763_888_340_000);
const NOW: Timestamp = Timestamp(1_763_888_400_000);

/// A page of four megabytes, as a broker with 2,000 partitions serves it.
const JMX: &[u8] = include_bytes!("../tests/data/jmx/agent-1.0.1-kafka-4.1.1.txt.gz");

fn main() {
    divan::main();
}

/// A record of `__consumer_offsets`: partition, offset, key, value.
type Record = (u32, i64, Vec<u8>, Vec<u8>);

fn topic(number: u32) -> String {
    format!("topic-{number:04}")
}

/// The commits of all groups, each once.
fn records(times: u32) -> Vec<Record> {
    let mut records = Vec::new();
    let mut offsets = vec![0; usize::try_from(OFFSETS_PARTITIONS).unwrap()];
    for group in 0..GROUPS * times {
        let offsets_partition = group % OFFSETS_PARTITIONS;
        for nth in 0..TOPICS_OF_GROUP {
            let topic = topic((group * TOPICS_OF_GROUP + nth) % (TOPICS * times));
            for partition in 0..PARTITIONS {
                let key = offset_key(&format!("group-{group:04}"), &topic, i32::try_from(partition).unwrap());
                let lag = i64::from(group * 7 + partition) % (END + 1);
                let offset = offsets.get_mut(usize::try_from(offsets_partition).unwrap()).unwrap();
                records.push((offsets_partition, *offset, key, offset_value(END - lag, BEFORE)));
                *offset += 1;
            }
        }
    }
    records
}

fn read(records: &[Record]) -> Replay {
    let mut replay = Replay::new(OFFSETS_PARTITIONS);
    for (partition, offset, key, value) in records {
        assert!(replay.apply(*partition, *offset, key, value));
    }
    (0..OFFSETS_PARTITIONS).for_each(|partition| replay.reached_end(partition));
    replay
}

fn found(times: u32) -> Found {
    let topics: Vec<_> = (0..TOPICS * times).map(|number| (topic(number), PARTITIONS)).collect();
    Found::new(&topics, OFFSETS_PARTITIONS, &[(BEFORE, END / 2), (NOW, END)])
}

fn view(times: u32) -> KafkaView {
    let view = found(times).view(&read(&records(times)), NOW);
    assert_eq!(view.rows.len(), records(times).len());
    view
}

fn snapshot(times: u32) -> Snapshot {
    Snapshot {
        number: 1,
        at: NOW,
        interval: Duration::from_secs(5),
        cluster: "bench".into(),
        kafka: Some(Arc::new(view(times))),
        pages: Vec::new(),
        targets: Vec::new(),
    }
}

fn kafka_part(view: &KafkaView) -> page::kafka::KafkaPart {
    page::kafka::encode(
        view,
        &Config { kafka_exporter: true, max_series: 2_000_000 },
        &mut page::kafka::Sizes::default(),
    )
}

fn jmx_text() -> String {
    let mut text = String::new();
    GzDecoder::new(JMX).read_to_string(&mut text).unwrap();
    text
}

/// Reading the whole offsets topic, as at a start.
#[divan::bench(args = TIMES)]
fn replay(bencher: Bencher<'_, '_>, times: u32) {
    let records = records(times);
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| read(&records));
}

/// From commits and offsets to a view, as in each cycle.
#[divan::bench(args = TIMES)]
fn snapshot_build(bencher: Bencher<'_, '_>, times: u32) {
    let (replay, found) = (read(&records(times)), found(times));
    bencher.bench_local(|| found.view(&replay, NOW));
}

/// The part about Kafka on `/metrics`, as in each cycle.
#[divan::bench(args = TIMES)]
fn encode(bencher: Bencher<'_, '_>, times: u32) {
    let view = view(times);
    bencher.counter(ItemsCount::new(kafka_part(&view).series)).bench_local(|| kafka_part(&view));
}

/// Compressing that part, as in each cycle.
#[divan::bench(args = TIMES)]
fn gzip(bencher: Bencher<'_, '_>, times: u32) {
    let text = kafka_part(&view(times)).text;
    let mut gzip = Gzip::default();
    let length: usize = text.iter().map(Bytes::len).sum();
    bencher.counter(BytesCount::new(length)).bench_local(|| gzip.compress(&text).unwrap());
}

/// Reading a JMX page, as after each walk.
#[divan::bench]
fn jmx_parse(bencher: Bencher<'_, '_>) {
    let text = jmx_text();
    bencher
        .counter(BytesCount::of_str(&text))
        .with_inputs(|| text.clone())
        .bench_local_values(|text| Exposition::parse(text).unwrap());
}

/// Writing all of it into our page, as after each walk.
#[divan::bench]
fn jmx_merge(bencher: Bencher<'_, '_>) {
    let page = Arc::new(Exposition::parse(jmx_text()).unwrap());
    let observed = ObservedPage { target: "broker".into(), page, labels: Arc::default() };
    let keep = [Regex::new("^(?:.*)$").unwrap()];
    let page = foreign::ForeignPage { observed: &observed, keep: &keep, drop: &[] };
    bencher
        .counter(ItemsCount::new(foreign::encode(&[page], families::is_own).series))
        .bench_local(|| foreign::encode(&[page], families::is_own));
}

/// Compressing it, as after each walk.
#[divan::bench]
fn jmx_gzip(bencher: Bencher<'_, '_>) {
    let text = [Bytes::from(jmx_text())];
    let mut gzip = Gzip::default();
    bencher.counter(BytesCount::new(text[0].len())).bench_local(|| gzip.compress(&text).unwrap());
}

/// A rule that asks for next to nothing and raises one alert.
#[divan::bench]
fn rule_trivial(bencher: Bencher<'_, '_>) {
    let rule = Rule::new(&guests::rule("Always", guests::Fault::None), "{}", snapshot(1)).unwrap();
    assert_eq!(rule.evaluate(), Ok(1));
    bencher.bench_local(|| rule.evaluate());
}

/// The same call by wasmtime alone.
#[divan::bench]
fn rule_trivial_bare(bencher: Bencher<'_, '_>) {
    let rule = Bare::new(&guests::rule("Always", guests::Fault::None), 0);
    assert_eq!(rule.evaluate(), 1);
    bencher.bench_local(|| rule.evaluate());
}

/// A rule that asks for all rows in columns and adds up their lag.
fn column_reader() -> Vec<u8> {
    attacks::component(include_str!("../tests/data/guests/table.wat"), "guest")
}

/// So many such rules, one after the other: what they cost in each cycle.
#[divan::bench(args = [1, 100])]
fn rules_columns(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = Rule::new(&column_reader(), "{}", snapshot(1)).unwrap();
    assert_eq!(rule.evaluate(), Ok(1));
    bencher.bench_local(|| (0..rules).try_for_each(|_| rule.evaluate().map(drop)));
}

/// The same calls by wasmtime alone, with answers that are there already.
#[divan::bench(args = [1, 100])]
fn rules_columns_bare(bencher: Bencher<'_, '_>, rules: usize) {
    let rule = Bare::new(&column_reader(), view(1).rows.len());
    assert_eq!(rule.evaluate(), 1);
    bencher.bench_local(|| {
        for _ in 0..rules {
            divan::black_box(rule.evaluate());
        }
    });
}

/// The built-in rule, which asks for the sums of all groups and topics.
#[divan::bench(args = TIMES)]
fn rule_lag_threshold(bencher: Bencher<'_, '_>, times: u32) {
    let module = builtin::builtin("lag-threshold").unwrap();
    let rule = Rule::new(module, r#"{"threshold":1000000}"#, snapshot(times)).unwrap();
    assert_eq!(rule.evaluate(), Ok(0));
    bencher.bench_local(|| rule.evaluate());
}
