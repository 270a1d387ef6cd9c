//! Tests of the simulation: the whole schedule played in memory.

use super::*;
use crate::demo::schedule::{CHECKOUT, LEGACY_IMPORT, LOOP, SLOW_REPORTS, THRESHOLD};

const STEP: Duration = Duration::from_millis(200);

/// Just before the schedule starts again.
const END: Duration = Duration::from_secs(LOOP.as_secs() - 1);

/// A cluster in memory: what was produced and what is committed.
#[derive(Default)]
struct Played {
    ends: Ends,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    offsets_partitions: BTreeMap<String, i32>,
}

impl Played {
    /// Plays up to `until` and calls `look` after each step.
    fn play(until: Duration, mut look: impl FnMut(Duration, &Self)) -> Self {
        let mut played = Self::default();
        let mut simulation = Simulation::new();
        let mut at = Duration::ZERO;
        while at <= until {
            for record in simulation.step(at, &played.ends, Timestamp(1000)) {
                if record.topic == OFFSETS_TOPIC {
                    let group = String::from_utf8(record.key[4..4 + usize::from(record.key[3])].to_vec()).unwrap();
                    let partition = *played.offsets_partitions.entry(group).or_insert(record.partition);
                    assert_eq!(partition, record.partition, "one partition for all records of a group");
                    match record.value {
                        Some(value) => played.values.insert(record.key, value),
                        None => played.values.remove(&record.key),
                    };
                } else {
                    *played.ends.entry(record.topic.into()).or_default().entry(record.partition).or_default() += 1;
                }
            }
            look(at, &played);
            at += STEP;
        }
        played
    }

    fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let value = self.values.get(&records::offset_key(group, topic, partition))?;
        Some(i64::from_be_bytes(value[2..10].try_into().unwrap()))
    }

    fn lag(&self, group: &str, topic: &str) -> i64 {
        let ends = self.ends.get(topic).cloned().unwrap_or_default();
        ends.iter().filter_map(|(p, end)| Some(end - self.committed(group, topic, *p)?)).sum()
    }
}

/// The stretches of time in which the lag is above the threshold; commits make it dip for less than 2 s.
fn above(group: &str, topic: &str, until: Duration) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    let mut over = false;
    Played::play(until, |at, played| {
        let now = played.lag(group, topic) > i64::from(THRESHOLD);
        match (over, now) {
            (false, true) if spans.last().is_none_or(|(_, to)| to + 2 < at.as_secs()) => {
                spans.push((at.as_secs(), u64::MAX));
            }
            (true, false) => spans.last_mut().unwrap().1 = at.as_secs(),
            _ => {}
        }
        over = now;
    });
    spans
}

#[test]
fn checkout_is_over_the_threshold_once_a_round_for_long_enough_to_fire() {
    let spans = above(CHECKOUT, "orders", LOOP + END);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for ((from, to), start) in spans.iter().zip([0, LOOP.as_secs()]) {
        assert!((9..15).contains(&(from - start)) && (30..36).contains(&(to - start)), "{spans:?}");
    }
}

#[test]
fn slow_reports_falls_behind_steadily_and_catches_up() {
    let spans = above(SLOW_REPORTS, "payments", END);
    assert!(matches!(spans[..], [(20..35, 60..70)]), "{spans:?}");
    let end = Played::play(END, |_, _| {});
    assert!(end.lag(SLOW_REPORTS, "payments") < 60);
}

#[test]
fn billing_keeps_up_and_no_commit_is_beyond_the_end() {
    let all = Played::play(LOOP, |at, played| {
        assert!(played.lag("billing", "orders") < 100, "{at:?}");
        for group in GROUPS {
            for (topic, _) in group.reads {
                let none = BTreeMap::new();
                for (partition, end) in played.ends.get(*topic).unwrap_or(&none) {
                    assert!(played.committed(group.name, topic, *partition).is_none_or(|offset| offset <= *end));
                }
            }
        }
    });
    assert!(all.committed("fraud-check", "payments", 1).is_some());
    assert_eq!(all.committed("fraud-check", "payments", 2), None, "one partition is never committed");
}

#[test]
fn a_deleted_group_leaves_nothing_and_comes_back_at_the_end() {
    let mut seen = Vec::new();
    let all = Played::play(LOOP, |_, played| {
        let keys = [records::offset_key(LEGACY_IMPORT, "audit", 0), records::group_key(LEGACY_IMPORT)];
        let there = keys.map(|key| played.values.contains_key(&key));
        if seen.last() != Some(&there) {
            seen.push(there);
        }
    });
    assert_eq!(seen, [[true, true], [false, false], [true, true]]);
    assert!(all.lag(LEGACY_IMPORT, "audit") < 30);
}

#[test]
fn after_a_long_pause_only_a_little_is_made_up_for() {
    let mut simulation = Simulation::new();
    simulation.step(Duration::ZERO, &Ends::new(), Timestamp(0));
    let records = simulation.step(Duration::from_hours(24), &Ends::new(), Timestamp(0));
    assert!(records.len() < 400, "{}", records.len());
}

#[test]
fn partitions_are_dealt_out_to_all_members() {
    assert_eq!(share(&[("t", 5), ("u", 1)], 0, 2), [("t", vec![0, 2, 4]), ("u", vec![0])]);
    assert_eq!(share(&[("t", 5), ("u", 1)], 1, 2), [("t", vec![1, 3]), ("u", vec![])]);
}
