//! Builders for what a rule says, and the way from a refused question to a failed evaluation.

use crate::{Action, Alert, Error, Failure, Label, Measurement, Outcome, Sample, Subject};

impl Alert {
    /// An alert about a consumer group. Give it a [`name`](Self::name).
    pub fn group(group: impl Into<String>) -> Self {
        Self::about(Subject::Group(group.into()))
    }

    /// An alert about a topic. Give it a [`name`](Self::name).
    pub fn topic(topic: impl Into<String>) -> Self {
        Self::about(Subject::Topic(topic.into()))
    }

    /// An alert about the broker beside the agent; the agent adds the label `broker`. Give it a [`name`](Self::name).
    pub fn broker() -> Self {
        Self::about(Subject::Broker)
    }

    /// An alert about the agent itself. Give it a [`name`](Self::name).
    pub fn agent() -> Self {
        Self::about(Subject::Agent)
    }

    /// An alert about `subject`: what must have been fully observed before the alert may resolve.
    pub fn about(subject: Subject) -> Self {
        Self { subject, name: String::new(), labels: Vec::new(), annotations: Vec::new(), value: None }
    }

    /// The alert's name, which becomes the label `alertname`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a label. Labels are part of the alert's identity: no numbers that change in them.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(name, value));
        self
    }

    /// Adds an annotation: text for people, which may change while the alert fires.
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.push(Label::new(name, value));
        self
    }

    /// The number that makes it fire.
    #[must_use]
    pub fn value(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }

    /// The same for a whole number, such as a lag in messages; exact up to 2^53.
    #[must_use]
    pub fn count(self, count: i64) -> Self {
        self.value(whole(count))
    }

    /// Adds the label `severity`, if there is one.
    #[must_use]
    pub fn severity(self, severity: Option<&str>) -> Self {
        match severity {
            Some(severity) => self.label("severity", severity),
            None => self,
        }
    }
}

/// A whole number as measured or told; exact up to 2^53.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "there is no other way, and the doc says so")]
fn whole(count: i64) -> f64 {
    count as f64
}

impl Action {
    /// Asks for the action that is configured under this name in agent.yaml and granted to the rule. The same `key` is the
    /// same deed: done once per key and cool-down.
    ///
    /// ```
    /// use brokerwarden_rule::{Action, Subject};
    /// let action = Action::new("open-ticket", Subject::Group("orders".into()), "orders").param("group", "orders");
    /// assert_eq!(action.params[0].value, "orders");
    /// ```
    pub fn new(name: impl Into<String>, subject: Subject, key: impl Into<String>) -> Self {
        Self { subject, name: name.into(), params: Vec::new(), key: key.into() }
    }

    /// Adds a parameter. agent.yaml says which there may be, and what they may look like.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(Label::new(name, value));
        self
    }
}

impl Measurement {
    /// A gauge, exported as `rule_NAME` for as long as evaluations return it.
    ///
    /// ```
    /// use brokerwarden_rule::{Measurement, Subject};
    /// let depth = Measurement::new("queue_depth", Subject::Topic("orders".into()), 3.0).label("topic", "orders");
    /// assert_eq!((depth.labels[0].name.as_str(), depth.value), ("topic", 3.0));
    /// ```
    pub fn new(name: impl Into<String>, subject: Subject, value: f64) -> Self {
        Self { subject, name: name.into(), labels: Vec::new(), value }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(name, value));
        self
    }
}

impl Sample {
    /// The value of a label; empty where it has none, as in Prometheus. The name of a series is its label `__name__`.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|label| label.name == name).map_or("", |label| &label.value)
    }
}

/// `?` on a value that may not be known.
pub trait OrUnavailable<T> {
    /// The value; without it the evaluation is unavailable for want of `what`, and no alert changes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] where there is no value.
    ///
    /// ```
    /// use brokerwarden_rule::{Failure, OrUnavailable};
    /// fn members(known: Option<u32>) -> Result<u32, Failure> {
    ///     Ok(known.or_unavailable("the members of orders")?)
    /// }
    /// assert_eq!(members(Some(2)), Ok(2));
    /// assert_eq!(members(None), Err(Failure::Unavailable("the members of orders: not known now".into())));
    /// ```
    fn or_unavailable(self, what: &str) -> Result<T, Failure>;
}

impl<T> OrUnavailable<T> for Option<T> {
    fn or_unavailable(self, what: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::Unavailable(format!("{what}: not known now")))
    }
}

impl Label {
    /// A label, annotation or parameter.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl Default for Outcome {
    /// Nothing to say.
    fn default() -> Self {
        Self { alerts: Vec::new(), actions: Vec::new(), measurements: Vec::new() }
    }
}

impl From<Vec<Alert>> for Outcome {
    fn from(alerts: Vec<Alert>) -> Self {
        Self { alerts, ..Self::default() }
    }
}

impl FromIterator<Alert> for Outcome {
    fn from_iter<I: IntoIterator<Item = Alert>>(alerts: I) -> Self {
        alerts.into_iter().collect::<Vec<_>>().into()
    }
}

impl From<Error> for Failure {
    /// What was not observed makes the evaluation unavailable; anything else is the rule's own fault.
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::InvalidArgument(text) | Error::LimitExceeded(text) => Self::Failed(text),
        }
    }
}

impl From<String> for Failure {
    /// The rule's own fault, in words.
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_built_as_written() {
        let alert = Alert::group("g")
            .name("LagHigh")
            .label("consumergroup", "g")
            .label("topic", "t")
            .annotation("summary", "far behind")
            .count(12);
        let want = Alert {
            subject: Subject::Group("g".into()),
            name: "LagHigh".into(),
            labels: vec![Label::new("consumergroup", "g"), Label::new("topic", "t")],
            annotations: vec![Label::new("summary", "far behind")],
            value: Some(12.0),
        };
        assert_eq!(alert, want);
        assert_eq!(Outcome::from_iter([alert.clone()]), Outcome { alerts: vec![alert], ..Outcome::default() });
        let subjects = [Alert::topic("t"), Alert::broker(), Alert::agent()].map(|alert| alert.subject);
        assert_eq!(subjects, [Subject::Topic("t".into()), Subject::Broker, Subject::Agent]);
    }

    #[test]
    fn only_what_was_not_observed_is_unavailable() {
        let question = |error: Error| -> Failure {
            let asked = || -> Result<(), Failure> { Err(error)? };
            asked().unwrap_err()
        };
        assert_eq!(question(Error::Unavailable("a".into())), Failure::Unavailable("a".into()));
        assert_eq!(question(Error::InvalidArgument("b".into())), Failure::Failed("b".into()));
        assert_eq!(question(Error::LimitExceeded("c".into())), Failure::Failed("c".into()));
    }
}
