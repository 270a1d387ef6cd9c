//! The part of the cycle that asks leaders for the ends of their logs, and compares the reader with them.

use super::{
    MAX_ENTRIES,
    cluster::{Cluster, OFFSETS_TOPIC},
    collector::{Collector, as_f64},
    ends::{TopicPartition, Which},
    freshness::Moment,
    gather::is_ours,
    offsets::GroupCommits,
    replays::Progress,
    view,
};
use crate::{
    model::{BrokerId, Timestamp, families},
    snapshot::KAFKA_TARGET,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often log start offsets are asked for.
pub const START_INTERVAL: Duration = Duration::from_secs(30);

/// A partition of `__consumer_offsets` whose reader is short of what is known to be there for this many intervals
/// (and at least [`READER_STALE_LEAST`]) counts as not observed: its groups are left out.
pub const READER_STALE_INTERVALS: u32 = 3;
/// For so long one of our partitions of `__consumer_offsets` may be held up (by an open transaction, or a broker that does
/// not answer Fetch, be it from the start) before its groups are asked for one by one.
pub const HELD_UP: Duration = Duration::from_secs(10);
/// Long enough for the reader to be helped over transaction markers at the end.
pub const READER_STALE_LEAST: Duration = Duration::from_secs(15);
/// What a request gets at least, when what went before it has used up `kafka.timeout`.
pub const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

impl Collector {
    /// For so long what was read may be short of what is there.
    pub(super) fn longest_pause(&self) -> Duration {
        self.config.interval.saturating_mul(READER_STALE_INTERVALS).max(READER_STALE_LEAST)
    }

    pub(super) fn offsets(
        &mut self,
        cluster: &Cluster,
        beside: Option<BrokerId>,
        groups: &[GroupCommits],
        started: Instant,
    ) -> HashMap<(Which, TopicPartition), i64> {
        let needed =
            view::needed(cluster, beside, groups, |topic| self.config.topics.wants(topic) || topic == OFFSETS_TOPIC);
        let all_starts = self.starts_asked.is_none_or(|asked| asked.elapsed() >= START_INTERVAL);
        let mut wanted = HashMap::new();
        for (leader, partitions) in needed {
            let starts = partitions.iter().filter(|partition| all_starts || !self.starts.contains_key(*partition));
            let mut asked: Vec<_> = starts.map(|partition| (Which::Start, partition.clone())).collect();
            let stable = partitions.iter().filter(|partition| self.last_stable.wants(partition));
            asked.extend(stable.map(|partition| (Which::Stable, partition.clone())));
            asked.extend(partitions.into_iter().map(|partition| (Which::End, partition)));
            wanted.insert(leader, asked);
        }
        let timeout = self.config.timeout.saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
        let mut answers = self.leaders.ask(wanted, timeout);
        self.count(&answers.errors, answers.requests, &answers.silent);
        self.last_stable.keep(cluster, &mut answers.offsets);
        self.ask_outside(cluster, groups, &mut answers.offsets, started);
        if all_starts {
            self.starts_asked = Some(Instant::now());
            self.starts.clear();
        }
        // Of one that is deleted; made anew, it has other ones.
        self.starts.retain(|(topic, _), _| cluster.may_have(topic));
        for ((which, partition), offset) in &answers.offsets {
            if *which == Which::Start {
                self.starts.insert(partition.clone(), *offset);
            }
        }
        beside_ends(&self.starts, &mut answers.offsets);
        answers.offsets
    }

    /// Where a commit lies outside the log as we know it, the log start is asked for at once. So it is where that would be
    /// behind the end, since the topic was made anew.
    fn ask_outside(
        &mut self,
        cluster: &Cluster,
        groups: &[GroupCommits],
        offsets: &mut HashMap<(Which, TopicPartition), i64>,
        started: Instant,
    ) {
        let mut wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>> = HashMap::new();
        let mut asked = HashSet::new();
        for partition in self.starts.iter().filter(|(partition, start)| is_behind(partition, **start, offsets)) {
            let partition = partition.0.clone();
            let fresh = offsets.contains_key(&(Which::Start, partition.clone()));
            if let Some(leader) = cluster.leader(&partition.0, partition.1).filter(|_| !fresh) {
                asked.insert(partition.clone());
                wanted.entry(leader).or_default().push((Which::Start, partition));
            }
        }
        for (topic, commits) in groups.iter().flat_map(|group| &group.commits) {
            for (partition, commit) in commits {
                let partition = (Arc::clone(topic), *partition);
                let fresh = offsets.contains_key(&(Which::Start, partition.clone()));
                let end = offsets.get(&(Which::End, partition.clone()));
                let start = self.starts.get(&partition);
                let outside = commit.offset.is_some_and(|committed| {
                    end.is_some_and(|end| committed > *end) || start.is_some_and(|start| committed < *start)
                });
                if outside
                    && !fresh
                    && let Some(leader) = cluster.leader(&partition.0, partition.1)
                    && asked.insert(partition.clone())
                {
                    wanted.entry(leader).or_default().push((Which::Start, partition));
                }
            }
        }
        if !wanted.is_empty() {
            let timeout = self.config.timeout.saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
            let answers = self.leaders.ask(wanted, timeout);
            self.count(&answers.errors, answers.requests, &[]);
            offsets.extend(answers.offsets);
        }
    }

    pub(super) fn count(&self, errors: &HashMap<String, u64>, requests: u64, silent: &[BrokerId]) {
        self.metrics.add(&families::KAFKA_REQUESTS, &["ListOffsets"], as_f64(requests));
        for (error, count) in errors {
            tracing::debug!(error, count, "offsets could not be had");
            self.metrics.add(&families::TARGET_ERRORS, &["list_offsets", KAFKA_TARGET], as_f64(*count));
        }
        for leader in silent {
            tracing::debug!(%leader, "leader did not answer in time");
            self.metrics.count(&families::TARGET_ERRORS, &["leader_timeout", KAFKA_TARGET]);
        }
    }

    /// Partitions that were read to their end once, and have grown past the reader since. Those of ours that are held up
    /// already, hold more than is kept, or are too long to be read, have their groups asked for one by one. `led` are those
    /// that are read and have a leader; the ends of logs are not older than `at`.
    pub(super) fn stale(
        &mut self,
        cluster: &Cluster,
        beside: Option<BrokerId>,
        (led, full): (&BTreeSet<u32>, &BTreeSet<u32>),
        (offsets, at): (&HashMap<(Which, TopicPartition), i64>, Timestamp),
    ) -> BTreeSet<u32> {
        let (topic, now): (Arc<str>, _) = (OFFSETS_TOPIC.into(), Instant::now());
        let moment = Moment { now, at };
        let limit = self.longest_pause();
        let mut state = self.shared.lock();
        let reads = led.difference(&self.too_long).copied();
        let (caught_up, replaying): (BTreeSet<u32>, BTreeSet<u32>) =
            reads.partition(|partition| state.offsets.caught_up(*partition));
        self.freshness.keep(&caught_up);
        self.replays.keep(&replaying);
        let mark = |partition: u32| offsets.get(&(Which::End, (Arc::clone(&topic), partition))).copied();
        let (mut stale, mut held) = (BTreeSet::new(), BTreeSet::new());
        for partition in caught_up {
            let position = state.offsets.position(partition).unwrap_or(0);
            let short = self.freshness.see(partition, position, mark(partition), moment, limit);
            if let Some(end) = self.freshness.recheck(partition, now) {
                state.recheck.insert(partition, end);
            }
            if let Some(until) = self.freshness.has_until(partition) {
                state.offsets.read_until(partition, until);
            }
            if short > limit {
                stale.insert(partition);
            }
            if short >= HELD_UP || full.contains(&partition) {
                held.insert(partition);
            }
        }
        for partition in replaying {
            match self.replays.see(partition, state.offsets.position(partition), mark(partition), moment) {
                // From the next cycle on: what this one has copied out is older.
                Progress::Read(until) => state.offsets.read_until(partition, until),
                Progress::Still(time) if time >= HELD_UP => {
                    held.insert(partition);
                }
                Progress::Reading | Progress::Still(_) => {}
            }
        }
        drop(state);
        held.extend(&self.too_long);
        held.retain(|partition| is_ours(cluster, beside, *partition));
        if self.held != held {
            tracing::debug!(?held, "partitions of {OFFSETS_TOPIC} whose groups are asked for one by one");
            self.held = held;
            self.order(cluster, beside);
        }
        stale
    }
}

/// Is that start of a log behind its end, as it was told just now?
fn is_behind(partition: &TopicPartition, start: i64, offsets: &HashMap<(Which, TopicPartition), i64>) -> bool {
    offsets.get(&(Which::End, partition.clone())).is_some_and(|end| start > *end)
}

/// A start that was asked for earlier stands only beside an end of now, and not behind it.
fn beside_ends(starts: &HashMap<TopicPartition, i64>, offsets: &mut HashMap<(Which, TopicPartition), i64>) {
    for (partition, start) in starts {
        if offsets.contains_key(&(Which::End, partition.clone())) && !is_behind(partition, *start, offsets) {
            offsets.entry((Which::Start, partition.clone())).or_insert(*start);
        }
    }
}

/// Why groups of some partitions of `__consumer_offsets` are left out, if they are: a short reason for a label, and one
/// for people.
pub(super) fn why_left_out(
    left_out: &BTreeSet<u32>,
    full: &BTreeSet<u32>,
    of: usize,
) -> Option<(&'static str, String)> {
    let too_much = full.intersection(left_out).count();
    if too_much > 0 {
        let text = format!(
            "{too_much} of {of} partitions of {OFFSETS_TOPIC} hold more than this agent keeps ({MAX_ENTRIES} groups, \
             members and commits in all): those of their groups that cannot be asked for one by one are left out until \
             its next start. Give it less to follow (kafka.scope: broker), or delete groups that nobody needs"
        );
        return Some(("offsets_limit", text));
    }
    (!left_out.is_empty()).then(|| {
        let text = format!(
            "{} of {of} partitions of {OFFSETS_TOPIC} have records that cannot be read for a while (an open transaction, \
             a broker that does not answer Fetch), or more than kafka.replay_max_records: those of their groups that \
             cannot be asked for one by one either are left out",
            left_out.len()
        );
        ("offsets_reader", text)
    })
}

/// What is to be said where all groups of such partitions could be asked for.
pub(super) fn why_asked(asked: &BTreeSet<u32>) -> Option<String> {
    (!asked.is_empty()).then(|| {
        format!(
            "groups of {} partitions of {OFFSETS_TOPIC} are asked one by one: these cannot be read for a while (an open \
             transaction, a broker that does not answer Fetch), hold more than is kept, or more than \
             kafka.replay_max_records",
            asked.len()
        )
    })
}

/// What is to be said of partitions that groups have not committed on, where there are too many of them.
pub(super) fn why_no_rows(left_out: usize) -> Option<String> {
    (left_out > 0).then(|| {
        format!(
            "{left_out} partitions that a group has not committed on, though on others of that topic, are left out: with them \
             there would be more than {} (counted for each group)",
            view::MAX_ROWS
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_before_stands_beside_an_end_of_now_and_not_behind_it() {
        let partition = |number| (Arc::<str>::from("t"), number);
        let starts = HashMap::from([(partition(0), 5), (partition(1), 50), (partition(2), 5), (partition(3), 5)]);
        let end = |number, end| ((Which::End, partition(number)), end);
        let mut offsets = HashMap::from([end(0, 5), end(1, 7), end(3, 9), ((Which::Start, partition(3)), 6)]);
        assert!(is_behind(&partition(1), 50, &offsets) && !is_behind(&partition(2), 5, &offsets));
        beside_ends(&starts, &mut offsets);
        let start = |number| offsets.get(&(Which::Start, partition(number))).copied();
        assert_eq!([start(0), start(1), start(2), start(3)], [Some(5), None, None, Some(6)]);
    }
}
