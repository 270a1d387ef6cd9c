//! A rule apart from the agent does what it does in the agent.

use super::{Bench, alert_value, module, settings, snapshot, text};
use crate::{
    pipeline::Verdict,
    rules::{
        Limits, Offline, OfflineRule,
        evaluate::{evaluate, snapshot_seed},
        registry::{Lane, Registry, Version},
        state::State,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[test]
fn with_the_snapshot_s_seed_random_is_the_same_and_without_it_another() {
    let bench = Bench::new();
    let live = bench.run(&bench.code(&text("random.wat")), snapshot(3, 5_000), State::default());
    let mut offline = Offline::in_process();
    let code = offline.load(&module(&text("random.wat"))).unwrap();
    let mut rule = OfflineRule::new(&code, Arc::new(settings("r")), "{}", Limits::default());
    let seen = Arc::new(snapshot(3, 5_000));
    let seed = snapshot_seed(&[7; 32], &seen);
    let value = |verdict: Verdict| match verdict {
        Verdict::Outcome(outcome) => outcome.alerts[0].value,
        other => panic!("{other:?}"),
    };
    assert_eq!(value(offline.evaluate(&mut rule, &seen, Some(&seed))), alert_value(&live));
    assert_ne!(value(offline.evaluate(&mut rule, &seen, Some(&[1; 32]))), alert_value(&live));
    assert_ne!(value(offline.evaluate(&mut rule, &seen, None)), alert_value(&live));
    let mut other = OfflineRule::new(&code, Arc::new(settings("s")), "{}", Limits::default());
    assert_ne!(value(offline.evaluate(&mut other, &seen, Some(&seed))), alert_value(&live));
    assert_ne!(snapshot_seed(&[7; 32], &snapshot(4, 5_000)), seed);
}

#[test]
fn state_counts_with_an_outcome_only_and_failures_add_up() {
    let mut offline = Offline::in_process();
    let code = offline.load(&module(&text("counter.wat"))).unwrap();
    let mut settings = settings("r");
    settings.interval = Some(Duration::from_secs(10));
    let mut rule = OfflineRule::new(&code, Arc::new(settings), "{}", Limits::default());
    assert!(rule.remember("n", &[4]) && rule.is_due(&snapshot(1, 0)));
    assert!(matches!(offline.evaluate(&mut rule, &Arc::new(snapshot(1, 0)), None), Verdict::Outcome(_)));
    assert_eq!(rule.state().collect::<Vec<_>>(), [("n", &[5][..])]);
    // Snapshots come every 5 s here, and not to the millisecond.
    assert!(!rule.is_due(&snapshot(2, 7_000)) && rule.is_due(&snapshot(2, 7_500)));
    for failures in 1..3 {
        // It traps where the time is odd.
        let verdict = offline.evaluate(&mut rule, &Arc::new(snapshot(3, 10_001)), None);
        assert!(matches!(verdict, Verdict::Failed { reason: "trap", .. }), "{verdict:?}");
        assert_eq!((rule.state().collect::<Vec<_>>(), rule.failures_in_a_row()), (vec![("n", &[5][..])], failures));
    }
    offline.evaluate(&mut rule, &Arc::new(snapshot(4, 20_000)), None);
    assert_eq!((rule.state().collect::<Vec<_>>(), rule.failures_in_a_row()), (vec![("n", &[6][..])], 0));
}

#[test]
fn what_is_no_rule_is_refused_in_the_agent_s_words() {
    let refused = Offline::in_process().load(b"text").err().unwrap().to_string();
    assert_eq!(refused, "it is not a WebAssembly component");
}

#[test]
fn a_live_rule_is_told_with_what_it_remembers_and_of_which_snapshot_that_is() {
    let bench = Bench::new();
    let mut registry = Registry::default();
    registry.install(Version {
        code: bench.code(&text("counter.wat")),
        settings: Arc::new(settings("r")),
        config: "{}".into(),
        limits: Limits::default(),
        module: "counter.wasm".into(),
        generation: 1,
    });
    let now = Instant::now();
    registry.observe(Arc::new(snapshot(5, 2_000)), now);
    let (job, generation) = registry.next(Lane::Any, now).unwrap();
    let live = registry.live();
    assert_eq!((live.len(), live[0].seen, live[0].state.len()), (1, 4, 0), "it is being evaluated");
    let finished = evaluate(&job, &[7; 32], &bench.tasks.stop());
    registry.done("r", generation, finished, now);
    let live = registry.live();
    assert_eq!((live[0].seen, &live[0].state[..]), (5, &[("n".to_owned(), vec![1])][..]));
    assert_eq!((live[0].module.as_str(), &*live[0].config, live[0].sha256.len()), ("counter.wasm", "{}", 64));
}
