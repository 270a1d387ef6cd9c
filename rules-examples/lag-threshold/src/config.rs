//! The `config:` block, and which limits hold for a group on a topic.

use brokerwarden_rule::prelude::*;
use serde::Deserialize;

/// Messages behind that are an alert where nothing else is said.
const DEFAULT_THRESHOLD: i64 = 1000;

/// The `config:` block.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Groups to look at.
    pub(crate) groups: Globs,
    /// Topics to look at.
    pub(crate) topics: Globs,
    /// More messages than this behind, all partitions of the topic together, is an alert.
    threshold: Option<i64>,
    /// A partition whose next message was written longer ago than so many seconds is an alert.
    seconds: Option<f64>,
    /// ... if at least one partition is this many messages behind.
    min_lag: Option<i64>,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
    /// What holds for some groups and topics instead: the first one that matches counts.
    overrides: Vec<Override>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Override {
    groups: Globs,
    topics: Globs,
    threshold: Option<i64>,
    seconds: Option<f64>,
    min_lag: Option<i64>,
    severity: Option<String>,
}

/// What holds for one group on one topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits<'a> {
    pub(crate) messages: Option<i64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) min_lag: Option<i64>,
    pub(crate) severity: Option<&'a str>,
}

impl Config {
    /// What holds for a group on a topic.
    pub(crate) fn limits(&self, group: &str, topic: &str) -> Limits<'_> {
        let own = self.overrides.iter().find(|own| own.groups.matches(group) && own.topics.matches(topic));
        own.map_or(self.common(), |own| self.of(own))
    }

    /// Does anything judge by such limits?
    pub(crate) fn judges(&self, by: impl Fn(&Limits<'_>) -> bool) -> bool {
        by(&self.common()) || self.overrides.iter().any(|own| by(&self.of(own)))
    }

    fn common(&self) -> Limits<'_> {
        Limits {
            messages: if self.seconds.is_some() { self.threshold } else { self.threshold.or(Some(DEFAULT_THRESHOLD)) },
            seconds: self.seconds,
            min_lag: self.min_lag,
            severity: self.severity.as_deref(),
        }
    }

    /// What an override says; it takes the rest from above. One that has a threshold, of messages or seconds, takes none.
    fn of<'a>(&'a self, own: &'a Override) -> Limits<'a> {
        let common = self.common();
        let thresholds = own.threshold.is_some() || own.seconds.is_some();
        Limits {
            messages: if thresholds { own.threshold } else { common.messages },
            seconds: if thresholds { own.seconds } else { common.seconds },
            min_lag: own.min_lag.or(common.min_lag),
            severity: own.severity.as_deref().or(common.severity),
        }
    }

    /// The smallest `min_lag` of those that judge by seconds, each with its default.
    pub(crate) fn least_min_lag(&self, default: i64) -> i64 {
        let all = self.overrides.iter().map(|own| self.of(own)).chain([self.common()]);
        let least = all.filter(|limits| limits.seconds.is_some()).map(|limits| limits.min_lag.unwrap_or(default)).min();
        least.unwrap_or(default)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.groups.check("groups")?;
        self.topics.check("topics")?;
        check_numbers("", self.threshold, self.seconds, self.min_lag, self.severity.as_deref())?;
        for (number, own) in self.overrides.iter().enumerate() {
            let at = format!("overrides[{number}].");
            own.groups.check(&format!("{at}groups"))?;
            own.topics.check(&format!("{at}topics"))?;
            check_numbers(&at, own.threshold, own.seconds, own.min_lag, own.severity.as_deref())?;
        }
        Ok(())
    }
}

fn check_numbers(
    at: &str,
    threshold: Option<i64>,
    seconds: Option<f64>,
    min_lag: Option<i64>,
    severity: Option<&str>,
) -> Result<(), String> {
    for (key, messages) in [("threshold", threshold), ("min_lag", min_lag)] {
        if let Some(messages) = messages.filter(|messages| *messages < 0) {
            return Err(format!("config.{at}{key}: must be a number of messages, 0 or more, is {messages}"));
        }
    }
    if let Some(seconds) = seconds.filter(|seconds| seconds.is_nan() || *seconds < 0.0) {
        return Err(format!("config.{at}seconds: must be a number of seconds, 0 or more, is {seconds}"));
    }
    if severity == Some("") {
        return Err(format!("config.{at}severity: is empty; leave it out for no such label"));
    }
    Ok(())
}
