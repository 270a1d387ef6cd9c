//! Alertmanager's webhook body, version 4, which thousands of receivers read. Pure.

use super::{error::TellError, time::rfc3339};
use crate::{
    alerts::{Alert, Phase},
    model::Labels,
    pipeline::Delivery,
};
use serde::Serialize;

/// Alerts in one post.
pub const MAX_WEBHOOK_POST: usize = 100;

/// What Alertmanager writes for the end of an alert that still fires.
pub(super) const NO_END: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: &'a str,
    status: &'a str,
    alerts: Vec<ToldAlert<'a>>,
    group_labels: Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'a str,
    group_key: String,
    truncated_alerts: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldAlert<'a> {
    status: &'a str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// The body of one post. All of `batch` have the same `alertname`: they are one group.
pub(super) fn body(batch: &[Delivery], receiver: &str, external_url: &str) -> Result<Vec<u8>, TellError> {
    let mut alerts: Vec<&Alert> = batch.iter().map(|delivery| &*delivery.alert).collect();
    alerts.sort_by_key(|alert| {
        let labels = &alert.key.labels;
        (labels.get("job"), labels.get("instance"), labels)
    });
    let name = alerts.first().map(|alert| alert.key.name.clone()).unwrap_or_default();
    let firing = alerts.iter().any(|alert| alert.phase == Phase::Firing);
    let message = Message {
        receiver,
        status: if firing { Phase::Firing.text() } else { Phase::Resolved.text() },
        group_key: format!("{{}}:{{alertname={name:?}}}"),
        group_labels: Labels::from([("alertname".to_owned(), name)]),
        common_labels: common(alerts.iter().map(|alert| &alert.key.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url,
        version: "4",
        truncated_alerts: 0,
        alerts: alerts.into_iter().map(|alert| told(alert, external_url)).collect(),
    };
    serde_json::to_vec(&message).map_err(TellError::Encode)
}

fn told<'a>(alert: &'a Alert, external_url: &'a str) -> ToldAlert<'a> {
    let ended = alert.resolved_at.filter(|_| alert.phase == Phase::Resolved);
    ToldAlert {
        status: alert.phase.text(),
        labels: &alert.key.labels,
        annotations: &alert.annotations,
        starts_at: rfc3339(alert.fired_at.unwrap_or(alert.active_at)),
        ends_at: ended.map_or_else(|| NO_END.to_owned(), rfc3339),
        generator_url: external_url,
        fingerprint: format!("{:016x}", fingerprint(&alert.key.labels)),
    }
}

/// What is the same in all of them.
pub(super) fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut common = all.next().cloned().unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(value));
    }
    common
}

/// As Alertmanager makes it, so that receivers can tell that an alert from us and one through Alertmanager are the
/// same. Source: prometheus/common model/signature.go (FNV-1a over names and values, each followed by 0xff).
pub(super) fn fingerprint(labels: &Labels) -> u64 {
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_alertmanager_s() {
        // Seen in the webhook of Alertmanager 0.25.
        let labels = Labels::from([("alertname".to_owned(), "Nano".to_owned())]);
        assert_eq!(format!("{:016x}", fingerprint(&labels)), "70b8453ac3469c26");
    }
}
