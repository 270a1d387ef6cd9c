//! The families about Kafka: which there are, what each says of a view, for the page and for rules' queries.
//! Where kafka_exporter has a family, its name, labels, help and −1 for "no commit" are kept.

use super::{Config, encode};
use crate::{
    model::families::{self, Family},
    snapshot::{Broker, Group, KafkaView, LagRow, LagStatus, Partition, Topic, TopicLag},
};
use bytes::Bytes;
use std::collections::HashMap;

/// The Kafka part of the page.
#[derive(Debug, Default)]
pub struct KafkaPart {
    /// Text 0.0.4, one piece for each family, sorted by name.
    pub text: Vec<Bytes>,
    /// Series in it.
    pub series: u64,
    /// Series that were left out because there are more than [`Config::max_series`].
    pub left_out: u64,
}

/// The value of a series.
#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    /// Milliseconds, told in seconds.
    Milliseconds(u64),
}

/// The value of a label.
#[derive(Clone, Copy)]
enum Label<'a> {
    Text(&'a str),
    Number(i64),
}

/// Bytes that a family's text may have more than the last time without being moved.
const SLACK: usize = 16 << 10;

/// What to do where a group has no commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Uncommitted {
    /// Say −1, as kafka_exporter does.
    MinusOne,
    /// Say nothing.
    Absent,
}

/// Families about one kind of thing, and how each gets its value; `None` = not known, so not said.
type Families<T> = &'static [(Family, fn(&T, Uncommitted) -> Option<Number>)];

const OF_CLUSTER: Families<KafkaView> = &[(families::KAFKA_BROKERS, |view, _| count(view.brokers.len()))];

const OF_BROKER: Families<Broker> = &[(families::KAFKA_BROKER_INFO, |_, _| Some(Number::Whole(1)))];

const OF_GROUP: Families<Group> =
    &[(families::KAFKA_GROUP_MEMBERS, |group, _| group.members.map(|members| Number::Whole(members.into())))];

const OF_GROUP_STATE: Families<Group> =
    &[(families::KAFKA_GROUP_STATE, |group, _| (group.state != "Unknown").then_some(Number::Whole(1)))];

const OF_GROUP_INFO: Families<Group> = &[(families::KAFKA_GROUP_INFO, |_, _| Some(Number::Whole(1)))];

const OF_SUM: Families<TopicLag> = &[
    (families::KAFKA_GROUP_CURRENT_OFFSET_SUM, |sum, uncommitted| {
        let minus_ones = if uncommitted == Uncommitted::Absent { sum.uncommitted_partitions.into() } else { 0 };
        sum.offset_sum.filter(|_| any_commit(sum)).map(|offsets| Number::Whole(offsets.saturating_add(minus_ones)))
    }),
    (families::KAFKA_GROUP_LAG_SUM, |sum, _| sum.lag.filter(|_| any_commit(sum)).map(Number::Whole)),
];

const OF_ROW: Families<LagRow> = &[
    (families::KAFKA_GROUP_COMMIT_TIMESTAMP, |row, _| row.committed_at.map(|at| Number::Milliseconds(at.0))),
    (families::KAFKA_GROUP_CURRENT_OFFSET, |row, uncommitted| or_minus_one(row, uncommitted, row.committed)),
    (families::KAFKA_GROUP_LAG, |row, uncommitted| or_minus_one(row, uncommitted, row.lag)),
    (families::KAFKA_GROUP_LAG_SECONDS, |row, _| row.age.map(|age| Number::Milliseconds(age.milliseconds()))),
    (families::KAFKA_GROUP_LAG_SECONDS_IS_MINIMUM, |row, _| {
        row.age.is_some_and(|age| age.at_least).then_some(Number::Whole(1))
    }),
    (families::KAFKA_GROUP_LOST, |row, _| (row.lost > 0).then_some(Number::Whole(row.lost))),
];

const OF_TOPIC: Families<Topic> = &[(families::KAFKA_TOPIC_PARTITIONS, |topic, _| count(topic.partitions.len()))];

const OF_PARTITION: Families<Partition> = &[
    (families::KAFKA_TOPIC_CURRENT_OFFSET, |partition, _| partition.log_end.map(Number::Whole)),
    (families::KAFKA_TOPIC_IN_SYNC_REPLICA, |partition, _| {
        known(partition).then(|| Number::Whole(length(partition.in_sync.len())))
    }),
    (families::KAFKA_TOPIC_LAST_STABLE, |partition, _| partition.last_stable.map(Number::Whole)),
    (families::KAFKA_TOPIC_LEADER, |partition, _| partition.leader.map(|leader| Number::Whole(leader.0.into()))),
    (families::KAFKA_TOPIC_LEADER_IS_PREFERRED, |partition, _| {
        let (leader, preferred) = (partition.leader?, partition.replicas.first()?);
        Some(Number::Whole(i64::from(leader == *preferred)))
    }),
    (families::KAFKA_TOPIC_OLDEST_OFFSET, |partition, _| partition.log_start.map(Number::Whole)),
    (families::KAFKA_TOPIC_REPLICAS, |partition, _| count(partition.replicas.len())),
    (families::KAFKA_TOPIC_UNDER_REPLICATED, |partition, _| {
        known(partition).then(|| Number::Whole(i64::from(partition.in_sync.len() < partition.replicas.len())))
    }),
];

fn or_minus_one(row: &LagRow, uncommitted: Uncommitted, value: Option<i64>) -> Option<Number> {
    match (row.status, uncommitted) {
        (LagStatus::NoCommit, Uncommitted::MinusOne) => Some(Number::Whole(-1)),
        (LagStatus::NoCommit, Uncommitted::Absent) => None,
        _ => value.map(Number::Whole),
    }
}

/// Is there a part that the sum can speak of?
fn any_commit(sum: &TopicLag) -> bool {
    sum.uncommitted_partitions < sum.partitions
}

/// A partition always has a replica, so an empty list was not told.
fn known(partition: &Partition) -> bool {
    !partition.replicas.is_empty()
}

fn count(length_of: usize) -> Option<Number> {
    (length_of > 0).then(|| Number::Whole(length(length_of)))
}

fn length(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// How long the text of each family was the last time: about as long as it will be.
pub type Sizes = HashMap<&'static str, usize>;

/// Encodes what we answer for. With more than `max_series` series, those for each group and partition are left out
/// and the sums by topic stay.
pub fn encode(view: &KafkaView, config: &Config, sizes: &mut Sizes) -> KafkaPart {
    let uncommitted = if config.kafka_exporter { Uncommitted::MinusOne } else { Uncommitted::Absent };
    let mut counted = Count { uncommitted, all: 0, rows: 0 };
    if most_series(view) > config.max_series {
        walk(view, &mut counted);
    }
    let rows = counted.all <= config.max_series;
    let mut text = Text { uncommitted, rows, series: 0, sizes, families: Vec::new() };
    walk(view, &mut text);
    text.families.sort_unstable_by_key(|(name, _)| *name);
    KafkaPart {
        text: text.families.into_iter().map(|(_, text)| text.into()).collect(),
        series: text.series,
        left_out: if rows { 0 } else { counted.rows },
    }
}

/// More series than there can be: counting them takes as long as encoding does.
fn most_series(view: &KafkaView) -> u64 {
    let partitions = view.topics.iter().map(|topic| topic.partitions.len()).fold(0, usize::saturating_add);
    let all = [
        view.rows.len().saturating_mul(OF_ROW.len().saturating_add(OF_SUM.len())),
        view.groups.len().saturating_mul([OF_GROUP.len(), OF_GROUP_STATE.len(), OF_GROUP_INFO.len()].iter().sum()),
        view.topics.len().saturating_mul(OF_TOPIC.len()),
        partitions.saturating_mul(OF_PARTITION.len()),
        view.brokers.len().saturating_mul(OF_BROKER.len()),
        OF_CLUSTER.len(),
    ];
    u64::try_from(all.into_iter().fold(0, usize::saturating_add)).unwrap_or(u64::MAX)
}

/// Tells every series that we answer for, or those of the family called `name`: its family, its labels in
/// alphabetical order, its value. Only what was observed: there is no −1, unknown and uncommitted are absent.
pub fn visit(view: &KafkaView, name: Option<&str>, visit: &mut Visit<'_>) {
    walk(view, &mut Visitor { name, visit });
}

/// Is told one series.
pub type Visit<'a> = dyn FnMut(&'static str, &[(&'static str, &str)], f64) + 'a;

/// What is done with the series of a view.
trait Sink {
    /// Is any of these families wanted?
    fn wants<T>(&self, families: Families<T>) -> bool;

    /// Takes the things that the families are about, each with its labels in the families' order.
    fn list<'a, T: 'a, const N: usize>(
        &mut self,
        families: Families<T>,
        things: impl Iterator<Item = (&'a T, [Label<'a>; N])>,
    );
}

/// Shows a sink all that we answer for.
fn walk(view: &KafkaView, sink: &mut impl Sink) {
    if view.answers_for_cluster {
        sink.list(OF_CLUSTER, std::iter::once((view, [])));
        let brokers = view.brokers.iter();
        sink.list(OF_BROKER, brokers.map(|b| (b, [Label::Text(&b.address), Label::Number(b.id.0.into())])));
    }
    let groups = || view.groups.iter().filter(|group| view.shows(group));
    sink.list(OF_GROUP, groups().map(|group| (group, [Label::Text(&group.name)])));
    sink.list(OF_GROUP_STATE, groups().map(|group| (group, [Label::Text(&group.name), Label::Text(group.state)])));
    let info = groups().map(|group| {
        let coordinator = group.coordinator.map_or(Label::Text(""), |id| Label::Number(id.0.into()));
        (group, [Label::Text(&group.name), coordinator, Label::Text(group.kind.text())])
    });
    sink.list(OF_GROUP_INFO, info);
    if sink.wants(OF_ROW) {
        let rows = view.rows.iter().filter_map(|row| {
            let group = view.group_of(row.group).filter(|group| view.shows(group))?;
            Some((row, [Label::Text(&group.name), Label::Number(row.partition.into()), Label::Text(&row.topic)]))
        });
        sink.list(OF_ROW, rows);
    }
    if sink.wants(OF_SUM) {
        let sums = view.topic_lags();
        let ours = sums.iter().filter_map(|sum| {
            let group = view.group_of(sum.group).filter(|group| view.shows(group))?;
            Some((sum, [Label::Text(&group.name), Label::Text(&sum.topic)]))
        });
        sink.list(OF_SUM, ours);
    }
    sink.list(OF_TOPIC, view.topics.iter().filter(|topic| topic.ours).map(|topic| (topic, [Label::Text(&topic.name)])));
    if sink.wants(OF_PARTITION) {
        let partitions = view.topics.iter().flat_map(|topic| {
            let ours = topic.partitions.iter().filter(|partition| partition.ours);
            ours.map(|partition| (partition, [Label::Number(partition.id.into()), Label::Text(&topic.name)]))
        });
        sink.list(OF_PARTITION, partitions);
    }
}

/// Counts series.
struct Count {
    uncommitted: Uncommitted,
    all: u64,
    rows: u64,
}

impl Sink for Count {
    fn wants<T>(&self, _: Families<T>) -> bool {
        true
    }

    fn list<'a, T: 'a, const N: usize>(
        &mut self,
        families: Families<T>,
        things: impl Iterator<Item = (&'a T, [Label<'a>; N])>,
    ) {
        let uncommitted = self.uncommitted;
        let told = things.flat_map(|(thing, _)| families.iter().filter_map(move |(_, read)| read(thing, uncommitted)));
        let told = u64::try_from(told.count()).unwrap_or(u64::MAX);
        self.all = self.all.saturating_add(told);
        if is_of_rows(families) {
            self.rows = told;
        }
    }
}

fn is_of_rows<T>(families: Families<T>) -> bool {
    families.first().is_some_and(|(family, _)| family.labels == families::KAFKA_GROUP_LAG.labels)
}

/// Encodes series: one text for each family.
struct Text<'a> {
    uncommitted: Uncommitted,
    /// Also for each group and partition?
    rows: bool,
    series: u64,
    sizes: &'a mut Sizes,
    families: Vec<(&'static str, Vec<u8>)>,
}

impl Sink for Text<'_> {
    fn wants<T>(&self, families: Families<T>) -> bool {
        self.rows || !is_of_rows(families)
    }

    fn list<'a, T: 'a, const N: usize>(
        &mut self,
        families: Families<T>,
        things: impl Iterator<Item = (&'a T, [Label<'a>; N])>,
    ) {
        let room = |family: &Family| self.sizes.get(family.name).map_or(0, |size| size.saturating_add(SLACK));
        let mut texts: Vec<Vec<u8>> = families.iter().map(|(family, _)| Vec::with_capacity(room(family))).collect();
        // The labels of a thing are the same in all its families, so they are written once.
        let mut labels_text = Vec::new();
        let names = families.first().map_or::<&[&str], _>(&[], |(family, _)| family.labels);
        for (thing, labels) in things {
            labels_text.clear();
            push_labels(&mut labels_text, names, &labels);
            for ((family, read), text) in families.iter().zip(&mut texts) {
                let Some(number) = read(thing, self.uncommitted) else { continue };
                if text.is_empty() {
                    encode::push_header(text, family.name, family.help, family.kind.text());
                }
                text.extend_from_slice(family.name.as_bytes());
                text.extend_from_slice(&labels_text);
                match number {
                    Number::Whole(value) => encode::push_integer(text, value),
                    Number::Milliseconds(value) => encode::push_milliseconds(text, value),
                }
                text.push(b'\n');
                self.series = self.series.saturating_add(1);
            }
        }
        let told = families.iter().map(|(family, _)| family.name).zip(texts).filter(|(_, text)| !text.is_empty());
        for (name, text) in told {
            self.sizes.insert(name, text.len());
            self.families.push((name, text));
        }
    }
}

/// Labels and the space before the value.
fn push_labels(out: &mut Vec<u8>, names: &[&str], labels: &[Label<'_>]) {
    let mut before = b'{';
    for (name, label) in names.iter().zip(labels) {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        match label {
            Label::Text(text) => encode::push_label_value(out, text),
            Label::Number(number) => {
                out.push(b'"');
                encode::push_digits(out, *number);
                out.push(b'"');
            }
        }
        before = b',';
    }
    out.extend_from_slice(if before == b',' { b"} " } else { b" " });
}

/// Tells series to a closure.
struct Visitor<'a, 'b> {
    name: Option<&'a str>,
    visit: &'a mut Visit<'b>,
}

impl Sink for Visitor<'_, '_> {
    fn wants<T>(&self, families: Families<T>) -> bool {
        self.name.is_none_or(|name| families.iter().any(|(family, _)| family.name == name))
    }

    fn list<'a, T: 'a, const N: usize>(
        &mut self,
        families: Families<T>,
        things: impl Iterator<Item = (&'a T, [Label<'a>; N])>,
    ) {
        if !self.wants(families) {
            return;
        }
        for (thing, labels) in things {
            let numbers = labels.map(|label| match label {
                Label::Text(_) => String::new(),
                Label::Number(number) => number.to_string(),
            });
            for (family, read) in families {
                if self.name.is_some_and(|name| name != family.name) {
                    continue;
                }
                let value = match read(thing, Uncommitted::Absent) {
                    Some(Number::Whole(value)) => encode::to_float(value),
                    Some(Number::Milliseconds(value)) => crate::model::Timestamp(value).seconds(),
                    None => continue,
                };
                let mut pairs = [("", ""); N];
                let texts = labels.iter().zip(&numbers).map(|(label, number)| match label {
                    Label::Text(text) => *text,
                    Label::Number(_) => number,
                });
                for ((pair, name), text) in pairs.iter_mut().zip(family.labels).zip(texts) {
                    *pair = (name, text);
                }
                (self.visit)(family.name, &pairs, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
