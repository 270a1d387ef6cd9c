//! Who is evaluated when.

use super::{Bench, settings, snapshot, text};
use crate::{
    model::Timestamp,
    pipeline::Verdict,
    rules::{
        Limits,
        evaluate::Finished,
        rates::Rates,
        registry::{self, Lane, Registry, Version},
        state::State,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What rules of these costs (in milliseconds) are evaluated on, one after the other, with so many evaluations for each
/// snapshot.
fn schedule(costs: &[(&'static str, u64)], for_each: usize, snapshots: u64) -> Vec<Vec<&'static str>> {
    let bench = Bench::new();
    let mut registry = Registry::default();
    for (generation, (name, _)) in (1..).zip(costs) {
        registry.install(Version {
            code: bench.code(&text("empty.wat")),
            settings: Arc::new(settings(name)),
            config: "{}".into(),
            limits: Limits::default(),
            module: "m".into(),
            writes_as: 0,
            generation,
        });
    }
    let now = Instant::now();
    let evaluated = (1..=snapshots).map(|number| {
        registry.observe(Arc::new(snapshot(number, number)), now);
        let evaluated = (0..for_each).map(|_| {
            let (job, generation) = registry.next(Lane::Any, now).unwrap();
            let (name, cost) = costs.iter().find(|(name, _)| *name == job.settings.name).unwrap();
            let cpu = Duration::from_millis(*cost);
            let verdict = Verdict::Unavailable(String::new());
            let done = Finished {
                verdict,
                state: State::default(),
                rates: Rates::default(),
                memory_used: 0,
                cpu,
                wall: cpu,
                log_dropped: 0,
            };
            registry.done(name, generation, done, now);
            *name
        });
        evaluated.collect()
    });
    evaluated.collect()
}

#[test]
fn cheap_rules_go_first_and_dear_ones_take_turns() {
    let costs = [("cheap", 1), ("dear-a", 90), ("dear-b", 95), ("dear-c", 100), ("dear-d", 90), ("dear-e", 95)];
    let evaluated = schedule(&costs, 3, 60);
    let of = |name| evaluated.iter().filter(|names| names.contains(&name)).count();
    // At its second snapshot there are rules of which nothing is known yet.
    assert!(of("cheap") >= 59, "{evaluated:?}");
    assert!(evaluated.iter().skip(2).all(|names| names[0] == "cheap"), "{evaluated:?}");
    let dear: Vec<_> = costs[1..].iter().map(|(name, _)| of(name)).collect();
    assert!(dear.iter().all(|count| (22..=26).contains(count)), "{dear:?}");
    // Nobody waits for ever, not even where there is never time for both.
    let alone = schedule(&costs[..2], 1, 60);
    let dear = alone.iter().filter(|names| names.contains(&"dear-a")).count();
    assert!((3..=6).contains(&dear), "{alone:?}");
}

#[test]
fn one_lane_is_left_to_rules_that_have_been_cheap() {
    let bench = Bench::new();
    let mut registry = Registry::default();
    registry.install(Version {
        code: bench.code(&text("empty.wat")),
        settings: Arc::new(settings("a")),
        config: "{}".into(),
        limits: Limits::default(),
        module: "m".into(),
        writes_as: 0,
        generation: 1,
    });
    let now = Instant::now();
    let mut cheap = Vec::new();
    for number in 1..=40 {
        registry.observe(Arc::new(snapshot(number, number)), now);
        let next = registry.next(Lane::Cheap, now);
        cheap.push(next.is_some());
        next.or_else(|| registry.next(Lane::Any, now)).unwrap();
        // Dear once, and cheap ever after.
        let cpu = Duration::from_millis(if number == 2 { 100 } else { 1 });
        let verdict = Verdict::Unavailable(String::new());
        registry.done(
            "a",
            1,
            Finished {
                verdict,
                state: State::default(),
                rates: Rates::default(),
                memory_used: 0,
                cpu,
                wall: cpu,
                log_dropped: 0,
            },
            now,
        );
    }
    assert_eq!(cheap.iter().position(|cheap| !cheap), Some(2));
    assert_eq!(cheap.iter().filter(|cheap| !**cheap).count(), 18, "{cheap:?}");
    assert!(cheap.ends_with(&[true; 10]));
}

#[test]
fn a_clock_that_was_set_back_delays_no_evaluation_by_that_much() {
    let interval = Some(Duration::from_mins(10));
    let day = 86_400_000;
    let waited = |now| registry::waited(interval, Some(Timestamp(day)), &snapshot(2, now));
    assert!(!waited(day) && !waited(day + 500_000) && waited(day + 600_000));
    assert!(waited(0) && waited(day - 1), "it cannot be told how long ago that was");
    assert!(
        registry::waited(interval, None, &snapshot(1, 0))
            && registry::waited(None, Some(Timestamp(day)), &snapshot(2, 0))
    );
}
