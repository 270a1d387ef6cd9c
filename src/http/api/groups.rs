//! `/api/v1/groups` and `/api/v1/group`: groups as they stand, and one with its partitions and its past.

use super::{
    Refused,
    alerts::{AlertStatus, statuses},
    past::{self, Moment, Trend},
    standing::{Reason, Standing, Sum},
    wanted::Wanted,
};
use crate::{
    alerts::AlertsView,
    history::History,
    model::Subject,
    snapshot::{Age, KafkaView, LagRow, LagStatus},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Topics of a group that its answer names, those with the most lag.
pub const MAX_GROUP_TOPICS: usize = 200;

/// Alerts about one group, or of one rule, in its answer.
pub const MAX_DETAIL_ALERTS: usize = 100;

/// Rows added up, as JSON has them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SumJson {
    lag: Option<i64>,
    known_lag: i64,
    seconds: Option<f64>,
    seconds_are_minimum: bool,
    lost: i64,
    partitions: u32,
    unknown_partitions: u32,
    uncommitted_partitions: u32,
}

impl From<&Sum> for SumJson {
    fn from(sum: &Sum) -> Self {
        Self {
            lag: sum.lag,
            known_lag: sum.known_lag,
            seconds: sum.age.map(Age::seconds),
            seconds_are_minimum: sum.age.is_some_and(|age| age.at_least),
            lost: sum.lost,
            partitions: sum.partitions,
            unknown_partitions: sum.unknown,
            uncommitted_partitions: sum.uncommitted,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupJson<'a> {
    name: &'a str,
    kind: &'static str,
    state: &'static str,
    members: Option<u32>,
    coordinator: Option<i32>,
    #[serde(flatten)]
    sum: SumJson,
    firing: u32,
    pending: u32,
    reasons: &'a [Reason],
    #[serde(skip_serializing_if = "Option::is_none")]
    trend: Option<Trend>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupList<'a> {
    /// Was Kafka observed lately?
    observed: bool,
    all: usize,
    behind: usize,
    trouble: usize,
    total: usize,
    offset: usize,
    sort: &'static str,
    order: &'static str,
    groups: Vec<GroupJson<'a>>,
}

pub(super) fn group_json<'a>(
    kafka: &'a KafkaView,
    standing: &'a Standing,
    trend: Option<Trend>,
) -> Option<GroupJson<'a>> {
    let group = kafka.groups.get(standing.group)?;
    Some(GroupJson {
        name: &group.name,
        kind: group.kind.text(),
        state: group.state,
        members: group.members,
        coordinator: group.coordinator.map(|broker| broker.0),
        sum: (&standing.sum).into(),
        firing: standing.firing,
        pending: standing.pending,
        reasons: &standing.reasons,
        trend,
    })
}

/// `/api/v1/groups`: `all` are all groups that are shown, the most urgent first.
///
/// # Errors
/// When a parameter is not understood.
pub(super) fn list<'a>(
    kafka: Option<&'a KafkaView>,
    all: &'a [Standing],
    history: &History,
    wanted: &Wanted,
) -> Result<GroupList<'a>, Refused> {
    let sort = Wanted::one_of(
        "sort",
        &wanted.sort,
        &["urgency", "lag", "lost", "members", "name", "partitions", "seconds", "state"],
    )?;
    let show = Wanted::one_of("show", &wanted.show, &["all", "behind", "trouble"])?;
    let group = |one: &Standing| kafka.and_then(|kafka| kafka.groups.get(one.group));
    let behind = |one: &Standing| one.sum.known_lag > 0;
    let trouble = |one: &Standing| !one.reasons.is_empty();
    let mut found: Vec<&Standing> = all
        .iter()
        .filter(|one| match show {
            "behind" => behind(one),
            "trouble" => trouble(one),
            _ => true,
        })
        .filter(|one| {
            group(one).is_some_and(|group| {
                (wanted.state.is_empty() || group.state == wanted.state) && wanted.finds(&group.name)
            })
        })
        .collect();
    match sort {
        "lag" => wanted.sort(&mut found, false, |one| one.sum.known_lag),
        "lost" => wanted.sort(&mut found, false, |one| one.sum.lost),
        "members" => wanted.sort(&mut found, false, |one| group(one).and_then(|group| group.members)),
        "name" => wanted.sort(&mut found, true, |one| group(one).map(|group| &group.name)),
        "partitions" => wanted.sort(&mut found, false, |one| one.sum.partitions),
        "seconds" => wanted.sort(&mut found, false, |one| one.sum.age.map(Age::milliseconds)),
        "state" => wanted.sort(&mut found, true, |one| group(one).map(|group| group.state)),
        // It is in that order.
        _ if wanted.ascending == Some(true) => found.reverse(),
        _ => {}
    }
    let (total, offset) = (found.len(), wanted.start(found.len()));
    let page: Vec<_> = found.into_iter().skip(offset).take(wanted.limit).collect();
    let groups = kafka.map_or_else(Vec::new, |kafka| {
        let mut trends = trends_of(kafka, history, &page);
        let json = |one: &&'a Standing| group_json(kafka, one, Some(trends.remove(&one.group).unwrap_or_default()));
        page.iter().filter_map(json).collect()
    });
    Ok(GroupList {
        observed: kafka.is_some(),
        all: all.len(),
        behind: all.iter().filter(|one| behind(one)).count(),
        trouble: all.iter().filter(|one| trouble(one)).count(),
        total,
        offset,
        sort,
        order: wanted.order(["name", "state"].contains(&sort)),
        groups,
    })
}

fn trends_of(kafka: &KafkaView, history: &History, groups: &[&Standing]) -> BTreeMap<usize, Trend> {
    let mut indices: Vec<usize> = groups.iter().map(|one| one.group).collect();
    indices.sort_unstable();
    let names = indices.iter().filter_map(|index| kafka.groups.get(*index));
    let rows: Vec<&LagRow> = names.flat_map(|group| kafka.rows_of(&group.name)).collect();
    past::trends(history, kafka, &rows, |row| usize::try_from(row.group).unwrap_or(usize::MAX))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicSum<'a> {
    name: &'a str,
    #[serde(flatten)]
    sum: SumJson,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    topic: &'a str,
    partition: u32,
    leader: Option<i32>,
    committed: Option<i64>,
    committed_at_ms: Option<u64>,
    log_start: Option<i64>,
    log_end: Option<i64>,
    last_stable: Option<i64>,
    lag: Option<i64>,
    lost: i64,
    status: &'static str,
    seconds: Option<f64>,
    seconds_are_minimum: bool,
    trend: Trend,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail<'a> {
    group: GroupJson<'a>,
    topics: Vec<TopicSum<'a>>,
    /// Each: milliseconds, lag, produced and committed per second.
    history: Vec<Moment>,
    total: usize,
    offset: usize,
    sort: &'static str,
    order: &'static str,
    partitions: Vec<Row<'a>>,
    alerts: Vec<AlertStatus<'a>>,
}

/// `/api/v1/group`: `all` as for [`list`].
///
/// # Errors
/// When there is no such group, or a parameter is not understood.
pub(super) fn detail<'a>(
    kafka: Option<&'a KafkaView>,
    all: &'a [Standing],
    history: &History,
    alerts: &'a AlertsView,
    wanted: &Wanted,
) -> Result<Detail<'a>, Refused> {
    let name = wanted.named()?;
    let sort = Wanted::one_of("sort", &wanted.sort, &["urgency", "lag", "seconds", "topic"])?;
    let missing = || Refused::NotFound(format!("this agent shows no group {name:?} now"));
    let kafka = kafka.ok_or_else(missing)?;
    let standing = all.iter().find(|one| kafka.groups.get(one.group).is_some_and(|group| &*group.name == name));
    let standing = standing.ok_or_else(missing)?;
    let rows = kafka.rows_of(name);
    let chosen = |row: &&LagRow| {
        wanted.topic.as_ref().is_none_or(|topic| **topic == *row.topic)
            && wanted.partition.is_none_or(|partition| partition == row.partition)
    };
    let of_history: Vec<&LagRow> = rows.iter().filter(chosen).collect();
    // A chosen partition has the chart for itself; the others of its topic stay beside it.
    let mut found: Vec<&LagRow> =
        rows.iter().filter(|row| wanted.topic.as_ref().is_none_or(|topic| **topic == *row.topic)).collect();
    match sort {
        "seconds" => wanted.sort(&mut found, false, |row| row.age.map(Age::milliseconds)),
        "topic" if wanted.ascending == Some(false) => found.reverse(),
        "topic" => {}
        "lag" => wanted.sort(&mut found, false, |row| row.lag),
        _ => wanted.sort(&mut found, false, |row| {
            (row.lost > 0, row.status == LagStatus::Unknown, row.age.map(Age::milliseconds), row.lag)
        }),
    }
    let (total, offset) = (found.len(), wanted.start(found.len()));
    let page: Vec<_> = found.into_iter().skip(offset).take(wanted.limit).collect();
    let mut in_order = page.clone();
    in_order.sort_by(|a, b| a.topic.cmp(&b.topic).then(a.partition.cmp(&b.partition)));
    // Rows of one view are told apart by where they are.
    let mut trends = past::trends(history, kafka, &in_order, std::ptr::from_ref);
    let partitions =
        page.into_iter().map(|row| row_json(kafka, row, trends.remove(&std::ptr::from_ref(row)).unwrap_or_default()));
    let about = |subject: &Subject| matches!(subject, Subject::Group(group) if group == name);
    Ok(Detail {
        group: group_json(kafka, standing, None).ok_or_else(missing)?,
        topics: topics(rows),
        history: past::moments(history, kafka, &of_history),
        total,
        offset,
        sort,
        order: wanted.order(sort == "topic"),
        partitions: partitions.collect(),
        alerts: statuses(alerts, |alert| about(&alert.subject)).into_iter().take(MAX_DETAIL_ALERTS).collect(),
    })
}

fn topics(rows: &[LagRow]) -> Vec<TopicSum<'_>> {
    let by_topic = rows.chunk_by(|a, b| a.topic == b.topic);
    let mut sums: Vec<_> = by_topic.filter_map(|rows| Some((&*rows.first()?.topic, Sum::of(rows)))).collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.known_lag));
    sums.into_iter().take(MAX_GROUP_TOPICS).map(|(name, sum)| TopicSum { name, sum: (&sum).into() }).collect()
}

fn row_json<'a>(kafka: &KafkaView, row: &'a LagRow, trend: Trend) -> Row<'a> {
    let partition = kafka.topic(&row.topic).and_then(|topic| topic.partition(row.partition));
    Row {
        topic: &row.topic,
        partition: row.partition,
        leader: partition.and_then(|partition| partition.leader).map(|leader| leader.0),
        committed: row.committed,
        committed_at_ms: row.committed_at.map(|at| at.0),
        log_start: row.log_start,
        log_end: row.log_end,
        last_stable: row.last_stable,
        lag: row.lag,
        lost: row.lost,
        status: match row.status {
            LagStatus::Behind => "behind",
            LagStatus::Lost => "lost",
            LagStatus::Ahead => "ahead",
            LagStatus::NoCommit => "no-commit",
            LagStatus::Unknown => "unknown",
        },
        seconds: row.age.map(Age::seconds),
        seconds_are_minimum: row.age.is_some_and(|age| age.at_least),
        trend,
    }
}
