//! One rule in six languages (`rules-examples/sightings`) says the same: one table of cases, through the host, against the
//! components that are held in `tests/data/held` and against those that tests/run has just built.

use super::{Bench, cases, engine, in_process, settings};
use crate::{
    model::{Labels, Outcome, Subject},
    pipeline::Verdict,
    rules::{
        Limits,
        cache::Cache,
        evaluate::{Code, Job, check_config, evaluate},
        load::Loader,
        memory::Memory,
    },
    snapshot::Snapshot,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The folder in which tests/run leaves LANGUAGE.wasm, each built with its language's ordinary commands.
const FRESH: &str = "BROKERWARDEN_TEST_LANGUAGES";
const LANGUAGES: [&str; 6] = ["c", "go", "js", "python", "rust", "ts"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    interval: String,
    config: serde_json::Value,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Option<serde_json::Value>,
    input_lag: Option<Vec<Row>>,
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    action_test: Vec<ActionTest>,
    #[serde(default)]
    state_test: Vec<StateTest>,
    exp_failure: Option<String>,
    exp_config_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    group: String,
    topic: String,
    partition: u32,
    committed: Option<Values>,
    log_end: Option<Values>,
}

/// A number for all snapshots, or one for each: `"1 2 _ 3"`, where `_` is not known.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Constant(i64),
    Series(String),
}

impl Values {
    fn at(&self, step: usize) -> Option<i64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Series(text) => match text.split_whitespace().nth(step).unwrap() {
                "_" => None,
                number => Some(number.parse().unwrap()),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    #[serde(default)]
    eval_time: String,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionTest {
    #[serde(default)]
    eval_time: String,
    exp_actions: Vec<ExpectedAction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "like those of alerts")]
struct ExpectedAction {
    exp_name: String,
    exp_key: Option<String>,
    exp_subject: Option<BTreeMap<String, String>>,
    exp_params: Labels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateTest {
    #[serde(default)]
    eval_time: String,
    exp_state: BTreeMap<String, Option<String>>,
}

/// A component of one language, loaded.
struct Built {
    name: String,
    code: Arc<Code>,
}

#[test]
fn all_languages_say_the_same() {
    let bench = Bench::new();
    let table: Table =
        serde_yaml::from_str(&fs::read_to_string("rules-examples/sightings/cases.yaml").unwrap()).unwrap();
    assert!(table.tests.len() >= 19, "only {} cases", table.tests.len());
    for built in built(&bench) {
        for case in &table.tests {
            play(&bench, &built, &table, case);
        }
        pages_are_read_to_the_end(&bench, &built);
    }
}

fn built(bench: &Bench) -> Vec<Built> {
    // QuickJS and CPython take seconds to compile: once for all runs of this test.
    let cache = Cache::open(Path::new("target/test-compiled"), &engine::identity(bench.linker.engine()));
    let ticking = Arc::clone(&bench.ticking);
    let mut loader = Loader::new(bench.linker.clone(), ticking, cache, in_process, [7; 32], bench.tasks.stop());
    let mut load = |name: String, bytes: &[u8]| {
        let code = loader.code(Path::new(""), bytes).unwrap_or_else(|error| panic!("{name}: {error}")).unwrap();
        Built { name, code }
    };
    let mut built = Vec::new();
    for (name, bytes) in held() {
        built.push(load(format!("{name}, held"), &bytes));
    }
    // Not there in `tests/run --quick`, which has no toolchains for them.
    if let Some(folder) = std::env::var_os(FRESH).map(PathBuf::from) {
        for name in LANGUAGES {
            let bytes = fs::read(folder.join(name).with_extension("wasm")).unwrap();
            built.push(load(format!("{name}, fresh"), &bytes));
        }
    }
    built
}

/// Components built once and kept: what loads today must load tomorrow.
fn held() -> Vec<(String, Vec<u8>)> {
    let mut held: Vec<_> = fs::read_dir("tests/data/held")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gz"))
        .map(|path| {
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().replace(".wasm.gz", "");
            (name, bytes)
        })
        .collect();
    held.sort();
    let names: Vec<_> = held.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["c", "go", "js", "rust", "ts"], "README.md there says why there is none in Python");
    held
}

fn job(built: &Built, config: &serde_json::Value, snapshot: Snapshot, memory: Memory) -> Job {
    Job {
        code: Arc::clone(&built.code),
        settings: Arc::new(settings("r")),
        config: config.to_string().into(),
        limits: Limits::default(),
        snapshot: Arc::new(snapshot),
        memory,
    }
}

/// Evaluates a case from its first moment to its last, and compares at each of which it says something.
fn play(bench: &Bench, built: &Built, table: &Table, case: &Case) {
    let what = |at: &str| format!("{}: {} at {at}", built.name, case.name);
    let config = case.config.as_ref().unwrap_or(&table.config);
    let first = job(built, config, snapshot(case, 0), Memory::default());
    let refused = check_config(&first, &[7; 32], &bench.tasks.stop()).err();
    assert_eq!(refused, case.exp_config_error, "{}", what("load"));
    if refused.is_some() {
        return;
    }
    if let Some(failure) = &case.exp_failure {
        assert_eq!(failure, "unavailable");
        let verdict = evaluate(&first, &[7; 32], &bench.tasks.stop()).verdict;
        assert!(matches!(verdict, Verdict::Unavailable(_)), "{}: {verdict:?}", what("0s"));
        return;
    }
    let alerts = case.alert_rule_test.iter().map(|test| &test.eval_time);
    let actions = case.action_test.iter().map(|test| &test.eval_time);
    let states = case.state_test.iter().map(|test| &test.eval_time);
    let last = alerts.chain(actions).chain(states).map(|at| step(table, at)).max().expect("a case expects something");
    let mut memory = Memory::default();
    for number in 0..=last {
        let finished = evaluate(&job(built, config, snapshot(case, number), memory), &[7; 32], &bench.tasks.stop());
        let Verdict::Outcome(outcome) = finished.verdict else {
            panic!("{}: {:?}", what(&format!("step {number}")), finished.verdict)
        };
        memory = Memory { state: finished.state, ..Memory::default() };
        let now = |at: &str| step(table, at) == number;
        for test in case.alert_rule_test.iter().filter(|test| now(&test.eval_time)) {
            compare_alerts(&outcome, test, &what(&test.eval_time));
        }
        for test in case.action_test.iter().filter(|test| now(&test.eval_time)) {
            compare_actions(&outcome, test, &what(&test.eval_time));
        }
        for test in case.state_test.iter().filter(|test| now(&test.eval_time)) {
            for (key, want) in &test.exp_state {
                let found = memory.state.get(key).map(String::from_utf8_lossy);
                assert_eq!(found.as_deref(), want.as_deref(), "{}: {key}", what(&test.eval_time));
            }
        }
    }
}

/// Which snapshot is that moment's? No time is the first one's.
fn step(table: &Table, at: &str) -> usize {
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<usize>().unwrap();
    if at.is_empty() { 0 } else { seconds(at) / seconds(&table.interval) }
}

fn snapshot(case: &Case, step: usize) -> Snapshot {
    let at = |values: &Option<Values>| values.as_ref().and_then(|values| values.at(step));
    let row = |row: &Row| cases::Row {
        group: row.group.clone(),
        topic: row.topic.clone(),
        partition: row.partition,
        committed: at(&row.committed),
        log_start: None,
        log_end: at(&row.log_end),
    };
    let rows: Option<Vec<_>> = case.input_lag.as_ref().map(|rows| rows.iter().map(row).collect());
    let mut snapshot = cases::snapshot(rows.as_deref());
    snapshot.number += u64::try_from(step).unwrap();
    snapshot.interval = Duration::from_secs(5);
    snapshot
}

fn subject(want: &BTreeMap<String, String>) -> Subject {
    Subject::Group(want["group"].clone())
}

fn compare_alerts(outcome: &Outcome, test: &AlertTest, what: &str) {
    assert_eq!(outcome.alerts.len(), test.exp_alerts.len(), "{what}: {:#?}", outcome.alerts);
    for (alert, want) in outcome.alerts.iter().zip(&test.exp_alerts) {
        assert_eq!(alert.name, test.alertname, "{what}");
        assert_eq!(alert.labels, want.exp_labels, "{what}");
        assert_eq!(alert.value, Some(want.exp_value), "{what}");
        if let Some(annotations) = &want.exp_annotations {
            assert_eq!(&alert.annotations, annotations, "{what}");
        }
        if let Some(want) = &want.exp_subject {
            assert_eq!(alert.subject, subject(want), "{what}");
        }
    }
}

fn compare_actions(outcome: &Outcome, test: &ActionTest, what: &str) {
    assert_eq!(outcome.actions.len(), test.exp_actions.len(), "{what}: {:#?}", outcome.actions);
    for (action, want) in outcome.actions.iter().zip(&test.exp_actions) {
        assert_eq!(action.name, want.exp_name, "{what}");
        assert_eq!(action.params, want.exp_params, "{what}");
        if let Some(key) = &want.exp_key {
            assert_eq!(&action.key, key, "{what}");
        }
        if let Some(want) = &want.exp_subject {
            assert_eq!(action.subject, subject(want), "{what}");
        }
    }
}

/// More rows than one answer has: the last of them, on the third page, is the one that is behind.
fn pages_are_read_to_the_end(bench: &Bench, built: &Built) {
    let rows: Vec<_> = (0..2_500)
        .map(|number| cases::Row {
            group: "orders".into(),
            topic: format!("t{number:04}"),
            partition: 0,
            committed: Some(0),
            log_start: None,
            log_end: Some(if number == 2_499 { 101 } else { 100 }),
        })
        .collect();
    let config = serde_json::json!({"thresholds": {"orders": 100}});
    let job = job(built, &config, cases::snapshot(Some(&rows)), Memory::default());
    match evaluate(&job, &[7; 32], &bench.tasks.stop()).verdict {
        Verdict::Outcome(outcome) => {
            let topics: Vec<_> = outcome.alerts.iter().map(|alert| alert.labels["topic"].as_str()).collect();
            assert_eq!(topics, ["t2499"], "{}", built.name);
        }
        other => panic!("{}: {other:?}", built.name),
    }
}
