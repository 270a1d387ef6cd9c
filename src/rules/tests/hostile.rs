//! Single evaluations: good guests get what they ask for, hostile ones fail for the right reason and in time.

use super::{Bench, alert_value, module, module_for, snapshot, text};
use crate::{
    model::Subject,
    pipeline::Verdict,
    rules::{Limits, builtin::builtin, limits, state::State},
    snapshot::Snapshot,
};
use std::time::{Duration, Instant};

#[track_caller]
fn fails(bench: &Bench, guest: &str, want: &str, part: &str) {
    let code = bench.code(&text(guest));
    let started = Instant::now();
    let finished = bench.run(&code, snapshot(1, 1_000), State::default());
    match &finished.verdict {
        Verdict::Failed { reason, text } if *reason == want && text.contains(part) => {}
        other => panic!("{guest}: {other:?}"),
    }
    assert_eq!(finished.state, State::default(), "{guest}");
    assert!(started.elapsed() < Duration::from_secs(5), "{guest}: {:?}", started.elapsed());
    assert!(finished.cpu < Duration::from_millis(400), "{guest}: {:?}", finished.cpu);
}

#[test]
fn hostile_guests_fail_for_the_right_reason_and_others_go_on() {
    let bench = Bench::new();
    let good = bench.code(&text("alert.wat"));
    for (guest, reason, part) in [
        ("loop.wat", "time", "100ms of CPU time"),
        ("loop_start.wat", "time", "100ms of CPU time"),
        ("loop_tail.wat", "time", "100ms of CPU time"),
        ("memory.wat", "memory", "64 MiB"),
        ("recursion.wat", "stack", "call stack exhausted"),
        ("trap.wat", "trap", "unreachable"),
        ("huge_list.wat", "output", "list"),
        ("many_alerts.wat", "output", "more than 1048576 bytes in one call"),
        ("bad_utf8.wat", "output", "utf-8"),
        ("bad_tag.wat", "output", "discriminant"),
        ("bad_name.wat", "output", "name of an alert is empty"),
        ("failed.wat", "error", "{}"),
        ("log_flood.wat", "host_calls", "10000 host calls"),
        ("log_huge.wat", "output", "more than 1048576 bytes in one call"),
        ("call_flood.wat", "host_calls", "10000 host calls"),
        ("state_flood.wat", "error", "state would be over 1048576 bytes"),
        ("sleep.wat", "sleep", "may not sleep"),
        ("print.wat", "trap", "it last printed: panicked at a line"),
    ] {
        fails(&bench, guest, reason, part);
        assert_eq!(alert_value(&bench.run(&good, snapshot(1, 1_000), State::default())), Some(7.0), "after {guest}");
    }
}

#[test]
fn a_log_flood_is_counted_and_cut() {
    let bench = Bench::new();
    let finished = bench.run(&bench.code(&text("log_flood.wat")), snapshot(1, 1), State::default());
    let lines = u64::from(limits::MAX_HOST_CALLS - limits::MAX_LOG_LINES);
    assert_eq!(finished.log_dropped, 40 * lines);
}

#[test]
fn a_guest_sees_the_snapshot_and_nothing_that_was_not_observed() {
    let bench = Bench::new();
    let code = bench.code(&text("lags.wat"));
    let Verdict::Outcome(outcome) = bench.run(&code, snapshot(1, 1), State::default()).verdict else { panic!() };
    let said: Vec<_> = outcome.alerts.iter().map(|alert| (alert.name.as_str(), alert.value)).collect();
    assert_eq!(said, [("t", Some(30.0)), ("u", None)]);
    let unseen = Snapshot { kafka: None, ..snapshot(1, 1) };
    let verdict = bench.run(&code, unseen, State::default()).verdict;
    assert_eq!(verdict, Verdict::Unavailable("Kafka was not observed lately".into()));
    let verdict = bench.run(&bench.code(&text("unavailable.wat")), snapshot(1, 1), State::default()).verdict;
    assert_eq!(verdict, Verdict::Unavailable("no g!".into()));
}

#[test]
fn the_clock_of_wasi_is_the_snapshot_s() {
    let bench = Bench::new();
    let finished = bench.run(&bench.code(&text("clock.wat")), snapshot(1, 1_700_000_000_123), State::default());
    assert_eq!(alert_value(&finished), Some(1_700_000_000.0));
}

#[test]
fn state_counts_only_with_its_evaluation() {
    let bench = Bench::new();
    let code = bench.code(&text("counter.wat"));
    let first = bench.run(&code, snapshot(1, 2), State::default());
    assert_eq!((alert_value(&first), first.state.get("n")), (Some(1.0), Some(&[1][..])));
    let failed = bench.run(&code, snapshot(2, 3), first.state.clone());
    assert!(matches!(failed.verdict, Verdict::Failed { reason: "trap", .. }));
    assert_eq!(failed.state, first.state);
    assert_eq!(alert_value(&bench.run(&code, snapshot(3, 4), failed.state)), Some(2.0));
}

#[test]
fn limits_of_agent_yaml_count() {
    let bench = Bench::new();
    let code = bench.code(&text("alert.wat"));
    let run = |limits: Limits| bench.run_with(&code, snapshot(1, 1), State::default(), limits, "{}").verdict;
    let none = run(Limits { alerts: 0, ..Limits::default() });
    assert!(matches!(none, Verdict::Failed { reason: "output", text } if text.contains("1 alerts, 0 allowed")));
    let small = run(Limits { memory: 1 << 10, ..Limits::default() });
    assert!(matches!(small, Verdict::Failed { reason: "memory", .. }), "{small:?}");
    let spin = bench.code(&text("loop.wat"));
    let short = Limits { time: Duration::from_millis(20), ..Limits::default() };
    let finished = bench.run_with(&spin, snapshot(1, 1), State::default(), short, "{}");
    assert!(finished.cpu < Duration::from_millis(80), "{:?}", finished.cpu);
}

#[test]
fn files_that_are_no_rules_are_refused_in_words_for_their_authors() {
    let bench = Bench::new();
    let refused = |text: &str| bench.refusal(&module(text));
    let sockets = refused(&text("sockets.wat"));
    assert_eq!(sockets, "imports wasi:sockets/tcp@0.2.0, which rules do not have");
    assert!(refused(&text("other_version.wat")).contains("another version of the contract; this agent has 0.1.0"));
    let older = text("alert.wat").replace("@0.1.0", "@0.1.0-rc.1");
    let older = bench.refusal(&module_for("0.1.0-rc.1", &older));
    assert!(older.contains("@0.1.0-rc.1, which is of another version"), "{older}");
    let world = refused(&text("no_export.wat"));
    assert!(world.contains("does not fit the world `rule`") && world.contains("evaluator"), "{world}");
    let good = module(&text("alert.wat"));
    for cut in [good.len() / 2, good.len() - 1, 9, 0] {
        assert!(!bench.refusal(&good[..cut]).is_empty());
    }
    assert!(bench.refusal(&vec![0x55; 10_000]).contains("not a WebAssembly component"));
}

#[test]
fn the_builtin_rule_speaks_of_the_group_that_is_behind() {
    let bench = Bench::new();
    let bytes = builtin("lag-threshold").unwrap();
    let code = bench.loader().code(std::path::Path::new(""), bytes).unwrap().unwrap();
    let run = |config: &str| bench.run_with(&code, snapshot(1, 1), State::default(), Limits::default(), config);
    let behind = run(r#"{"groups": ["g"], "threshold": 29}"#);
    assert_eq!(alert_value(&behind), Some(30.0));
    let Verdict::Outcome(outcome) = &behind.verdict else { panic!() };
    assert_eq!(outcome.alerts[0].subject, Subject::Group("g".into()));
    assert!(matches!(run("{}").verdict, Verdict::Outcome(outcome) if outcome.alerts.is_empty()), "30 is under 1000");
    println!("builtin:lag-threshold: {:?}, then {:?}", behind.wall, run(r#"{"groups": ["g"], "threshold": 29}"#).wall);
}

#[test]
fn one_evaluation_is_cheap() {
    let bench = Bench::new();
    let code = bench.code(&text("empty.wat"));
    let mut micros: Vec<_> = (0..2_000)
        .map(|number| bench.run(&code, snapshot(number, 1), State::default()).wall.as_secs_f64() * 1e6)
        .collect();
    micros.sort_by(f64::total_cmp);
    println!("trivial evaluation: p50 {:.0} µs, p99 {:.0} µs", micros[1_000], micros[1_980]);
    // Generous: other tests run beside this one.
    assert!(micros[1_000] < 2_000.0, "{}", micros[1_000]);
}
