//! What became of actions and notifications, as JSON; shapes of our own.

use super::{rfc3339, success};
use crate::{
    deliver::Notification,
    model::{Labels, Subject, Timestamp},
    pipeline::{ActionsView, Deed, DeedResult},
};
use serde::Serialize;

#[derive(Serialize)]
struct Actions<'a> {
    waiting: Vec<ActionJson<'a>>,
    ended: Vec<ActionJson<'a>>,
    refused: Vec<RefusedJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionJson<'a> {
    action: &'a str,
    rule: &'a str,
    subject: SubjectJson<'a>,
    params: &'a Labels,
    key: &'a str,
    idempotency_key: &'a str,
    requested_at: String,
    /// `waiting`, or how it ended.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct SubjectJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedJson<'a> {
    action: &'a str,
    rule: &'a str,
    reason: &'static str,
    text: &'a str,
    last_at: String,
}

#[derive(Serialize)]
struct Notifications<'a> {
    notifications: Vec<NotificationJson<'a>>,
}

#[derive(Serialize)]
struct NotificationJson<'a> {
    at: String,
    notifier: &'a str,
    receiver: usize,
    rule: &'a str,
    labels: &'a Labels,
    state: &'a str,
    since: String,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// `/api/v1/actions`: what waits, what has ended (newest first), what was refused.
pub(in super::super) fn actions(view: &ActionsView) -> String {
    let refused = view.refused.iter().map(|refused| RefusedJson {
        action: &refused.action,
        rule: &refused.rule,
        reason: refused.reason,
        text: &refused.text,
        last_at: rfc3339(refused.at),
    });
    success(Actions {
        waiting: view.waiting.iter().map(|deed| action(deed, None)).collect(),
        ended: view.ended.iter().map(|(deed, result)| action(deed, Some(result))).collect(),
        refused: refused.collect(),
    })
}

fn action<'a>(deed: &'a Deed, result: Option<&'a DeedResult>) -> ActionJson<'a> {
    let (kind, name) = match &deed.subject {
        Subject::Group(group) => ("group", Some(group.as_str())),
        Subject::Topic(topic) => ("topic", Some(topic.as_str())),
        Subject::Broker => ("broker", None),
        Subject::Agent => ("agent", None),
    };
    ActionJson {
        action: &deed.action,
        rule: &deed.rule,
        subject: SubjectJson { kind, name },
        params: &deed.params,
        key: &deed.key,
        idempotency_key: &deed.idempotency_key,
        requested_at: rfc3339(deed.requested_at),
        outcome: result.map_or("waiting", |result| result.end.text()),
        ended_at: result.map(|result| rfc3339(result.at)),
        attempts: result.map(|result| result.attempts),
        text: result.map(|result| result.text.as_str()),
    }
}

/// `/api/v1/notifications`: who was told of which transition, newest first.
pub(in super::super) fn notifications(all: &[Notification]) -> String {
    let all = all.iter().map(|told| NotificationJson {
        at: rfc3339(Timestamp(told.at)),
        notifier: &told.notifier,
        receiver: told.receiver,
        rule: &told.rule,
        labels: &told.labels,
        state: &told.state,
        since: rfc3339(Timestamp(told.since)),
        outcome: &told.outcome,
        error: told.error.as_deref(),
    });
    success(Notifications { notifications: all.collect() })
}
