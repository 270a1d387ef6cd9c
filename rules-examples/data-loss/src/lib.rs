//! Alerts when messages were deleted before a group read them, and when retention is about to overtake it.

mod overtaking;

use brokerwarden_rule::{prelude::*, text};
use overtaking::{Overtaken, Watch};
use serde::Deserialize;

/// Messages are gone.
const LOST: &str = "ConsumerGroupDataLoss";
/// Messages will be gone.
const AHEAD: &str = "ConsumerGroupDataLossAhead";
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
    /// Fewer lost messages than this, all partitions of the topic together, are no alert.
    min_lost: i64,
    /// Retention that overtakes a group within this time is an alert; 0s = none is.
    overtaken_within: Period,
    /// How far to look back for how fast retention deletes.
    window: Period,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            groups: Globs::default(),
            topics: Globs::default(),
            min_lost: 1,
            overtaken_within: Period::of_milliseconds(3_600_000),
            // Whole segments are deleted, every few minutes.
            window: Period::of_milliseconds(3_600_000),
            severity: None,
        }
    }
}

struct DataLoss;

impl Rule for DataLoss {
    type Config = Config;

    fn evaluate(ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let filter =
            LagFilter { groups: config.groups.patterns(), topics: config.topics.patterns(), ..LagFilter::all() };
        // A group that has nothing to read has nothing to lose.
        let table = snapshot::partition_lags(&filter.min_lag(1))?;
        let rows: Vec<_> = table.rows().filter(|row| row.committed.is_some()).collect();
        let mut watch = Watch::load(ctx.now_ms, config.window)?;
        let mut alerts = Alerts::new();
        for rows in rows.chunk_by(|a, b| (a.group, a.topic) == (b.group, b.topic)) {
            judge_lost(rows, &config, &mut alerts);
            if config.overtaken_within.milliseconds() > 0 {
                judge_ahead(rows, &mut watch, &config, &mut alerts);
            }
        }
        watch.save()?;
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.groups.check("groups")?;
        config.topics.check("topics")?;
        if config.min_lost < 1 {
            return Err(format!("config.min_lost: must be a number of messages, 1 or more, is {}", config.min_lost));
        }
        if config.window.milliseconds() < 60_000 {
            return Err(format!("config.window: must be 1m or more, is {}", config.window));
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(DataLoss);

fn named(name: &str, row: &LagRow<'_>, config: &Config) -> Alert {
    Alert::group(row.group)
        .name(name)
        .label("consumergroup", row.group)
        .label("topic", row.topic)
        .severity(config.severity.as_deref())
}

fn judge_lost(rows: &[LagRow<'_>], config: &Config, alerts: &mut Alerts) {
    let Some(first) = rows.first() else { return };
    let LagRow { group, topic, .. } = first;
    let lost = rows.iter().map(|row| row.lost).fold(0, i64::saturating_add);
    if lost >= config.min_lost {
        let partitions = rows.iter().filter(|row| row.lost > 0).map(|row| row.partition);
        let description = format!(
            "{lost} messages of topic {topic} were deleted by retention before consumer group {group} read them; they are \
             gone from this cluster. Partitions: {}. Look whether the group runs; where it starts again is up to its \
             auto.offset.reset. To lose no more, lengthen the topic's retention until it has caught up.",
            text::list(partitions, SHOWN_PARTITIONS)
        );
        let alert = named(LOST, first, config)
            .annotation("summary", format!("{group} lost {lost} messages of {topic}"))
            .annotation("description", description)
            .count(lost);
        alerts.raise(alert);
    } else if rows.iter().any(|row| row.log_start.is_none()) {
        let text = format!("{group} lost messages of {topic}; whether it still stands before the log is not known");
        alerts.hold(named(LOST, first, config).annotation("summary", text));
    }
}

fn judge_ahead(rows: &[LagRow<'_>], watch: &mut Watch, config: &Config, alerts: &mut Alerts) {
    let Some(first) = rows.first() else { return };
    let LagRow { group, topic, .. } = first;
    let mut soon: Vec<(u32, f64)> = Vec::new();
    let mut unknown = false;
    for row in rows {
        match watch.overtaken(row) {
            Overtaken::In(seconds) if seconds <= config.overtaken_within.seconds() => {
                soon.push((row.partition, seconds));
            }
            Overtaken::In(_) | Overtaken::Never => {}
            Overtaken::Unknown => unknown = true,
        }
    }
    if let Some((partition, seconds)) = soon.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)) {
        let when = Period::of_seconds(seconds);
        let description = format!(
            "At the pace of the last {} retention reaches the position of consumer group {group} on topic {topic}, \
             partition {partition}, in {when}: messages that it has not read will be deleted. Partitions: {}. Lengthen \
             the topic's retention (retention.ms, retention.bytes) now, then look why the group is slow.",
            config.window,
            text::list(soon.iter().map(|(partition, _)| partition), SHOWN_PARTITIONS)
        );
        let alert = named(AHEAD, first, config)
            .annotation("summary", format!("{group} will lose messages of {topic} in {when}"))
            .annotation("description", description)
            .value(seconds);
        alerts.raise(alert);
    } else if unknown {
        let text = format!("{group} was about to lose messages of {topic}; whether it still is is not known");
        alerts.hold(named(AHEAD, first, config).annotation("summary", text));
    }
}

#[cfg(test)]
mod tests;
