//! The `config:` block.

use brokerwarden_rule::Period;
use serde::Deserialize;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Name of the alert.
    #[serde(default = "default_alert")]
    pub(crate) alert: String,
    /// A Prometheus instant vector selector.
    pub(crate) selector: String,
    /// Judge the increase per second over this time, not the value.
    pub(crate) rate: Option<Period>,
    /// Put series together.
    pub(crate) aggregate: Option<Aggregation>,
    /// ... that have these labels in common.
    #[serde(default)]
    by: Vec<String>,
    /// ... that have all labels in common but these.
    #[serde(default)]
    without: Vec<String>,
    /// How to compare.
    #[serde(default)]
    pub(crate) op: Op,
    /// With what.
    pub(crate) threshold: f64,
    /// An alert goes on until this is not true any more either.
    pub(crate) resolve: Option<f64>,
    /// Alert when nothing is found.
    #[serde(default)]
    pub(crate) absent: bool,
    /// What the alert is about, if that is not to be told from the series.
    pub(crate) about: Option<About>,
    /// Value of the label `severity`; no such label without it.
    pub(crate) severity: Option<String>,
    /// Text of the annotation `summary`.
    pub(crate) summary: Option<String>,
    /// Text of the annotation `description`.
    pub(crate) description: Option<String>,
}

fn default_alert() -> String {
    "MetricThreshold".to_owned()
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
}

impl Aggregation {
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum About {
    Broker,
    Agent,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Op {
    #[default]
    #[serde(rename = ">")]
    Above,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = "<")]
    Below,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = "==")]
    Equal,
    #[serde(rename = "!=")]
    Unequal,
}

impl Op {
    /// As Prometheus compares: no number is neither above nor below nor equal to anything.
    #[expect(clippy::float_cmp, reason = "so does Prometheus")]
    pub(crate) fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
            Self::Equal => value == threshold,
            Self::Unequal => value != threshold,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Above => "more than",
            Self::AtLeast => "at least",
            Self::Below => "less than",
            Self::AtMost => "at most",
            Self::Equal => "equal to",
            Self::Unequal => "not equal to",
        }
    }
}

impl Config {
    /// Does an alert have this label of a series?
    pub(crate) fn keeps(&self, label: &str) -> bool {
        let named = |labels: &[String]| labels.iter().any(|name| name == label);
        if self.aggregate.is_none() || !self.without.is_empty() { !named(&self.without) } else { named(&self.by) }
    }

    /// The expression, as Prometheus would have it.
    pub(crate) fn what(&self) -> String {
        let rate = match self.rate {
            Some(window) => format!("rate({}[{}s])", self.selector, window.milliseconds() / 1_000),
            None => self.selector.clone(),
        };
        match self.aggregate {
            Some(aggregation) => format!("{}({rate})", aggregation.name()),
            None => rate,
        }
    }

    /// Does the selector ask for what the agent observed of Kafka?
    pub(crate) fn of_kafka(&self) -> bool {
        ["kafka_broker", "kafka_consumergroup_", "kafka_topic_"].iter().any(|start| self.selector.starts_with(start))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.selector.trim().is_empty() {
            return Err("config.selector: is empty".into());
        }
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !is_name(&self.alert) || self.alert.len() > 100 {
            return Err(format!("config.alert: {:?} is no name: letters, digits and _, at most 100", self.alert));
        }
        if self.aggregate.is_none() && !(self.by.is_empty() && self.without.is_empty()) {
            return Err("config: by and without need aggregate".into());
        }
        if !self.by.is_empty() && !self.without.is_empty() {
            return Err("config: by and without cannot both be given".into());
        }
        if self.rate.is_some_and(|window| window.milliseconds() < 10_000) {
            return Err("config.rate: must be 10s or more".into());
        }
        if let Some(resolve) = self.resolve {
            let beyond = match self.op {
                Op::Above | Op::AtLeast => resolve <= self.threshold,
                Op::Below | Op::AtMost => resolve >= self.threshold,
                Op::Equal | Op::Unequal => false,
            };
            if !beyond {
                return Err("config.resolve: must be on the other side of threshold than what alerts".into());
            }
        }
        if self.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}
