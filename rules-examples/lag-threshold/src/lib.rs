//! Alerts when a consumer group is too many messages or too many seconds behind on a topic.

mod config;
mod seconds;

use brokerwarden_rule::prelude::*;
use config::{Config, Limits};

/// Name of the alert.
const ALERT: &str = "ConsumerGroupLag";

struct LagThreshold;

impl Rule for LagThreshold {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let filter =
            LagFilter { groups: config.groups.patterns(), topics: config.topics.patterns(), ..LagFilter::all() };
        let mut alerts = Alerts::new();
        if config.judges(|limits| limits.messages.is_some()) {
            // No `min_lag` in the filter: it goes by the sum, which a partition that is ahead lowers (see `behind`).
            for sum in snapshot::topic_lags(&filter)? {
                let limits = config.limits(&sum.group, &sum.topic);
                if let Some(threshold) = limits.messages
                    && behind(&sum) > threshold
                    && sum.max_lag >= limits.min_lag.unwrap_or(0)
                {
                    alerts.raise(alert(&sum, threshold, &limits));
                }
            }
        }
        if config.judges(|limits| limits.seconds.is_some()) {
            seconds::judge(&filter, &config, &mut alerts)?;
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.check()
    }
}

brokerwarden_rule::export_rule!(LagThreshold);

/// Messages that the group is behind for certain: partitions whose lag is unknown count for nothing, so their number
/// can only be higher. A commit beyond the end of its log is a negative lag, and must not hide the lag elsewhere.
fn behind(sum: &TopicLag) -> i64 {
    sum.known_lag.max(sum.max_lag)
}

fn alert(sum: &TopicLag, threshold: i64, limits: &Limits<'_>) -> Alert {
    let TopicLag { group, topic, .. } = sum;
    let behind = behind(sum);
    let at_least = if sum.lag.is_none() { "at least " } else { "" };
    let mut description = format!(
        "Consumer group {group} is {at_least}{behind} messages behind on topic {topic} (threshold {threshold}). \
         Partitions: {}, the worst {} behind.",
        sum.partitions, sum.max_lag
    );
    if sum.unknown_partitions > 0 {
        description += &format!(" Lag not known of {}.", sum.unknown_partitions);
    }
    if sum.uncommitted_partitions > 0 {
        description += &format!(" Never committed: {}.", sum.uncommitted_partitions);
    }
    if sum.lost > 0 {
        description += &format!(" Deleted before they were read: {} messages.", sum.lost);
    }
    Alert::group(group)
        .name(ALERT)
        .label("consumergroup", group)
        .label("topic", topic)
        .severity(limits.severity)
        .annotation("summary", format!("{group} is {at_least}{behind} messages behind on {topic}"))
        .annotation("description", description)
        .count(behind)
}

#[cfg(test)]
mod tests;
