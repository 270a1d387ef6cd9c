//! Alertmanager's API v2: what is posted, and how a refused post is taken apart so that one bad alert cannot mute the
//! others.

use super::{
    post::{PostError, Sender},
    time::rfc3339,
};
use crate::{
    alerts::Phase,
    model::{BoundedText, Labels, Timestamp},
    pipeline::{Delivery, RESOLVED_RETENTION},
};
use hyper::Uri;
use serde::Serialize;
use std::collections::VecDeque;

/// Alerts in one post.
pub const MAX_POST: usize = 256;

/// Refused posts for one batch, none accepted, after which the receiver is taken to refuse everything.
pub const MAX_REFUSALS: usize = 128;

/// Bytes of a refusal's text that are logged.
const MAX_LOGGED_ANSWER: usize = 300;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// The body of one post. `generator_url`: a valid URL, or empty.
pub(super) fn body(batch: &[Delivery], generator_url: &str) -> Result<Vec<u8>, PostError> {
    let posted = |delivery: &Delivery| {
        let alert = &delivery.alert;
        // Alertmanager refuses an alert that starts after its end.
        let starts_at = alert.fired_at.unwrap_or(alert.active_at).min(delivery.ends_at);
        (starts_at, delivery.ends_at)
    };
    let alerts: Vec<_> = batch
        .iter()
        .map(|delivery| {
            let (starts_at, ends_at) = posted(delivery);
            PostedAlert {
                labels: &delivery.alert.key.labels,
                annotations: &delivery.alert.annotations,
                starts_at: rfc3339(starts_at),
                ends_at: rfc3339(ends_at),
                generator_url,
            }
        })
        .collect();
    serde_json::to_vec(&alerts).map_err(PostError::Encode)
}

/// Where alerts are posted, given the base URL.
pub(super) fn endpoint(base: &Uri) -> Result<Uri, PostError> {
    let (Some(scheme), Some(authority)) = (base.scheme(), base.authority()) else { return Err(PostError::Url) };
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(format!("{}/api/v2/alerts", base.path().trim_end_matches('/')))
        .build()
        .map_err(PostError::Request)
}

/// Is it of no use any more? Alertmanager would take a firing alert whose end has passed for resolved; if it still
/// fires, a newer word is on its way.
pub(super) fn is_too_old(delivery: &Delivery, now: Timestamp) -> bool {
    match delivery.alert.phase {
        Phase::Resolved => now.since(delivery.ends_at) > RESOLVED_RETENTION,
        _ => delivery.ends_at <= now,
    }
}

/// Would Alertmanager take its labels? Names are those of Prometheus before UTF-8 ones.
pub(super) fn is_valid(delivery: &Delivery) -> bool {
    let valid = |name: &String| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let alert = &delivery.alert;
    let named = |labels: &Labels| labels.keys().all(|name| !name.is_empty() && valid(name));
    !alert.key.labels.is_empty() && named(&alert.key.labels) && named(&alert.annotations)
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) sent: usize,
    pub(super) failed: usize,
    /// Not told, to be tried again.
    pub(super) left: Vec<Delivery>,
    /// Why the receiver should be left alone for a while.
    pub(super) error: Option<PostError>,
}

/// Posts a batch; halves what is refused, broad first, until the bad alerts stand alone.
pub(super) async fn send(sender: &Sender, base: &Uri, batch: Vec<Delivery>, url: &str, notifier: &str) -> Attempt {
    let mut attempt = Attempt::default();
    let endpoint = match endpoint(base) {
        Ok(endpoint) => endpoint,
        Err(error) => return Attempt { left: batch, error: Some(error), ..attempt },
    };
    let (mut refusals, mut refused) = (0usize, Vec::new());
    let mut parts = VecDeque::from([batch]);
    while let Some(mut part) = parts.pop_front() {
        let posted = match body(&part, url) {
            Ok(body) => sender.post(&endpoint, body).await,
            Err(error) => Err(error),
        };
        let count = part.len();
        match posted {
            Ok(()) => attempt.sent = attempt.sent.saturating_add(count),
            Err(error) if error.blames_content() => {
                refusals = refusals.saturating_add(1);
                if attempt.sent == 0 && refusals >= MAX_REFUSALS {
                    let rest: usize = parts.iter().map(Vec::len).sum();
                    attempt.failed = attempt.failed.saturating_add(count).saturating_add(rest);
                    attempt.error = Some(error);
                    break;
                }
                if count > 1 {
                    let half = part.split_off(count / 2);
                    parts.extend([part, half]);
                } else {
                    attempt.failed = attempt.failed.saturating_add(1);
                    refused.extend(part.pop().map(|delivery| (delivery, error)));
                }
            }
            Err(error) if error.is_final() => {
                let rest: usize = parts.iter().map(Vec::len).sum();
                attempt.failed = attempt.failed.saturating_add(count).saturating_add(rest);
                attempt.error = Some(error);
                break;
            }
            Err(error) => {
                attempt.left = part;
                attempt.left.extend(parts.into_iter().flatten());
                attempt.error = Some(error);
                break;
            }
        }
    }
    if let Some((delivery, error)) = refused.first() {
        let answer = if let PostError::Status { answer, .. } = error { answer.as_str() } else { "" };
        tracing::warn!(
            notifier,
            count = refused.len(),
            rule = %delivery.alert.key.rule,
            alertname = %BoundedText(&delivery.alert.key.name, MAX_LOGGED_ANSWER),
            answer = %BoundedText(answer, MAX_LOGGED_ANSWER),
            "alertmanager refused alerts (the first is named)"
        );
    }
    attempt
}
