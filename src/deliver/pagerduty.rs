//! PagerDuty's events API, version 2: one event about each alert. Pure.
//! Source: developer.pagerduty.com/docs/send-alert-event.

use super::{
    context::readable,
    error::TellError,
    template::{Medium, Template},
    text::{hex, one_line},
    time::rfc3339,
    wording,
};
use crate::{
    alerts::{Alert, Phase},
    model::Labels,
};
use minijinja::Value;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Where events go, if nothing else is configured.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Bytes of an event's summary; PagerDuty takes 1,024 characters.
const MAX_SUMMARY: usize = 1024;
/// Bytes of an event; beyond, its details are left out. PagerDuty takes 512 kB.
const MAX_EVENT: usize = 500_000;
/// Bytes of an event's source, component or class.
const MAX_FIELD: usize = 255;

/// The severities that PagerDuty knows.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
/// What another severity, or none, counts as.
const OTHER_SEVERITY: &str = "error";

/// The body of one event, and what was wrong with its templates.
pub(super) fn body(
    alert: &Alert,
    context: &Value,
    routing_key: &str,
    title: Option<&Template>,
    text: Option<&Template>,
) -> Result<(Vec<u8>, Option<String>), TellError> {
    let key = dedup_key(&alert.key.labels);
    if alert.phase == Phase::Resolved {
        let event = json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": key });
        return Ok((serde_json::to_vec(&event).map_err(TellError::Encode)?, None));
    }
    let (summary, title_error) = wording::said(title, wording::TITLE, Medium::Plain, context);
    let (text, text_error) = text.map_or((None, None), |text| {
        let (text, error) = wording::said(Some(text), wording::TEXT, Medium::Plain, context);
        (Some(text), error)
    });
    let labels = &alert.key.labels;
    let label = |name: &str| labels.get(name).map(|value| one_line(value, MAX_FIELD)).filter(|value| !value.is_empty());
    let severity = labels.get("severity").map(String::as_str);
    let severity = SEVERITIES.into_iter().find(|known| severity == Some(*known)).unwrap_or(OTHER_SEVERITY);
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": key,
        "client": "brokerwarden",
        "payload": {
            "summary": one_line(&summary, MAX_SUMMARY),
            "source": label("instance").or_else(|| label("cluster")).unwrap_or_else(|| "brokerwarden".to_owned()),
            "severity": severity,
            "timestamp": rfc3339(alert.fired_at.unwrap_or(alert.active_at)),
            "class": one_line(&alert.key.name, MAX_FIELD),
            "custom_details": {
                "labels": readable(labels), "annotations": readable(&alert.annotations), "value": alert.value, "text": text,
            },
        },
    });
    let mut body = serde_json::to_vec(&event).map_err(TellError::Encode)?;
    if body.len() > MAX_EVENT {
        if let Some(payload) = event.get_mut("payload").and_then(serde_json::Value::as_object_mut) {
            payload.insert("custom_details".to_owned(), json!({ "error": "left out: they are too large" }));
        }
        body = serde_json::to_vec(&event).map_err(TellError::Encode)?;
    }
    Ok((body, title_error.or(text_error)))
}

/// The same for an alert whoever tells of it, and whenever.
fn dedup_key(labels: &Labels) -> String {
    let mut hash = Sha256::new();
    for part in labels.iter().flat_map(|(name, value)| [name, value]) {
        hash.update(part);
        hash.update([0xff]);
    }
    hex(hash.finalize().iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{
        context,
        tests::{firing, resolved, with_label},
    };

    fn event(delivery: &crate::pipeline::Delivery) -> serde_json::Value {
        let context = context::of(std::slice::from_ref(delivery), "pd", "");
        let (body, error) = body(&delivery.alert, &context, "R0UT1NG", None, None).unwrap();
        assert!(error.is_none() && body.len() < 512_000, "{error:?} {}", body.len());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn an_end_resolves_the_incident_that_the_beginning_opened() {
        let begin = event(&with_label(&firing("A", 1), "severity", "critical"));
        assert_eq!((begin["event_action"].as_str(), begin["routing_key"].as_str()), (Some("trigger"), Some("R0UT1NG")));
        let payload = &begin["payload"];
        assert_eq!(payload["summary"], "[FIRING] A (critical): A is bad");
        assert_eq!(
            (payload["severity"].as_str(), payload["source"].as_str()),
            (Some("critical"), Some("brokerwarden"))
        );
        assert_eq!(payload["timestamp"], "1970-01-01T00:00:00.001Z");
        assert_eq!(payload["custom_details"]["labels"]["rule"], "r");
        let end = event(&with_label(&resolved("A", 1, 2), "severity", "critical"));
        assert_eq!((end["event_action"].as_str(), &end["dedup_key"]), (Some("resolve"), &begin["dedup_key"]));
        assert_eq!((end.as_object().unwrap().len(), begin["dedup_key"].as_str().unwrap().len()), (3, 64));
        assert_ne!(event(&firing("B", 1))["dedup_key"], begin["dedup_key"]);
        assert_eq!(event(&with_label(&firing("A", 1), "severity", "page"))["payload"]["severity"], "error");
    }

    #[test]
    fn an_event_is_as_large_as_pagerduty_takes_it() {
        let mut evil = with_label(&firing("A\r\n\u{1b}x", 1), "instance", &"i".repeat(1 << 20));
        let payload = event(&evil)["payload"].take();
        assert_eq!(payload["class"], "A \u{fffd}x");
        assert_eq!(payload["source"].as_str().unwrap().len(), 255);
        for number in 0..100 {
            evil = with_label(&evil, &format!("l{number}"), &"x".repeat(1 << 20));
        }
        assert!(event(&evil)["payload"]["custom_details"]["error"].is_string());
    }
}
