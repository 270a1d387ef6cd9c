use super::*;
use crate::{
    alerts::Phase,
    model::{Labels, Subject},
    recording::{Header, RecordedAlert, Recorder},
    rules::{
        builtin,
        tests::{module, text},
    },
    ruletest::{parse, scripted::Script},
};
use std::path::Path;

const CASE: &str = "
tests:
  - name: recorded
    start: 2026-01-01T00:00:00Z
    interval: 10s
    input_lag: [{group: orders, topic: payments, partition: 0, committed: 0, log_end: '50+30x4 0x3'}]
    input_targets: [{name: kafka, up: '1x5 0 1x9'}]
    exp_failure: [{eval_time: 70s, exp_reason: unavailable}]
";

fn rule(name: &str, config: &str, sha256: &str) -> RecordedRule {
    RecordedRule {
        name: name.into(),
        module: "old.wasm".into(),
        sha256: sha256.into(),
        config: config.into(),
        limit_time_ms: 1000,
        limit_memory: 64 << 20,
        limit_state: 1 << 20,
        limit_alerts: 1000,
        ..RecordedRule::default()
    }
}

fn recording(rules: Vec<RecordedRule>, alerts: &[Alert]) -> Vec<u8> {
    let case = &parse(CASE, Path::new("")).unwrap().cases[0];
    let mut script = Script::new(case);
    let mut recorder = Recorder::default();
    let header = Header {
        format: String::new(),
        version: 0,
        agent: "0.1.0".into(),
        started_ms: case.start.0,
        configuration: String::new(),
        rules,
        alerts: alerts.iter().map(RecordedAlert::from).collect(),
    };
    let mut bytes = recorder.begin(header).unwrap();
    for position in 0..case.steps {
        bytes.extend(recorder.snapshot(&script.snapshot(position), &[1; 32]).unwrap());
    }
    bytes
}

fn candidate(code: &Loaded, config: Option<&str>) -> Candidate {
    let beside = Overlay { config: config.map(str::to_owned), ..Overlay::default() };
    Candidate { module: "new.wasm".into(), name: "new".into(), code: code.clone(), beside }
}

fn played(host: &Offline, bytes: &[u8], candidates: &[Candidate], asked: Option<&str>) -> Result<String, ReplayError> {
    let mut out = Vec::new();
    replay(host, &mut Reader::new(bytes).unwrap(), candidates, asked, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn versions_are_told_side_by_side_and_twice_the_same() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let bytes =
        recording(vec![RecordedRule { for_ms: 10_000, ..rule("lag", "{\"threshold\":100}", code.sha256()) }], &[]);
    let candidates = [candidate(&code, None), candidate(&code, Some("{\"threshold\":160}"))];
    let said = played(&host, &bytes, &candidates, None).unwrap();
    let sha256 = short(code.sha256());
    let want = format!(
        "recording of 2026-01-01T00:00:00.000Z, agent 0.1.0
rule lag, live as old.wasm ({sha256}), with its state and alerts then
  A = new.wasm ({sha256})
  B = new.wasm ({sha256})
                          A                       B
2026-01-01T00:00:20.000Z  pending 110             ·                       ALERT
2026-01-01T00:00:30.000Z  firing 140              ·                       ALERT
2026-01-01T00:00:40.000Z  ·                       pending 170             ALERT
2026-01-01T00:00:50.000Z  resolved                gone                    ALERT
2026-01-01T00:01:00.000Z  unavailable             unavailable             evaluation: Kafka was not observed lately
2026-01-01T00:01:10.000Z  ok                      ok                      evaluation

evaluations               8                       8
  unavailable             1                       1
  failed                  0                       0
alerts that fired         1                       0
alerts that resolved      1                       0
actions asked for         0                       0
alerts differ after 3 of 8 snapshots
"
    );
    assert_eq!(said, want.replace("ALERT", "ConsumerGroupLag{consumergroup=\"orders\", topic=\"payments\"}"));
    let mut again = Offline::in_process();
    let code = again.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let candidates = [candidate(&code, None), candidate(&code, Some("{\"threshold\":160}"))];
    assert_eq!(played(&again, &bytes, &candidates, None).unwrap(), said);
}

#[test]
fn random_repeats_too() {
    let mut host = Offline::in_process();
    let code = host.load(&module(&text("random.wat"))).unwrap();
    let bytes = recording(vec![rule("r", "{}", "")], &[]);
    let said = played(&host, &bytes, &[candidate(&code, None)], None).unwrap();
    assert!(said.contains("firing "), "{said}");
    assert_eq!(played(&host, &bytes, &[candidate(&code, None)], None).unwrap(), said);
}

#[test]
fn it_goes_on_from_the_recorded_state_and_alerts() {
    let mut host = Offline::in_process();
    let code = host.load(&module(&text("counter.wat"))).unwrap();
    let mut counter = RecordedRule { seen: 3, ..rule("r", "{}", "") };
    counter.remember("n", &[40]);
    let alert = |name: &str, cluster: &str| Alert {
        key: AlertKey {
            rule: "r".into(),
            name: name.into(),
            labels: Labels::from([
                ("alertname".into(), name.into()),
                ("cluster".into(), cluster.into()),
                ("rule".into(), "r".into()),
            ]),
        },
        subject: Subject::Agent,
        annotations: Labels::new(),
        value: Some(40.0),
        phase: Phase::Firing,
        active_at: Timestamp(5),
        fired_at: Some(Timestamp(5)),
        resolved_at: None,
        keep_firing_since: None,
        last_sent: None,
    };
    // What fires already is no news; what holds no longer ends.
    let bytes = recording(vec![counter, rule("other", "{}", "")], &[alert("n", "test"), alert("past", "test")]);
    let said = played(&host, &bytes, &[candidate(&code, None)], Some("r")).unwrap();
    let changes: Vec<_> = said.lines().filter(|line| line.starts_with("2026")).collect();
    assert_eq!(changes, ["2026-01-01T00:00:30.000Z  resolved                past{}"], "{said}");
    assert!(said.contains("evaluations               5\n") && said.ends_with("5 snapshots\n"), "{said}");
}

#[test]
fn which_rule_is_meant_is_found_or_asked_for() {
    let mut host = Offline::in_process();
    let code = host.load(&module(&text("counter.wat"))).unwrap();
    let of = |rules: Vec<RecordedRule>| {
        let said = played(&host, &recording(rules, &[]), &[candidate(&code, None)], None);
        said.map(|said| said.lines().nth(1).unwrap().to_owned()).map_err(|error| error.to_string())
    };
    assert!(
        of(vec![rule("a", "{}", "x"), rule("b", "{}", code.sha256())]).unwrap().starts_with("rule b, live as old.wasm")
    );
    assert!(of(vec![rule("a", "{}", "x")]).unwrap().starts_with("rule a, live"));
    assert!(of(vec![rule("a", "{}", "x"), rule("new", "{}", "y")]).unwrap().starts_with("rule new, live"));
    assert_eq!(of(vec![]).unwrap(), "rule new, not in the recording: it begins with nothing");
    let unclear = of(vec![rule("a", "{}", "x"), rule("b", "{}", "y")]).unwrap_err();
    assert_eq!(unclear, "which rule of the recording is it? There are a, b; say --as NAME");
}

#[test]
fn a_version_that_refuses_the_configuration_is_named() {
    let mut host = Offline::in_process();
    let code = host.load(builtin::builtin("lag-threshold").unwrap()).unwrap();
    let bytes = recording(vec![rule("a", "{\"threshold\":-1}", "")], &[]);
    let refused = played(&host, &bytes, &[candidate(&code, None)], None).unwrap_err().to_string();
    assert!(refused.starts_with("new.wasm refuses the configuration: config.threshold: must be"), "{refused}");
}
