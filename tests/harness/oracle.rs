//! The oracle: what Kafka's own tool says of groups. Where a page differs from it, the page is wrong.

use super::{
    holds,
    kafka::Cluster,
    page::{Page, Sample},
};
use std::collections::{BTreeMap, BTreeSet};

/// Group, topic, partition.
pub(crate) type Key = (String, String, i32);

/// What a series by group and partition is about.
pub(crate) fn key(sample: &Sample) -> Key {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_else(|| panic!("no label {name}: {sample:?}"));
    (label("consumergroup"), label("topic"), label("partition").parse().unwrap())
}

/// One row of the tool's table; `None` where it prints `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) committed: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) lag: Option<i64>,
}

/// The tool's table.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// The names of groups by [`printed`].
    pub(crate) rows: BTreeMap<Key, Row>,
    /// The groups that it was asked for, by [`printed`]; all without any.
    asked: BTreeSet<String>,
}

impl Oracle {
    /// Asks for all groups.
    pub(crate) fn of_all(cluster: &Cluster) -> Result<Self, String> {
        Self::ask(cluster, &["--all-groups"], BTreeSet::new())
    }

    /// Asks for some groups: on a cluster that other tests use, others come and go.
    pub(crate) fn of(cluster: &Cluster, groups: &[&str]) -> Result<Self, String> {
        let arguments: Vec<_> = groups.iter().flat_map(|group| ["--group", *group]).collect();
        Self::ask(cluster, &arguments, groups.iter().map(|group| printed(group)).collect())
    }

    fn ask(cluster: &Cluster, which: &[&str], asked: BTreeSet<String>) -> Result<Self, String> {
        let bootstrap = cluster.bootstrap_all();
        let what = ["--bootstrap-server", &bootstrap, "--timeout", "30000", "--describe"];
        let table =
            cluster.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &[&what[..], which].concat());
        holds(!table.contains("Error: "), &table)?;
        holds(table.contains("CURRENT-OFFSET"), &table)?;
        Ok(Self { rows: table.lines().filter_map(row).collect(), asked })
    }

    /// What it says the lags are.
    pub(crate) fn lags(&self) -> BTreeMap<Key, i64> {
        self.rows.iter().filter_map(|(key, row)| Some((key.clone(), row.lag?))).collect()
    }

    /// `Ok` when the pages together say of each commit what the tool says, on one page only, and −1 where it knows of
    /// no commit. Looks at the groups that the tool was asked for.
    pub(crate) fn agrees(&self, pages: &[Page]) -> Result<(), String> {
        self.agrees_on(pages, "kafka_consumergroup_lag", |row| row.lag)?;
        self.agrees_on(pages, "kafka_consumergroup_current_offset", |row| row.committed)
    }

    fn agrees_on(&self, pages: &[Page], name: &str, of: impl Fn(&Row) -> Option<i64>) -> Result<(), String> {
        let mut told = BTreeMap::new();
        for sample in pages.iter().flat_map(|page| page.all(name, &[])) {
            let (group, topic, partition) = key(sample);
            let group = printed(&group);
            if self.asked.is_empty() || self.asked.contains(&group) {
                let twice = told.insert((group, topic, partition), sample.whole()).is_some();
                holds(!twice, format!("{sample:?} is there twice"))?;
            }
        }
        for (key, row) in &self.rows {
            let told = told.remove(key).flatten();
            let same = match of(row) {
                Some(value) => told == Some(value),
                // The tool has no number: no commit, or no end.
                None => told.is_none_or(|value| value == -1),
            };
            holds(same, format!("{name} of {key:?} is {told:?}; Kafka's tool: {row:?}"))?;
        }
        let other = told.iter().find(|(_, value)| **value != Some(-1));
        other
            .map_or(Ok(()), |(key, value)| Err(format!("{name} of {key:?} is {value:?}; Kafka's tool knows no commit")))
    }
}

/// How a group's name appears in the table: of a name with line ends the last line is in the row.
fn printed(group: &str) -> String {
    group.rsplit('\n').next().unwrap_or_default().trim_end().to_owned()
}

/// GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID, where only a group's name may
/// hold blanks. `None` for lines that are no such row.
fn row(line: &str) -> Option<(Key, Row)> {
    let mut rest = line.trim_end();
    let mut columns = Vec::new();
    for _ in 0..8 {
        let (before, column) = rest.rsplit_once(char::is_whitespace)?;
        columns.push(column);
        rest = before.trim_end();
    }
    let [_, _, _, lag, end, committed, partition, topic] = columns.as_slice() else { return None };
    let number = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
    let row = Row { committed: number(committed)?, end: number(end)?, lag: number(lag)? };
    Some(((rest.to_owned(), (*topic).to_owned(), partition.parse().ok()?), row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let text = "\nConsumer group 'a b' has no active members.\n\n\
            GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID\n\
            a b             orders          2          30              20              -10             -               -               -\n\
            live            orders          0          -               30              -               rdkafka-8f1     /127.0.0.1      rdkafka\n";
        let rows: Vec<_> = text.lines().filter_map(row).collect();
        let key = |group: &str, partition| (group.to_owned(), "orders".to_owned(), partition);
        assert_eq!(
            rows,
            [
                (key("a b", 2), Row { committed: Some(30), end: Some(20), lag: Some(-10) }),
                (key("live", 0), Row { committed: None, end: Some(30), lag: None }),
            ]
        );
    }
}
