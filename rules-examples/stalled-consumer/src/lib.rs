//! Alerts when a consumer group has stopped, does not move, or was rewound. Burrow's evaluation, over a window of time
//! instead of a number of commits.

mod judge;

use brokerwarden_rule::{prelude::*, snapshot::Group, text};
use judge::{Finding, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Points of history looked at in one evaluation.
const MOST_POINTS: usize = 40_000;
/// Groups asked for by name.
const MOST_NAMES: usize = 1_000;
/// Partitions named in a description.
const SHOWN_PARTITIONS: usize = 10;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Groups to look at.
    groups: Globs,
    /// Topics to look at.
    topics: Globs,
    /// How long a group may wait with messages to read.
    window: Period,
    /// Messages behind on a partition from which on it is judged.
    min_lag: i64,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            groups: Globs::default(),
            topics: Globs::default(),
            window: Period::of_milliseconds(300_000),
            // 1 is what a transaction leaves behind for ever on a topic where nothing is written any more.
            min_lag: 2,
            severity: None,
        }
    }
}

struct StalledConsumer;

impl Rule for StalledConsumer {
    type Config = Config;

    fn evaluate(ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let filter =
            LagFilter { groups: config.groups.patterns(), topics: config.topics.patterns(), ..LagFilter::all() };
        let filter = filter.min_lag(config.min_lag);
        let table = snapshot::partition_lags(&filter)?;
        let rows: Vec<_> = table.rows().filter(|row| row.lag.is_some_and(|lag| lag >= config.min_lag)).collect();
        if rows.is_empty() {
            snapshot::keep_history(ctx)?;
            return Ok(Outcome::default());
        }
        let since = ctx.now_ms.saturating_sub(config.window.milliseconds());
        let history = snapshot::history(&filter, since, MOST_POINTS)?;
        if !history.whole {
            logging::warn(
                "too many partitions to look at the past of all: of the others only those that commit no more are found",
            );
        }
        let past: BTreeMap<_, _> = history
            .series
            .iter()
            .map(|series| ((series.group.as_str(), series.topic.as_str(), series.partition), series.points.as_slice()))
            .collect();

        let mut found: Vec<Found<'_>> = Vec::new();
        for rows in rows.chunk_by(|a, b| (a.group, a.topic) == (b.group, b.topic)) {
            for row in rows {
                let points = past.get(&(row.group, row.topic, row.partition)).copied().unwrap_or_default();
                match judge::judge(row, points, ctx.now_ms, config.window, config.min_lag) {
                    Verdict::Fine => {}
                    Verdict::Unknown => Found::add(&mut found, None, row),
                    Verdict::Bad(finding) => Found::add(&mut found, Some(finding), row),
                }
            }
        }
        let groups = groups_of(&found)?;
        let mut alerts = Alerts::new();
        for one in &found {
            one.say(&groups, ctx.now_ms, &config, &mut alerts);
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.groups.check("groups")?;
        config.topics.check("topics")?;
        if config.window.milliseconds() < 30_000 {
            return Err(format!("config.window: must be 30s or more, is {}", config.window));
        }
        if config.min_lag < 1 {
            return Err(format!("config.min_lag: must be a number of messages, 1 or more, is {}", config.min_lag));
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(StalledConsumer);

/// Partitions of one group and topic with which the same is wrong; `None` = it cannot be told whether something is.
struct Found<'a> {
    finding: Option<Finding>,
    rows: Vec<LagRow<'a>>,
}

impl<'a> Found<'a> {
    /// Rows come sorted, so what belongs together is at the end.
    fn add(found: &mut Vec<Self>, finding: Option<Finding>, row: &LagRow<'a>) {
        let kind = finding.map(Finding::alert);
        let same = |one: &&mut Self| {
            let topic = one.rows.first().map(|row| (row.group, row.topic));
            topic == Some((row.group, row.topic)) && one.finding.map(Finding::alert) == kind
        };
        // At most one of each kind.
        match found.iter_mut().rev().take(4).find(same) {
            Some(one) => one.rows.push(*row),
            None => found.push(Self { finding, rows: vec![*row] }),
        }
    }

    fn say(&self, groups: &BTreeMap<String, Group>, now_ms: u64, config: &Config, alerts: &mut Alerts) {
        let Some(row) = self.rows.first() else { return };
        let named = |alert: &str| {
            Alert::group(row.group)
                .name(alert)
                .label("consumergroup", row.group)
                .label("topic", row.topic)
                .severity(config.severity.as_deref())
        };
        let Some(finding) = self.finding else {
            let text = format!("{} stood still on {}; whether it still does is not known", row.group, row.topic);
            for name in Finding::ALERTS {
                alerts.hold(named(name).annotation("summary", &text));
            }
            return;
        };
        let count = i64::try_from(self.rows.len()).unwrap_or(i64::MAX);
        let members = groups.get(row.group).map(describe).unwrap_or_default();
        let alert = named(finding.alert())
            .annotation("summary", self.summary(finding, row))
            .annotation("description", self.description(finding, row, &members, now_ms, config))
            .count(count);
        alerts.raise(alert);
    }

    fn summary(&self, finding: Finding, row: &LagRow<'_>) -> String {
        let what = match finding {
            Finding::Stopped => "has stopped",
            Finding::Stalled => "does not move",
            Finding::Rewound => "was rewound",
        };
        let partitions = if self.rows.len() == 1 { "partition" } else { "partitions" };
        format!("{} {what} on {} {partitions} of {}", row.group, self.rows.len(), row.topic)
    }

    fn description(&self, finding: Finding, row: &LagRow<'_>, members: &str, now_ms: u64, config: &Config) -> String {
        let partitions = text::list(self.rows.iter().map(|row| row.partition), SHOWN_PARTITIONS);
        let lag = self.rows.iter().filter_map(|row| row.lag).fold(0, i64::saturating_add);
        let (group, topic, window) = (row.group, row.topic, config.window);
        let last = self.rows.iter().filter_map(|row| row.committed_at_ms).max();
        let ago = last.map(|at| Period::of_milliseconds(now_ms.saturating_sub(at)));
        match finding {
            Finding::Stopped => {
                let ago = ago.map(|ago| format!(", last {ago} ago")).unwrap_or_default();
                format!(
                    "Consumer group {group} has committed nothing on topic {topic} for {window}{ago}, though there are \
                     {lag} messages to read. Partitions: {partitions}. {members}Look whether its members run, and in \
                     their logs for what they wait for."
                )
            }
            Finding::Stalled => {
                let commits = if ago.is_some() { ", though it goes on committing" } else { "" };
                format!(
                    "Consumer group {group} has not moved on topic {topic} for {window}{commits}; there are {lag} messages \
                     to read. Partitions: {partitions}. {members}Look in the logs of its members for a message that they \
                     cannot process and try again and again."
                )
            }
            Finding::Rewound => {
                format!(
                    "Consumer group {group} went back on topic {topic} within the last {window}, and has {lag} messages \
                     to read, some of them again. Partitions: {partitions}. {members}If nobody reset its offsets, look whether \
                     its members start from an old position, or two of them commit on one partition."
                )
            }
        }
    }
}

/// What is known of the groups that something is to be said about.
fn groups_of(found: &[Found<'_>]) -> Result<BTreeMap<String, Group>, Error> {
    let mut names: Vec<&str> = found.iter().filter_map(|one| one.rows.first()).map(|row| row.group).collect();
    names.dedup();
    if names.is_empty() || names.len() > MOST_NAMES {
        return Ok(BTreeMap::new());
    }
    let patterns: Vec<_> = names.into_iter().map(|name| Pattern::Exact(name.to_owned())).collect();
    let groups = snapshot::groups(&patterns)?;
    Ok(groups.into_iter().map(|group| (group.name.clone(), group)).collect())
}

/// A sentence about a group, with a space at its end.
fn describe(group: &Group) -> String {
    match group.members {
        Some(1) => format!("The group is {} and has 1 member. ", group.state),
        Some(members) => format!("The group is {} and has {members} members. ", group.state),
        None => format!("The group is {}. ", group.state),
    }
}

#[cfg(test)]
mod tests;
