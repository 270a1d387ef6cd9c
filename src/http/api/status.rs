//! `/api/v1/overview`, `/api/v1/targets` and `/api/v1/rules/status`: the agent itself, what it collects from, what it runs.

use super::{
    Refused,
    alerts::{AlertStatus, statuses},
    groups::MAX_DETAIL_ALERTS,
    standing::Standing,
    wanted::Wanted,
};
use crate::{
    alerts::{AlertsView, Phase},
    events::{Figure, SelfMetrics},
    http::Readiness,
    model::{BoundedText, Labels, Timestamp, families},
    pipeline::{RuleView, RulesView},
    snapshot::{KAFKA_TARGET, Snapshot, TargetState},
};
use serde::Serialize;
use std::{cmp::Reverse, time::Duration};

/// Longest error or reason in these answers, in bytes.
pub const MAX_STATUS_TEXT: usize = 2048;

/// Measurements of one rule in its answer.
pub const MAX_DETAIL_MEASUREMENTS: usize = 100;

fn bounded(text: &str) -> String {
    BoundedText(text, MAX_STATUS_TEXT).to_string()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotJson {
    number: u64,
    at_ms: u64,
    interval_seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KafkaJson {
    brokers: usize,
    topics: usize,
    groups: usize,
    groups_behind: usize,
    /// Not all of our share was read: what is missing may exist.
    incomplete: bool,
}

#[derive(Serialize)]
struct TargetCount {
    total: usize,
    up: usize,
}

#[derive(Serialize)]
struct RuleCount {
    total: usize,
    live: usize,
    failing: usize,
}

#[derive(Serialize)]
struct AlertCount {
    firing: usize,
    pending: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Overview<'a> {
    version: &'static str,
    /// What can be asked of this agent.
    paths: &'static [&'static str],
    cluster: &'a str,
    /// The broker beside us, once it is known.
    broker: Option<i32>,
    whole_cluster: bool,
    snapshot: SnapshotJson,
    ready: bool,
    reasons: Vec<String>,
    kafka: Option<KafkaJson>,
    targets: TargetCount,
    rules: RuleCount,
    alerts: AlertCount,
}

/// `/api/v1/overview`.
pub(super) fn overview<'a>(
    snapshot: &'a Snapshot,
    all: &[Standing],
    rules: &RulesView,
    alerts: &AlertsView,
    readiness: &Readiness,
    paths: &'static [&'static str],
) -> Overview<'a> {
    let kafka = snapshot.kafka.as_deref();
    // Told to nobody, so nobody need come for it.
    let count = |phase| {
        alerts.alerts.iter().filter(|alert| alert.phase == phase && !alerts.shadow.contains(&alert.key.rule)).count()
    };
    Overview {
        version: env!("CARGO_PKG_VERSION"),
        paths,
        cluster: &snapshot.cluster,
        broker: kafka.and_then(|kafka| kafka.broker_id).map(|broker| broker.0),
        whole_cluster: kafka.is_some_and(|kafka| kafka.whole_cluster),
        snapshot: SnapshotJson {
            number: snapshot.number,
            at_ms: snapshot.at.0,
            interval_seconds: snapshot.interval.as_secs_f64(),
        },
        ready: readiness.reasons.is_empty(),
        reasons: readiness.reasons.iter().map(|reason| bounded(reason)).collect(),
        kafka: kafka.map(|kafka| KafkaJson {
            brokers: kafka.brokers.len(),
            topics: kafka.topics.len(),
            groups: all.len(),
            groups_behind: all.iter().filter(|one| one.sum.known_lag > 0).count(),
            incomplete: kafka.replaying || kafka.incomplete,
        }),
        targets: TargetCount {
            total: snapshot.targets.len(),
            up: snapshot.targets.iter().filter(|target| target.up).count(),
        },
        rules: RuleCount {
            total: rules.rules.len(),
            live: rules.rules.iter().filter(|rule| rule.live).count(),
            failing: rules.rules.iter().filter(|rule| in_trouble(rule)).count(),
        },
        alerts: AlertCount { firing: count(Phase::Firing), pending: count(Phase::Pending) },
    }
}

fn in_trouble(rule: &RuleView) -> bool {
    !rule.live || rule.load_error.is_some() || rule.last_error.is_some()
}

#[derive(Serialize)]
struct ErrorCount {
    reason: String,
    count: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetJson<'a> {
    name: &'a str,
    kind: &'static str,
    up: bool,
    last_success_ms: Option<u64>,
    duration_seconds: Option<f64>,
    /// Of a page that was collected lately.
    samples: Option<usize>,
    errors: Vec<ErrorCount>,
    error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Targets<'a> {
    targets: Vec<TargetJson<'a>>,
}

/// Counts of a family by its first label, where the label at `given` is `name`.
fn counts(metrics: &SelfMetrics, family: &str, given: usize, name: &str) -> Vec<(String, f64)> {
    let of_family = metrics.figures().into_iter().filter(|(known, _)| known.name == family).flat_map(|(_, sets)| sets);
    let ours = of_family.filter(|(labels, _)| labels.get(given).is_some_and(|label| label == name));
    ours.filter_map(|(labels, figure)| match figure {
        Figure::Number(count) if count > 0.0 => Some((labels.first()?.clone(), count)),
        _ => None,
    })
    .collect()
}

/// `/api/v1/targets`.
pub(super) fn targets<'a>(snapshot: &'a Snapshot, metrics: &SelfMetrics) -> Targets<'a> {
    let json = |target: &'a TargetState| TargetJson {
        name: &target.name,
        kind: if &*target.name == KAFKA_TARGET { "kafka" } else { "jmx" },
        up: target.up,
        last_success_ms: target.last_success.map(|at| at.0),
        duration_seconds: metrics.value(&families::COLLECTION_DURATION, &[&target.name]),
        samples: snapshot.pages.iter().find(|page| page.target == target.name).map(|page| page.page.sample_count()),
        errors: counts(metrics, families::TARGET_ERRORS.name, 1, &target.name)
            .into_iter()
            .map(|(reason, count)| ErrorCount { reason, count })
            .collect(),
        error: target.reason.as_deref().map(bounded),
    };
    Targets { targets: snapshot.targets.iter().map(json).collect() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitsJson {
    cpu_seconds: f64,
    memory_bytes: u64,
    state_bytes: u64,
    alerts: u32,
}

/// The most of its last evaluations; absent where there was none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UseJson {
    cpu_seconds: Option<f64>,
    memory_bytes: Option<u64>,
    state_bytes: u64,
    state_keys: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvaluationJson {
    snapshot: u64,
    at_ms: u64,
    outcome: String,
    cpu_seconds: f64,
    wall_seconds: f64,
    memory_bytes: u64,
}

#[derive(Serialize)]
struct OutcomeCount {
    outcome: String,
    count: f64,
}

#[derive(Serialize)]
struct MeasurementJson<'a> {
    name: &'a str,
    labels: &'a Labels,
    value: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleJson<'a> {
    name: &'a str,
    module: &'a str,
    /// Empty while none is live.
    sha256: &'a str,
    live: bool,
    shadow: bool,
    load_error: Option<String>,
    last_error: Option<String>,
    last_evaluation_ms: Option<u64>,
    interval_seconds: Option<f64>,
    for_seconds: f64,
    keep_firing_for_seconds: f64,
    limits: LimitsJson,
    #[serde(rename = "use")]
    used: UseJson,
    firing: usize,
    pending: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(flatten)]
    more: Option<RuleDetail<'a>>,
}

/// What only the answer about one rule has.
#[derive(Serialize)]
struct RuleDetail<'a> {
    outcomes: Vec<OutcomeCount>,
    /// The newest last.
    evaluations: Vec<EvaluationJson>,
    measurements: Vec<MeasurementJson<'a>>,
    alerts: Vec<AlertStatus<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rules<'a> {
    directory_error: Option<String>,
    rules: Vec<RuleJson<'a>>,
}

/// `/api/v1/rules/status`: all rules, those in trouble first; or the one of the parameter `name` with its last evaluations.
///
/// # Errors
/// When there is no such rule.
pub(super) fn rules<'a>(
    view: &'a RulesView,
    alerts: &'a AlertsView,
    metrics: &SelfMetrics,
    wanted: &Wanted,
) -> Result<Rules<'a>, Refused> {
    let name = wanted.name.as_deref();
    let named = |rule: &&RuleView| name.is_none_or(|name| rule.settings.name == name);
    let mut found: Vec<&RuleView> = view.rules.iter().filter(named).collect();
    if let Some(name) = name.filter(|_| found.is_empty()) {
        return Err(Refused::NotFound(format!("there is no rule {name:?} now")));
    }
    found.sort_by_key(|rule| Reverse(in_trouble(rule)));
    let rules = found.into_iter().map(|rule| {
        let json = rule_json(rule, alerts);
        RuleJson { more: name.is_some().then(|| detail(rule, alerts, metrics)), ..json }
    });
    Ok(Rules { directory_error: view.rules_dir_error.as_deref().map(bounded), rules: rules.collect() })
}

fn rule_json<'a>(rule: &'a RuleView, alerts: &AlertsView) -> RuleJson<'a> {
    let settings = &rule.settings;
    let count =
        |phase| alerts.alerts.iter().filter(|alert| alert.key.rule == settings.name && alert.phase == phase).count();
    RuleJson {
        name: &settings.name,
        module: &rule.module,
        sha256: &rule.sha256,
        live: rule.live,
        shadow: settings.shadow,
        load_error: rule.load_error.as_deref().map(bounded),
        last_error: rule.last_error.as_deref().map(bounded),
        last_evaluation_ms: rule.last_evaluation.map(|at| at.0),
        interval_seconds: settings.interval.map(|interval| interval.as_secs_f64()),
        for_seconds: settings.pending_for.as_secs_f64(),
        keep_firing_for_seconds: settings.keep_firing_for.as_secs_f64(),
        limits: LimitsJson {
            cpu_seconds: Timestamp(rule.limits.time_ms).seconds(),
            memory_bytes: rule.limits.memory,
            state_bytes: rule.limits.state,
            alerts: rule.limits.alerts,
        },
        used: UseJson {
            cpu_seconds: rule.evaluations.iter().map(|one| one.cpu_us).max().map(microseconds),
            memory_bytes: rule.evaluations.iter().map(|one| one.memory).max(),
            state_bytes: rule.state.bytes,
            state_keys: rule.state.keys,
        },
        firing: count(Phase::Firing),
        pending: count(Phase::Pending),
        more: None,
    }
}

fn detail<'a>(rule: &'a RuleView, alerts: &'a AlertsView, metrics: &SelfMetrics) -> RuleDetail<'a> {
    let name = &rule.settings.name;
    let measured = alerts.measurements.iter().filter(|(of, _)| of == name).flat_map(|(_, measured)| measured);
    RuleDetail {
        outcomes: counts(metrics, families::RULE_EVALUATIONS.name, 1, name)
            .into_iter()
            .map(|(outcome, count)| OutcomeCount { outcome, count })
            .collect(),
        evaluations: rule
            .evaluations
            .iter()
            .map(|one| EvaluationJson {
                snapshot: one.snapshot,
                at_ms: one.at_ms,
                outcome: bounded(&one.outcome),
                cpu_seconds: microseconds(one.cpu_us),
                wall_seconds: microseconds(one.wall_us),
                memory_bytes: one.memory,
            })
            .collect(),
        measurements: measured
            .take(MAX_DETAIL_MEASUREMENTS)
            .map(|one| MeasurementJson {
                name: &one.name,
                labels: &one.labels,
                value: Some(one.value).filter(|value| value.is_finite()),
            })
            .collect(),
        alerts: statuses(alerts, |alert| alert.key.rule == *name).into_iter().take(MAX_DETAIL_ALERTS).collect(),
    }
}

fn microseconds(count: u64) -> f64 {
    Duration::from_micros(count).as_secs_f64()
}
