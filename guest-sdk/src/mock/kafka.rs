//! The mock's Kafka: rows, groups and what the agent adds up of them.

use crate::snapshot::{Group, LagColumns, LagFilter, LagStatus, Ownership, Pattern, TopicLag};
use crate::{Error, Globs};
use std::collections::BTreeMap;

/// One group on one partition: an offset that is not set is not known, or was never committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) committed: Option<i64>,
    pub(super) committed_at_ms: Option<u64>,
    pub(super) log_start: Option<i64>,
    pub(super) log_end: Option<i64>,
    last_stable: Option<i64>,
    lag_seconds: Option<f64>,
    lag_seconds_at_least: bool,
}

impl Row {
    /// Of which nothing is known yet.
    pub fn new(group: &str, topic: &str, partition: u32) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            committed: None,
            committed_at_ms: None,
            log_start: None,
            log_end: None,
            last_stable: None,
            lag_seconds: None,
            lag_seconds_at_least: false,
        }
    }

    /// The committed offset.
    #[must_use]
    pub fn committed(self, offset: i64) -> Self {
        Self { committed: Some(offset), ..self }
    }

    /// When it was committed.
    #[must_use]
    pub fn committed_at_ms(self, at: u64) -> Self {
        Self { committed_at_ms: Some(at), ..self }
    }

    /// Where the log starts.
    #[must_use]
    pub fn log_start(self, offset: i64) -> Self {
        Self { log_start: Some(offset), ..self }
    }

    /// Where the log ends.
    #[must_use]
    pub fn log_end(self, offset: i64) -> Self {
        Self { log_end: Some(offset), ..self }
    }

    /// Where an open transaction keeps readers of committed records from reading on.
    #[must_use]
    pub fn last_stable(self, offset: i64) -> Self {
        Self { last_stable: Some(offset), ..self }
    }

    /// How long ago the first unread message was written.
    #[must_use]
    pub fn lag_seconds(self, seconds: f64) -> Self {
        Self { lag_seconds: Some(seconds), ..self }
    }

    /// `lag_seconds` is a lower bound.
    #[must_use]
    pub fn lag_seconds_at_least(self, seconds: f64) -> Self {
        Self { lag_seconds: Some(seconds), lag_seconds_at_least: true, ..self }
    }

    fn lag(&self) -> Option<i64> {
        Some(self.log_end?.saturating_sub(self.committed?))
    }

    fn lost(&self) -> i64 {
        self.committed.zip(self.log_start).map_or(0, |(committed, start)| start.saturating_sub(committed).max(0))
    }

    fn status(&self) -> LagStatus {
        match (self.committed, self.lag()) {
            (None, _) => LagStatus::NoCommit,
            (_, None) => LagStatus::Unknown,
            (_, Some(lag)) if lag < 0 => LagStatus::Ahead,
            _ if self.lost() > 0 => LagStatus::Lost,
            _ => LagStatus::Behind,
        }
    }

    /// In seconds: nothing is left to read at the log's end.
    fn age(&self) -> Option<f64> {
        if self.lag().is_some_and(|lag| lag <= 0) { Some(0.0) } else { self.lag_seconds }
    }

    fn key(&self) -> (&str, &str, u32) {
        (&self.group, &self.topic, self.partition)
    }
}

#[derive(Debug, Default)]
pub(super) struct Kafka {
    /// Sorted by group, topic, partition.
    rows: Vec<Row>,
    groups: BTreeMap<String, Group>,
    owners: BTreeMap<String, Ownership>,
}

impl Kafka {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn set_row(&mut self, row: Row) {
        let name = row.group.clone();
        self.groups.entry(name.clone()).or_insert_with(|| Group {
            name,
            state: "Stable".to_owned(),
            kind: "classic".to_owned(),
            members: Some(1),
            coordinator: Some(1),
        });
        match self.rows.binary_search_by(|other| other.key().cmp(&row.key())) {
            Ok(at) => drop(self.rows.splice(at..=at, [row])),
            Err(at) => self.rows.insert(at, row),
        }
    }

    pub(super) fn set_group(&mut self, group: Group) {
        self.groups.insert(group.name.clone(), group);
    }

    pub(super) fn remove_group(&mut self, name: &str) {
        self.groups.remove(name);
        self.rows.retain(|row| row.group != name);
    }

    pub(super) fn set_owner(&mut self, group: &str, owner: Ownership) {
        self.owners.insert(group.to_owned(), owner);
    }

    pub(super) fn owner(&self, group: &str) -> Ownership {
        self.owners.get(group).copied().unwrap_or(Ownership::Owned)
    }

    pub(super) fn groups(&self, names: &[Pattern]) -> Result<Vec<Group>, Error> {
        let names = Names::new(names)?;
        Ok(self.groups.values().filter(|group| names.match_name(&group.name)).cloned().collect())
    }

    /// Rows that the filter lets through, without paging.
    pub(super) fn filtered<'a>(&'a self, filter: &LagFilter) -> Result<Vec<&'a Row>, Error> {
        let (groups, topics) = (Names::new(&filter.groups)?, Names::new(&filter.topics)?);
        let low = |row: &Row| filter.min_lag.is_some_and(|min| row.lag().is_some_and(|lag| lag < min));
        let wanted = |row: &&Row| groups.match_name(&row.group) && topics.match_name(&row.topic) && !low(row);
        Ok(self.rows.iter().filter(wanted).collect())
    }

    pub(super) fn lag_table(&self, filter: &LagFilter) -> Result<LagColumns, Error> {
        let rows = page(self.filtered(filter)?, filter);
        let absent = |value: Option<i64>| value.unwrap_or(i64::MIN);
        let mut names: Vec<String> = rows.iter().flat_map(|row| [row.group.clone(), row.topic.clone()]).collect();
        names.sort();
        names.dedup();
        let index =
            |name: &String| names.binary_search(name).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
        let status = |row: &&Row| {
            let code = match row.status() {
                LagStatus::Behind => 0,
                LagStatus::Lost => 1,
                LagStatus::Ahead => 2,
                LagStatus::NoCommit => 3,
                LagStatus::Unknown => 4,
            };
            if row.lag_seconds_at_least { code | 128 } else { code }
        };
        Ok(LagColumns {
            group: rows.iter().map(|row| index(&row.group)).collect(),
            topic: rows.iter().map(|row| index(&row.topic)).collect(),
            partition: rows.iter().map(|row| row.partition).collect(),
            status: rows.iter().map(status).collect(),
            committed: rows.iter().map(|row| absent(row.committed)).collect(),
            committed_at_ms: rows
                .iter()
                .map(|row| absent(row.committed_at_ms.and_then(|at| i64::try_from(at).ok())))
                .collect(),
            log_start: rows.iter().map(|row| absent(row.log_start)).collect(),
            log_end: rows.iter().map(|row| absent(row.log_end)).collect(),
            last_stable: rows.iter().map(|row| absent(row.last_stable)).collect(),
            lag: rows.iter().map(|row| absent(row.lag())).collect(),
            lost: rows.iter().map(|row| row.lost()).collect(),
            lag_seconds: rows.iter().map(|row| row.age().unwrap_or(f64::NAN)).collect(),
            names,
        })
    }

    pub(super) fn topic_lags(&self, filter: &LagFilter) -> Result<Vec<TopicLag>, Error> {
        // As the agent does it, `min-lag` goes by the sum here.
        let rows = self.filtered(&LagFilter { min_lag: None, ..filter.clone() })?;
        let mut sums: Vec<TopicLag> = Vec::new();
        for row in rows {
            if sums.last().is_none_or(|sum| (&sum.group, &sum.topic) != (&row.group, &row.topic)) {
                sums.push(TopicLag {
                    group: row.group.clone(),
                    topic: row.topic.clone(),
                    lag: Some(0),
                    known_lag: 0,
                    max_lag: 0,
                    max_lag_seconds: Some(0.0),
                    lost: 0,
                    partitions: 0,
                    unknown_partitions: 0,
                    uncommitted_partitions: 0,
                });
            }
            if let Some(sum) = sums.last_mut() {
                add(sum, row);
            }
        }
        for sum in sums.iter_mut().filter(|sum| sum.uncommitted_partitions == sum.partitions) {
            sum.max_lag_seconds = None;
        }
        sums.retain(|sum| filter.min_lag.is_none_or(|min| sum.lag.is_none_or(|lag| lag >= min)));
        Ok(page(sums, filter))
    }
}

fn add(sum: &mut TopicLag, row: &Row) {
    sum.partitions = sum.partitions.saturating_add(1);
    sum.lost = sum.lost.saturating_add(row.lost());
    match (row.status(), row.lag()) {
        (LagStatus::NoCommit, _) => sum.uncommitted_partitions = sum.uncommitted_partitions.saturating_add(1),
        (_, Some(lag)) => {
            sum.known_lag = sum.known_lag.saturating_add(lag);
            sum.max_lag = sum.max_lag.max(lag);
            sum.lag = sum.lag.map(|known| known.saturating_add(lag));
            sum.max_lag_seconds = sum.max_lag_seconds.zip(row.age()).map(|(longest, age)| longest.max(age));
        }
        (_, None) => {
            sum.unknown_partitions = sum.unknown_partitions.saturating_add(1);
            sum.lag = None;
            sum.max_lag_seconds = None;
        }
    }
}

/// The page that a filter asks for.
pub(super) fn page<T>(rows: Vec<T>, filter: &LagFilter) -> Vec<T> {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let limit = if filter.limit == 0 { usize::MAX } else { size(filter.limit) };
    rows.into_iter().skip(size(filter.offset)).take(limit).collect()
}

/// Patterns of a filter.
struct Names(Vec<Name>);

enum Name {
    Exact(String),
    Glob(Globs),
    Regex(regex_lite::Regex),
}

impl Names {
    fn new(patterns: &[Pattern]) -> Result<Self, Error> {
        let name = |pattern: &Pattern| {
            Ok(match pattern {
                Pattern::Exact(text) => Name::Exact(text.clone()),
                Pattern::Glob(text) => Name::Glob(Globs::from_iter([text])),
                Pattern::Regex(text) => Name::Regex(
                    regex_lite::Regex::new(&format!("^(?:{text})$"))
                        .map_err(|error| Error::InvalidArgument(format!("regular expression: {error}")))?,
                ),
            })
        };
        Ok(Self(patterns.iter().map(name).collect::<Result<_, Error>>()?))
    }

    fn match_name(&self, name: &str) -> bool {
        let matches = |pattern: &Name| match pattern {
            Name::Exact(text) => text == name,
            Name::Glob(globs) => globs.matches(name),
            Name::Regex(regex) => regex.is_match(name),
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}
