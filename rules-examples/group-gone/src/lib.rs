//! Alerts when a consumer group that should exist is not there, or has no members.

use brokerwarden_rule::{
    prelude::*,
    snapshot::{Group, Ownership},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Name of the alert.
const ALERT: &str = "ConsumerGroupGone";
/// Groups that one rule watches: patterns that one filter takes.
const MOST_GROUPS: usize = 1_000;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Names of the groups that should exist.
    groups: Vec<String>,
    /// Value of the label `severity`; no such label without it.
    #[serde(default)]
    severity: Option<String>,
}

struct GroupGone;

impl Rule for GroupGone {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let patterns: Vec<_> = config.groups.iter().cloned().map(Pattern::Exact).collect();
        let found = snapshot::groups(&patterns)?;
        let found: BTreeMap<&str, &Group> = found.iter().map(|group| (group.name.as_str(), group)).collect();
        let mut alerts = Alerts::new();
        for name in &config.groups {
            let group = found.get(name.as_str()).copied();
            let why = match group {
                // Not there is not gone, unless it is ours: another agent sees the others.
                None if snapshot::owns(name) == Ownership::Owned => Some(Why::Absent),
                None => None,
                Some(group) => why(group),
            };
            if let Some(why) = why {
                alerts.raise(alert(name, why, config.severity.as_deref()));
            } else if group.is_some_and(|group| group.state == "Unknown" && group.members.is_none()) {
                let text = format!("{name} had no members; whether it has some is not known");
                alerts.hold(named(name, config.severity.as_deref()).annotation("summary", text));
            }
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        if config.groups.is_empty() || config.groups.len() > MOST_GROUPS {
            return Err(format!("config.groups: must name 1 to {MOST_GROUPS} groups, names {}", config.groups.len()));
        }
        for name in &config.groups {
            if name.is_empty() || name.contains(['*', '?']) {
                return Err(format!(
                    "config.groups: {name:?} is no name of a group; patterns cannot be used here, since they do not say \
                     which groups should exist"
                ));
            }
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(GroupGone);

/// Why a group counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Absent,
    Dead,
    Empty,
}

/// Of a group that is there.
fn why(group: &Group) -> Option<Why> {
    match (group.state.as_str(), group.members) {
        ("Dead", _) => Some(Why::Dead),
        // Such a group never has members: its consumers choose their partitions themselves.
        _ if group.kind == "simple" => None,
        ("Empty", _) | (_, Some(0)) => Some(Why::Empty),
        _ => None,
    }
}

fn named(name: &str, severity: Option<&str>) -> Alert {
    Alert::group(name).name(ALERT).label("consumergroup", name).severity(severity)
}

fn alert(name: &str, why: Why, severity: Option<&str>) -> Alert {
    let (summary, description) = match why {
        Why::Absent => (
            format!("{name} does not exist"),
            format!(
                "Consumer group {name} should exist, and its coordinator knows of none: it never committed or joined, its \
                 offsets have expired, or it was deleted. Look whether its members run and which group.id they have. When \
                 it starts anew, auto.offset.reset decides where: messages may be left out or read twice."
            ),
        ),
        Why::Dead => (
            format!("{name} is dead"),
            format!(
                "Consumer group {name} is Dead: it has no members and no offsets any more. Look whether its members run. \
                 When it starts anew, auto.offset.reset decides where: messages may be left out or read twice."
            ),
        ),
        Why::Empty => (
            format!("{name} has no members"),
            format!(
                "Consumer group {name} has no members: nobody reads. Look whether its members run and reach the brokers. \
                 Its offsets are kept until offsets.retention.minutes after its last member left (7 days, unless \
                 configured otherwise)."
            ),
        ),
    };
    named(name, severity).annotation("summary", summary).annotation("description", description)
}

#[cfg(test)]
mod tests;
