//! What was observed of the Kafka cluster: brokers, topics, groups and one row for each group and partition.
//! Unknown is a type here: an offset that no broker gave is `None`, never 0.

mod table;

pub use table::{ABSENT, AT_LEAST, LagTable, Whole};

use crate::model::{BrokerId, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: BrokerId,
    /// Advertised `host:port`.
    pub address: String,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub id: u32,
    /// Its leader; `None` while it has none.
    pub leader: Option<BrokerId>,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub in_sync: Vec<BrokerId>,
    /// Log start offset, if the leader said.
    pub log_start: Option<i64>,
    /// High watermark, if the leader said.
    pub log_end: Option<i64>,
    /// Last stable offset, where an open transaction keeps it below the high watermark.
    pub last_stable: Option<i64>,
    /// Do we answer for this partition?
    pub ours: bool,
}

/// A topic. Its partitions are sorted by number, and may lack some while the cluster changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// Do we answer for the series of the topic as a whole?
    pub ours: bool,
}

impl Topic {
    /// The partition of that number.
    pub fn partition(&self, id: u32) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&id, |partition| partition.id).ok()?;
        self.partitions.get(at)
    }
}

/// What sort of group it is, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// The classic protocol.
    Classic,
    /// KIP-848.
    Consumer,
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
    /// Commits without members.
    Simple,
    /// Not known.
    Unknown,
}

impl GroupKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Classic, Self::Consumer, Self::Share, Self::Streams, Self::Simple, Self::Unknown];

    /// The kind that [`Self::text`] spells so.
    pub fn of_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }

    /// As `rule.wit` spells it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
            Self::Simple => "simple",
            Self::Unknown => "unknown",
        }
    }
}

/// The words that a group's state can be.
pub const GROUP_STATES: [&str; 9] = [
    "Assigning",
    "CompletingRebalance",
    "Dead",
    "Empty",
    "NotReady",
    "PreparingRebalance",
    "Reconciling",
    "Stable",
    "Unknown",
];

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: GroupKind,
    /// Kafka's word for its state, or `Unknown`.
    pub state: &'static str,
    /// Its members, if known.
    pub members: Option<u32>,
    /// The broker that coordinates it, if known.
    pub coordinator: Option<BrokerId>,
    /// Do we answer for it?
    pub ours: bool,
}

/// How a group stands on one partition. The order is that of `lag-status` in `rule.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagStatus {
    /// Lag is known.
    Behind,
    /// Lag is known, and part of it is no longer in the log.
    Lost,
    /// Committed beyond the log's end.
    Ahead,
    /// The group committed on the topic, but not here.
    NoCommit,
    /// The broker did not say.
    Unknown,
}

/// How long ago the record that a group reads next was produced: lag in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// So long ago; zero when nothing is left to read.
    pub time: Duration,
    /// It may be longer: the record is older than what is known of its partition.
    pub at_least: bool,
}

impl Age {
    /// Nothing is left to read.
    pub const CAUGHT_UP: Self = Self { time: Duration::ZERO, at_least: false };

    /// In whole milliseconds.
    pub fn milliseconds(self) -> u64 {
        u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX)
    }

    /// In seconds, as the page prints them.
    pub fn seconds(self) -> f64 {
        Timestamp(self.milliseconds()).seconds()
    }

    /// The longer of two; it may be longer still where one of them may.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        Self { time: self.time.max(other.time), at_least: self.at_least || other.at_least }
    }
}

/// One group on one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct LagRow {
    /// Index into [`KafkaView::groups`].
    pub group: u32,
    /// Its topic; a name that metadata does not list is a topic that was deleted.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: u32,
    /// Committed offset.
    pub committed: Option<i64>,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
    /// Log start offset of the partition.
    pub log_start: Option<i64>,
    /// High watermark of the partition.
    pub log_end: Option<i64>,
    /// Last stable offset of the partition, where an open transaction keeps it below the high watermark.
    pub last_stable: Option<i64>,
    /// What Kafka's own tool prints: end − committed; negative when the commit is beyond the end.
    pub lag: Option<i64>,
    /// Records between the commit and the log start; 0 when none are known to be lost.
    pub lost: i64,
    /// How it stands.
    pub status: LagStatus,
    /// How long ago the record at `committed` was produced; `None` when that is not known. Nothing is left to read
    /// at and beyond the log's end. A record that is no longer in the log counts like any other.
    pub age: Option<Age>,
}

impl LagRow {
    /// Puts a commit and the partition's offsets together. Source: Kafka's ConsumerGroupCommand (lag = log end −
    /// committed, whatever the log start is). Of the age and of transactions nothing is known yet.
    pub fn new(
        group: u32,
        topic: Arc<str>,
        partition: u32,
        committed: Option<i64>,
        committed_at: Option<Timestamp>,
        log_start: Option<i64>,
        log_end: Option<i64>,
    ) -> Self {
        let lag = committed.zip(log_end).map(|(committed, end)| end.saturating_sub(committed));
        let lost = committed.zip(log_start).map_or(0, |(committed, start)| start.saturating_sub(committed).max(0));
        let status = match (committed, lag) {
            (None, _) => LagStatus::NoCommit,
            (Some(_), None) => LagStatus::Unknown,
            (Some(_), Some(lag)) if lag < 0 => LagStatus::Ahead,
            _ if lost > 0 => LagStatus::Lost,
            _ => LagStatus::Behind,
        };
        Self {
            group,
            topic,
            partition,
            committed,
            committed_at,
            log_start,
            log_end,
            last_stable: None,
            lag,
            lost,
            status,
            age: None,
        }
    }
}

/// All rows of one group and topic, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicLag {
    /// Index into [`KafkaView::groups`].
    pub group: u32,
    /// The topic.
    pub topic: Arc<str>,
    /// Over all committed partitions; absent while one is unknown.
    pub lag: Option<i64>,
    /// Over the partitions that are known.
    pub known_lag: i64,
    /// The largest known lag of a partition; 0 when none is known.
    pub max_lag: i64,
    /// The longest age of a committed partition; absent while one is unknown, and where there is no commit at all.
    pub max_age: Option<Age>,
    /// Sum of lost records.
    pub lost: i64,
    /// Sum of committed offsets, −1 for each partition without a commit (kafka_exporter's way); absent while one is
    /// unknown.
    pub offset_sum: Option<i64>,
    /// Rows.
    pub partitions: u32,
    /// Rows whose lag is unknown although there is a commit.
    pub unknown_partitions: u32,
    /// Rows without a commit.
    pub uncommitted_partitions: u32,
}

/// Who answers for the groups in a partition of `__consumer_offsets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// We do, and have read it to its end.
    Ours,
    /// Another agent, but we have read it to its end as well: we know what that one knows.
    Followed,
    /// Another agent.
    Elsewhere,
}

/// Which rows a caller wants: all of whose predicates hold.
pub struct LagFilter<'a> {
    /// Is this group wanted?
    pub group: &'a dyn Fn(&str) -> bool,
    /// Is this topic wanted?
    pub topic: &'a dyn Fn(&str) -> bool,
    /// Rows with a known lag below this are left out; rows whose lag is unknown pass.
    pub min_lag: Option<i64>,
}

/// What was observed of the Kafka cluster in one cycle.
#[derive(Clone, Debug, Default)]
pub struct KafkaView {
    /// When the end offsets of this view were asked for.
    pub at: Timestamp,
    /// Kafka's cluster id, if it was given.
    pub cluster_id: Option<String>,
    /// The broker beside us; `None` with `scope: cluster`.
    pub broker_id: Option<BrokerId>,
    /// We answer for everything there is.
    pub whole_cluster: bool,
    /// Do we answer for the cluster as a whole (`kafka_brokers`, `kafka_broker_info`)?
    pub answers_for_cluster: bool,
    /// Sorted by id.
    pub brokers: Vec<Broker>,
    /// Sorted by name.
    pub topics: Vec<Topic>,
    /// Sorted by name.
    pub groups: Vec<Group>,
    /// Sorted by group, topic, partition.
    pub rows: Vec<LagRow>,
    /// The offsets topic is still being read for the first time: groups are missing that may exist.
    pub replaying: bool,
    /// Not all of our share could be collected: what is absent from this view may exist all the same.
    pub incomplete: bool,
    /// Topics that exist, but came with an error.
    pub failed_topics: Vec<Arc<str>>,
    /// For each partition of `__consumer_offsets`: who answers for the groups in it. `None` while not known (no leader,
    /// or ours and not read to its end yet). Empty while the topic does not exist.
    pub offsets_partitions: Vec<Option<Share>>,
    /// Where groups were asked one by one: what is not known of them.
    pub asked: Option<Asked>,
    /// Groups without members are not shown on pages; rules see them all the same.
    pub hide_inactive: bool,
    /// See [`Self::topic_lags`].
    pub sums: Sums,
    /// See [`Self::whole_table`].
    pub table: Whole,
}

/// Rows added up, once somebody asked for it. A copy of a view may get other rows, and begins without.
#[derive(Debug, Default)]
pub struct Sums(OnceLock<Vec<TopicLag>>);

impl Clone for Sums {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What is not known of groups that were asked one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// All brokers listed their groups: what is not listed does not exist.
    pub all_listed: bool,
    /// Groups of which not all is known from the last round, or that another agent asks; sorted.
    pub unobserved: Vec<Arc<str>>,
}

impl KafkaView {
    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        let at = self.topics.binary_search_by(|topic| (*topic.name).cmp(name)).ok()?;
        self.topics.get(at)
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        let at = self.groups.binary_search_by(|group| (*group.name).cmp(name)).ok()?;
        self.groups.get(at)
    }

    /// The group that a row or sum belongs to.
    pub fn group_of(&self, index: u32) -> Option<&Group> {
        self.groups.get(usize::try_from(index).ok()?)
    }

    /// Rows of one group.
    pub fn rows_of(&self, group: &str) -> &[LagRow] {
        let Ok(at) = self.groups.binary_search_by(|g| (*g.name).cmp(group)) else { return &[] };
        let from = self.rows.partition_point(|row| u64::from(row.group) < to_u64(at));
        let to = self.rows.partition_point(|row| u64::from(row.group) <= to_u64(at));
        self.rows.get(from..to).unwrap_or_default()
    }

    /// Do we answer for that group, whether or not it exists? `None` when that is not known now.
    /// Source of the formula: Kafka's GroupCoordinatorService.partitionFor and Utils.abs.
    pub fn owns_group(&self, name: &str) -> Option<bool> {
        if let Some(group) = self.group(name) {
            return Some(group.ours);
        }
        if self.whole_cluster {
            return Some(true);
        }
        // Without an offsets topic there is no group yet, and nobody coordinates one.
        self.share_of(name).map(|share| share == Share::Ours)
    }

    /// Another agent answers for that group, but we know as much of it, whether or not it exists.
    pub fn follows_group(&self, name: &str) -> bool {
        self.asked.is_none()
            && match self.group(name) {
                // Groups of partitions that we do not read are not in the view.
                Some(group) => !group.ours,
                None => self.share_of(name) == Some(Share::Followed),
            }
    }

    /// Of the partition that a group of this name has its records in.
    fn share_of(&self, name: &str) -> Option<Share> {
        *self.offsets_partitions.get(partition_for(name, self.offsets_partitions.len()))?
    }

    /// Is that group on our pages? Only if we answer for it.
    pub fn shows(&self, group: &Group) -> bool {
        group.ours && !(self.hide_inactive && group.members == Some(0))
    }

    /// Do we answer for the series of that topic as a whole?
    pub fn owns_topic(&self, name: &str) -> bool {
        self.topic(name).is_some_and(|topic| topic.ours)
    }

    /// Was that group fully observed? True also for a group that is known not to exist.
    pub fn group_observed(&self, name: &str) -> bool {
        let read = if let Some(asked) = &self.asked {
            asked.unobserved.binary_search_by(|unobserved| (**unobserved).cmp(name)).is_err()
                && (asked.all_listed || self.group(name).is_some())
        } else {
            // A group that is in the view is in it because its partition was read.
            self.group(name).is_some() || matches!(self.share_of(name), Some(Share::Ours | Share::Followed))
        };
        read && self.rows_of(name).iter().all(|row| row.status != LagStatus::Unknown)
    }

    /// Was that topic fully observed? True also for a topic that does not exist.
    pub fn topic_observed(&self, name: &str) -> bool {
        if self.replaying || self.incomplete || self.failed_topics.iter().any(|failed| &**failed == name) {
            return false;
        }
        self.topic(name).is_none_or(|topic| {
            topic.partitions.iter().all(|p| p.leader.is_some() && p.log_end.is_some() && p.log_start.is_some())
        })
    }

    /// Rows that pass a filter, in order.
    pub fn lag_rows<'a>(&'a self, filter: &'a LagFilter<'a>) -> impl Iterator<Item = &'a LagRow> + 'a {
        // A name decides the same way for all its rows, and matching costs more than a look-up.
        let mut groups: HashMap<u32, bool> = HashMap::new();
        let mut topics: HashMap<Arc<str>, bool> = HashMap::new();
        // Rows are sorted, so most have the names of the row before, and comparing costs less than a look-up.
        let mut last: Option<(&LagRow, bool)> = None;
        self.rows.iter().filter(move |row| {
            let low = |row: &LagRow| filter.min_lag.is_some_and(|min| row.lag.is_some_and(|lag| lag < min));
            if let Some((before, named)) = last
                && before.group == row.group
                && before.topic == row.topic
            {
                return named && !low(row);
            }
            let group = *groups
                .entry(row.group)
                .or_insert_with(|| self.group_of(row.group).is_some_and(|group| (filter.group)(&group.name)));
            let topic = group
                && match topics.get(&row.topic) {
                    Some(wanted) => *wanted,
                    None => *topics.entry(Arc::clone(&row.topic)).or_insert_with(|| (filter.topic)(&row.topic)),
                };
            last = Some((*row, topic));
            topic && !low(row)
        })
    }

    /// Rows added up by group and topic, in order. Done once: the page asks for it, and so may every rule.
    pub fn topic_lags(&self) -> &[TopicLag] {
        self.sums.0.get_or_init(|| self.add_up())
    }

    fn add_up(&self) -> Vec<TopicLag> {
        let mut sums: Vec<TopicLag> = Vec::new();
        for row in &self.rows {
            let new = sums.last().is_none_or(|sum| sum.group != row.group || sum.topic != row.topic);
            if new {
                sums.push(TopicLag {
                    group: row.group,
                    topic: Arc::clone(&row.topic),
                    lag: Some(0),
                    known_lag: 0,
                    max_lag: 0,
                    max_age: Some(Age::CAUGHT_UP),
                    lost: 0,
                    offset_sum: Some(0),
                    partitions: 0,
                    unknown_partitions: 0,
                    uncommitted_partitions: 0,
                });
            }
            let Some(sum) = sums.last_mut() else { continue };
            sum.partitions = sum.partitions.saturating_add(1);
            let committed = row.committed.or((row.status == LagStatus::NoCommit).then_some(-1));
            sum.offset_sum = sum.offset_sum.zip(committed).map(|(sum, committed)| sum.saturating_add(committed));
            sum.lost = sum.lost.saturating_add(row.lost);
            match (row.status, row.lag) {
                (LagStatus::NoCommit, _) => sum.uncommitted_partitions = sum.uncommitted_partitions.saturating_add(1),
                (_, Some(lag)) => {
                    sum.known_lag = sum.known_lag.saturating_add(lag);
                    sum.max_lag = sum.max_lag.max(lag);
                    sum.lag = sum.lag.map(|known| known.saturating_add(lag));
                    sum.max_age = sum.max_age.zip(row.age).map(|(longest, age)| longest.longer(age));
                }
                (_, None) => {
                    sum.unknown_partitions = sum.unknown_partitions.saturating_add(1);
                    sum.lag = None;
                    sum.max_age = None;
                }
            }
        }
        for sum in sums.iter_mut().filter(|sum| sum.uncommitted_partitions == sum.partitions) {
            sum.max_age = None;
        }
        sums
    }
}

/// The partition of `__consumer_offsets` that a group's records are in: `abs(hash) % partitions`, with Java's
/// String.hashCode over UTF-16 units and abs(i32::MIN) = 0. Only used for groups that have no record of their own:
/// where there is one, its own partition is the truth (Redpanda hashes otherwise).
pub fn partition_for(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    usize::try_from(positive).unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

fn to_u64(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
