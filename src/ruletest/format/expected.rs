//! The keys of a case that say what must come of it: `alert_rule_test`, `action_test`, `measurement_test`, `state_test`,
//! `exp_failure`, `exp_config_error`.

use super::{list, moment, number, text, texts};
use crate::{
    config::parts::{Field, Node, Reader, Section, key_path},
    model::Subject,
    ruletest::case::{
        AlertTest, Expected, ExpectedAction, ExpectedAlert, ExpectedFailure, ExpectedMeasurement, KeyValues,
    },
};
use std::{collections::BTreeMap, time::Duration};

impl Expected {
    /// All moments of which something is expected.
    pub(super) fn moments(&self) -> impl Iterator<Item = Duration> {
        let alerts = self.alerts.iter().map(|test| test.at);
        let actions = self.actions.iter().map(|(at, _)| *at);
        let measurements = self.measurements.iter().map(|(at, _)| *at);
        let state = self.state.iter().map(|(at, _)| *at);
        let failures = self.failures.iter().filter_map(|failure| failure.at);
        alerts.chain(actions).chain(measurements).chain(state).chain(failures)
    }
}

/// Reads all that a case expects.
pub(super) fn expected(reader: &mut Reader<'_>, section: &mut Section) -> Expected {
    let path = section.path.clone();
    let alerts = list(reader, section.take("alert_rule_test"));
    let actions = list(reader, section.take("action_test"));
    let measurements = list(reader, section.take("measurement_test"));
    let state = list(reader, section.take("state_test"));
    let failures = section.take("exp_failure").map(|field| failures(reader, field)).unwrap_or_default();
    let config_error = section.take("exp_config_error").and_then(|field| reader.text(&field, "text"));
    let said = [&alerts, &actions, &measurements, &state].iter().any(|tests| !tests.is_empty()) || !failures.is_empty();
    match (said, config_error.is_some()) {
        (false, false) => reader.problem(&path, "expects nothing; allowed: alert_rule_test, exp_failure and the like"),
        (true, true) => {
            let path = key_path(&path, "exp_config_error");
            reader.problem(&path, "a rule whose configuration is refused says nothing more; allowed: it alone");
        }
        _ => {}
    }
    let each = |reader: &mut Reader<'_>, field: Field, key: &'static str| {
        let mut section = reader.section(field)?;
        let at = at(reader, &mut section);
        let items = reader.required(&mut section, key, "a list, [] for none");
        let items = items.and_then(|field| reader.list(field));
        reader.finish(section);
        Some((at?, items?))
    };
    let actions = actions.into_iter().filter_map(|field| {
        let (at, items) = each(reader, field, "exp_actions")?;
        Some((at, items.into_iter().filter_map(|field| action(reader, field)).collect()))
    });
    let actions: Vec<_> = actions.collect();
    let measurements = measurements.into_iter().filter_map(|field| {
        let (at, items) = each(reader, field, "exp_measurements")?;
        Some((at, items.into_iter().filter_map(|field| measurement(reader, field)).collect()))
    });
    let measurements: Vec<_> = measurements.collect();
    Expected {
        config_error,
        alerts: alerts.into_iter().filter_map(|field| alert_test(reader, field)).collect(),
        actions,
        measurements,
        state: state.into_iter().filter_map(|field| state_test(reader, field)).collect(),
        failures,
    }
}

/// `eval_time`; the beginning where there is none.
fn at(reader: &mut Reader<'_>, section: &mut Section) -> Option<Duration> {
    moment(reader, section, "eval_time")
}

fn alert_test(reader: &mut Reader<'_>, field: Field) -> Option<AlertTest> {
    let path = field.path.clone();
    let mut section = reader.section(field)?;
    let at = at(reader, &mut section);
    let alertname = reader.required(&mut section, "alertname", "the name of the alert");
    let alertname = alertname.and_then(|field| text(reader, &field));
    let mut alerts = |reader: &mut Reader<'_>, key| -> Option<Vec<ExpectedAlert>> {
        let items = reader.list(section.take(key)?)?;
        Some(items.into_iter().filter_map(|field| alert(reader, field)).collect())
    };
    let firing = alerts(reader, "exp_alerts");
    let pending = alerts(reader, "exp_pending");
    let resolved = alerts(reader, "exp_resolved");
    reader.finish(section);
    if firing.is_none() && pending.is_none() && resolved.is_none() {
        reader.problem(
            &path,
            "expects nothing; allowed: exp_alerts (those that fire), exp_pending, exp_resolved, [] for none",
        );
    }
    Some(AlertTest { at: at?, alertname: alertname?, firing, pending, resolved })
}

fn alert(reader: &mut Reader<'_>, field: Field) -> Option<ExpectedAlert> {
    let mut section = reader.section(field)?;
    let labels = section.take("exp_labels").map(|field| texts(reader, field));
    let annotations = section.take("exp_annotations").and_then(|field| texts(reader, field));
    let value = section.take("exp_value").and_then(|field| number(reader, &field));
    let subject = section.take("exp_subject").and_then(|field| subject(reader, field));
    reader.finish(section);
    Some(ExpectedAlert { labels: labels.unwrap_or(Some(BTreeMap::new()))?, annotations, value, subject })
}

fn action(reader: &mut Reader<'_>, field: Field) -> Option<ExpectedAction> {
    let mut section = reader.section(field)?;
    let name = reader.required(&mut section, "exp_name", "the action's name");
    let name = name.and_then(|field| text(reader, &field));
    let key = section.take("exp_key").and_then(|field| text(reader, &field));
    let params = section.take("exp_params").and_then(|field| texts(reader, field));
    let subject = section.take("exp_subject").and_then(|field| subject(reader, field));
    reader.finish(section);
    Some(ExpectedAction { name: name?, key, params, subject })
}

fn measurement(reader: &mut Reader<'_>, field: Field) -> Option<ExpectedMeasurement> {
    let mut section = reader.section(field)?;
    let name = reader.required(&mut section, "exp_name", "the measurement's name, without rule_");
    let name = name.and_then(|field| text(reader, &field));
    let labels = section.take("exp_labels").map(|field| texts(reader, field));
    let value = reader.required(&mut section, "exp_value", "a number");
    let value = value.and_then(|field| number(reader, &field));
    let subject = section.take("exp_subject").and_then(|field| subject(reader, field));
    reader.finish(section);
    Some(ExpectedMeasurement { name: name?, labels: labels.unwrap_or(Some(BTreeMap::new()))?, value: value?, subject })
}

/// `broker`, `agent`, `{group: NAME}` or `{topic: NAME}`.
fn subject(reader: &mut Reader<'_>, field: Field) -> Option<Subject> {
    if !matches!(field.node, Node::Map(_)) {
        let word = reader.choice(&field, &["broker", "agent"], &[])?;
        return Some(if word == "broker" { Subject::Broker } else { Subject::Agent });
    }
    let path = field.path.clone();
    let mut section = reader.section(field)?;
    let group = section.take("group").and_then(|field| text(reader, &field));
    let topic = section.take("topic").and_then(|field| text(reader, &field));
    reader.finish(section);
    match (group, topic) {
        (Some(group), None) => Some(Subject::Group(group)),
        (None, Some(topic)) => Some(Subject::Topic(topic)),
        _ => {
            reader.problem(&path, "allowed: broker, agent, {group: NAME} or {topic: NAME}");
            None
        }
    }
}

fn state_test(reader: &mut Reader<'_>, field: Field) -> Option<(Duration, KeyValues)> {
    let mut section = reader.section(field)?;
    let at = at(reader, &mut section);
    let keys = reader.required(&mut section, "exp_state", "keys and values; null = no such key");
    reader.finish(section);
    let mut keys = reader.section(keys?)?;
    let mut state = BTreeMap::new();
    for (key, field) in keys.take_rest() {
        let value = match field.node {
            Node::Null => None,
            Node::Map(_) => Some(hex(reader, field)?),
            _ => Some(text(reader, &field)?.into_bytes()),
        };
        state.insert(key, value);
    }
    Some((at?, state))
}

/// `{hex: 00ff}`, for values that are no text.
fn hex(reader: &mut Reader<'_>, field: Field) -> Option<Vec<u8>> {
    let mut section = reader.section(field)?;
    let digits = reader.required(&mut section, "hex", "hexadecimal digits")?;
    let written = text(reader, &digits);
    reader.finish(section);
    let written = written?;
    let pairs: Option<Vec<u8>> = written
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [_, _] => str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        })
        .collect();
    if pairs.is_none() {
        reader.refuse(&digits, "an even number of hexadecimal digits (quote them)");
    }
    pairs
}

/// `unavailable` alone for all evaluations, or a list.
fn failures(reader: &mut Reader<'_>, field: Field) -> Vec<ExpectedFailure> {
    if matches!(field.node, Node::Text(_)) {
        let reason = reader.text(&field, "text");
        return reason.map(|reason| ExpectedFailure { at: None, reason, text: None }).into_iter().collect();
    }
    list(reader, Some(field)).into_iter().filter_map(|field| failure(reader, field)).collect()
}

fn failure(reader: &mut Reader<'_>, field: Field) -> Option<ExpectedFailure> {
    let mut section = reader.section(field)?;
    let at = at(reader, &mut section);
    let reason = reader.required(&mut section, "exp_reason", "unavailable, or a reason such as error, trap, time");
    let reason = reason.and_then(|field| text(reader, &field));
    let has = section.take("exp_text").and_then(|field| text(reader, &field));
    reader.finish(section);
    Some(ExpectedFailure { at: Some(at?), reason: reason?, text: has })
}
