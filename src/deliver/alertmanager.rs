//! Alertmanager's API v2: what is posted, and where. Pure.

use super::{error::TellError, time::rfc3339};
use crate::{
    alerts::Phase,
    model::{Labels, Timestamp},
    pipeline::{Delivery, RESOLVED_RETENTION},
};
use hyper::Uri;
use serde::Serialize;

/// Alerts in one post.
pub const MAX_POST: usize = 256;

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
pub(super) fn body(batch: &[Delivery], generator_url: &str) -> Result<Vec<u8>, TellError> {
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
    serde_json::to_vec(&alerts).map_err(TellError::Encode)
}

/// Where alerts are posted, given the base URL.
pub(super) fn endpoint(base: &Uri) -> Result<Uri, TellError> {
    below(base, "/api/v2/alerts")
}

/// A path of its API, given the base URL.
pub(super) fn below(base: &Uri, path: &str) -> Result<Uri, TellError> {
    let (Some(scheme), Some(authority)) = (base.scheme(), base.authority()) else { return Err(TellError::Url) };
    Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(format!("{}{path}", base.path().trim_end_matches('/')))
        .build()
        .map_err(TellError::Request)
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
