//! Which alerts Alertmanager silences, by the answer of its API v2. Pure. An answer that we do not understand says nothing:
//! neither that an alert is silenced nor that it is not.

use crate::model::Labels;
use regex::RegexBuilder;
use serde::Deserialize;

/// Where silences are listed.
pub(super) const PATH: &str = "/api/v2/silences";

/// Bytes of a list of silences; it has those that ended in the last days, too.
pub const MAX_SILENCES_BYTES: usize = 16 << 20;

/// Bytes of one compiled regex of a silence.
const MAX_REGEX: usize = 1 << 20;

#[derive(Deserialize)]
struct Silence {
    status: Status,
    matchers: Vec<Matcher>,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    /// Absent before version 0.22.
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Matcher {
    /// `None` = we cannot tell.
    fn matches(&self, labels: &Labels) -> Option<bool> {
        // To Alertmanager a label that is missing is empty.
        let value = labels.get(&self.name).map_or("", String::as_str);
        let same = if self.is_regex {
            let whole = format!("^(?:{})$", self.value);
            RegexBuilder::new(&whole).size_limit(MAX_REGEX).build().ok()?.is_match(value)
        } else {
            self.value == value
        };
        Some(same == self.is_equal)
    }
}

impl Silence {
    fn silences(&self, labels: &Labels) -> Option<bool> {
        if self.status.state != "active" {
            return Some(false);
        }
        all(self.matchers.iter().map(|matcher| matcher.matches(labels)))
    }
}

/// All of them, as far as it is known: one that is not is enough.
fn all(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(true);
    for verdict in verdicts {
        match verdict {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = None,
        }
    }
    known
}

/// Are all of these alerts silenced, and at least one?
///
/// # Errors
/// What cannot be understood, so that it is not known.
pub(super) fn are_silenced(alerts: &[Labels], answer: &[u8]) -> Result<bool, String> {
    let silences: Vec<Silence> = serde_json::from_slice(answer)
        .map_err(|error| format!("its list of silences is none that we know: {error}"))?;
    if alerts.is_empty() {
        return Ok(false);
    }
    let is_silenced = |labels: &Labels| {
        // The other way round: none of them does.
        all(silences.iter().map(|silence| silence.silences(labels).map(|yes| !yes))).map(|none| !none)
    };
    all(alerts.iter().map(is_silenced)).ok_or_else(|| "it has a silence with a regex that we cannot read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    /// `silences`: each `STATE MATCHER…`, a matcher being name, `=`, `!=`, `=~` or `!~`, value.
    fn check(alerts: &[&str], silences: &[&str]) -> Option<bool> {
        let matcher = |text: &str| {
            let at = text.find(['=', '!']).unwrap();
            let (name, rest) = text.split_at(at);
            let is_long = !rest.starts_with("==") && matches!(rest.as_bytes().get(1), Some(b'=' | b'~'));
            let (operator, value) = rest.split_at(if is_long { 2 } else { 1 });
            serde_json::json!({"name": name, "value": value, "isRegex": operator.ends_with('~'),
                               "isEqual": operator.starts_with('=')})
        };
        let silence = |text: &&str| {
            let mut words = text.split_whitespace();
            let state = words.next().unwrap();
            serde_json::json!({"id": "x", "status": {"state": state}, "matchers": words.map(matcher).collect::<Vec<_>>()})
        };
        let answer = serde_json::Value::from(silences.iter().map(silence).collect::<Vec<_>>()).to_string();
        let alerts: Vec<_> = alerts.iter().map(|alert| labels(alert)).collect();
        are_silenced(&alerts, answer.as_bytes()).ok()
    }

    #[test]
    fn all_alerts_must_be_silenced_by_a_silence_that_is_active() {
        let alert = "alertname=Lag group=orders";
        assert_eq!(check(&[alert], &[]), Some(false));
        assert_eq!(check(&[], &["active alertname=Lag"]), Some(false), "no alert, nothing to silence");
        assert_eq!(check(&[alert], &["active alertname=Lag group=~ord.*"]), Some(true));
        assert_eq!(check(&[alert], &["active alertname=Lag group=~ord"]), Some(false), "a regex matches the whole");
        assert_eq!(check(&[alert], &["pending alertname=Lag", "expired alertname=Lag"]), Some(false));
        assert_eq!(check(&[alert], &["active alertname=Lag team!=x"]), Some(true), "what is missing is empty");
        assert_eq!(check(&[alert], &["active alertname=Lag group!~o.*"]), Some(false));
        assert_eq!(check(&[alert, "alertname=Gone"], &["active alertname=Lag"]), Some(false));
        assert_eq!(check(&[alert, "alertname=Gone"], &["active alertname=Lag", "active alertname=Gone"]), Some(true));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_where_it_matters() {
        let alert = "alertname=Lag";
        assert_eq!(check(&[alert], &["active alertname=~("]), None);
        assert_eq!(check(&[alert], &["active alertname=Other x=~("]), Some(false), "it cannot match anyway");
        assert_eq!(check(&[alert], &["active alertname=~(", "active alertname=Lag"]), Some(true));
        assert!(are_silenced(&[labels(alert)], b"<html>").is_err());
        assert!(are_silenced(&[labels(alert)], b"[{}]").is_err());
        let old = r#"[{"status": {"state": "active"}, "matchers": [{"name": "alertname", "value": "Lag", "isRegex": false}]}]"#;
        assert_eq!(are_silenced(&[labels(alert)], old.as_bytes()), Ok(true));
    }
}
