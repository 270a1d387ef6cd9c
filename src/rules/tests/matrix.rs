//! The isolation matrix in this process: each way to do harm ends with its own reason, in time, and changes nothing for
//! others. What it does to a whole agent is tested in tests/hostile.

use super::{
    Bench, alert_value,
    attacks::{Attack, End, attacks},
    settings, snapshot, text,
};
use crate::{
    model::clip,
    pipeline::Verdict,
    rules::{
        Limits,
        evaluate::{Job, evaluate},
        load::LoadError,
        memory::Memory,
        state::State,
        trial::Trials,
    },
    snapshot::{Snapshot, TargetState},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// What one evaluation may cost beside its limit of 100 ms: an evaluation is looked at each 5 ms, and what cannot be
/// broken off (a fill of all its memory, one answer of ours) is added. CPU time, so that a busy machine does not matter.
const MOST_CPU: Duration = Duration::from_millis(400);

/// A snapshot in which the first target is up, which is when the guests turn bad.
fn signal(number: u64) -> Snapshot {
    let target = TargetState { name: "gate".into(), up: true, last_success: None, reason: None };
    Snapshot { targets: vec![target], ..snapshot(number, number * 1_000) }
}

#[test]
fn each_attack_ends_with_its_own_reason_and_others_go_on() {
    let bench = Bench::new();
    let good = bench.code(&text("alert.wat"));
    let mut loader = bench.loader();
    let trials = Trials::new([7; 32], bench.tasks.stop());
    let mut wrong = Vec::new();
    let attacks = attacks();
    assert!(attacks.len() >= 60, "{}", attacks.len());
    for Attack { name, end, module } in attacks {
        let started = Instant::now();
        let ended = match loader.code(Path::new(""), &module) {
            Err(error) => Err(error.to_string()),
            Ok(code) => {
                let job = |snapshot, state| Job {
                    code: Arc::clone(code.as_ref().unwrap()),
                    settings: Arc::new(settings("r")),
                    config: "{}".into(),
                    limits: Limits::default(),
                    snapshot: Arc::new(snapshot),
                    memory: Memory { state, ..Memory::default() },
                };
                let calm = job(snapshot(1, 1_000), State::default());
                trials.try_out(&calm).map_err(|error: LoadError| error.to_string()).map(|()| {
                    let state = evaluate(&calm, &[7; 32], &bench.tasks.stop()).state;
                    let finished = evaluate(&job(signal(2), state.clone()), &[7; 32], &bench.tasks.stop());
                    if matches!(finished.verdict, Verdict::Failed { .. }) {
                        assert!(finished.state == state, "{name} left something behind");
                    }
                    assert!(finished.cpu < MOST_CPU, "{name}: {:?}", finished.cpu);
                    finished.verdict
                })
            }
        };
        let said = clip(&format!("{ended:?}"), 300).to_owned();
        println!("{name}: {said} {:?}", started.elapsed());
        let as_expected = match (end, &ended) {
            (End::Refused(words), Err(text)) => text.contains(words),
            (End::Holds, Ok(Verdict::Outcome(_))) => true,
            (End::Fails(want, words), Ok(Verdict::Failed { reason, text })) => *reason == want && text.contains(words),
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{name} should be {end:?} and is {said}"));
        }
        assert_eq!(alert_value(&bench.run(&good, snapshot(3, 1_000), State::default())), Some(7.0), "after {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
