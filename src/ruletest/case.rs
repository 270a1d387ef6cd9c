//! A case of a rule as data: what is observed at each moment, and what the rule must say of it. Knows no YAML.

use super::shorthand::Values;
use crate::{
    model::{Labels, Subject, Timestamp},
    pipeline::{DeedEnd, RuleSettings},
    rules::{Limits, Module},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A file of cases about one rule.
#[derive(Debug)]
pub struct CasesFile {
    /// The rule's code; `None` where the file leaves it to the command line.
    pub module: Option<Module>,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows, in words.
    pub name: String,
    /// What agent.yaml would say of the rule. Its name is set by whoever runs the case.
    pub settings: RuleSettings,
    /// `config:` as JSON.
    pub config: String,
    /// The rule's limits.
    pub limits: Limits,
    /// Distance between two snapshots.
    pub interval: Duration,
    /// When the first snapshot is made.
    pub start: Timestamp,
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// What is observed.
    pub inputs: Inputs,
    /// What must come of it.
    pub expected: Expected,
    /// Snapshots: up to the last moment of which something is expected.
    pub steps: u64,
}

/// What is observed over time.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Is Kafka observed at all?
    pub kafka: bool,
    /// Groups on partitions.
    pub lag: Vec<LagInput>,
    /// Groups.
    pub groups: Vec<GroupInput>,
    /// Partitions of topics.
    pub partitions: Vec<PartitionInput>,
    /// Samples of JMX pages.
    pub series: Vec<SeriesInput>,
    /// Whether targets are up; those that are not here always are.
    pub targets: Vec<TargetInput>,
    /// What becomes of actions.
    pub actions: Vec<ActionInput>,
}

/// What becomes of an action at a moment.
#[derive(Clone, Debug)]
pub struct ActionInput {
    /// After the case's start.
    pub at: Duration,
    /// The action's name.
    pub name: String,
    /// Its key.
    pub key: String,
    /// `None`: it is asked for, and waits.
    pub end: Option<DeedEnd>,
    /// How often it was tried.
    pub attempts: u32,
    /// What was said of it.
    pub text: String,
}

/// One group on one partition.
#[derive(Clone, Debug)]
pub struct LagInput {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Committed offset; `None` = it never committed. Stale: the row is gone.
    pub committed: Option<Values>,
    /// Seconds since that commit.
    pub commit_age: Option<Values>,
    /// Log start offset.
    pub log_start: Option<Values>,
    /// High watermark.
    pub log_end: Option<Values>,
    /// Last stable offset.
    pub last_stable: Option<Values>,
    /// Lag in seconds.
    pub lag_seconds: Option<Values>,
    /// It may be more than that.
    pub lag_seconds_at_least: bool,
}

/// One group.
#[derive(Clone, Debug)]
pub struct GroupInput {
    /// Its name.
    pub group: Arc<str>,
    /// Its kind, in Kafka's words.
    pub kind: crate::snapshot::GroupKind,
    /// Its state by position; `None` = the group does not exist then. The last one goes on.
    pub states: Vec<(u64, Option<&'static str>)>,
    /// Its members.
    pub members: Option<Values>,
    /// The broker that coordinates it.
    pub coordinator: Option<i32>,
    /// Who answers for it.
    pub ownership: Ownership,
}

/// Who answers for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The agent under test.
    Owned,
    /// Another agent.
    Elsewhere,
    /// Not known.
    Unknown,
}

/// One partition of a topic.
#[derive(Clone, Debug)]
pub struct PartitionInput {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Its leader. Missing: none. Stale: the partition is gone.
    pub leader: Values,
    /// Its replicas, the preferred leader first; empty where that was not told.
    pub replicas: Vec<i32>,
    /// How many of them are in sync, the first ones; `None` = all.
    pub in_sync: Option<Values>,
    /// Log start offset.
    pub log_start: Option<Values>,
    /// High watermark.
    pub log_end: Option<Values>,
    /// Last stable offset.
    pub last_stable: Option<Values>,
}

/// One series of a JMX page.
#[derive(Clone, Debug)]
pub struct SeriesInput {
    /// The page's target.
    pub target: Arc<str>,
    /// Name and labels as on the page.
    pub series: String,
    /// Its values. Missing and stale: it is not on the page.
    pub values: Values,
}

/// Whether a target is up.
#[derive(Clone, Debug)]
pub struct TargetInput {
    /// `kafka`, or a JMX page.
    pub name: Arc<str>,
    /// 1 = it is; all else: it is not, and nothing of it is observed.
    pub up: Values,
}

/// Keys of a rule's state with their values; `None` = there is no such key.
pub type KeyValues = BTreeMap<String, Option<Vec<u8>>>;

/// What a case expects, each at a moment after its start.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The rule refuses its configuration with exactly this sentence.
    pub config_error: Option<String>,
    /// Alerts.
    pub alerts: Vec<AlertTest>,
    /// Actions that the evaluation asks for: all of them.
    pub actions: Vec<(Duration, Vec<ExpectedAction>)>,
    /// Measurements of the evaluation: all of them.
    pub measurements: Vec<(Duration, Vec<ExpectedMeasurement>)>,
    /// Keys of the state.
    pub state: Vec<(Duration, KeyValues)>,
    /// Evaluations that must not end well.
    pub failures: Vec<ExpectedFailure>,
}

/// Alerts of one name at one moment.
#[derive(Clone, Debug)]
pub struct AlertTest {
    /// When.
    pub at: Duration,
    /// Their name.
    pub alertname: String,
    /// Those that fire: all of them.
    pub firing: Option<Vec<ExpectedAlert>>,
    /// Those that are pending: all of them.
    pub pending: Option<Vec<ExpectedAlert>>,
    /// Those that are resolved, and not yet forgotten: all of them.
    pub resolved: Option<Vec<ExpectedAlert>>,
}

/// One alert. What is `None` is not compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectedAlert {
    /// All labels but those that the agent sets itself.
    pub labels: Labels,
    /// All annotations.
    pub annotations: Option<Labels>,
    /// The value.
    pub value: Option<f64>,
    /// What it is about.
    pub subject: Option<Subject>,
}

/// One action. What is `None` is not compared.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedAction {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Option<String>,
    /// All parameters.
    pub params: Option<Labels>,
    /// What it is about.
    pub subject: Option<Subject>,
}

/// One measurement. What is `None` is not compared.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedMeasurement {
    /// Its name.
    pub name: String,
    /// All labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// What it is about.
    pub subject: Option<Subject>,
}

/// An evaluation that does not end well.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedFailure {
    /// When; `None` = at each moment.
    pub at: Option<Duration>,
    /// `unavailable`, or the reason of a failure as in the metric: `error`, `trap`, `time`, ….
    pub reason: String,
    /// What its text has in it.
    pub text: Option<String>,
}
