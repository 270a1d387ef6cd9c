//! One snapshot of a recording, told by what changed since the one before. Pure.

use super::delta::{Column, ColumnDelta, ListDelta};
use crate::{
    model::{BrokerId, Labels, Timestamp, hex},
    snapshot::{
        Age, Asked, Broker, Exposition, GROUP_STATES, Group, GroupKind, KafkaView, LagRow, LagStatus, ObservedPage,
        Partition, Share, Snapshot, Sums, TargetState, Topic, Whole,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A line of a recording.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Frame {
    number: u64,
    at_ms: u64,
    interval_ms: u64,
    cluster: String,
    /// What the random of rules comes from, in hex.
    seed: String,
    targets: Vec<Target>,
    pages: Vec<Page>,
    kafka: Option<Kafka>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Target {
    name: String,
    up: bool,
    last_success_ms: Option<u64>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Page {
    target: String,
    labels: Labels,
    lines: ListDelta<String>,
}

/// All of it is told each time, but for what is long.
#[derive(Debug, Deserialize, Serialize)]
struct Kafka {
    at_ms: u64,
    cluster_id: Option<String>,
    broker_id: Option<i32>,
    whole_cluster: bool,
    answers_for_cluster: bool,
    brokers: Vec<(i32, String)>,
    replaying: bool,
    incomplete: bool,
    failed_topics: Vec<String>,
    /// A letter for each: `o`urs, `f`ollowed, `e`lsewhere, `?`.
    offsets_partitions: String,
    asked: Option<(bool, Vec<String>)>,
    hide_inactive: bool,
    topics: ListDelta<TopicItem>,
    partition_columns: Vec<ColumnDelta>,
    groups: ListDelta<GroupItem>,
    keys: ListDelta<Key>,
    row_columns: Vec<ColumnDelta>,
    /// Rows whose lag in seconds is a lower bound.
    at_least: Vec<usize>,
    /// Rows of which it is not known whether there is a commit.
    unknown: Vec<usize>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct TopicItem {
    name: String,
    ours: bool,
    partitions: Vec<PartitionItem>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct PartitionItem {
    id: u32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    ours: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct GroupItem {
    name: String,
    kind: String,
    state: String,
    members: Option<u32>,
    coordinator: Option<i32>,
    ours: bool,
}

/// Position of the group, topic, partition.
type Key = (u32, String, u32);

/// Columns of [`KafkaView::rows`] and of the partitions of all topics, in the order of this file.
const ROW_COLUMNS: usize = 6;
const PARTITION_COLUMNS: usize = 3;

/// What both sides know of the snapshot before.
#[derive(Debug, Default)]
pub(super) struct Known {
    pages: BTreeMap<String, Vec<String>>,
    topics: Vec<TopicItem>,
    partition_columns: [Column; PARTITION_COLUMNS],
    groups: Vec<GroupItem>,
    keys: Vec<Key>,
    row_columns: [Column; ROW_COLUMNS],
}

impl Known {
    /// Tells a snapshot.
    pub(super) fn tell(&mut self, snapshot: &Snapshot, seed: &[u8; 32]) -> Frame {
        let target = |target: &TargetState| Target {
            name: target.name.to_string(),
            up: target.up,
            last_success_ms: target.last_success.map(|at| at.0),
            reason: target.reason.clone(),
        };
        // What is not there is forgotten, on both sides.
        self.pages.retain(|target, _| snapshot.pages.iter().any(|page| *page.target == **target));
        Frame {
            number: snapshot.number,
            at_ms: snapshot.at.0,
            interval_ms: milliseconds(snapshot.interval),
            cluster: snapshot.cluster.to_string(),
            seed: hex::of(seed),
            targets: snapshot.targets.iter().map(target).collect(),
            pages: snapshot.pages.iter().map(|page| self.tell_page(page)).collect(),
            kafka: snapshot.kafka.as_ref().map(|view| self.tell_kafka(view)),
        }
    }

    fn tell_page(&mut self, page: &ObservedPage) -> Page {
        let now: Vec<String> = page.page.text().lines().map(str::to_owned).collect();
        let before = self.pages.entry(page.target.to_string()).or_default();
        let lines = ListDelta::between(before, &now);
        *before = now;
        Page { target: page.target.to_string(), labels: Labels::clone(&page.labels), lines }
    }

    fn tell_kafka(&mut self, view: &KafkaView) -> Kafka {
        let topics: Vec<_> = view.topics.iter().map(TopicItem::from).collect();
        let partitions = || view.topics.iter().flat_map(|topic| &topic.partitions);
        let partition_columns: [Column; PARTITION_COLUMNS] = [
            partitions().map(|partition| partition.log_start).collect(),
            partitions().map(|partition| partition.log_end).collect(),
            partitions().map(|partition| partition.last_stable).collect(),
        ];
        let groups: Vec<_> = view.groups.iter().map(GroupItem::from).collect();
        let keys: Vec<Key> = view.rows.iter().map(|row| (row.group, row.topic.to_string(), row.partition)).collect();
        let time = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        let row_columns: [Column; ROW_COLUMNS] = [
            view.rows.iter().map(|row| row.committed).collect(),
            view.rows.iter().map(|row| row.committed_at.map(|at| time(at.0))).collect(),
            view.rows.iter().map(|row| row.log_start).collect(),
            view.rows.iter().map(|row| row.log_end).collect(),
            view.rows.iter().map(|row| row.last_stable).collect(),
            view.rows.iter().map(|row| row.age.map(|age| time(age.milliseconds()))).collect(),
        ];
        let which = |is: &dyn Fn(&LagRow) -> bool| {
            view.rows.iter().enumerate().filter(|(_, row)| is(row)).map(|(at, _)| at).collect()
        };
        let letter = |share: &Option<Share>| match share {
            Some(Share::Ours) => 'o',
            Some(Share::Followed) => 'f',
            Some(Share::Elsewhere) => 'e',
            None => '?',
        };
        let told = Kafka {
            at_ms: view.at.0,
            cluster_id: view.cluster_id.clone(),
            broker_id: view.broker_id.map(|id| id.0),
            whole_cluster: view.whole_cluster,
            answers_for_cluster: view.answers_for_cluster,
            brokers: view.brokers.iter().map(|broker| (broker.id.0, broker.address.clone())).collect(),
            replaying: view.replaying,
            incomplete: view.incomplete,
            failed_topics: view.failed_topics.iter().map(ToString::to_string).collect(),
            offsets_partitions: view.offsets_partitions.iter().map(letter).collect(),
            asked: view
                .asked
                .as_ref()
                .map(|asked| (asked.all_listed, asked.unobserved.iter().map(ToString::to_string).collect())),
            hide_inactive: view.hide_inactive,
            topics: ListDelta::between(&self.topics, &topics),
            partition_columns: tell_columns(&self.partition_columns, &partition_columns),
            groups: ListDelta::between(&self.groups, &groups),
            keys: ListDelta::between(&self.keys, &keys),
            row_columns: tell_columns(&self.row_columns, &row_columns),
            at_least: which(&|row| row.age.is_some_and(|age| age.at_least)),
            unknown: which(&|row| row.committed.is_none() && row.status == LagStatus::Unknown),
        };
        (self.topics, self.partition_columns) = (topics, partition_columns);
        (self.groups, self.keys, self.row_columns) = (groups, keys, row_columns);
        told
    }

    /// The snapshot that was told, and its seed. The error says what in it cannot be.
    pub(super) fn hear(&mut self, frame: Frame) -> Result<(Snapshot, [u8; 32]), &'static str> {
        let seed = hex::bytes(&frame.seed).and_then(|seed| <[u8; 32]>::try_from(seed).ok()).ok_or("its seed")?;
        self.pages.retain(|target, _| frame.pages.iter().any(|page| page.target == *target));
        let target = |target: Target| TargetState {
            name: target.name.into(),
            up: target.up,
            last_success: target.last_success_ms.map(Timestamp),
            reason: target.reason,
        };
        let snapshot = Snapshot {
            number: frame.number,
            at: Timestamp(frame.at_ms),
            interval: Duration::from_millis(frame.interval_ms),
            cluster: frame.cluster.into(),
            targets: frame.targets.into_iter().map(target).collect(),
            pages: frame.pages.into_iter().map(|page| self.hear_page(page)).collect::<Result<_, _>>()?,
            kafka: frame.kafka.map(|kafka| self.hear_kafka(kafka)).transpose()?.map(Arc::new),
        };
        Ok((snapshot, seed))
    }

    fn hear_page(&mut self, page: Page) -> Result<ObservedPage, &'static str> {
        let lines = self.pages.entry(page.target.clone()).or_default();
        if !page.lines.apply(lines) {
            return Err("the lines of a page");
        }
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        let parsed = Exposition::parse(text).map_err(|_| "the text of a page")?;
        Ok(ObservedPage { target: page.target.into(), page: Arc::new(parsed), labels: Arc::new(page.labels) })
    }

    fn hear_kafka(&mut self, told: Kafka) -> Result<KafkaView, &'static str> {
        if !(told.topics.apply(&mut self.topics)
            && told.groups.apply(&mut self.groups)
            && told.keys.apply(&mut self.keys))
        {
            return Err("its topics, groups or rows");
        }
        let partitions = self.topics.iter().fold(0usize, |sum, topic| sum.saturating_add(topic.partitions.len()));
        if !(hear_columns(&told.partition_columns, &mut self.partition_columns, partitions)
            && hear_columns(&told.row_columns, &mut self.row_columns, self.keys.len()))
        {
            return Err("its columns");
        }
        if self.keys.iter().any(|(group, ..)| usize::try_from(*group).is_ok_and(|group| group >= self.groups.len())) {
            return Err("the group of a row");
        }
        let share = |letter: char| match letter {
            'o' => Ok(Some(Share::Ours)),
            'f' => Ok(Some(Share::Followed)),
            'e' => Ok(Some(Share::Elsewhere)),
            '?' => Ok(None),
            _ => Err("its offsets_partitions"),
        };
        let names = |names: Vec<String>| names.into_iter().map(Arc::from).collect();
        Ok(KafkaView {
            at: Timestamp(told.at_ms),
            cluster_id: told.cluster_id,
            broker_id: told.broker_id.map(BrokerId),
            whole_cluster: told.whole_cluster,
            answers_for_cluster: told.answers_for_cluster,
            brokers: told.brokers.into_iter().map(|(id, address)| Broker { id: BrokerId(id), address }).collect(),
            topics: self.topics(),
            groups: self.groups.iter().map(group).collect::<Result<_, _>>()?,
            rows: self.rows(&told.at_least, &told.unknown),
            replaying: told.replaying,
            incomplete: told.incomplete,
            failed_topics: names(told.failed_topics),
            offsets_partitions: told.offsets_partitions.chars().map(share).collect::<Result<_, _>>()?,
            asked: told.asked.map(|(all_listed, unobserved)| Asked { all_listed, unobserved: names(unobserved) }),
            hide_inactive: told.hide_inactive,
            sums: Sums::default(),
            table: Whole::default(),
        })
    }

    fn topics(&self) -> Vec<Topic> {
        let [starts, ends, stables] = &self.partition_columns;
        let mut numbers = starts.iter().zip(ends).zip(stables);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        let mut partition = |item: &PartitionItem| {
            let ((log_start, log_end), last_stable) = numbers.next().unwrap_or(((&None, &None), &None));
            Partition {
                id: item.id,
                leader: item.leader.map(BrokerId),
                replicas: ids(&item.replicas),
                in_sync: ids(&item.in_sync),
                log_start: *log_start,
                log_end: *log_end,
                last_stable: *last_stable,
                ours: item.ours,
            }
        };
        let topic = |item: &TopicItem| Topic {
            name: item.name.as_str().into(),
            partitions: item.partitions.iter().map(&mut partition).collect(),
            ours: item.ours,
        };
        self.topics.iter().map(topic).collect()
    }

    fn rows(&self, at_least: &[usize], unknown: &[usize]) -> Vec<LagRow> {
        let [committed, committed_at, log_start, log_end, last_stable, age] = &self.row_columns;
        let number = |column: &Column, at: usize| column.get(at).copied().flatten();
        let time = |column: &Column, at: usize| number(column, at).and_then(|time| u64::try_from(time).ok());
        let mut topic: Arc<str> = "".into();
        let mut rows = Vec::with_capacity(self.keys.len());
        for (at, (group, name, partition)) in self.keys.iter().enumerate() {
            if *topic != **name {
                topic = name.as_str().into();
            }
            let mut row = LagRow::new(
                *group,
                Arc::clone(&topic),
                *partition,
                number(committed, at),
                time(committed_at, at).map(Timestamp),
                number(log_start, at),
                number(log_end, at),
            );
            row.last_stable = number(last_stable, at);
            row.age = time(age, at)
                .map(|age| Age { time: Duration::from_millis(age), at_least: at_least.binary_search(&at).is_ok() });
            if row.committed.is_none() && unknown.binary_search(&at).is_ok() {
                row.status = LagStatus::Unknown;
            }
            rows.push(row);
        }
        rows
    }
}

fn tell_columns<const N: usize>(before: &[Column; N], now: &[Column; N]) -> Vec<ColumnDelta> {
    before.iter().zip(now).map(|(before, now)| ColumnDelta::between(before, now)).collect()
}

fn hear_columns<const N: usize>(told: &[ColumnDelta], columns: &mut [Column; N], length: usize) -> bool {
    told.len() == N && told.iter().zip(columns).all(|(delta, column)| delta.apply(column, length))
}

impl From<&Topic> for TopicItem {
    fn from(topic: &Topic) -> Self {
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
        let partition = |partition: &Partition| PartitionItem {
            id: partition.id,
            leader: partition.leader.map(|id| id.0),
            replicas: ids(&partition.replicas),
            in_sync: ids(&partition.in_sync),
            ours: partition.ours,
        };
        Self {
            name: topic.name.to_string(),
            ours: topic.ours,
            partitions: topic.partitions.iter().map(partition).collect(),
        }
    }
}

impl From<&Group> for GroupItem {
    fn from(group: &Group) -> Self {
        Self {
            name: group.name.to_string(),
            kind: group.kind.text().to_owned(),
            state: group.state.to_owned(),
            members: group.members,
            coordinator: group.coordinator.map(|id| id.0),
            ours: group.ours,
        }
    }
}

fn group(item: &GroupItem) -> Result<Group, &'static str> {
    Ok(Group {
        name: item.name.as_str().into(),
        kind: GroupKind::of_text(&item.kind).ok_or("the kind of a group")?,
        state: GROUP_STATES.iter().copied().find(|state| *state == item.state).ok_or("the state of a group")?,
        members: item.members,
        coordinator: item.coordinator.map(BrokerId),
        ours: item.ours,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
