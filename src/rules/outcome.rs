//! Checks what a rule returned and turns it into our words. Anything odd refuses the whole outcome: half of what a rule
//! said would be something it did not say.

use super::{bindings::types, limits};
use crate::model::{BoundedText, Labels, Measurement, Outcome, RaisedAlert, RequestedAction, Subject};
use std::collections::HashSet;

/// Why an outcome was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

fn refuse<T>(text: String) -> Result<T, Refused> {
    Err(Refused(text))
}

/// The outcome, checked. `max_alerts` is the rule's own limit.
pub(super) fn check(said: types::Outcome, max_alerts: u32) -> Result<Outcome, Refused> {
    count("alerts", said.alerts.len(), usize::try_from(max_alerts).unwrap_or(usize::MAX))?;
    count("actions", said.actions.len(), limits::MAX_ACTIONS)?;
    count("measurements", said.measurements.len(), limits::MAX_MEASUREMENTS)?;
    let alerts = said.alerts.into_iter().map(alert).collect::<Result<Vec<_>, _>>()?;
    let actions = said.actions.into_iter().map(action).collect::<Result<Vec<_>, _>>()?;
    let measurements = said.measurements.into_iter().map(measurement).collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    if let Some(twice) = alerts.iter().find(|alert| !seen.insert((&alert.name, &alert.labels))) {
        return refuse(format!("two alerts {:?} with the same labels", twice.name));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = measurements.iter().find(|one| !seen.insert((&one.name, &one.labels))) {
        return refuse(format!("two measurements {:?} with the same labels", twice.name));
    }
    Ok(Outcome { alerts, actions, measurements })
}

fn alert(said: types::Alert) -> Result<RaisedAlert, Refused> {
    let name = text("name of an alert", said.name, limits::MAX_NAME)?;
    let what = format!("alert {name:?}");
    let labels = labels(&what, "label", said.labels, limits::MAX_LABEL_VALUE)?;
    reserved(&what, &labels, &["alertname", "rule"])?;
    Ok(RaisedAlert {
        subject: subject(said.subject)?,
        annotations: self::labels(&what, "annotation", said.annotations, limits::MAX_ANNOTATION)?,
        labels,
        name,
        // NaN and infinities cannot be told in JSON, and are no number to show.
        value: said.value.filter(|value| value.is_finite()),
    })
}

fn action(said: types::Action) -> Result<RequestedAction, Refused> {
    let name = text("name of an action", said.name, limits::MAX_NAME)?;
    let what = format!("action {name:?}");
    Ok(RequestedAction {
        subject: subject(said.subject)?,
        params: labels(&what, "parameter", said.params, limits::MAX_ANNOTATION)?,
        key: text("key of an action", said.key, limits::MAX_LABEL_VALUE)?,
        name,
    })
}

fn measurement(said: types::Measurement) -> Result<Measurement, Refused> {
    let name = text("name of a measurement", said.name, limits::MAX_NAME)?;
    if !is_name(&name) {
        return refuse(format!("{name:?} is no name for a measurement: letters, digits and _ only"));
    }
    let what = format!("measurement {name:?}");
    let labels = labels(&what, "label", said.labels, limits::MAX_LABEL_VALUE)?;
    reserved(&what, &labels, &["rule"])?;
    let value = if said.value.is_nan() { f64::NAN } else { said.value };
    Ok(Measurement { subject: subject(said.subject)?, name, labels, value })
}

fn subject(said: types::Subject) -> Result<Subject, Refused> {
    Ok(match said {
        types::Subject::Group(name) if name.len() <= limits::MAX_SUBJECT => Subject::Group(name),
        types::Subject::Topic(name) if name.len() <= limits::MAX_SUBJECT => Subject::Topic(name),
        types::Subject::Group(_) | types::Subject::Topic(_) => {
            return refuse(format!("a subject over {} bytes", limits::MAX_SUBJECT));
        }
        types::Subject::Broker => Subject::Broker,
        types::Subject::Agent => Subject::Agent,
    })
}

/// A label with an empty value is no label, as in Prometheus.
fn labels(of: &str, kind: &str, said: Vec<types::Label>, longest: usize) -> Result<Labels, Refused> {
    count(&format!("{kind}s of {of}"), said.len(), limits::MAX_LABELS)?;
    let mut labels = Labels::new();
    for types::Label { name, value } in said {
        if !is_name(&name) || name.len() > limits::MAX_NAME || name.starts_with("__") {
            return refuse(format!("{:?} is no {kind} name ({of})", clipped(&name)));
        }
        if value.len() > longest {
            return refuse(format!("{kind} {name} of {of} is over {longest} bytes"));
        }
        if labels.contains_key(&name) {
            return refuse(format!("{kind} {name} of {of} is there twice"));
        }
        labels.insert(name, value);
    }
    labels.retain(|_, value| !value.is_empty());
    Ok(labels)
}

fn reserved(of: &str, labels: &Labels, names: &[&str]) -> Result<(), Refused> {
    match names.iter().find(|name| labels.contains_key(**name)) {
        Some(name) => refuse(format!("label {name} of {of} is the host's to set")),
        None => Ok(()),
    }
}

fn count(what: &str, found: usize, most: usize) -> Result<(), Refused> {
    if found > most { refuse(format!("{found} {what}, {most} allowed")) } else { Ok(()) }
}

fn text(what: &str, said: String, longest: usize) -> Result<String, Refused> {
    if said.is_empty() || said.len() > longest || said.chars().any(char::is_control) {
        return refuse(format!("{what} is empty, over {longest} bytes or has control characters: {}", clipped(&said)));
    }
    Ok(said)
}

fn clipped(text: &str) -> String {
    BoundedText(text, limits::MAX_SHOWN_NAME).to_string()
}

/// A label or metric name of Prometheus (without colons).
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, value: &str) -> types::Label {
        types::Label { name: name.into(), value: value.into() }
    }

    fn raised(name: &str, labels: Vec<types::Label>) -> types::Alert {
        types::Alert {
            subject: types::Subject::Group("g".into()),
            name: name.into(),
            labels,
            annotations: vec![],
            value: Some(f64::INFINITY),
        }
    }

    fn said(alerts: Vec<types::Alert>) -> types::Outcome {
        types::Outcome { alerts, actions: vec![], measurements: vec![] }
    }

    #[track_caller]
    fn refused(outcome: types::Outcome, part: &str) {
        let Refused(text) = check(outcome, 2).unwrap_err();
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn a_good_outcome_is_taken_whole() {
        let outcome = check(said(vec![raised("A", vec![label("b", "1"), label("a", ""), label("c", "x\n")])]), 2);
        let alert = &outcome.unwrap().alerts[0];
        assert_eq!(alert.labels.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>(), [("b", "1"), ("c", "x\n")]);
        assert_eq!((&alert.subject, alert.value), (&Subject::Group("g".into()), None));
    }

    #[test]
    fn odd_outcomes_are_refused_with_their_reason() {
        let one = |labels| said(vec![raised("A", labels)]);
        refused(said(vec![raised("A", vec![]), raised("B", vec![]), raised("C", vec![])]), "3 alerts, 2 allowed");
        refused(said(vec![raised("A", vec![]), raised("A", vec![label("x", "")])]), "two alerts");
        refused(said(vec![raised("", vec![])]), "name of an alert");
        refused(said(vec![raised("a\u{1b}[2J", vec![])]), "\\u{1b}[2J");
        refused(one(vec![label("1a", "x")]), "no label name");
        refused(one(vec![label("__name__", "x")]), "no label name");
        refused(one(vec![label("a", "x"), label("a", "y")]), "twice");
        refused(one(vec![label("alertname", "x")]), "the host's to set");
        refused(one(vec![label("a", &"x".repeat(limits::MAX_LABEL_VALUE + 1))]), "over 1024 bytes");
        refused(one((0..33).map(|n| label(&format!("l{n}"), "x")).collect()), "33 labels");
        let measured = |name: &str| types::Measurement {
            subject: types::Subject::Agent,
            name: name.into(),
            labels: vec![],
            value: 1.0,
        };
        let measurements = |names: &[&str]| types::Outcome {
            alerts: vec![],
            actions: vec![],
            measurements: names.iter().map(|name| measured(name)).collect(),
        };
        refused(measurements(&["a-b"]), "no name for a measurement");
        refused(measurements(&["a", "a"]), "two measurements");
    }
}
