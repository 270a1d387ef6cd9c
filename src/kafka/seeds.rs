//! Ends of before our time: where a commit is older than what we saw of its partition, the leader is asked once at which
//! offsets the log ended earlier, and then about times in between. The answers go by the records' timestamps, which are the
//! producers' word.

use super::{
    bounds::LEAST_TIMEOUT,
    cluster::Cluster,
    collector::Collector,
    ends::{CHUNK, NO_RECORD, TopicPartition, Which},
    offsets::GroupCommits,
    produced::{Produced, Question},
};
use crate::{
    clock,
    model::{BrokerId, Timestamp},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long ago the times are that leaders are asked about.
pub const LOOKS: [Duration; 7] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
    Duration::from_hours(48),
];
/// Partitions that one leader is asked about in one cycle: a look costs the broker a read of its log.
pub const SEEDED_AT_ONCE: usize = CHUNK;
/// How often leaders are asked about times in between in one cycle: each time the span in which a commit's record came is
/// halved, and 9 times are enough to come from the widest span to the spacing of its table. What is left is for further cycles.
pub const HALVINGS_AT_ONCE: usize = 10;
/// A partition whose leader did not answer is asked about again after this long, then after twice as long, and so on.
pub const SEED_PAUSE: Duration = Duration::from_mins(1);
/// The longest such pause.
pub const LONGEST_SEED_PAUSE: Duration = Duration::from_hours(1);
/// A timestamp further ahead than this is no clock that is a little fast.
const AHEAD: Duration = Duration::from_mins(1);
/// Any record that has a time is at least as late.
const EPOCH: Timestamp = Timestamp(0);
type Offsets = HashMap<(Which, TopicPartition), i64>;
type Due = HashMap<BrokerId, Vec<TopicPartition>>;

/// Which partitions were asked about lately.
#[derive(Debug, Default)]
pub struct Seeds {
    asked: HashMap<TopicPartition, Asked>,
}

/// When a partition was asked about, and how long it is left alone from then on.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    pause: Duration,
}

impl Seeds {
    /// Picks those to ask about now, by leader, from `lacking` ones. One that was picked and lacks still was not
    /// answered: it is left alone for a while.
    fn due(&mut self, lacking: impl Iterator<Item = (BrokerId, TopicPartition)>, now: Instant) -> Due {
        // Remembered beyond its pause, so that the next one is longer.
        self.asked.retain(|_, asked| now.saturating_duration_since(asked.at) < asked.pause.saturating_mul(2));
        let mut due = Due::new();
        for (leader, partition) in lacking {
            let of_leader = due.entry(leader).or_default();
            let before = self.asked.get(&partition).copied();
            let paused = before.is_some_and(|asked| now.saturating_duration_since(asked.at) < asked.pause);
            if of_leader.len() < SEEDED_AT_ONCE && !paused {
                let longer = |asked: Asked| asked.pause.saturating_mul(2).min(LONGEST_SEED_PAUSE);
                let pause = before.map_or(SEED_PAUSE, longer);
                self.asked.insert(partition.clone(), Asked { at: now, pause });
                of_leader.push(partition);
            }
        }
        due.retain(|_, partitions| !partitions.is_empty());
        due
    }
}

impl Collector {
    /// Notes where the partitions of topics that groups committed on ended when they were asked, at `at`.
    pub(super) fn observe_ends(
        &mut self,
        cluster: &Cluster,
        groups: &[GroupCommits],
        offsets: &Offsets,
        at: Timestamp,
    ) {
        let topics: HashSet<&str> = groups.iter().flat_map(|group| &group.commits).map(|(topic, _)| &**topic).collect();
        for ((which, partition), end) in offsets {
            if *which == Which::End && topics.contains(&*partition.0) {
                self.produced.observe(partition, at, *end);
            }
        }
        self.produced.keep(at, |topic| cluster.may_have(topic));
    }

    /// Asks leaders about the time before ours, where that is needed to tell how old a commit's record is.
    pub(super) fn ask_before_our_time<'a>(
        &mut self,
        cluster: &Cluster,
        groups: impl Iterator<Item = &'a GroupCommits>,
        offsets: &Offsets,
        started: Instant,
    ) {
        let (produced, now) = (&self.produced, clock::now());
        let commits = groups.flat_map(|group| &group.commits);
        let unsure = commits.flat_map(|(topic, commits)| {
            commits.iter().filter_map(move |(number, commit)| {
                let (partition, committed) = ((Arc::clone(topic), *number), commit.offset?);
                produced.question(&partition, committed, now)?;
                Some(Unsure { leader: cluster.leader(topic, *number)?, partition, committed })
            })
        });
        // Most often there are none.
        let unsure: Vec<_> = unsure.collect();
        if unsure.is_empty() {
            return;
        }
        self.ask_about_the_past(&unsure, offsets, started);
        self.ask_in_between(&unsure, started);
    }

    /// Looks at each of [`LOOKS`], once for each partition.
    fn ask_about_the_past(&mut self, unsure: &[Unsure], offsets: &Offsets, started: Instant) {
        let now = clock::now();
        let lacking = unsure.iter().filter(|unsure| {
            offsets.contains_key(&(Which::Start, unsure.partition.clone()))
                && self.produced.question(&unsure.partition, unsure.committed, now) == Some(Question::Past)
        });
        let due = self.seeds.due(lacking.map(|unsure| (unsure.leader, unsure.partition.clone())), Instant::now());
        if due.is_empty() {
            return;
        }
        let mut answers = self.ask_by_time(looks(&due, now), started);
        let probes = probes(&due, &answers, now);
        if !probes.is_empty() {
            answers.extend(self.ask_by_time(probes, started));
        }
        for partition in due.into_values().flatten() {
            let start = offsets.get(&(Which::Start, partition.clone()));
            if let Some((start, looks)) = start.zip(learned(&partition, &answers, now)) {
                self.produced.seed(&partition, *start, &looks);
            }
        }
    }

    /// Halves the spans in which records came, until they are as short as the tables' spacing, or time is short.
    fn ask_in_between(&mut self, unsure: &[Unsure], started: Instant) {
        for _ in 0..HALVINGS_AT_ONCE {
            let wanted = in_between(unsure, &self.produced, clock::now());
            if wanted.is_empty() || started.elapsed() >= self.config.timeout / 2 {
                return;
            }
            wanted.values().flatten().for_each(|(_, partition)| self.produced.asked(partition));
            for ((which, partition), offset) in self.ask_by_time(wanted, started) {
                if let Which::Between(at) = which {
                    self.produced.refine(&partition, at, (offset != NO_RECORD).then_some(offset));
                }
            }
        }
    }

    fn ask_by_time(&mut self, wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>>, started: Instant) -> Offsets {
        let left = self.config.timeout.saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
        let answers = self.leaders.ask(wanted, left);
        self.count(&answers.errors, answers.requests, &answers.silent);
        answers.offsets
    }
}

/// A commit of which it is not known well enough when its record came.
struct Unsure {
    leader: BrokerId,
    partition: TopicPartition,
    committed: i64,
}

/// What leaders are asked about times in between: one time for each partition, and no more partitions than at a look.
fn in_between(
    unsure: &[Unsure],
    produced: &Produced,
    now: Timestamp,
) -> HashMap<BrokerId, Vec<(Which, TopicPartition)>> {
    let mut wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>> = HashMap::new();
    let mut partitions = HashSet::new();
    for Unsure { leader, partition, committed } in unsure {
        let of_leader = wanted.entry(*leader).or_default();
        if let Some(Question::At(at)) = produced.question(partition, *committed, now)
            && of_leader.len() < SEEDED_AT_ONCE
            && partitions.insert(partition)
        {
            of_leader.push((Which::Between(at), partition.clone()));
        }
    }
    wanted.retain(|_, partitions| !partitions.is_empty());
    wanted
}

/// The times that are looked at, newest first.
fn times(now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let before = move |ago: Duration| now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
    LOOKS.into_iter().map(move |ago| Timestamp(before(ago)))
}

/// What leaders are asked first: whether there are records from the future, and what was at each of the times.
fn looks(due: &Due, now: Timestamp) -> HashMap<BrokerId, Vec<(Which, TopicPartition)>> {
    let all = |partitions: &Vec<TopicPartition>| {
        let times = std::iter::once(now.plus(AHEAD)).chain(times(now));
        times.flat_map(|at| partitions.iter().map(move |partition| (Which::At(at), partition.clone()))).collect()
    };
    due.iter().map(|(leader, partitions)| (*leader, all(partitions))).collect()
}

/// What leaders are asked then: where no record seems to be as late as any of the times, whether records have times.
fn probes(due: &Due, answers: &Offsets, now: Timestamp) -> HashMap<BrokerId, Vec<(Which, TopicPartition)>> {
    let mut probes: HashMap<BrokerId, Vec<(Which, TopicPartition)>> = HashMap::new();
    for (leader, partitions) in due {
        for partition in partitions.iter().filter(|partition| nothing_found(partition, answers, now)) {
            probes.entry(*leader).or_default().push((Which::At(EPOCH), partition.clone()));
        }
    }
    probes
}

fn answer(partition: &TopicPartition, answers: &Offsets, at: Timestamp) -> Option<i64> {
    answers.get(&(Which::At(at), partition.clone())).copied()
}

fn nothing_found(partition: &TopicPartition, answers: &Offsets, now: Timestamp) -> bool {
    times(now).all(|at| answer(partition, answers, at) == Some(NO_RECORD))
}

/// What the answers about a partition are worth; `None` when one is missing, so that it is asked about again. Looks
/// are worth nothing where a record is from the future, since it is found in place of all that is behind it; nor where
/// no record has a time, which looks as if nothing had been produced for long.
fn learned(partition: &TopicPartition, answers: &Offsets, now: Timestamp) -> Option<Vec<(Timestamp, Option<i64>)>> {
    if answer(partition, answers, now.plus(AHEAD))? != NO_RECORD {
        return Some(Vec::new());
    }
    let mut looks = Vec::with_capacity(LOOKS.len());
    for at in times(now) {
        let offset = answer(partition, answers, at)?;
        looks.push((at, (offset != NO_RECORD).then_some(offset)));
    }
    if nothing_found(partition, answers, now) && answer(partition, answers, EPOCH)? == NO_RECORD {
        return Some(Vec::new());
    }
    Some(looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_763_888_400_000);
    const LEADER: BrokerId = BrokerId(1);

    fn partition(number: u32) -> TopicPartition {
        ("t".into(), number)
    }

    /// Answers of a leader to what it is asked about one partition: `offset_at` gives the offset for a time in seconds
    /// from now, if it answers.
    fn answers(offset_at: impl Fn(i64) -> Option<i64>) -> Offsets {
        let due = Due::from([(LEADER, vec![partition(0)])]);
        let mut answers = Offsets::new();
        let take = |answers: &mut Offsets, wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>>| {
            for (which, partition) in wanted.into_values().flatten() {
                let Which::At(at) = which else { panic!("{which:?}") };
                let second = (i64::try_from(at.0).unwrap() - i64::try_from(NOW.0).unwrap()) / 1000;
                if let Some(offset) = offset_at(second) {
                    answers.insert((which, partition), offset);
                }
            }
        };
        take(&mut answers, looks(&due, NOW));
        let probes = probes(&due, &answers, NOW);
        take(&mut answers, probes);
        answers
    }

    /// Seconds ago and offset of each look that counts.
    #[track_caller]
    fn check(offset_at: impl Fn(i64) -> Option<i64>, want: Option<&[(u64, Option<i64>)]>) {
        let looks = learned(&partition(0), &answers(offset_at), NOW);
        let looks = looks.map(|looks| looks.iter().map(|(at, o)| (NOW.since(*at).as_secs(), *o)).collect::<Vec<_>>());
        assert_eq!(looks.as_deref(), want);
    }

    const DAYS: [u64; 7] = [60, 300, 900, 3600, 21_600, 86_400, 172_800];

    #[test]
    fn looks_count_where_records_have_believable_times() {
        let offset = |second: i64| if second > -10_000 { NO_RECORD } else { 100 };
        let want = DAYS.map(|ago| (ago, (ago > 10_000).then_some(100)));
        check(|second| Some(offset(second)), Some(&want));
    }

    #[test]
    fn an_idle_partition_is_told_from_one_whose_records_have_no_times() {
        let idle = |second: i64| if second > -1_000_000 { NO_RECORD } else { 7 };
        check(|second| Some(idle(second)), Some(&DAYS.map(|ago| (ago, None))));
        check(|_| Some(NO_RECORD), Some(&[]));
        check(|second| (second > -1_000_000).then_some(NO_RECORD), None);
    }

    #[test]
    fn records_from_the_future_make_looks_worthless() {
        check(|_| Some(3), Some(&[]));
        check(|second| Some(if second > 0 { NO_RECORD } else { 3 }), Some(&DAYS.map(|ago| (ago, Some(3)))));
    }

    #[test]
    fn silence_is_no_answer() {
        check(|_| None, None);
        check(|second| (second > 0).then_some(NO_RECORD), None);
        check(|second| (second < 0).then_some(NO_RECORD), None);
        check(|second| (second != -3600).then_some(if second > 0 { NO_RECORD } else { 3 }), None);
    }

    #[test]
    fn a_partition_is_asked_about_once_in_a_while_and_not_all_at_once() {
        let (mut seeds, now) = (Seeds::default(), Instant::now());
        let most = u32::try_from(SEEDED_AT_ONCE).unwrap();
        let lacking = || (0..most + 5).map(move |number| (LEADER, partition(number % (most + 3))));
        let first = seeds.due(lacking(), now);
        assert_eq!(first[&LEADER].len(), SEEDED_AT_ONCE);
        assert_eq!(first[&LEADER][0], partition(0));
        assert_eq!(seeds.due(lacking(), now)[&LEADER], [partition(most), partition(most + 1), partition(most + 2)]);
        assert!(seeds.due(lacking(), now + SEED_PAUSE / 2).is_empty());
        // Still without an answer.
        for (pauses, due) in [(1, SEEDED_AT_ONCE), (1, 3), (1, 0), (2, 0), (3, SEEDED_AT_ONCE), (3, 3), (6, 0)] {
            let picked = seeds.due(lacking(), now + SEED_PAUSE * pauses);
            assert_eq!(picked.values().map(Vec::len).sum::<usize>(), due, "after {pauses} pauses");
        }
        let asked = looks(&first, NOW);
        assert_eq!(asked[&LEADER].len(), SEEDED_AT_ONCE * (LOOKS.len() + 1));
        assert!(asked[&LEADER].chunk_by(|(one, _), (other, _)| one == other).all(|run| run.len() == SEEDED_AT_ONCE));
    }
    #[test]
    fn of_each_partition_one_time_in_between_is_asked_for() {
        let most = u32::try_from(SEEDED_AT_ONCE).unwrap();
        let hour_ago = Timestamp(NOW.0 - 3_600_000);
        let mut produced = Produced::default();
        let mut unsure = Vec::new();
        for number in 0..most + 5 {
            produced.observe(&partition(number), NOW, 100);
            produced.seed(&partition(number), 0, &[(hour_ago, Some(10))]);
            // Of two groups, and one that has read all.
            for committed in [50, 60, 100] {
                unsure.push(Unsure { leader: LEADER, partition: partition(number), committed });
            }
        }
        let wanted = in_between(&unsure, &produced, NOW);
        let half = Which::Between(Timestamp(NOW.0 - 1_800_000));
        let all: Vec<_> = (0..most).map(|number| (half, partition(number))).collect();
        assert_eq!(wanted, HashMap::from([(LEADER, all)]));
        let done: Vec<_> = unsure.into_iter().filter(|unsure| unsure.committed == 100).collect();
        assert!(in_between(&done, &produced, NOW).is_empty());
    }
}
