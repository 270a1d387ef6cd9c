//! Lag in seconds: how long ago the message was written that a group reads next.

use crate::config::{Config, Limits};
use brokerwarden_rule::{prelude::*, text};

/// Name of the alert.
const ALERT: &str = "ConsumerGroupLagSeconds";

/// Without `min_lag`. A transaction leaves a marker behind its last message, which no consumer commits: on a topic where
/// nothing is written any more the lag stays 1, and the seconds grow for ever.
const DEFAULT_MIN_LAG: i64 = 2;

/// Partitions named in a description.
const SHOWN_PARTITIONS: usize = 10;

/// Raises alerts by group and topic, and holds those of which the seconds are not known.
pub(crate) fn judge(filter: &LagFilter, config: &Config, alerts: &mut Alerts) -> Result<(), Error> {
    let table = snapshot::partition_lags(&filter.clone().min_lag(config.least_min_lag(DEFAULT_MIN_LAG)))?;
    let rows: Vec<_> = table.rows().collect();
    for rows in rows.chunk_by(|a, b| (a.group, a.topic) == (b.group, b.topic)) {
        let Some(first) = rows.first() else { continue };
        let limits = config.limits(first.group, first.topic);
        if let Some(seconds) = limits.seconds {
            judge_topic(rows, seconds, &limits, alerts);
        }
    }
    Ok(())
}

/// Judges the rows of one group and topic.
fn judge_topic(rows: &[LagRow<'_>], threshold: f64, limits: &Limits<'_>, alerts: &mut Alerts) {
    let min_lag = limits.min_lag.unwrap_or(DEFAULT_MIN_LAG);
    let judged =
        || rows.iter().filter(|row| row.status != LagStatus::NoCommit && row.lag.is_none_or(|lag| lag >= min_lag));
    let late: Vec<_> = judged().filter(|row| row.lag_seconds.is_some_and(|seconds| seconds > threshold)).collect();
    let age = |row: &&LagRow<'_>| row.lag_seconds.unwrap_or(0.0);
    if let Some(worst) = late.iter().copied().max_by(|a, b| age(a).total_cmp(&age(b))) {
        alerts.raise(alert(worst, &late, threshold, limits));
    } else if let Some(unknown) = judged().find(|row| row.lag_seconds.is_none() || row.lag_seconds_at_least) {
        let LagRow { group, topic, .. } = unknown;
        let text = format!("{group} was too long behind on {topic}; how long it is now is not known");
        alerts.hold(named(unknown, limits).annotation("summary", text));
    }
}

fn named(row: &LagRow<'_>, limits: &Limits<'_>) -> Alert {
    Alert::group(row.group)
        .name(ALERT)
        .label("consumergroup", row.group)
        .label("topic", row.topic)
        .severity(limits.severity)
}

fn alert(worst: &LagRow<'_>, late: &[&LagRow<'_>], threshold: f64, limits: &Limits<'_>) -> Alert {
    let LagRow { group, topic, .. } = worst;
    let seconds = worst.lag_seconds.unwrap_or(0.0);
    let at_least = if worst.lag_seconds_at_least { "at least " } else { "" };
    let age = Period::of_seconds(seconds);
    let partitions = text::list(late.iter().map(|row| row.partition), SHOWN_PARTITIONS);
    let messages = late.iter().filter_map(|row| row.lag).fold(0, i64::saturating_add);
    let description = format!(
        "The next message that consumer group {group} reads on topic {topic} was written {at_least}{age} ago (threshold \
         {}), on partition {}. Partitions that are late: {partitions}, together {messages} messages.",
        Period::of_seconds(threshold),
        worst.partition,
    );
    named(worst, limits)
        .annotation("summary", format!("{group} is {at_least}{age} behind on {topic}"))
        .annotation("description", description)
        .value(seconds)
}
