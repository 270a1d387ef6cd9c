//! Rows as columns: how rules get them in bulk. That of all rows is made once for each view, whoever asks for it.

use super::{Age, KafkaView, LagRow, LagStatus};
use crate::model::Timestamp;
use std::{collections::HashMap, sync::OnceLock};

/// What stands for an absent number.
pub const ABSENT: i64 = i64::MIN;

/// Added to a status where the lag in seconds is a lower bound.
pub const AT_LEAST: u8 = 128;

/// One list for each column, all of one length.
#[derive(Clone, Debug, Default)]
pub struct LagTable {
    /// Names of groups and topics, in the order of their first use.
    pub names: Vec<String>,
    /// Of the group, among the names.
    pub group: Vec<u32>,
    /// Of the topic, among the names.
    pub topic: Vec<u32>,
    /// Its number.
    pub partition: Vec<u32>,
    /// Position among the statuses; see [`AT_LEAST`].
    pub status: Vec<u8>,
    /// Offset, or [`ABSENT`]; the same goes for those below.
    pub committed: Vec<i64>,
    /// In milliseconds since the Unix epoch.
    pub committed_at_ms: Vec<i64>,
    /// Log start offset.
    pub log_start: Vec<i64>,
    /// High watermark.
    pub log_end: Vec<i64>,
    /// Last stable offset.
    pub last_stable: Vec<i64>,
    /// In records.
    pub lag: Vec<i64>,
    /// Records that are no longer in the log.
    pub lost: Vec<i64>,
    /// Lag in seconds, or NaN.
    pub lag_seconds: Vec<f64>,
}

/// The table of all rows, once somebody asked for it. A copy of a view may get other rows, and begins without.
#[derive(Debug, Default)]
pub struct Whole(OnceLock<LagTable>);

impl Clone for Whole {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Names in the order of their first use.
#[derive(Default)]
struct Catalogue<'a> {
    names: Vec<String>,
    index: HashMap<&'a str, u32>,
}

impl<'a> Catalogue<'a> {
    fn id(&mut self, name: &'a str) -> u32 {
        *self.index.entry(name).or_insert_with(|| {
            self.names.push(name.to_owned());
            u32::try_from(self.names.len().saturating_sub(1)).unwrap_or(u32::MAX)
        })
    }
}

impl KafkaView {
    /// All rows as columns.
    pub fn whole_table(&self) -> &LagTable {
        self.table.0.get_or_init(|| self.lag_table(self.rows.iter()))
    }

    /// These rows as columns.
    pub fn lag_table<'a>(&'a self, rows: impl ExactSizeIterator<Item = &'a LagRow>) -> LagTable {
        let absent = |value: Option<i64>| value.unwrap_or(ABSENT);
        let time = |at: Option<Timestamp>| at.and_then(|at| i64::try_from(at.0).ok());
        let mut catalogue = Catalogue::default();
        let mut table = LagTable::with_capacity(rows.len());
        // Rows are sorted, so most have the names of the row before.
        let mut last: Option<(&LagRow, u32, u32)> = None;
        for row in rows {
            let (group, topic) = match last {
                Some((before, group, topic)) if before.group == row.group && before.topic == row.topic => {
                    (group, topic)
                }
                _ => {
                    let name = self.group_of(row.group).map(|group| &*group.name).unwrap_or_default();
                    (catalogue.id(name), catalogue.id(&row.topic))
                }
            };
            last = Some((row, group, topic));
            let at_least = row.age.is_some_and(|age| age.at_least);
            table.group.push(group);
            table.topic.push(topic);
            table.partition.push(row.partition);
            table.status.push(code(row.status) | if at_least { AT_LEAST } else { 0 });
            table.committed.push(absent(row.committed));
            table.committed_at_ms.push(absent(time(row.committed_at)));
            table.log_start.push(absent(row.log_start));
            table.log_end.push(absent(row.log_end));
            table.last_stable.push(absent(row.last_stable));
            table.lag.push(absent(row.lag));
            table.lost.push(row.lost);
            table.lag_seconds.push(row.age.map_or(f64::NAN, Age::seconds));
        }
        table.names = catalogue.names;
        table
    }
}

impl LagTable {
    fn with_capacity(rows: usize) -> Self {
        Self {
            names: Vec::new(),
            group: Vec::with_capacity(rows),
            topic: Vec::with_capacity(rows),
            partition: Vec::with_capacity(rows),
            status: Vec::with_capacity(rows),
            committed: Vec::with_capacity(rows),
            committed_at_ms: Vec::with_capacity(rows),
            log_start: Vec::with_capacity(rows),
            log_end: Vec::with_capacity(rows),
            last_stable: Vec::with_capacity(rows),
            lag: Vec::with_capacity(rows),
            lost: Vec::with_capacity(rows),
            lag_seconds: Vec::with_capacity(rows),
        }
    }
}

/// Position of a status in the contract's `lag-status`.
fn code(status: LagStatus) -> u8 {
    match status {
        LagStatus::Behind => 0,
        LagStatus::Lost => 1,
        LagStatus::Ahead => 2,
        LagStatus::NoCommit => 3,
        LagStatus::Unknown => 4,
    }
}
