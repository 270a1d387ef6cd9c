//! What the reader asks about partitions of `__consumer_offsets`: each leader by a call of its own, all under one deadline. One
//! that does not answer costs nothing but what it leads.

use super::{
    client::Handle,
    cluster::OFFSETS_TOPIC,
    ffi::{AdminHandle, Bound, Found},
    reader::Shared,
};
use crate::{
    events::SelfMetrics,
    model::{BrokerId, families},
    supervise::Stop,
};
use rdkafka::{Offset, consumer::Consumer};
use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest wait for a last stable offset, and for a seek.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked for an answer.
const LOOK: Duration = Duration::from_millis(5);

/// Who leads what, as far as that is known.
pub type Leaders = BTreeMap<u32, BrokerId>;

/// Partitions by leader, those of nobody together.
fn by_leader(partitions: impl Iterator<Item = u32>, leaders: &Leaders) -> BTreeMap<Option<BrokerId>, Vec<u32>> {
    let mut parts: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for partition in partitions {
        parts.entry(leaders.get(&partition).copied()).or_default().push(partition);
    }
    parts
}

/// Where logs begin, and where what may be read of them ends; of those partitions whose leaders say both in time.
pub fn bounds(
    handle: &Arc<Handle>,
    partitions: &[u32],
    leaders: &Leaders,
    limit: Duration,
    metrics: &SelfMetrics,
    stop: &Stop,
) -> BTreeMap<u32, (i64, i64)> {
    let Some(admin) = AdminHandle::new(Arc::clone(handle)) else { return BTreeMap::new() };
    let until = Instant::now() + limit;
    let mut waiting = BTreeMap::new();
    for part in by_leader(partitions.iter().copied(), leaders).values() {
        for bound in [Bound::Start, Bound::Stable] {
            metrics.count(&families::KAFKA_REQUESTS, &["ListOffsets"]);
            match admin.bounds(waiting.len(), OFFSETS_TOPIC, part, bound, limit) {
                Ok(()) => {
                    waiting.insert(waiting.len(), bound);
                }
                Err(fault) => tracing::debug!(error = fault.text, "cannot ask for bounds of {OFFSETS_TOPIC}"),
            }
        }
    }
    let mut told: BTreeMap<(u32, Bound), i64> = BTreeMap::new();
    while !waiting.is_empty() && !stop.stopped() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let Some(answer) = admin.next(left.min(LOOK)) else { continue };
        let Some(bound) = waiting.remove(&answer.call) else { continue };
        match answer.found {
            Ok(Found::Offsets(offsets)) => {
                told.extend(offsets.into_iter().map(|(_, partition, offset)| ((partition, bound), offset)));
            }
            Ok(_) => {}
            Err(fault) => tracing::debug!(error = fault.text, "no bounds of {OFFSETS_TOPIC}"),
        }
    }
    let both = |partition: &u32| {
        let of = |bound| told.get(&(*partition, bound)).copied();
        Some((*partition, (of(Bound::Start)?, of(Bound::Stable)?)))
    };
    partitions.iter().filter_map(both).collect()
}

/// The last records of a partition may be transaction markers, which are never delivered, and whose end was signalled
/// before it was known that they are there. Where the last stable offset has reached the end in question (so that no
/// open transaction holds us up), reading from our position again makes librdkafka signal the end once more. Reading goes on
/// while leaders are asked.
#[derive(Default)]
pub struct Rechecks {
    admin: Option<AdminHandle>,
    /// What waits for an answer, by the end in question.
    asked: BTreeMap<u32, i64>,
    until: Option<Instant>,
    /// Number of the next call, and of the first one of those that matter.
    call: usize,
    first: usize,
}

impl Rechecks {
    /// Takes answers, and asks about what is to be looked at once nothing is under way. Of another handle nothing is known.
    pub fn turn(&mut self, handle: &Arc<Handle>, shared: &Shared, metrics: &SelfMetrics) {
        if self.asked.is_empty() {
            let mut state = shared.lock();
            if state.recheck.is_empty() {
                return;
            }
            self.asked = mem::take(&mut state.recheck);
            let leaders = state.leaders.clone();
            drop(state);
            self.ask(handle, &leaders, metrics);
            return;
        }
        while let Some(answer) = self.admin.as_ref().and_then(|admin| admin.next(Duration::ZERO)) {
            match answer.found {
                Ok(Found::Offsets(offsets)) if answer.call >= self.first => {
                    for (_, partition, offset) in offsets {
                        if let Some(end) = self.asked.remove(&partition).filter(|end| offset >= *end) {
                            read_again(handle, shared, partition, end);
                        }
                    }
                }
                // Late, or another answer than was asked for.
                Ok(_) => {}
                Err(fault) => tracing::debug!(error = fault.text, "no last stable offset"),
            }
        }
        if self.until.is_none_or(|until| Instant::now() >= until) {
            self.asked.clear();
        }
    }

    fn ask(&mut self, handle: &Arc<Handle>, leaders: &Leaders, metrics: &SelfMetrics) {
        if self.admin.is_none() {
            self.admin = AdminHandle::new(Arc::clone(handle));
        }
        self.until = Some(Instant::now() + RECHECK_TIMEOUT);
        self.first = self.call;
        let Some(admin) = &self.admin else { return };
        for part in by_leader(self.asked.keys().copied(), leaders).values() {
            metrics.count(&families::KAFKA_REQUESTS, &["ListOffsets"]);
            if let Err(fault) = admin.bounds(self.call, OFFSETS_TOPIC, part, Bound::Stable, RECHECK_TIMEOUT) {
                tracing::debug!(error = fault.text, "cannot ask for the last stable offset");
            }
            self.call = self.call.wrapping_add(1);
        }
    }
}

/// No transaction is open before that end of a partition.
fn read_again(handle: &Handle, shared: &Shared, partition: u32, end: i64) {
    let Ok(number) = i32::try_from(partition) else { return };
    let position = shared.lock().offsets.position(partition).map_or(Offset::Beginning, Offset::Offset);
    match handle.seek(OFFSETS_TOPIC, number, position, RECHECK_TIMEOUT) {
        // What librdkafka had signalled before is void by now.
        Ok(()) => shared.lock().offsets.stable_until(partition, end),
        Err(error) => tracing::debug!(%error, partition, "cannot read again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{client, config_for_tests};
    use rdkafka::mocking::MockCluster;

    #[test]
    fn a_silent_leader_spoils_nothing_but_its_own() {
        let mock = MockCluster::new(3).expect("mock cluster");
        mock.create_topic(OFFSETS_TOPIC, 6, 1).expect("topic");
        let mut leaders = Leaders::new();
        for (partition, leader) in (0..6).zip([1, 2, 3].into_iter().cycle()) {
            mock.partition_leader(OFFSETS_TOPIC, partition, Some(leader)).expect("leader");
            leaders.insert(u32::try_from(partition).unwrap(), BrokerId(leader));
        }
        let metrics = Arc::default();
        let config = config_for_tests(&mock.bootstrap_servers());
        let handle = Arc::new(client::reader(&config, client::Pace::Replay, &metrics).expect("handle"));
        let all: Vec<u32> = (0..6).collect();
        let ask = |limit| {
            let told = bounds(&handle, &all, &leaders, Duration::from_secs(limit), &metrics, &Stop::new());
            told.into_iter().collect::<Vec<_>>()
        };
        let of = |partitions: &[u32]| partitions.iter().map(|partition| (*partition, (0, 0))).collect::<Vec<_>>();
        // The first one also connects.
        assert_eq!(ask(10), of(&all));
        mock.broker_round_trip_time(2, Duration::from_secs(30)).expect("silent");
        let started = Instant::now();
        assert_eq!(ask(2), of(&[0, 2, 3, 5]));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        assert_eq!(metrics.value(&families::KAFKA_REQUESTS, &["ListOffsets"]), Some(12.0));
    }

    #[test]
    fn who_leads_what_nobody_knows_is_asked_for_apart() {
        let leaders = Leaders::from([(1, BrokerId(7)), (2, BrokerId(8)), (4, BrokerId(7))]);
        let parts = by_leader([1, 2, 3, 4].into_iter(), &leaders);
        assert_eq!(parts.into_values().collect::<Vec<_>>(), [vec![3], vec![1, 4], vec![2]]);
    }
}
