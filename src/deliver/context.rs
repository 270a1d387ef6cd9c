//! What a template can say: Alertmanager's webhook message under its own names, `firing` and `resolved` counted, and each
//! alert's `value`. All text in it is fit for people. Pure.

use super::{
    text::{one_line, visible},
    webhook::{NO_END, common, fingerprint},
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    deliver::time::rfc3339,
    model::{Labels, Subject, Timestamp},
    pipeline::Delivery,
};
use minijinja::{Value, value::Serde};
use serde::Serialize;
use std::sync::Arc;

/// Bytes of a label or annotation that a template sees.
const MAX_VALUE: usize = 8 << 10;
/// Labels, and annotations, of one alert that a template sees.
const MAX_ENTRIES: usize = 64;
/// Bytes of such a name.
const MAX_NAME: usize = 200;

/// Names that a template may use without defining them.
pub(super) const NAMES: [&str; 9] = [
    "alerts",
    "commonAnnotations",
    "commonLabels",
    "externalURL",
    "firing",
    "groupLabels",
    "receiver",
    "resolved",
    "status",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    receiver: &'a str,
    status: &'a str,
    firing: usize,
    resolved: usize,
    alerts: Vec<Told<'a>>,
    group_labels: Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    status: &'a str,
    labels: Labels,
    annotations: Labels,
    value: Option<f64>,
    starts_at: String,
    ends_at: String,
    fingerprint: String,
}

/// The context of one message. All of `batch` have the same `alertname`.
pub(super) fn of(batch: &[Delivery], receiver: &str, external_url: &str) -> Value {
    let mut alerts: Vec<_> = batch.iter().map(|delivery| told(&delivery.alert)).collect();
    alerts.sort_by(|one, other| one.labels.cmp(&other.labels));
    let firing = batch.iter().filter(|delivery| delivery.alert.phase == Phase::Firing).count();
    let name = alerts.first().and_then(|alert| alert.labels.get("alertname").cloned()).unwrap_or_default();
    let phase = if firing > 0 { Phase::Firing } else { Phase::Resolved };
    Value::from(Serde(Context {
        receiver,
        status: phase.text(),
        firing,
        resolved: batch.len().saturating_sub(firing),
        group_labels: Labels::from([("alertname".to_owned(), name)]),
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url,
        alerts,
    }))
}

fn told(alert: &Alert) -> Told<'_> {
    let ended = alert.resolved_at.filter(|_| alert.phase == Phase::Resolved);
    Told {
        status: alert.phase.text(),
        labels: readable(&alert.key.labels),
        annotations: readable(&alert.annotations),
        value: alert.value.filter(|value| value.is_finite()),
        starts_at: rfc3339(alert.fired_at.unwrap_or(alert.active_at)),
        ends_at: ended.map_or_else(|| NO_END.to_owned(), rfc3339),
        fingerprint: format!("{:016x}", fingerprint(&alert.key.labels)),
    }
}

/// Labels or annotations that people can read.
pub(super) fn readable(labels: &Labels) -> Labels {
    let entry = |(name, value): (&String, &String)| (one_line(name, MAX_NAME), visible(value, MAX_VALUE));
    labels.iter().take(MAX_ENTRIES).map(entry).collect()
}

/// Alerts such as there may be, one firing and one resolved, to try a template on.
pub(super) fn samples() -> Vec<Delivery> {
    let sample = |phase, group: &str| {
        let labels =
            [("alertname", "ConsumerLag"), ("consumergroup", group), ("rule", "sample"), ("severity", "warning")];
        let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let at = Timestamp(1_700_000_000_000);
        let alert = Alert {
            key: AlertKey { rule: "sample".into(), name: "ConsumerLag".into(), labels },
            subject: Subject::Agent,
            annotations: Labels::from([("summary".to_owned(), "lag is 150".to_owned())]),
            value: Some(150.0),
            phase,
            active_at: at,
            fired_at: Some(at),
            resolved_at: (phase == Phase::Resolved).then_some(at),
            keep_firing_since: None,
            last_sent: None,
        };
        Delivery { alert: Arc::new(alert), ends_at: at, transition: true, stored: None }
    };
    vec![sample(Phase::Firing, "orders"), sample(Phase::Resolved, "payments")]
}
