use super::*;
use crate::{
    alerts::{AlertKey, Phase},
    model::{BrokerId, Labels, Subject, Timestamp},
    snapshot::{
        Age, Asked, Broker, Exposition, Group, GroupKind, KafkaView, LagRow, LagStatus, ObservedPage, Partition, Share,
        TargetState, Topic,
    },
};
use std::{sync::Arc, time::Duration};

fn header() -> Header {
    let mut rule = RecordedRule { name: "r".into(), config: "{}".into(), ..RecordedRule::default() };
    rule.remember("key", &[0, 255]);
    Header {
        format: String::new(),
        version: 0,
        agent: "0.1.0".into(),
        started_ms: 7,
        configuration: "http: {}\n".into(),
        rules: vec![rule],
        alerts: vec![RecordedAlert::from(&alert())],
    }
}

fn alert() -> Alert {
    Alert {
        key: AlertKey { rule: "r".into(), name: "A".into(), labels: Labels::from([("a".into(), "b\"\n".into())]) },
        subject: Subject::Group("g".into()),
        annotations: Labels::new(),
        value: Some(0.1),
        phase: Phase::Firing,
        active_at: Timestamp(1),
        fired_at: Some(Timestamp(2)),
        resolved_at: None,
        keep_firing_since: Some(Timestamp(3)),
        last_sent: None,
    }
}

/// All that a snapshot can have, different at each number.
fn snapshot(number: u64) -> Snapshot {
    let offset = i64::try_from(number).unwrap();
    let mut rows = vec![
        LagRow::new(0, "t".into(), 0, Some(offset * 10), Some(Timestamp(number)), Some(0), Some(offset * 12)),
        LagRow::new(0, "t".into(), 1, None, None, None, Some(4)),
        LagRow::new(1, "u".into(), 0, None, None, None, None),
    ];
    rows[0].age = Some(Age { time: Duration::from_millis(number * 100), at_least: number.is_multiple_of(2) });
    rows[0].last_stable = (number > 1).then_some(3);
    rows[2].status = LagStatus::Unknown;
    rows.truncate(if number == 3 { 2 } else { 3 });
    let group = |name: &str, state| Group {
        name: name.into(),
        kind: GroupKind::Share,
        state,
        members: Some(2),
        coordinator: Some(BrokerId(4)),
        ours: name == "g",
    };
    let partition = |id| Partition {
        id,
        leader: (number != 2).then_some(BrokerId(1)),
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: vec![BrokerId(1)],
        log_start: None,
        log_end: Some(offset * 12),
        last_stable: None,
        ours: id == 0,
    };
    let view = KafkaView {
        at: Timestamp(number * 1000),
        cluster_id: Some("id".into()),
        broker_id: Some(BrokerId(1)),
        answers_for_cluster: true,
        brokers: vec![Broker { id: BrokerId(1), address: "a:1".into() }],
        topics: vec![Topic { name: "t".into(), partitions: vec![partition(0), partition(1)], ours: true }],
        groups: vec![group("g", if number == 2 { "Empty" } else { "Stable" }), group("h", "Unknown")],
        rows,
        incomplete: number == 1,
        failed_topics: vec!["x".into()],
        offsets_partitions: vec![Some(Share::Ours), Some(Share::Followed), Some(Share::Elsewhere), None],
        asked: Some(Asked { all_listed: true, unobserved: vec!["z".into()] }),
        hide_inactive: true,
        ..KafkaView::default()
    };
    let page = |target: &str, text: String| ObservedPage {
        target: target.into(),
        page: Arc::new(Exposition::parse(text).unwrap()),
        labels: Arc::new(Labels::from([("rack".into(), "r".into())])),
    };
    let mut pages = vec![page("broker", format!("# HELP a \\n x\na 1\nb{{c=\"d\"}} {number}\ne 2\nf 3\n"))];
    if number != 2 {
        pages.push(page("other", String::new()));
    }
    Snapshot {
        number,
        at: Timestamp(number * 1000 + 5),
        interval: Duration::from_secs(1),
        cluster: "c".into(),
        kafka: (number != 4).then(|| Arc::new(view)),
        pages,
        targets: vec![TargetState {
            name: "kafka".into(),
            up: number != 4,
            last_success: Some(Timestamp(3)),
            reason: None,
        }],
    }
}

fn recorded(numbers: &[u64]) -> Vec<u8> {
    let mut recorder = Recorder::default();
    let mut bytes = recorder.begin(header()).unwrap();
    for number in numbers {
        bytes.extend(recorder.snapshot(&snapshot(*number), &[u8::try_from(*number).unwrap(); 32]).unwrap());
    }
    bytes
}

#[test]
fn what_was_recorded_comes_back_as_it_was() {
    let numbers = [1, 2, 3, 4, 5, 6];
    let bytes = recorded(&numbers);
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert_eq!(alerts(&reader.header), [alert()]);
    assert_eq!(reader.header.rules[0].remembered(), Some(vec![("key", vec![0, 255])]));
    for number in numbers {
        let (found, seed) = reader.next_snapshot().unwrap().unwrap();
        // Debug shows all there is, and nothing here compares by itself.
        assert_eq!(format!("{found:#?}"), format!("{:#?}", snapshot(number)));
        assert_eq!(seed, [u8::try_from(number).unwrap(); 32]);
    }
    assert!(reader.next_snapshot().unwrap().is_none() && !reader.broke_off());
    assert_eq!(bytes, recorded(&numbers), "the same bytes each time");
}

#[test]
fn a_recording_that_broke_off_is_a_shorter_one() {
    let (whole, shorter) = (recorded(&[1, 2, 3]), recorded(&[1, 2]));
    for end in [shorter.len() + 1, shorter.len() + 15, whole.len() - 20] {
        let mut reader = Reader::new(&whole[..end]).unwrap();
        assert!(reader.next_snapshot().unwrap().is_some() && reader.next_snapshot().unwrap().is_some());
        assert!(reader.next_snapshot().unwrap().is_none(), "cut at {end}");
        assert!(reader.broke_off());
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn other_files_and_versions_are_refused() {
    let refused = |bytes: &[u8]| Reader::new(bytes).err().unwrap().to_string();
    for text in ["", "x\n", "{}\n", "{\"format\":\"other\",\"version\":1}\n"] {
        assert_eq!(refused(&gzip(text)), "it is no recording of brokerwarden", "{text}");
    }
    assert_eq!(refused(b"plain text"), "it is no recording of brokerwarden");
    let later = gzip("{\"format\":\"brokerwarden-recording\",\"version\":2}\n");
    assert_eq!(refused(&later), "it has version 2 of the format; this program reads version 1");
}

#[test]
fn a_line_that_lies_is_an_error_and_no_panic() {
    let mut recorder = Recorder::default();
    let begin = recorder.begin(header()).unwrap();
    let mut text = String::new();
    let first = recorder.snapshot(&snapshot(1), &[1; 32]).unwrap();
    MultiGzDecoder::new(&first[..]).read_to_string(&mut text).unwrap();
    let lies = [
        ("\"number\":1", "\"number\":-1", "invalid value"),
        ("[0,\"t\",0]", "[7,\"t\",0]", "the group of a row cannot be"),
        ("[0,\"t\",0],", "", "its columns cannot be"),
        ("\"Stable\"", "\"Odd\"", "the state of a group cannot be"),
        ("\"off", "\"off_", "missing field"),
        ("\"seed\":\"01", "\"seed\":\"0", "its seed cannot be"),
        ("\"ofe?\"", "\"ofx?\"", "its offsets_partitions cannot be"),
        ("\"a 1\"", "\"a a a\"", "the text of a page cannot be"),
    ];
    for (from, to, want) in lies {
        assert!(text.contains(from), "{from} in {text}");
        let bytes = [begin.clone(), gzip(&text.replacen(from, to, 1))].concat();
        let error = Reader::new(&bytes[..]).unwrap().next_snapshot().unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && error.contains(want), "{error}");
    }
}

/// A big cluster that does not change much costs little.
#[test]
fn what_does_not_change_costs_nothing() {
    let view = |cycle: i64| {
        let group = |number: u32| Group {
            name: format!("group-{number:05}").into(),
            kind: GroupKind::Classic,
            state: "Stable",
            members: Some(1),
            coordinator: None,
            ours: true,
        };
        let row = |at: i64| {
            let moved = if at % 10 == 0 { cycle * 7 } else { 0 };
            LagRow::new(
                u32::try_from(at / 40).unwrap(),
                "topic".into(),
                u32::try_from(at % 40).unwrap(),
                Some(at + moved),
                None,
                Some(0),
                Some(at + 100 + moved),
            )
        };
        KafkaView {
            groups: (0..500).map(group).collect(),
            rows: (0..20_000).map(row).collect(),
            ..KafkaView::default()
        }
    };
    let mut recorder = Recorder::default();
    let mut piece = |cycle: i64| {
        let kafka = Some(Arc::new(view(cycle)));
        recorder.snapshot(&Snapshot { kafka, pages: vec![], ..snapshot(1) }, &[0; 32]).unwrap().len()
    };
    let (first, second) = (piece(0), piece(1));
    println!("20,000 rows: first {first} bytes, then {second}");
    assert!(first < 200_000 && second < 5_000, "{first} {second}");
}
