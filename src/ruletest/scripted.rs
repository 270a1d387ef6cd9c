//! The snapshots of a case: what its inputs say at one moment. Pure: the case has its own clock.

use super::{
    case::{Case, GroupInput, Inputs, LagInput, Ownership, PartitionInput},
    shorthand::{Value, Values},
};
use crate::{
    model::{BrokerId, Labels, Timestamp},
    snapshot::{
        Age, Broker, Exposition, Group, GroupKind, KAFKA_TARGET, KafkaView, LagRow, LagStatus, ObservedPage, Partition,
        Share, Snapshot, TargetState, Topic, partition_for,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

/// Partitions of `__consumer_offsets` where a case says who answers for groups that do not exist.
const OFFSETS_PARTITIONS: usize = 997;

/// Makes the snapshots of one case, in order.
pub struct Script<'a> {
    case: &'a Case,
    /// When each target was last up.
    last_success: BTreeMap<Arc<str>, Timestamp>,
}

impl<'a> Script<'a> {
    /// At the case's beginning.
    pub fn new(case: &'a Case) -> Self {
        Self { case, last_success: BTreeMap::new() }
    }

    /// The snapshot at a position, counted from 0.
    pub fn snapshot(&mut self, position: u64) -> Snapshot {
        let case = self.case;
        let offset = case.interval.as_millis().saturating_mul(u128::from(position));
        let at = case.start.plus(Duration::from_millis(u64::try_from(offset).unwrap_or(u64::MAX)));
        let inputs = &case.inputs;
        let mut names: BTreeSet<Arc<str>> = inputs.series.iter().map(|series| Arc::clone(&series.target)).collect();
        names.extend(inputs.targets.iter().map(|target| Arc::clone(&target.name)));
        names.remove(KAFKA_TARGET);
        let kafka: Arc<str> = KAFKA_TARGET.into();
        let has_kafka = inputs.kafka || inputs.targets.iter().any(|target| target.name == kafka);
        let targets: Vec<_> =
            has_kafka.then_some(kafka).into_iter().chain(names).map(|name| self.target(name, position, at)).collect();
        let up = |name: &str| targets.iter().any(|target| &*target.name == name && target.up);
        let pages =
            targets.iter().filter(|target| target.up && &*target.name != KAFKA_TARGET).map(|target| ObservedPage {
                target: Arc::clone(&target.name),
                page: Arc::new(page(inputs, &target.name, position)),
                labels: Arc::new(Labels::new()),
            });
        Snapshot {
            number: position.saturating_add(1),
            at,
            interval: case.interval,
            cluster: Arc::clone(&case.cluster),
            kafka: (inputs.kafka && up(KAFKA_TARGET)).then(|| Arc::new(view(inputs, position, at))),
            pages: pages.collect(),
            targets,
        }
    }

    fn target(&mut self, name: Arc<str>, position: u64, at: Timestamp) -> TargetState {
        let given = self.case.inputs.targets.iter().find(|target| target.name == name);
        let up = given.is_none_or(|target| target.up.at(position) == Value::Number(1.0));
        if up {
            self.last_success.insert(Arc::clone(&name), at);
        }
        let last_success = self.last_success.get(&name).copied();
        TargetState { name, up, last_success, reason: (!up).then(|| "the case says so".to_owned()) }
    }
}

/// The page of one target. Each of its lines was parsed when the case was read.
fn page(inputs: &Inputs, target: &str, position: u64) -> Exposition {
    let mut text = String::new();
    for series in inputs.series.iter().filter(|series| &*series.target == target) {
        if let Value::Number(number) = series.values.at(position) {
            let infinite = if number > 0.0 { "+Inf" } else { "-Inf" };
            let written = if number.is_infinite() { infinite.to_owned() } else { number.to_string() };
            writeln!(text, "{} {written}", series.series).ok(); // a String takes all
        }
    }
    Exposition::parse(text).unwrap_or_default()
}

/// A whole number at a position.
fn whole(values: Option<&Values>, position: u64) -> Option<i64> {
    match values?.at(position) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::as_conversions,
            reason = "whole and below 2^53, as it was read"
        )]
        Value::Number(number) => Some(number as i64),
        Value::Missing | Value::Stale => None,
    }
}

fn is_stale(values: Option<&Values>, position: u64) -> bool {
    values.is_some_and(|values| values.at(position) == Value::Stale)
}

/// The state of a group; `None` = there is no such group then. The last state goes on.
fn state_at(group: &GroupInput, position: u64) -> Option<&'static str> {
    let mut left = position;
    for (count, state) in &group.states {
        match left.checked_sub(*count) {
            Some(rest) => left = rest,
            None => return *state,
        }
    }
    group.states.last().and_then(|(_, state)| *state)
}

fn view(inputs: &Inputs, position: u64, at: Timestamp) -> KafkaView {
    let absent: BTreeSet<&str> =
        inputs.groups.iter().filter(|group| state_at(group, position).is_none()).map(|group| &*group.group).collect();
    let lag: Vec<&LagInput> = inputs
        .lag
        .iter()
        .filter(|row| !is_stale(row.committed.as_ref(), position) && !absent.contains(&*row.group))
        .collect();
    let groups = groups(inputs, &lag, position);
    let mut rows: Vec<LagRow> = lag.iter().filter_map(|input| row(input, &groups, position, at)).collect();
    rows.sort_by(|a, b| (a.group, &a.topic, a.partition).cmp(&(b.group, &b.topic, b.partition)));
    let topics = topics(inputs, &rows, position);
    let brokers = brokers(&topics, &groups);
    // Ownership is about one agent among several; without it the agent answers for all.
    let shared = inputs.groups.iter().any(|group| group.ownership != Ownership::Owned);
    let offsets_partitions = if shared {
        let mut shares = vec![Some(Share::Ours); OFFSETS_PARTITIONS];
        for group in inputs.groups.iter().filter(|group| group.ownership != Ownership::Owned) {
            let share = (group.ownership == Ownership::Elsewhere).then_some(Share::Elsewhere);
            if let Some(of_group) = shares.get_mut(partition_for(&group.group, OFFSETS_PARTITIONS)) {
                *of_group = share;
            }
        }
        shares
    } else {
        vec![Some(Share::Ours)]
    };
    KafkaView {
        at,
        whole_cluster: !shared,
        answers_for_cluster: true,
        brokers,
        topics,
        groups,
        rows,
        offsets_partitions,
        ..KafkaView::default()
    }
}

/// Groups that are listed, and those that only have rows: of these nothing more is known.
fn groups(inputs: &Inputs, lag: &[&LagInput], position: u64) -> Vec<Group> {
    let unknown = |name: &Arc<str>| Group {
        name: Arc::clone(name),
        kind: GroupKind::Unknown,
        state: "Unknown",
        members: None,
        coordinator: None,
        ours: true,
    };
    let mut groups: BTreeMap<Arc<str>, Group> =
        lag.iter().map(|row| (Arc::clone(&row.group), unknown(&row.group))).collect();
    for input in &inputs.groups {
        let Some(state) = state_at(input, position) else { continue };
        let group = Group {
            kind: input.kind,
            state,
            members: whole(input.members.as_ref(), position).and_then(|members| u32::try_from(members).ok()),
            coordinator: input.coordinator.map(BrokerId),
            ours: input.ownership == Ownership::Owned,
            ..unknown(&input.group)
        };
        groups.insert(Arc::clone(&input.group), group);
    }
    groups.into_values().collect()
}

fn row(input: &LagInput, groups: &[Group], position: u64, at: Timestamp) -> Option<LagRow> {
    let group = groups.binary_search_by(|group| group.name.cmp(&input.group)).ok()?;
    let committed = whole(input.committed.as_ref(), position);
    let commit_age = whole(input.commit_age.as_ref(), position).and_then(|age| u64::try_from(age).ok());
    let committed_at = commit_age.map(|age| Timestamp(at.0.saturating_sub(age.saturating_mul(1000))));
    let mut row = LagRow::new(
        u32::try_from(group).ok()?,
        Arc::clone(&input.topic),
        input.partition,
        committed,
        committed.and(committed_at),
        whole(input.log_start.as_ref(), position),
        whole(input.log_end.as_ref(), position),
    );
    row.last_stable = whole(input.last_stable.as_ref(), position);
    if committed.is_none() && input.committed.is_some() {
        // There is a commit, and which is not known.
        row.status = LagStatus::Unknown;
    }
    row.age = match input.lag_seconds.as_ref().map(|values| values.at(position)) {
        Some(Value::Number(seconds)) => {
            Duration::try_from_secs_f64(seconds).ok().map(|time| Age { time, at_least: input.lag_seconds_at_least })
        }
        Some(Value::Missing | Value::Stale) => None,
        // Whoever has read all is not behind in time either.
        None => row.lag.filter(|lag| *lag <= 0).map(|_| Age::CAUGHT_UP),
    };
    Some(row)
}

/// Topics that are listed, and those of rows whose end is known: of these only the offsets are.
fn topics(inputs: &Inputs, rows: &[LagRow], position: u64) -> Vec<Topic> {
    let mut topics: BTreeMap<Arc<str>, BTreeMap<u32, Partition>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.log_end.is_some()) {
        let partition = Partition {
            id: row.partition,
            leader: Some(BrokerId(1)),
            replicas: Vec::new(),
            in_sync: Vec::new(),
            log_start: row.log_start,
            log_end: row.log_end,
            last_stable: row.last_stable,
            ours: true,
        };
        topics.entry(Arc::clone(&row.topic)).or_default().insert(row.partition, partition);
    }
    for input in &inputs.partitions {
        let partitions = topics.entry(Arc::clone(&input.topic)).or_default();
        if input.leader.at(position) == Value::Stale {
            partitions.remove(&input.partition);
        } else {
            let now = partition(input, partitions.get(&input.partition), position);
            partitions.insert(input.partition, now);
        }
    }
    topics
        .into_iter()
        .filter(|(_, partitions)| !partitions.is_empty())
        .map(|(name, partitions)| Topic { name, partitions: partitions.into_values().collect(), ours: true })
        .collect()
}

fn partition(input: &PartitionInput, of_rows: Option<&Partition>, position: u64) -> Partition {
    let replicas: Vec<_> = input.replicas.iter().copied().map(BrokerId).collect();
    let (replicas, in_sync) = match &input.in_sync {
        None => (replicas, usize::MAX),
        Some(values) => match whole(Some(values), position) {
            Some(count) => (replicas, usize::try_from(count).unwrap_or(usize::MAX)),
            // A partition whose replicas were told has those in sync told, too.
            None => (Vec::new(), 0),
        },
    };
    let leader = whole(Some(&input.leader), position).and_then(|id| i32::try_from(id).ok());
    let given = |values: Option<&Values>, of_rows: Option<i64>| {
        if values.is_some() { whole(values, position) } else { of_rows }
    };
    Partition {
        id: input.partition,
        leader: leader.map(BrokerId),
        in_sync: replicas.iter().take(in_sync).copied().collect(),
        replicas,
        log_start: given(input.log_start.as_ref(), of_rows.and_then(|partition| partition.log_start)),
        log_end: given(input.log_end.as_ref(), of_rows.and_then(|partition| partition.log_end)),
        last_stable: given(input.last_stable.as_ref(), of_rows.and_then(|partition| partition.last_stable)),
        ours: true,
    }
}

/// Every broker that leads, has a replica or coordinates.
fn brokers(topics: &[Topic], groups: &[Group]) -> Vec<Broker> {
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let mut ids: BTreeSet<BrokerId> = partitions().flat_map(|partition| &partition.replicas).copied().collect();
    ids.extend(partitions().filter_map(|partition| partition.leader));
    ids.extend(groups.iter().filter_map(|group| group.coordinator));
    ids.into_iter().map(|id| Broker { id, address: format!("broker-{id}:9092") }).collect()
}
