//! `/api/v1/topics` and `/api/v1/topic`: topics as brokers list them, and who reads them.

use super::{
    Refused,
    groups::SumJson,
    standing::{Reason, Standing, Sum},
    wanted::Wanted,
};
use crate::snapshot::{KafkaView, LagRow, Partition, Topic};
use serde::Serialize;
use std::{cmp::Reverse, collections::HashMap};

/// Groups that read a topic in its answer, those with the most lag.
pub const MAX_TOPIC_GROUPS: usize = 200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicJson<'a> {
    name: &'a str,
    partitions: usize,
    /// Partitions that this agent answers for: only of these it asks where their log ends.
    led: usize,
    replication: usize,
    under_replicated: usize,
    leaderless: usize,
    failed: bool,
    /// Of the partitions that this agent answers for; absent where one is not known, or there is none.
    records: Option<i64>,
    groups: usize,
    known_lag: i64,
    lag_is_whole: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicList<'a> {
    observed: bool,
    total: usize,
    offset: usize,
    sort: &'static str,
    order: &'static str,
    topics: Vec<TopicJson<'a>>,
}

/// Those who read a topic, of the groups that are shown.
#[derive(Clone, Copy, Debug, Default)]
struct Readers {
    groups: usize,
    known_lag: i64,
    unknown: bool,
}

/// `/api/v1/topics`.
///
/// # Errors
/// When a parameter is not understood.
pub(super) fn list<'a>(kafka: Option<&'a KafkaView>, wanted: &Wanted) -> Result<TopicList<'a>, Refused> {
    let sort = Wanted::one_of("sort", &wanted.sort, &["urgency", "groups", "lag", "name", "partitions", "records"])?;
    let show = Wanted::one_of("show", &wanted.show, &["all", "read", "trouble"])?;
    let readers = kafka.map(readers).unwrap_or_default();
    let topics = kafka.map_or(&[][..], |kafka| &kafka.topics);
    let failed = |name: &str| kafka.is_some_and(|kafka| kafka.failed_topics.iter().any(|failed| &**failed == name));
    let mut found: Vec<TopicJson<'a>> = topics
        .iter()
        .filter(|topic| wanted.finds(&topic.name))
        .map(|topic| topic_json(topic, failed(&topic.name), readers.get(&*topic.name).copied().unwrap_or_default()))
        .filter(|topic| match show {
            "read" => topic.groups > 0,
            "trouble" => topic.failed || topic.leaderless > 0 || topic.under_replicated > 0,
            _ => true,
        })
        .collect();
    match sort {
        "groups" => wanted.sort(&mut found, false, |topic| topic.groups),
        "lag" => wanted.sort(&mut found, false, |topic| topic.known_lag),
        "name" if wanted.ascending == Some(false) => found.reverse(),
        "name" => {}
        "partitions" => wanted.sort(&mut found, false, |topic| topic.partitions),
        "records" => wanted.sort(&mut found, false, |topic| topic.records),
        _ => wanted
            .sort(&mut found, false, |topic| (topic.leaderless, topic.under_replicated, topic.failed, topic.known_lag)),
    }
    let (total, offset) = (found.len(), wanted.start(found.len()));
    let topics = found.into_iter().skip(offset).take(wanted.limit).collect();
    let order = wanted.order(sort == "name");
    Ok(TopicList { observed: kafka.is_some(), total, offset, sort, order, topics })
}

fn readers(kafka: &KafkaView) -> HashMap<&str, Readers> {
    let mut readers: HashMap<&str, Readers> = HashMap::new();
    for sum in kafka.topic_lags() {
        if kafka.group_of(sum.group).is_some_and(|group| kafka.shows(group)) {
            let of = readers.entry(&sum.topic).or_default();
            of.groups = of.groups.saturating_add(1);
            of.known_lag = of.known_lag.saturating_add(sum.known_lag);
            of.unknown |= sum.unknown_partitions > 0;
        }
    }
    readers
}

fn records(partition: &Partition) -> Option<i64> {
    partition.log_end.zip(partition.log_start).map(|(end, start)| end.saturating_sub(start))
}

fn topic_json(topic: &Topic, failed: bool, readers: Readers) -> TopicJson<'_> {
    let ours = || topic.partitions.iter().filter(|partition| partition.ours);
    let led = ours().count();
    let sum = ours().map(records).try_fold(0i64, |sum, records| Some(sum.saturating_add(records?)));
    TopicJson {
        name: &topic.name,
        partitions: topic.partitions.len(),
        led,
        replication: topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0),
        under_replicated: topic.partitions.iter().filter(|one| one.in_sync.len() < one.replicas.len()).count(),
        leaderless: topic.partitions.iter().filter(|one| one.leader.is_none()).count(),
        failed,
        records: sum.filter(|_| led > 0),
        groups: readers.groups,
        known_lag: readers.known_lag,
        lag_is_whole: !readers.unknown,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reader<'a> {
    name: &'a str,
    state: &'static str,
    members: Option<u32>,
    reasons: &'a [Reason],
    #[serde(flatten)]
    sum: SumJson,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartitionJson {
    partition: u32,
    leader: Option<i32>,
    /// Does its preferred replica lead it?
    preferred: bool,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    log_start: Option<i64>,
    log_end: Option<i64>,
    last_stable: Option<i64>,
    records: Option<i64>,
    ours: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail<'a> {
    topic: TopicJson<'a>,
    groups: Vec<Reader<'a>>,
    total: usize,
    offset: usize,
    partitions: Vec<PartitionJson>,
}

/// `/api/v1/topic`; `all` are the groups that are shown.
///
/// # Errors
/// When there is no such topic, or a parameter is not understood.
pub(super) fn detail<'a>(
    kafka: Option<&'a KafkaView>,
    all: &'a [Standing],
    wanted: &Wanted,
) -> Result<Detail<'a>, Refused> {
    let name = wanted.named()?;
    let missing = || Refused::NotFound(format!("brokers list no topic {name:?} now"));
    let kafka = kafka.ok_or_else(missing)?;
    let topic = kafka.topic(name).ok_or_else(missing)?;
    let rows = |of: &str| {
        let rows = kafka.rows_of(of);
        let from = rows.partition_point(|row| &*row.topic < name);
        let to = rows.partition_point(|row| &*row.topic <= name);
        rows.get(from..to).unwrap_or_default()
    };
    let mut readers: Vec<(&'a Standing, Sum)> = all
        .iter()
        .filter_map(|one| {
            let its: &[LagRow] = rows(&kafka.groups.get(one.group)?.name);
            (!its.is_empty()).then(|| (one, Sum::of(its)))
        })
        .collect();
    readers.sort_by_key(|(_, sum)| Reverse(sum.known_lag));
    let of_all = Readers {
        groups: readers.len(),
        known_lag: readers.iter().map(|(_, sum)| sum.known_lag).fold(0, i64::saturating_add),
        unknown: readers.iter().any(|(_, sum)| sum.unknown > 0),
    };
    let (total, offset) = (topic.partitions.len(), wanted.start(topic.partitions.len()));
    let groups = readers.iter().take(MAX_TOPIC_GROUPS).filter_map(|(one, sum)| {
        let group = kafka.groups.get(one.group)?;
        let (state, members) = (group.state, group.members);
        Some(Reader { name: &group.name, state, members, reasons: &one.reasons, sum: sum.into() })
    });
    Ok(Detail {
        topic: topic_json(topic, kafka.failed_topics.contains(&topic.name), of_all),
        groups: groups.collect(),
        total,
        offset,
        partitions: topic.partitions.iter().skip(offset).take(wanted.limit).map(partition_json).collect(),
    })
}

fn partition_json(partition: &Partition) -> PartitionJson {
    let ids = |brokers: &[crate::model::BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    PartitionJson {
        partition: partition.id,
        leader: partition.leader.map(|leader| leader.0),
        preferred: partition.leader.is_none() || partition.leader == partition.replicas.first().copied(),
        replicas: ids(&partition.replicas),
        in_sync: ids(&partition.in_sync),
        log_start: partition.log_start,
        log_end: partition.log_end,
        last_stable: partition.last_stable,
        records: records(partition),
        ours: partition.ours,
    }
}
