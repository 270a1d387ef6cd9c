//! Alerts when the lag of a consumer group on a topic does not shrink over a window, or so slowly that it will take too
//! long; and measures how long.

mod trend;

use brokerwarden_rule::{LONGEST_LABEL, Measurement, prelude::*, text};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use trend::Trend;

/// Name of the alert.
const ALERT: &str = "ConsumerGroupLagGrowing";
/// Name of the measurement: seconds until the lag is drained, +Inf for never.
const MEASUREMENT: &str = "consumergroup_drain_seconds";

/// Points of history looked at in one evaluation.
const MOST_POINTS: usize = 40_000;
/// Patterns that one filter takes.
const MOST_PATTERNS: usize = 1_000;
/// Measurements that one evaluation returns.
const MOST_MEASUREMENTS: usize = 1_000;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Groups to look at.
    groups: Globs,
    /// Topics to look at.
    topics: Globs,
    /// How far to look back.
    window: Period,
    /// Messages behind, all partitions of the topic together, from which on a lag is judged.
    min_lag: i64,
    /// A lag that shrinks is an alert too, if it will take longer than this until it is drained.
    drain_within: Period,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            groups: Globs::default(),
            topics: Globs::default(),
            window: Period::of_milliseconds(600_000),
            min_lag: 1_000,
            drain_within: Period::of_milliseconds(86_400_000),
            severity: None,
        }
    }
}

struct LagGrowing;

impl Rule for LagGrowing {
    type Config = Config;

    fn evaluate(ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let all = LagFilter { groups: config.groups.patterns(), topics: config.topics.patterns(), ..LagFilter::all() };
        let sums = snapshot::topic_lags(&all)?;
        let far_behind: Vec<_> = sums.iter().filter(|sum| sum.known_lag >= config.min_lag).collect();
        if far_behind.is_empty() {
            snapshot::keep_history(ctx)?;
            return Ok(Outcome::default());
        }
        let groups: BTreeSet<&str> = far_behind.iter().map(|sum| sum.group.as_str()).collect();
        let filter = if groups.len() <= MOST_PATTERNS {
            LagFilter { groups: groups.into_iter().map(|group| Pattern::Exact(group.into())).collect(), ..all }
        } else {
            all
        };
        let since = ctx.now_ms.saturating_sub(config.window.milliseconds());
        let history = snapshot::history(&filter, since, MOST_POINTS)?;
        if !history.whole {
            logging::warn("too many partitions to look at the past of all: alerts about the others stay as they are");
        }
        let trends = trends(&history, &config);

        let mut alerts = Alerts::new();
        let mut measurements = Vec::new();
        for sum in far_behind {
            match trends.get(&(sum.group.as_str(), sum.topic.as_str())) {
                None => alerts.hold(alert(sum, &config).annotation("summary", not_known(sum))),
                Some(trend) => {
                    let drained = trend.drained_in(sum.known_lag);
                    // The agent refuses all of an evaluation for one label that is too long.
                    if measurements.len() < MOST_MEASUREMENTS && sum.group.len() <= LONGEST_LABEL {
                        measurements.push(measurement(sum, drained));
                    }
                    if drained.is_none_or(|seconds| seconds > config.drain_within.seconds()) {
                        alerts.raise(explained(alert(sum, &config), sum, trend, drained, &config));
                    }
                }
            }
        }
        Ok(Outcome { measurements, ..alerts.into_outcome() })
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

brokerwarden_rule::export_rule!(LagGrowing);

/// The trend of each group and topic of which enough was seen.
fn trends<'a>(history: &'a snapshot::History, config: &Config) -> BTreeMap<(&'a str, &'a str), Trend> {
    let mut topics: Vec<_> = history.series.chunk_by(|a, b| (&a.group, &a.topic) == (&b.group, &b.topic)).collect();
    if !history.whole {
        // The last one may have been cut.
        topics.pop();
    }
    let trend = |series: &&'a [snapshot::Series]| {
        let first = series.first()?;
        Some(((first.group.as_str(), first.topic.as_str()), Trend::of(series, config.window)?))
    };
    topics.iter().filter_map(trend).collect()
}

fn alert(sum: &TopicLag, config: &Config) -> Alert {
    Alert::group(&sum.group)
        .name(ALERT)
        .label("consumergroup", &sum.group)
        .label("topic", &sum.topic)
        .severity(config.severity.as_deref())
        .count(sum.known_lag)
}

fn not_known(sum: &TopicLag) -> String {
    format!("the lag of {} on {} did not shrink; what it does now is not known", sum.group, sum.topic)
}

fn explained(alert: Alert, sum: &TopicLag, trend: &Trend, drained: Option<f64>, config: &Config) -> Alert {
    let TopicLag { group, topic, known_lag, .. } = sum;
    let when = match drained {
        None => "never catch up".to_owned(),
        Some(seconds) => format!("take {} to catch up", Period::of_seconds(seconds)),
    };
    let advice = if trend.consumed <= 0.0 {
        "It reads nothing: look whether its members run, and what they wait for."
    } else {
        "It reads, but not fast enough: give it more members (up to one for each partition) or faster ones, or find out \
         why more arrives than usual."
    };
    let description = format!(
        "Consumer group {group} is {known_lag} messages behind on topic {topic}. In the last {} it read {} messages/s \
         while {}/s arrived: at this pace it will {when}. {advice}",
        config.window,
        text::number(trend.consumed.max(0.0), 1),
        text::number(trend.arriving.max(0.0), 1),
    );
    alert.annotation("summary", format!("{group} will {when} on {topic}")).annotation("description", description)
}

fn measurement(sum: &TopicLag, drained: Option<f64>) -> Measurement {
    Measurement::new(MEASUREMENT, Subject::Group(sum.group.clone()), drained.unwrap_or(f64::INFINITY))
        .label("consumergroup", &sum.group)
        .label("topic", &sum.topic)
}

#[cfg(test)]
mod tests;
