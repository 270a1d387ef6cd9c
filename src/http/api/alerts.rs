//! `/api/v1/alerts/status` and `/api/v1/notifiers`: alerts with their story, and what receivers answered.

use super::{Refused, wanted::Wanted};
use crate::{
    alerts::{Alert, AlertsView, Phase},
    events::SelfMetrics,
    model::{Labels, Subject, Timestamp, families},
    pipeline::NotifiersView,
};
use serde::Serialize;
use std::cmp::Reverse;

#[derive(Serialize)]
struct SubjectJson<'a> {
    kind: &'static str,
    /// Of a group or topic.
    name: Option<&'a str>,
}

/// An alert with all that is known of its life.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertStatus<'a> {
    rule: &'a str,
    name: &'a str,
    state: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    subject: SubjectJson<'a>,
    value: Option<f64>,
    active_at_ms: u64,
    fired_at_ms: Option<u64>,
    resolved_at_ms: Option<u64>,
    keep_firing_since_ms: Option<u64>,
    /// When it was last handed to the notifiers.
    last_sent_ms: Option<u64>,
    /// Told to nobody.
    shadow: bool,
}

#[derive(Serialize)]
pub(super) struct AlertList<'a> {
    firing: usize,
    pending: usize,
    resolved: usize,
    total: usize,
    offset: usize,
    alerts: Vec<AlertStatus<'a>>,
}

/// Alerts for which `wanted` says so: firing ones first, of these the newest.
pub(super) fn statuses(view: &AlertsView, wanted: impl Fn(&Alert) -> bool) -> Vec<AlertStatus<'_>> {
    let mut found: Vec<&Alert> = view.alerts.iter().map(|alert| &**alert).filter(|alert| wanted(alert)).collect();
    let rank = |phase| match phase {
        Phase::Firing => 0,
        Phase::Pending => 1,
        Phase::Resolved => 2,
    };
    found.sort_by_key(|alert| {
        (rank(alert.phase), Reverse(alert.resolved_at.or(alert.fired_at).unwrap_or(alert.active_at)))
    });
    found.into_iter().map(|alert| status(alert, view)).collect()
}

fn status<'a>(alert: &'a Alert, view: &AlertsView) -> AlertStatus<'a> {
    let milliseconds = |at: Option<Timestamp>| at.map(|at| at.0);
    let (kind, name) = match &alert.subject {
        Subject::Group(name) => ("group", Some(name.as_str())),
        Subject::Topic(name) => ("topic", Some(name.as_str())),
        Subject::Broker => ("broker", None),
        Subject::Agent => ("agent", None),
    };
    AlertStatus {
        rule: &alert.key.rule,
        name: &alert.key.name,
        state: alert.phase.text(),
        labels: &alert.key.labels,
        annotations: &alert.annotations,
        subject: SubjectJson { kind, name },
        // JSON has no other numbers.
        value: alert.value.filter(|value| value.is_finite()),
        active_at_ms: alert.active_at.0,
        fired_at_ms: milliseconds(alert.fired_at),
        resolved_at_ms: milliseconds(alert.resolved_at),
        keep_firing_since_ms: milliseconds(alert.keep_firing_since),
        last_sent_ms: milliseconds(alert.last_sent),
        shadow: view.shadow.contains(&alert.key.rule),
    }
}

/// `/api/v1/alerts/status`.
///
/// # Errors
/// When a parameter is not understood.
pub(super) fn list<'a>(view: &'a AlertsView, wanted: &Wanted) -> Result<AlertList<'a>, Refused> {
    let state = Wanted::one_of("state", &wanted.state, &["any", "firing", "pending", "resolved"])?;
    let count = |phase| view.alerts.iter().filter(|alert| alert.phase == phase).count();
    let finds = |alert: &Alert| {
        let texts = [&alert.key.rule, &alert.key.name].into_iter().chain(alert.key.labels.values());
        (state == "any" || alert.phase.text() == state)
            && texts.chain(alert.annotations.values()).any(|text| wanted.finds(text))
    };
    let found = statuses(view, finds);
    let (total, offset) = (found.len(), wanted.start(found.len()));
    Ok(AlertList {
        firing: count(Phase::Firing),
        pending: count(Phase::Pending),
        resolved: count(Phase::Resolved),
        total,
        offset,
        alerts: found.into_iter().skip(offset).take(wanted.limit).collect(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusalJson<'a> {
    at_ms: u64,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifierJson<'a> {
    name: &'a str,
    kind: &'static str,
    receivers: usize,
    /// Did each receiver take what it was told last? `null` while none was told anything.
    works: Option<bool>,
    last_success_ms: Option<u64>,
    last_error: Option<RefusalJson<'a>>,
    waiting: f64,
    sent: f64,
    retried: f64,
    failed: f64,
    dropped: f64,
}

#[derive(Serialize)]
pub(super) struct Notifiers<'a> {
    notifiers: Vec<NotifierJson<'a>>,
}

/// `/api/v1/notifiers`.
pub(super) fn notifiers<'a>(view: &'a NotifiersView, metrics: &SelfMetrics) -> Notifiers<'a> {
    let json = |one: &'a crate::pipeline::NotifierView| {
        let told = |outcome| metrics.value(&families::NOTIFICATIONS, &[&one.name, outcome]).unwrap_or(0.0);
        let refusal = one.receivers.iter().filter_map(|receiver| receiver.refusal.as_ref()).max_by_key(|(at, _)| *at);
        let accepted = one.receivers.iter().filter_map(|receiver| receiver.accepted_at).max();
        NotifierJson {
            name: &one.name,
            kind: one.kind,
            receivers: one.receivers.len(),
            works: (refusal.is_some() || accepted.is_some()).then_some(refusal.is_none()),
            last_success_ms: accepted.map(|at| at.0),
            last_error: refusal.map(|(at, text)| RefusalJson { at_ms: at.0, text }),
            waiting: metrics.value(&families::OUTBOX_ENTRIES, &[&one.name]).unwrap_or(0.0),
            sent: told("sent"),
            retried: told("retried"),
            failed: told("failed"),
            dropped: told("dropped"),
        }
    };
    Notifiers { notifiers: view.notifiers.iter().map(json).collect() }
}
