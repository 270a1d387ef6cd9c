//! Alerts when a consumer group is too many messages behind on a topic.

use brokerwarden_rule::prelude::*;
use serde::Deserialize;

/// Name of the alert.
const ALERT: &str = "ConsumerGroupLag";

/// Bytes of a group's name that fit into a label; Kafka allows 32767, and an agent refuses all alerts over one too long.
const LONGEST_GROUP: usize = 1000;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Groups to look at, as glob patterns.
    groups: Vec<String>,
    /// Topics to look at, as glob patterns.
    topics: Vec<String>,
    /// More messages than this behind, all partitions of the topic together, is an alert.
    threshold: i64,
    /// ... if at least one partition is this many messages behind.
    min_lag: i64,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { groups: vec!["*".into()], topics: vec!["*".into()], threshold: 1000, min_lag: 0, severity: None }
    }
}

struct LagThreshold;

impl Rule for LagThreshold {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let patterns = |texts: &[String]| texts.iter().cloned().map(Pattern::Glob).collect();
        // No `min_lag` in the filter: it goes by the sum, which a partition that is ahead lowers (see `behind`).
        let filter =
            LagFilter { groups: patterns(&config.groups), topics: patterns(&config.topics), ..LagFilter::all() };
        let rows = snapshot::topic_lags(&filter)?;
        let untold = rows.iter().filter(|row| holds(row, &config) && !fits(row)).count();
        if untold > 0 {
            let text = format!("{untold} alerts left out: names of groups are longer than {LONGEST_GROUP} bytes");
            logging::log(logging::Level::Warn, &text);
        }
        Ok(alerts(&rows, &config).into())
    }

    fn check(config: &Config) -> Result<(), String> {
        for (key, patterns) in [("groups", &config.groups), ("topics", &config.topics)] {
            if patterns.is_empty() || patterns.iter().any(String::is_empty) {
                return Err(format!("config.{key}: has no pattern, or an empty one; leave {key} out to look at all"));
            }
        }
        for (key, messages) in [("threshold", config.threshold), ("min_lag", config.min_lag)] {
            if messages < 0 {
                return Err(format!("config.{key}: must be a number of messages, 0 or more, is {messages}"));
            }
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(LagThreshold);

/// The alerts that hold, one per group and topic.
fn alerts(rows: &[TopicLag], config: &Config) -> Vec<Alert> {
    rows.iter().filter(|row| holds(row, config) && fits(row)).map(|row| alert(row, config)).collect()
}

fn holds(row: &TopicLag, config: &Config) -> bool {
    behind(row) > config.threshold && row.max_lag >= config.min_lag
}

fn fits(row: &TopicLag) -> bool {
    row.group.len() <= LONGEST_GROUP
}

/// Messages that the group is behind for certain: partitions whose lag is unknown count for nothing, so their number
/// can only be higher. A commit beyond the end of its log is a negative lag, and must not hide the lag elsewhere.
fn behind(row: &TopicLag) -> i64 {
    row.known_lag.max(row.max_lag)
}

fn alert(row: &TopicLag, config: &Config) -> Alert {
    let TopicLag { group, topic, .. } = row;
    let behind = behind(row);
    let at_least = if row.lag.is_none() { "at least " } else { "" };
    let mut description = format!(
        "Consumer group {group} is {at_least}{behind} messages behind on topic {topic} (threshold {}). Partitions: {}, \
         the worst {} behind.",
        config.threshold, row.partitions, row.max_lag
    );
    if row.unknown_partitions > 0 {
        description.push_str(&format!(" Lag not known of {}.", row.unknown_partitions));
    }
    if row.uncommitted_partitions > 0 {
        description.push_str(&format!(" Never committed: {}.", row.uncommitted_partitions));
    }
    if row.lost > 0 {
        description.push_str(&format!(" Deleted before they were read: {} messages.", row.lost));
    }
    let alert = Alert::group(group)
        .name(ALERT)
        .label("consumergroup", group)
        .label("topic", topic)
        .annotation("summary", format!("{group} is {at_least}{behind} messages behind on {topic}"))
        .annotation("description", description)
        .count(behind);
    match &config.severity {
        Some(severity) => alert.label("severity", severity),
        None => alert,
    }
}

#[cfg(test)]
mod cases;
