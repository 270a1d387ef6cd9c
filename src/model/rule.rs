//! What a rule says in one evaluation, already checked and bounded by the rule host.

use std::collections::BTreeMap;

/// Label names and values, sorted by name; each name once.
pub type Labels = BTreeMap<String, String>;

/// What an alert, action or measurement is about; decides who speaks and what may resolve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A consumer group.
    Group(String),
    /// A topic.
    Topic(String),
    /// The broker beside us.
    Broker,
    /// This agent.
    Agent,
}

/// An alert as a rule raised it in one evaluation. Rule + `name` + `labels` are its identity.
#[derive(Clone, Debug, PartialEq)]
pub struct RaisedAlert {
    /// What it is about.
    pub subject: Subject,
    /// Becomes the label `alertname`.
    pub name: String,
    /// Part of the identity.
    pub labels: Labels,
    /// Not part of the identity; the newest count.
    pub annotations: Labels,
    /// The number that made it fire, if there is one.
    pub value: Option<f64>,
}

/// A request to do something that agent.yaml names under `actions:`.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedAction {
    /// What it is about.
    pub subject: Subject,
    /// The name under `actions:`.
    pub name: String,
    /// Parameters as the rule gave them.
    pub params: Labels,
    /// Same key = same deed.
    pub key: String,
}

/// A gauge of a rule's own, exported as `rule_NAME{rule=…}` for as long as evaluations return it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What it is about.
    pub subject: Subject,
    /// Without the prefix `rule_`.
    pub name: String,
    /// Without the label `rule`.
    pub labels: Labels,
    /// The gauge's value.
    pub value: f64,
}

/// All that one successful evaluation said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Alerts that hold now.
    pub alerts: Vec<RaisedAlert>,
    /// Actions asked for now.
    pub actions: Vec<RequestedAction>,
    /// Gauges now.
    pub measurements: Vec<Measurement>,
}
