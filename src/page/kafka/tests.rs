use super::*;
use crate::{
    model::{BrokerId, Timestamp},
    page::segments::Compressor,
    snapshot::{Age, GroupKind},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

const COMPATIBLE: Config = Config { kafka_exporter: true, max_series: 1000 };
const OWN_WAY: Config = Config { kafka_exporter: false, max_series: 1000 };
const OWN_FAMILIES: &[&str] = &[
    "kafka_consumergroup_commit_timestamp_seconds",
    "kafka_consumergroup_info",
    "kafka_consumergroup_lost_records",
    "kafka_consumergroup_state",
    "kafka_topic_partition_last_stable_offset",
];

fn partition(id: u32, log_end: i64) -> Partition {
    Partition {
        id,
        leader: Some(BrokerId(1)),
        replicas: vec![BrokerId(1)],
        in_sync: vec![BrokerId(1)],
        log_start: Some(0),
        log_end: Some(log_end),
        last_stable: None,
        ours: true,
    }
}

fn topic(name: &str, ends: &[i64]) -> Topic {
    let partitions = (0..).zip(ends).map(|(id, end)| partition(id, *end)).collect();
    Topic { name: name.into(), partitions, ours: true }
}

fn encode_anew(view: &KafkaView, config: &Config) -> KafkaPart {
    encode(view, config, &mut Sizes::default())
}

fn group(name: &str, members: u32) -> Group {
    Group {
        name: name.into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(members),
        coordinator: Some(BrokerId(1)),
        ours: true,
    }
}

fn row(group: u32, topic: &str, partition: u32, committed: Option<i64>, end: Option<i64>) -> LagRow {
    let at = committed.map(|_| Timestamp(1_763_888_400_123));
    LagRow::new(group, topic.into(), partition, committed, at, Some(0), end)
}

/// The cluster that the fixtures were made on. The ends of the offsets topic move, so they come from the fixture.
fn small_cluster(fixture: &str) -> KafkaView {
    let mut ends = [0; 50];
    for line in fixture.lines() {
        let Some(rest) = line.strip_prefix("kafka_topic_partition_current_offset{partition=\"") else { continue };
        let (partition, rest) = rest.split_once('"').unwrap();
        if let Some(value) = rest.strip_prefix(",topic=\"__consumer_offsets\"} ") {
            ends[partition.parse::<usize>().unwrap()] = value.parse().unwrap();
        }
    }
    KafkaView {
        answers_for_cluster: true,
        brokers: vec![Broker { id: BrokerId(1), address: "127.0.0.1:19092".into() }],
        topics: vec![topic("__consumer_offsets", &ends), topic("orders", &[30, 30, 30]), topic("test-topic", &[250])],
        groups: vec![group("assignment-group", 0), group("billing", 0), group("live", 1)],
        rows: vec![
            row(0, "test-topic", 0, Some(100), Some(250)),
            row(1, "orders", 0, Some(30), Some(30)),
            row(1, "orders", 1, Some(10), Some(30)),
            row(1, "orders", 2, None, Some(30)),
            row(2, "orders", 0, Some(30), Some(30)),
            row(2, "orders", 1, Some(30), Some(30)),
            row(2, "orders", 2, Some(30), Some(30)),
        ],
        ..KafkaView::default()
    }
}

fn page(view: &KafkaView, config: &Config) -> String {
    String::from_utf8(encode_anew(view, config).text.concat()).unwrap()
}

#[test]
fn every_line_of_kafka_exporter_is_ours_byte_for_byte_and_none_is_made_up() {
    let new = include_str!("../../../tests/data/kafka_exporter-1.9.0.txt");
    let old = include_str!("../../../tests/data/kafka_exporter-1.4.2.txt");
    let of_kafka = |line: &&str| line.contains("kafka_") && !line.contains("kafka_exporter_build_info");
    let mut theirs = BTreeSet::new();
    for fixture in [new, old] {
        let ours = page(&small_cluster(fixture), &COMPATIBLE);
        let ours: BTreeSet<_> = ours.lines().collect();
        let missing: Vec<_> = fixture.lines().filter(of_kafka).filter(|line| !ours.contains(line)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
        theirs.extend(fixture.lines().filter(of_kafka));
    }
    let ours = page(&small_cluster(new), &COMPATIBLE);
    let more: Vec<_> = ours
        .lines()
        .filter(|line| !theirs.contains(line) && !OWN_FAMILIES.iter().any(|family| line.contains(family)))
        .collect();
    assert!(more.is_empty(), "{more:#?}");
    assert!(ours.contains(
        "\nkafka_consumergroup_commit_timestamp_seconds{consumergroup=\"billing\",partition=\"1\",topic=\"orders\"} \
         1.763888400123e+09\n"
    ));
}

#[test]
fn last_stable_offsets_stand_where_they_are_told() {
    let mut view = small_cluster("");
    assert!(!page(&view, &COMPATIBLE).contains("last_stable"));
    let partition =
        view.topics.iter_mut().find(|topic| &*topic.name == "orders").unwrap().partitions.first_mut().unwrap();
    partition.last_stable = Some(7);
    let line = "\nkafka_topic_partition_last_stable_offset{partition=\"0\",topic=\"orders\"} 7\n";
    assert!(page(&view, &COMPATIBLE).contains(line));
}

#[test]
fn families_are_sorted_and_each_stands_once() {
    let text = page(&small_cluster(""), &COMPATIBLE);
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.is_sorted() && families.len() == families.iter().collect::<BTreeSet<_>>().len(), "{families:?}");
    let mut of = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            of = rest.split_once(' ').unwrap().0;
        } else if !line.starts_with('#') {
            assert_eq!(line.split(['{', ' ']).next(), Some(of));
        }
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(usize::try_from(encode_anew(&small_cluster(""), &COMPATIBLE).series), Ok(series));
}

#[test]
fn unknown_is_not_printed() {
    let mut view = small_cluster("");
    view.brokers.clear();
    view.groups[2].members = None;
    let partition = &mut view.topics[2].partitions[0];
    (partition.leader, partition.log_start, partition.log_end) = (None, None, None);
    partition.replicas.clear();
    partition.in_sync.clear();
    view.rows[0] = row(0, "test-topic", 0, Some(100), None);
    for config in [COMPATIBLE, OWN_WAY] {
        let text = page(&view, &config);
        for gone in [
            "kafka_brokers",
            "kafka_broker_info",
            "members{consumergroup=\"live\"}",
            "lag{consumergroup=\"assignment-group\"",
            "lag_sum{consumergroup=\"assignment-group\"",
            "partition=\"0\",topic=\"test-topic\"} 0",
            "partition=\"0\",topic=\"test-topic\"} 1\n",
        ] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        for there in [
            "current_offset{consumergroup=\"assignment-group\",partition=\"0\",topic=\"test-topic\"} 100\n",
            "current_offset_sum{consumergroup=\"assignment-group\",topic=\"test-topic\"} 100\n",
            "kafka_topic_partitions{topic=\"test-topic\"} 1\n",
        ] {
            assert!(text.contains(there), "{there} not in {text}");
        }
    }
}

#[test]
fn lost_and_ahead_are_told_as_they_are() {
    let mut view = small_cluster("");
    view.rows[0] = LagRow::new(0, "test-topic".into(), 0, Some(40), None, Some(60), Some(100));
    view.rows[1] = LagRow::new(1, "orders".into(), 0, Some(110), None, Some(0), Some(100));
    let text = page(&view, &COMPATIBLE);
    let of = "{consumergroup=\"assignment-group\",partition=\"0\",topic=\"test-topic\"}";
    assert!(text.contains(&format!("kafka_consumergroup_lag{of} 60\n")), "{text}");
    assert!(text.contains(&format!("kafka_consumergroup_lost_records{of} 20\n")), "{text}");
    assert_eq!(text.matches("kafka_consumergroup_lost_records{").count(), 1);
    assert!(text.contains("kafka_consumergroup_lag{consumergroup=\"billing\",partition=\"0\",topic=\"orders\"} -10\n"));
}

#[test]
fn lag_in_seconds_is_told_where_it_is_known_and_marked_where_it_is_a_bound() {
    let mut view = small_cluster("");
    let text = page(&view, &COMPATIBLE);
    assert!(!text.contains("lag_seconds"), "nothing is known: {text}");
    view.rows[0].age = Some(Age { time: Duration::from_hours(48), at_least: true });
    view.rows[1].age = Some(Age::CAUGHT_UP);
    view.rows[2].age = Some(Age { time: Duration::from_micros(2_500_999), at_least: false });
    let text = page(&view, &COMPATIBLE);
    let told = |family: &str| text.lines().filter_map(|line| line.strip_prefix(family)).collect::<Vec<_>>();
    assert_eq!(
        told("kafka_consumergroup_lag_seconds{consumergroup="),
        [
            r#""assignment-group",partition="0",topic="test-topic"} 172800"#,
            r#""billing",partition="0",topic="orders"} 0"#,
            r#""billing",partition="1",topic="orders"} 2.5"#,
        ]
    );
    assert_eq!(
        told("kafka_consumergroup_lag_seconds_is_minimum{consumergroup="),
        [r#""assignment-group",partition="0",topic="test-topic"} 1"#]
    );
    let left_out = |view: &KafkaView| encode_anew(view, &Config { max_series: 0, ..COMPATIBLE }).left_out;
    assert_eq!(left_out(&view), left_out(&small_cluster("")) + 4, "they count like any other");
}

#[test]
fn only_our_share_is_told() {
    let mut view = small_cluster("");
    view.answers_for_cluster = false;
    view.groups[0].ours = false;
    view.topics[1].ours = false;
    view.topics[1].partitions[1].ours = false;
    let text = page(&view, &COMPATIBLE);
    for gone in [
        "kafka_broker",
        "assignment-group",
        "kafka_topic_partitions{topic=\"orders\"",
        "\"1\",topic=\"orders\"} 30\nkafka_topic",
    ] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert!(!text.contains("kafka_topic_partition_leader{partition=\"1\",topic=\"orders\"}"));
    assert!(text.contains("kafka_topic_partition_leader{partition=\"0\",topic=\"orders\"} 1\n"));
    assert!(text.contains("kafka_consumergroup_lag_sum{consumergroup=\"billing\",topic=\"orders\"} 20\n"));
}

#[test]
fn states_and_kinds_are_labels() {
    let mut view = small_cluster("");
    view.groups[1].coordinator = None;
    view.groups[2].state = "Unknown";
    let text = page(&view, &COMPATIBLE);
    for there in [
        "kafka_consumergroup_info{consumergroup=\"assignment-group\",coordinator=\"1\",kind=\"classic\"} 1\n",
        "kafka_consumergroup_info{consumergroup=\"billing\",coordinator=\"\",kind=\"classic\"} 1\n",
        "kafka_consumergroup_state{consumergroup=\"assignment-group\",state=\"Stable\"} 1\n",
    ] {
        assert!(text.contains(there), "{there} not in {text}");
    }
    assert!(!text.contains("state=\"Unknown\""));
}

#[test]
fn groups_without_members_can_be_hidden() {
    let mut view = small_cluster("");
    view.hide_inactive = true;
    let text = page(&view, &COMPATIBLE);
    assert!(!text.contains("\"billing\"") && !text.contains("\"assignment-group\""), "{text}");
    assert!(text.contains("kafka_consumergroup_lag_sum{consumergroup=\"live\",topic=\"orders\"} 0\n"));
    assert!(text.contains("kafka_topic_partitions{topic=\"test-topic\"} 1\n"));
    view.groups[1].members = None;
    assert!(page(&view, &COMPATIBLE).contains("\"billing\""), "what is not known is not hidden");
}

#[test]
fn without_compatibility_there_is_no_minus_one() {
    let text = page(&small_cluster(""), &OWN_WAY);
    assert!(!text.contains(" -1\n"), "{text}");
    assert!(text.contains("kafka_consumergroup_current_offset_sum{consumergroup=\"billing\",topic=\"orders\"} 40\n"));
    assert!(text.contains("kafka_consumergroup_lag_sum{consumergroup=\"billing\",topic=\"orders\"} 20\n"));
    let mut nowhere = small_cluster("");
    nowhere.rows = vec![row(1, "orders", 0, None, Some(30))];
    for config in [COMPATIBLE, OWN_WAY] {
        assert!(!page(&nowhere, &config).contains("_sum{"), "a sum of nothing is not 0");
    }
}

#[test]
fn too_many_series_leave_the_sums() {
    let view = small_cluster("");
    let all = encode_anew(&view, &COMPATIBLE);
    let most = Config { max_series: all.series, ..COMPATIBLE };
    assert_eq!((encode_anew(&view, &most).series, encode_anew(&view, &most).left_out), (all.series, 0));
    let fewer = Config { max_series: all.series - 1, ..COMPATIBLE };
    let part = encode_anew(&view, &fewer);
    assert_eq!((part.left_out, part.series), (20, all.series - 20), "7 rows, one of them without a commit");
    let text = String::from_utf8(part.text.concat()).unwrap();
    assert!(!text.contains("lag{") && !text.contains("kafka_consumergroup_current_offset{"));
    assert!(text.contains("kafka_consumergroup_lag_sum{consumergroup=\"billing\",topic=\"orders\"} 20\n"));
}

#[test]
fn rules_see_the_page_without_its_conventions() {
    let view = small_cluster("");
    let mut seen = Vec::new();
    visit(&view, None, &mut |family, labels, value| {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let mut line = format!("{family}{labels} ").into_bytes();
        encode::push_float(&mut line, value);
        seen.push(String::from_utf8(line).unwrap());
    });
    seen.sort();
    let text = page(&view, &OWN_WAY);
    let mut told: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    told.sort_unstable();
    assert_eq!(seen, told);

    let mut lags = Vec::new();
    visit(&view, Some("kafka_consumergroup_lag"), &mut |family, labels, value| {
        assert_eq!(family, "kafka_consumergroup_lag");
        lags.push((labels[0].1.to_owned(), labels[1].1.to_owned(), value));
    });
    assert_eq!(lags.len(), 6);
    assert!(lags.contains(&("billing".into(), "1".into(), 20.0)));
    visit(&view, Some("kafka_unheard_of"), &mut |family, _, _| panic!("{family}"));
}

#[test]
fn hostile_group_names_stay_in_their_quotes() {
    let mut view = small_cluster("");
    view.groups[1].name = "a\"} 1\nkafka_brokers 7\n\\".into();
    let text = page(&view, &COMPATIBLE);
    assert!(text.contains("kafka_consumergroup_members{consumergroup=\"a\\\"} 1\\nkafka_brokers 7\\n\\\\\"} 0\n"));
    assert!(!text.contains("\nkafka_brokers 7"));
}

/// 2,000 partitions, 500 groups, 20,000 commits: kafka_exporter's 59,000 series and ours beside them.
pub(crate) fn big_cluster() -> KafkaView {
    let topics: Vec<_> = (0..200).map(|i| topic(&format!("topic-{i:04}"), &[123_456_789; 10])).collect();
    let groups: Vec<_> = (0..500).map(|i| group(&format!("consumer-group-{i:04}"), 1)).collect();
    let mut rows = Vec::new();
    for (group, number) in (0..500).zip(0u32..) {
        let mut of_group: Vec<&Arc<str>> = (0..4).map(|i| &topics[(group * 7 + i * 13) % 200].name).collect();
        of_group.sort();
        for topic in of_group {
            for partition in 0..10u32 {
                let committed = 123_456_000 + i64::from(partition * number);
                let at = Some(Timestamp(1_763_888_400_123 + u64::from(number)));
                rows.push(LagRow::new(
                    number,
                    Arc::clone(topic),
                    partition,
                    Some(committed),
                    at,
                    Some(0),
                    Some(123_456_789),
                ));
            }
        }
    }
    KafkaView { answers_for_cluster: true, topics, groups, rows, ..KafkaView::default() }
}

#[test]
fn big_pages_are_encoded_and_joined() {
    let view = big_cluster();
    for _ in 0..3 {
        let started = Instant::now();
        let part = encode_anew(&view, &Config { max_series: u64::MAX, ..COMPATIBLE });
        let encoded = started.elapsed();
        let (series, size) = (part.series, part.text.concat().len());
        let started = Instant::now();
        let segments = Compressor::new().segments(part.text, Vec::new()).unwrap();
        let compressed = started.elapsed();
        let small: usize = segments.iter().map(|segment| segment.deflated.len()).sum();
        println!("{series} series, {size} bytes in {encoded:?}, compressed to {small} in {compressed:?}");
        assert_eq!(series, 20_000 * 3 + 2000 * 2 + 500 * 3 + 2000 * 7 + 200);
    }
}
