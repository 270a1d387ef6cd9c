//! The cases that an example carries (`rules-examples/*/cases/*.yaml`), through the host: against the component that is
//! built in, and against the one that tests/run has just built from the same source. Both must say the same.

use super::{Bench, settings};
use crate::{
    model::{Labels, RaisedAlert, Subject, Timestamp},
    pipeline::Verdict,
    rules::{
        Limits, builtin,
        evaluate::{Code, Job, check_config, evaluate},
        memory::Memory,
    },
    snapshot::{Group, GroupKind, KafkaView, LagRow, Share, Snapshot},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Where tests/run leaves the component that it built from `rules-examples/lag-threshold`.
const FRESH: &str = "BROKERWARDEN_TEST_EXAMPLE";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Option<serde_json::Value>,
    input_lag: Option<Vec<Row>>,
    #[serde(default)]
    alert_rule_test: Vec<ExpectedAlerts>,
    exp_config_error: Option<String>,
    exp_failure: Option<String>,
}

/// What was seen of one group on one partition.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) committed: Option<i64>,
    pub(super) log_start: Option<i64>,
    pub(super) log_end: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlerts {
    alertname: String,
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "promtool's names")]
struct ExpectedAlert {
    exp_subject: Option<BTreeMap<String, String>>,
    exp_labels: Labels,
    exp_annotations: Option<Labels>,
    exp_value: f64,
}

/// What a rule made of a case.
#[derive(Debug, PartialEq)]
enum Said {
    ConfigError(String),
    Unavailable,
    Alerts(Vec<RaisedAlert>),
}

#[test]
fn the_built_in_rule_and_the_one_built_from_its_source_hold_their_cases() {
    let bench = Bench::new();
    let mut components = vec![("built in", builtin::builtin("lag-threshold").unwrap().to_vec())];
    // Not there in `tests/run --quick`, which has no compiler for it.
    if let Some(fresh) = std::env::var_os(FRESH) {
        components.push(("fresh", fs::read(fresh).unwrap()));
    }
    let cases = cases(Path::new("rules-examples/lag-threshold/cases"));
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    for (which, bytes) in components {
        let code = bench.loader().code(Path::new(""), &bytes).unwrap().unwrap();
        for case in &cases {
            assert_eq!(say(&bench, &code, case), expected(case), "{}, {which}", case.name);
        }
    }
}

fn cases(folder: &Path) -> Vec<Case> {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    files.flat_map(|text| serde_yaml::from_str::<Cases>(&text).unwrap().tests).collect()
}

/// What the component says, as far as the case has an opinion on it.
fn say(bench: &Bench, code: &Arc<Code>, case: &Case) -> Said {
    let job = Job {
        code: Arc::clone(code),
        settings: Arc::new(settings("r")),
        config: case.config.as_ref().map_or_else(|| "{}".to_owned(), ToString::to_string).into(),
        limits: Limits::default(),
        snapshot: Arc::new(snapshot(case.input_lag.as_deref())),
        memory: Memory::default(),
    };
    if let Err(error) = check_config(&job, &[7; 32], &bench.tasks.stop()) {
        return Said::ConfigError(error);
    }
    let mut alerts = match evaluate(&job, &[7; 32], &bench.tasks.stop()).verdict {
        Verdict::Outcome(outcome) => outcome.alerts,
        Verdict::Unavailable(_) => return Said::Unavailable,
        failed @ Verdict::Failed { .. } => panic!("{}: {failed:?}", case.name),
    };
    for (alert, (_, want)) in alerts.iter_mut().zip(wanted(case)) {
        if want.exp_annotations.is_none() {
            alert.annotations.clear();
        }
        if want.exp_subject.is_none() {
            alert.subject = Subject::Agent;
        }
    }
    Said::Alerts(alerts)
}

fn expected(case: &Case) -> Said {
    if let Some(error) = &case.exp_config_error {
        return Said::ConfigError(error.clone());
    }
    if let Some(failure) = &case.exp_failure {
        assert_eq!(failure, "unavailable", "{}", case.name);
        return Said::Unavailable;
    }
    let raised = |(name, want): (&str, &ExpectedAlert)| RaisedAlert {
        subject: want.exp_subject.as_ref().map_or(Subject::Agent, |subject| Subject::Group(subject["group"].clone())),
        name: name.to_owned(),
        labels: want.exp_labels.clone(),
        annotations: want.exp_annotations.clone().unwrap_or_default(),
        value: Some(want.exp_value),
    };
    Said::Alerts(wanted(case).map(raised).collect())
}

fn wanted(case: &Case) -> impl Iterator<Item = (&str, &ExpectedAlert)> {
    case.alert_rule_test.iter().flat_map(|test| test.exp_alerts.iter().map(|want| (test.alertname.as_str(), want)))
}

/// A snapshot with these rows; without any list of rows, one in which Kafka was not observed.
pub(super) fn snapshot(rows: Option<&[Row]>) -> Snapshot {
    let kafka = rows.map(|rows| {
        let names: BTreeSet<&str> = rows.iter().map(|row| row.group.as_str()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let group = |name: &&str| Group {
            name: (*name).into(),
            kind: GroupKind::Classic,
            state: "Stable",
            members: Some(1),
            coordinator: None,
            ours: true,
        };
        let lag_row = |row: &Row| {
            let group = u32::try_from(names.binary_search(&row.group.as_str()).unwrap()).unwrap();
            LagRow::new(
                group,
                row.topic.as_str().into(),
                row.partition,
                row.committed,
                None,
                row.log_start,
                row.log_end,
            )
        };
        let mut lag_rows: Vec<_> = rows.iter().map(lag_row).collect();
        lag_rows.sort_by(|a, b| (a.group, &a.topic, a.partition).cmp(&(b.group, &b.topic, b.partition)));
        Arc::new(KafkaView {
            groups: names.iter().map(group).collect(),
            rows: lag_rows,
            offsets_partitions: vec![Some(Share::Ours)],
            ..KafkaView::default()
        })
    });
    Snapshot {
        number: 1,
        at: Timestamp(1_000),
        interval: Duration::from_secs(5),
        cluster: "test".into(),
        kafka,
        pages: Vec::new(),
        targets: Vec::new(),
    }
}
