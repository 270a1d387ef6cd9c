//! Rules and alerts as JSON, in the shapes of Prometheus' HTTP API, which Grafana and others read. Of all else in shapes of
//! our own, which are in the modules below.

mod alerts;
mod groups;
mod own;
mod past;
mod standing;
mod status;
mod topics;
mod wanted;

pub use groups::{MAX_DETAIL_ALERTS, MAX_GROUP_TOPICS};
pub(super) use own::{Ask, Known, Refused, Seen};
pub use past::{MAX_TREND_POINTS, TREND_REACH};
pub use status::{MAX_DETAIL_MEASUREMENTS, MAX_STATUS_TEXT};
pub use topics::MAX_TOPIC_GROUPS;
pub use wanted::{DEFAULT_LIST_ROWS, MAX_LIST_ROWS};

mod trail;

pub(super) use trail::{actions, notifications};

use crate::{
    alerts::{Alert, AlertsView, Phase},
    model::{Labels, Timestamp},
    page::encode,
    pipeline::{RuleView, RulesView},
    snapshot::select::Selector,
};
use serde::Serialize;
use std::time::{Duration, UNIX_EPOCH};

/// What Go writes for a moment that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The last millisecond of the year 9999, the last that RFC 3339 can write.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

#[derive(Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    status: &'static str,
    error_type: &'static str,
    error: &'a str,
}

#[derive(Serialize)]
struct Alerts<'a> {
    alerts: Vec<AlertJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertJson<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    state: &'static str,
    active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<String>,
    /// Go's 'e' form; empty where the rule gave none.
    value: String,
    /// Told to nobody; not one of Prometheus' keys, and only there where it holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups<'a> {
    groups: Vec<GroupJson<'a>>,
    /// Ask with it for those that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupJson<'a> {
    name: &'a str,
    file: &'a str,
    interval: f64,
    limit: u32,
    rules: [RuleJson<'a>; 1],
    evaluation_time: f64,
    last_evaluation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleJson<'a> {
    state: &'static str,
    name: &'a str,
    query: String,
    duration: f64,
    keep_firing_for: f64,
    labels: &'a Labels,
    annotations: &'a Labels,
    alerts: Vec<AlertJson<'a>>,
    health: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    evaluation_time: f64,
    last_evaluation: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scalar {
    result_type: &'static str,
    /// Seconds, and the value as text.
    result: (f64, &'static str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// `/api/v1/alerts`: pending and firing ones.
pub(super) fn alerts(view: &AlertsView) -> String {
    success(Alerts { alerts: view.alerts.iter().filter_map(|alert| alert_json(alert, view)).collect() })
}

/// Which rules are asked for, in Prometheus' parameters.
#[derive(Default)]
struct Wanted {
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    /// Of the labels that are configured; one of them must match.
    matchers: Vec<Selector>,
    only_records: bool,
    without_alerts: bool,
    /// At most so many groups.
    limit: Option<usize>,
    /// The last group of the answer before.
    after: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in parameters(query) {
            let refused = |why: String| format!("invalid parameter {name:?}: {why}");
            match name.as_str() {
                "rule_name[]" => wanted.names.push(value),
                "rule_group[]" => wanted.groups.push(value),
                "file[]" => wanted.files.push(value),
                "match[]" => {
                    wanted.matchers.push(Selector::parse(&value).map_err(|error| refused(error.to_string()))?);
                }
                "type" => {
                    wanted.only_records = match value.as_str() {
                        "alert" | "" => false,
                        // What rules measure is on /metrics; there are no recording rules.
                        "record" => true,
                        _ => return Err(refused(format!("not supported value {value:?}"))),
                    }
                }
                "exclude_alerts" => {
                    wanted.without_alerts = match value.as_str() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(refused("neither true nor false".to_owned())),
                    }
                }
                "group_limit" if value.is_empty() => {}
                "group_limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    wanted.limit = Some(limit.ok_or_else(|| refused("not a number above 0".to_owned()))?);
                }
                "group_next_token" => wanted.after = Some(value).filter(|value| !value.is_empty()),
                _ => {}
            }
        }
        if wanted.after.is_some() && wanted.limit.is_none() {
            return Err("invalid parameter \"group_next_token\": it needs group_limit".to_owned());
        }
        Ok(wanted)
    }

    fn wants(&self, rule: &RuleView) -> bool {
        let (name, labels) = (&rule.settings.name, &rule.settings.labels);
        let named = |wanted: &[String], is: &String| wanted.is_empty() || wanted.contains(is);
        let matches = |selector: &Selector| selector.matches(name, |label| labels.get(label).map(String::as_str));
        !self.only_records
            && named(&self.names, name)
            // Each rule is a group of its own.
            && named(&self.groups, name)
            && named(&self.files, &rule.module)
            && (self.matchers.is_empty() || self.matchers.iter().any(matches))
    }
}

/// `/api/v1/rules`: each rule is a group of its own, since each has its own file and interval. A rule without an
/// interval is evaluated at each snapshot, `interval` apart.
///
/// # Errors
/// When a parameter is not understood.
pub(super) fn rules(view: &RulesView, alerts: &AlertsView, interval: Duration, query: &str) -> Result<String, String> {
    let wanted = Wanted::parse(query)?;
    let is_later = |rule: &&RuleView| wanted.after.as_ref().is_none_or(|after| rule.settings.name > *after);
    let mut rules: Vec<_> = view.rules.iter().filter(|rule| wanted.wants(rule)).filter(is_later).collect();
    let limit = wanted.limit.unwrap_or(usize::MAX);
    let more = rules.len() > limit;
    rules.truncate(limit);
    let group_next_token = rules.last().filter(|_| more).map(|rule| rule.settings.name.as_str());
    let groups = rules.into_iter().map(|rule| group_json(rule, alerts, interval, wanted.without_alerts)).collect();
    Ok(success(Groups { groups, group_next_token }))
}

/// `/api/v1/query`, of which one constant is answered: Grafana and others ask it to see whether we are there. `form`: the
/// parameters, `now`: where they do not say another time.
///
/// # Errors
/// For all other queries: series are Prometheus' business, which has scraped them.
pub(super) fn query(form: &str, now: Timestamp) -> Result<String, String> {
    let (mut query, mut at) = (String::new(), now.seconds());
    for (name, value) in parameters(form) {
        match name.as_str() {
            "query" => query = value,
            "time" => at = value.parse().ok().filter(|at: &f64| at.is_finite()).unwrap_or(at),
            _ => {}
        }
    }
    query.retain(|c| !c.is_whitespace());
    if query != "1+1" {
        return Err(
            "brokerwarden answers no queries (but 1+1, which asks whether it is there): ask the Prometheus that \
                    scrapes its /metrics"
                .to_owned(),
        );
    }
    Ok(success(Scalar { result_type: "scalar", result: (at, "2") }))
}

/// `/api/v1/status/buildinfo`. It has no `features`: Grafana then takes us for a Prometheus with read-only rules.
pub(super) fn build_info() -> String {
    let version = env!("CARGO_PKG_VERSION");
    success(BuildInfo { version, revision: "", branch: "", build_user: "", build_date: "", go_version: "" })
}

/// A request that was not understood.
pub(super) fn bad_data(error: &str) -> String {
    failure("bad_data", error)
}

/// A request that is not answered, in Prometheus' words.
pub(super) fn failure(error_type: &'static str, error: &str) -> String {
    to_json(&Failure { status: "error", error_type, error })
}

/// A request for what there is not.
pub(super) fn not_found(error: &str) -> String {
    to_json(&Failure { status: "error", error_type: "not_found", error })
}

fn group_json<'a>(
    rule: &'a RuleView,
    alerts: &'a AlertsView,
    interval: Duration,
    without_alerts: bool,
) -> GroupJson<'a> {
    let settings = &rule.settings;
    let of_rule = || alerts.alerts.iter().filter(|alert| alert.key.rule == settings.name);
    let state = match of_rule().filter(|alert| alert.phase != Phase::Resolved).map(|alert| alert.phase).max() {
        Some(phase) => phase.text(),
        None if rule.last_evaluation.is_none() => "unknown",
        None => "inactive",
    };
    let errors = [rule.load_error.as_deref(), rule.last_error.as_deref()];
    let last_error = errors.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let health = match (last_error.is_empty(), rule.last_evaluation) {
        (false, _) => "err",
        (true, None) => "unknown",
        (true, Some(_)) => "ok",
    };
    let evaluation_time = rule.evaluation_time.as_secs_f64();
    let last_evaluation = rule.last_evaluation.map_or_else(|| NEVER.to_owned(), rfc3339);
    let digest = if rule.sha256.is_empty() { "not live" } else { &rule.sha256 };
    let json = RuleJson {
        state,
        name: &settings.name,
        query: format!("{} ({digest})", rule.module),
        duration: settings.pending_for.as_secs_f64(),
        keep_firing_for: settings.keep_firing_for.as_secs_f64(),
        labels: &settings.labels,
        annotations: &settings.annotations,
        alerts: of_rule().filter(|_| !without_alerts).filter_map(|alert| alert_json(alert, alerts)).collect(),
        health,
        last_error,
        evaluation_time,
        last_evaluation: last_evaluation.clone(),
        kind: "alerting",
        shadow: settings.shadow,
    };
    GroupJson {
        name: &settings.name,
        file: &rule.module,
        interval: settings.interval.unwrap_or(interval).as_secs_f64(),
        limit: 0,
        rules: [json],
        evaluation_time,
        last_evaluation,
    }
}

fn alert_json<'a>(alert: &'a Alert, view: &AlertsView) -> Option<AlertJson<'a>> {
    let value = alert.value.map(|value| {
        let mut text = Vec::new();
        encode::push_scientific_float(&mut text, value);
        String::from_utf8_lossy(&text).into_owned()
    });
    (alert.phase != Phase::Resolved).then(|| AlertJson {
        labels: &alert.key.labels,
        annotations: &alert.annotations,
        state: alert.phase.text(),
        active_at: rfc3339(alert.active_at),
        keep_firing_since: alert.keep_firing_since.map(rfc3339),
        value: value.unwrap_or_default(),
        shadow: view.shadow.contains(&alert.key.rule),
    })
}

fn success<T: Serialize>(data: T) -> String {
    to_json(&Success { status: "success", data })
}

fn to_json(value: &impl Serialize) -> String {
    // Fails only for maps whose keys are not text.
    serde_json::to_string(value).unwrap_or_default()
}

/// A moment as JSON has it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let since = Duration::from_millis(at.0.min(LAST_MILLISECOND));
    UNIX_EPOCH.checked_add(since).map(|at| humantime::format_rfc3339_millis(at).to_string()).unwrap_or_default()
}

/// Names and values of a URL's query, decoded.
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = ahead;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
pub(crate) mod tests;
