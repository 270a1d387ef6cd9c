//! What a case expects of one moment, beside what came. Pure.

use super::{
    case::{AlertTest, Case, ExpectedAction, ExpectedAlert, ExpectedFailure, ExpectedMeasurement, KeyValues},
    differ::{Difference, Fault, Parts, Thing, Wanted, compare},
};
use crate::{
    alerts::{Alert, Phase},
    model::{Labels, Measurement, Outcome, RequestedAction, Subject},
    pipeline::Verdict,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Labels that the agent sets itself.
const OWN_LABELS: [&str; 3] = ["alertname", "cluster", "rule"];

/// How things stand after the evaluation at one position.
pub struct Moment<'a> {
    /// Counted from 0.
    pub position: u64,
    /// After the case's start.
    pub at: Duration,
    /// All alerts.
    pub alerts: &'a [Arc<Alert>],
    /// How the last evaluation ended.
    pub last: Option<&'a Verdict>,
    /// What the rule remembers.
    pub state: BTreeMap<&'a str, &'a [u8]>,
}

/// Everything that is not as expected at that moment.
pub fn check(case: &Case, moment: &Moment<'_>) -> Vec<Fault> {
    let is_now = |at: Duration| position(at, case.interval) == moment.position;
    let expected = &case.expected;
    let alert_tests: Vec<_> = expected.alerts.iter().filter(|test| is_now(test.at)).collect();
    let actions: Vec<_> = expected.actions.iter().filter(|(at, _)| is_now(*at)).collect();
    let measurements: Vec<_> = expected.measurements.iter().filter(|(at, _)| is_now(*at)).collect();
    let failure = expected.failures.iter().find(|failure| failure.at.is_none_or(is_now));
    let looked_at = !(alert_tests.is_empty() && actions.is_empty() && measurements.is_empty());
    let mut faults: Vec<_> = verdict(moment, failure, looked_at).into_iter().collect();
    for test in &alert_tests {
        faults.extend(alerts(moment, test));
    }
    faults.extend(unmentioned(moment, &alert_tests));
    let none = Outcome::default();
    let outcome = match moment.last {
        Some(Verdict::Outcome(outcome)) => outcome,
        _ => &none,
    };
    for (_, wanted) in actions {
        let wanted: Vec<_> = wanted.iter().map(wanted_action).collect();
        let got: Vec<_> = outcome.actions.iter().map(action).collect();
        faults.extend(compare(moment.at, "action ", &wanted, &got));
    }
    for (_, wanted) in measurements {
        let wanted: Vec<_> = wanted.iter().map(wanted_measurement).collect();
        let got: Vec<_> = outcome.measurements.iter().map(measurement).collect();
        faults.extend(compare(moment.at, "measurement ", &wanted, &got));
    }
    for (_, wanted) in expected.state.iter().filter(|(at, _)| is_now(*at)) {
        faults.extend(state(moment, wanted));
    }
    faults
}

/// The last snapshot at or before `at`.
fn position(at: Duration, interval: Duration) -> u64 {
    let position = at.as_millis().checked_div(interval.as_millis()).unwrap_or(0);
    u64::try_from(position).unwrap_or(u64::MAX)
}

/// A failure that nobody expects is a fault at any moment; `unavailable` is one where something else is expected.
fn verdict(moment: &Moment<'_>, expected: Option<&ExpectedFailure>, looked_at: bool) -> Option<Fault> {
    let at = moment.at;
    let (got, text) = match moment.last {
        None => ("never evaluated", ""),
        Some(Verdict::Outcome(_)) => ("ok", ""),
        Some(Verdict::Unavailable(text)) => ("unavailable", text.as_str()),
        Some(Verdict::Failed { reason, text }) => (*reason, text.as_str()),
    };
    let Some(expected) = expected else {
        return match got {
            "ok" => None,
            "unavailable" if !looked_at => None,
            "unavailable" => Some(Fault::Other {
                at: Some(at),
                text: format!(
                    "the evaluation is unavailable: {text:?}; if that is meant: \
                     exp_failure: [{{eval_time: {}, exp_reason: unavailable}}]",
                    time(at)
                ),
            }),
            _ => Some(Fault::Other { at: Some(at), text: format!("the evaluation failed ({got}): {text:?}") }),
        };
    };
    let mut fields = Vec::new();
    if got != expected.reason {
        let got = if text.is_empty() { got.to_owned() } else { format!("{got} ({text:?})") };
        fields.push(Difference { field: "reason".into(), expected: expected.reason.clone(), got });
    } else if let Some(part) = expected.text.as_ref().filter(|part| !text.contains(part.as_str())) {
        fields.push(Difference { field: "text".into(), expected: format!("…{part:?}…"), got: format!("{text:?}") });
    }
    (!fields.is_empty()).then(|| Fault::Differs { at, what: "failure of the evaluation".into(), fields })
}

fn alerts(moment: &Moment<'_>, test: &AlertTest) -> Vec<Fault> {
    let mut faults = Vec::new();
    let wanted = [(Phase::Firing, &test.firing), (Phase::Pending, &test.pending), (Phase::Resolved, &test.resolved)];
    for (phase, wanted) in wanted {
        let Some(wanted) = wanted else { continue };
        let wanted: Vec<_> = wanted.iter().map(|alert| wanted_alert(&test.alertname, alert)).collect();
        let named = || moment.alerts.iter().filter(|alert| alert.key.name == test.alertname);
        let got: Vec<_> = named().filter(|alert| alert.phase == phase).map(|alert| thing(alert)).collect();
        let found = compare(moment.at, &format!("{} ", phase.text()), &wanted, &got);
        faults.extend(found.into_iter().map(|fault| match fault {
            // One that is in another phase is not just missing.
            Fault::Missing { at, what } => {
                let titled = |alert: &&Arc<Alert>| what.ends_with(&format!(" {}", thing(alert).title));
                match named().find(titled) {
                    Some(other) => Fault::Missing { at, what: format!("{what} (it is {})", other.phase.text()) },
                    None => Fault::Missing { at, what },
                }
            }
            other => other,
        }));
    }
    faults
}

/// Alerts that fire under a name that no test of this moment has.
fn unmentioned(moment: &Moment<'_>, tests: &[&AlertTest]) -> Vec<Fault> {
    let mentioned: BTreeSet<&str> = tests.iter().map(|test| test.alertname.as_str()).collect();
    let firing = moment.alerts.iter().filter(|alert| alert.phase == Phase::Firing);
    let others = firing.filter(|alert| !mentioned.is_empty() && !mentioned.contains(alert.key.name.as_str()));
    others.map(|alert| Fault::Unexpected { at: moment.at, what: format!("firing {}", thing(alert).title) }).collect()
}

fn state(moment: &Moment<'_>, wanted: &KeyValues) -> Option<Fault> {
    let shown = |value: Option<&[u8]>| value.map_or_else(|| "none".to_owned(), bytes);
    let fields: Vec<_> = wanted
        .iter()
        .filter(|(key, value)| moment.state.get(key.as_str()).copied() != value.as_deref())
        .map(|(key, value)| Difference {
            field: format!("key {key:?}"),
            expected: shown(value.as_deref()),
            got: shown(moment.state.get(key.as_str()).copied()),
        })
        .collect();
    (!fields.is_empty()).then(|| Fault::Differs { at: moment.at, what: "state".into(), fields })
}

/// Text as text, other bytes in hexadecimal.
fn bytes(value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(text) if !text.contains(char::is_control) => format!("{text:?}"),
        _ => {
            let digits: Vec<_> = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("hex {}", digits.concat())
        }
    }
}

/// A duration as people write it.
pub fn time(at: Duration) -> String {
    humantime::format_duration(at).to_string().replace(' ', "")
}

/// `NAME{label="value", …}`.
pub fn title(name: &str, labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", labels.join(", "))
}

/// The labels of an alert but for those that the agent sets.
pub fn own_labels(alert: &Alert) -> Labels {
    let labels = alert.key.labels.iter().filter(|(name, _)| !OWN_LABELS.contains(&name.as_str()));
    labels.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn put(parts: &mut Parts, kind: &'static str, texts: &Labels) {
    parts.extend(texts.iter().map(|(name, text)| ((kind, name.clone()), format!("{text:?}"))));
}

fn put_one(parts: &mut Parts, kind: &'static str, shown: String) {
    parts.insert((kind, String::new()), shown);
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Group(name) => format!("group {name:?}"),
        Subject::Topic(name) => format!("topic {name:?}"),
        Subject::Broker => "broker".into(),
        Subject::Agent => "agent".into(),
    }
}

fn thing(alert: &Alert) -> Thing {
    let labels = own_labels(alert);
    let mut parts = Parts::new();
    put(&mut parts, "label", &labels);
    put(&mut parts, "annotation", &alert.annotations);
    if let Some(value) = alert.value {
        put_one(&mut parts, "value", value.to_string());
    }
    put_one(&mut parts, "subject", subject(&alert.subject));
    Thing { title: title(&alert.key.name, &labels), name: alert.key.name.clone(), parts }
}

fn wanted_alert(name: &str, wanted: &ExpectedAlert) -> Wanted {
    let mut parts = Parts::new();
    let mut compared = BTreeSet::from(["label"]);
    put(&mut parts, "label", &wanted.labels);
    if let Some(annotations) = &wanted.annotations {
        put(&mut parts, "annotation", annotations);
        compared.insert("annotation");
    }
    if let Some(value) = wanted.value {
        put_one(&mut parts, "value", value.to_string());
        compared.insert("value");
    }
    if let Some(about) = &wanted.subject {
        put_one(&mut parts, "subject", subject(about));
        compared.insert("subject");
    }
    Wanted { thing: Thing { title: title(name, &wanted.labels), name: name.to_owned(), parts }, compared }
}

fn action(action: &RequestedAction) -> Thing {
    let mut parts = Parts::new();
    put_one(&mut parts, "key", format!("{:?}", action.key));
    put(&mut parts, "param", &action.params);
    put_one(&mut parts, "subject", subject(&action.subject));
    Thing { title: format!("{} with the key {:?}", action.name, action.key), name: action.name.clone(), parts }
}

fn wanted_action(wanted: &ExpectedAction) -> Wanted {
    let mut parts = Parts::new();
    let mut compared = BTreeSet::new();
    let mut title = wanted.name.clone();
    if let Some(key) = &wanted.key {
        put_one(&mut parts, "key", format!("{key:?}"));
        compared.insert("key");
        title = format!("{title} with the key {key:?}");
    }
    if let Some(params) = &wanted.params {
        put(&mut parts, "param", params);
        compared.insert("param");
    }
    if let Some(about) = &wanted.subject {
        put_one(&mut parts, "subject", subject(about));
        compared.insert("subject");
    }
    Wanted { thing: Thing { title, name: wanted.name.clone(), parts }, compared }
}

fn measurement(measured: &Measurement) -> Thing {
    let mut parts = Parts::new();
    put(&mut parts, "label", &measured.labels);
    put_one(&mut parts, "value", measured.value.to_string());
    put_one(&mut parts, "subject", subject(&measured.subject));
    Thing { title: title(&measured.name, &measured.labels), name: measured.name.clone(), parts }
}

fn wanted_measurement(wanted: &ExpectedMeasurement) -> Wanted {
    let mut parts = Parts::new();
    let mut compared = BTreeSet::from(["label", "value"]);
    put(&mut parts, "label", &wanted.labels);
    put_one(&mut parts, "value", wanted.value.to_string());
    if let Some(about) = &wanted.subject {
        put_one(&mut parts, "subject", subject(about));
        compared.insert("subject");
    }
    let title = title(&wanted.name, &wanted.labels);
    Wanted { thing: Thing { title, name: wanted.name.clone(), parts }, compared }
}
