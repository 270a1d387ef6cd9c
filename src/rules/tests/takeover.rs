//! What a version finds of what the one before remembers, and which file may be a version at all.

use super::{
    alert_value, module,
    reload::{Looks, config_of},
    snapshot, text,
};
use crate::{
    model::RuleState,
    rules::{
        Config, Limits, Module, Overlay, RuleConfig,
        evaluate::evaluate,
        registry::{Lane, Registry},
    },
};
use std::{collections::BTreeMap, fs, sync::Arc, time::Instant};

/// Counts in its state. As version 2 it takes ten times over what version 0 counted, unless that is more than 5.
fn counter(version: Option<u32>) -> Vec<u8> {
    let trap = "(if (i32.wrap_i64 (i64.and (local.get $now) (i64.const 1))) (then unreachable))";
    let text = text("counter.wat").replace(trap, "");
    let Some(version) = version else { return module(&text) };
    let interface = "brokerwarden:rule/state-migration@0.1.0";
    let migration = format!(
        r#"
  (data (i32.const 200) "too many")
  (func (export "{interface}#version") (result i32) (i32.const {version}))
  (func (export "{interface}#migrate") (param $previous i32) (result i32)
    (call $get (i32.const 16) (i32.const 1) (i32.const 64))
    (i32.store8 (i32.const 96) (i32.mul (i32.load8_u (i32.load (i32.const 68))) (i32.const 10)))
    (call $set (i32.const 16) (i32.const 1) (i32.const 96) (i32.const 1) (i32.const 64))
    (i32.store8 (i32.const 1024) (i32.gt_u (i32.load8_u (i32.const 96)) (i32.const 50)))
    (i32.store (i32.const 1028) (i32.const 200)) (i32.store (i32.const 1032) (i32.const 8))
    (i32.const 1024)))"#
    );
    module(&(text.trim_end().strip_suffix(')').unwrap().to_owned() + &migration))
}

impl Looks {
    /// Evaluates the only rule on a snapshot of that number, as the threads would; the value of its alert.
    fn evaluated(&self, number: u64) -> Option<f64> {
        let now = Instant::now();
        self.shared.registry().observe(Arc::new(snapshot(number, 2 * number)), now);
        let (job, generation) = self.shared.registry().next(Lane::Any, now).unwrap();
        let finished = evaluate(&job, &[7; 32], &self.bench.tasks.stop());
        let value = alert_value(&finished);
        self.shared.registry().done("a", generation, finished, now);
        value
    }

    fn state(&self) -> RuleState {
        self.shared.registry().rules["a"].state().kept().clone()
    }
}

fn count(state: &RuleState) -> Option<&[u8]> {
    state.entries.get("n").map(|value| &**value)
}

#[test]
fn a_new_version_migrates_a_copy_and_the_old_one_finds_what_it_left() {
    let mut looks = Looks::new();
    let load = |looks: &mut Looks, version| {
        looks.write("a.wasm", &counter(version));
        looks.settle();
        looks.heard()
    };
    assert_eq!(load(&mut looks, None), ["+a@1"]);
    assert_eq!((looks.evaluated(2), looks.evaluated(3)), (Some(1.0), Some(2.0)));
    assert_eq!(load(&mut looks, Some(2)), ["+a@2", "=a"]);
    assert_eq!(count(&looks.state()), Some(&[20][..]));
    assert_eq!(looks.evaluated(4), Some(21.0));
    // The same version in other bytes goes on with it.
    assert_eq!(looks.state().version, Some(2));
    // Back: what version 0 left. And again on, from there.
    assert_eq!(load(&mut looks, None), ["+a@3", "=a"]);
    assert_eq!(looks.evaluated(5), Some(3.0));
    assert_eq!(load(&mut looks, Some(2)), ["+a@4", "=a"]);
    assert_eq!(looks.evaluated(6), Some(31.0));
    // What a version 1 could read was never there.
    assert_eq!(load(&mut looks, Some(1)), [""; 0]);
    let error = looks.load_error("a").unwrap();
    assert!(error.contains("written by version 2, this is version 1") && error.contains("--reset"), "{error}");
    assert_eq!(looks.evaluated(7), Some(32.0));
}

#[test]
fn a_version_that_refuses_what_is_there_does_not_take_over_and_may_after_a_reset() {
    let mut looks = Looks::new();
    looks.write("a.wasm", &counter(None));
    looks.settle();
    for number in 2..8 {
        looks.evaluated(number);
    }
    let sha256 = looks.live_sha("a");
    looks.heard();
    looks.write("a.wasm", &counter(Some(2)));
    looks.settle();
    let error = looks.load_error("a").unwrap();
    assert!(error.contains("does not migrate what version 0 wrote: too many"), "{error}");
    assert_eq!((looks.heard(), looks.live_sha("a"), count(&looks.state())), (vec![], sha256, Some(&[6][..])));
    let stop = looks.bench.tasks.stop();
    assert!(looks.shared.forget_state("a", &stop) && !looks.shared.forget_state("nix", &stop));
    assert_eq!((looks.heard(), count(&looks.state())), (vec!["=a".to_owned()], None));
    looks.reload.try_again();
    looks.look();
    assert_eq!(looks.load_error("a"), None);
}

#[test]
fn what_was_remembered_before_the_start_is_there_for_the_rule_when_it_comes() {
    let entries = BTreeMap::from([("n".to_owned(), [7].into())]);
    let kept = RuleState { version: Some(0), entries: Arc::new(entries), earlier: None };
    let registry = Registry::restoring([("a".to_owned(), kept.clone())].into());
    assert_eq!(registry.memory_of("a").state.kept(), &kept);
    assert_eq!(registry.memory_of("b").state.kept(), &RuleState::default());
    let mut looks = Looks::restoring([("a".to_owned(), kept)].into());
    looks.write("a.wasm", &counter(None));
    looks.settle();
    assert_eq!(looks.heard(), ["+a@1"]);
    assert_eq!(looks.evaluated(2), Some(8.0));
}

#[test]
fn a_pinned_module_is_that_file_and_no_other() {
    let mut looks = Looks::new();
    let (good, other) = (module(&text("alert.wat")), module(&text("empty.wat")));
    let pinned = |looks: &Looks, sha256: String| {
        let rule = RuleConfig {
            module: Some(Module::File(looks.bench_file("m.txt"))),
            overlay: Overlay { shadow: Some(true), ..Overlay::default() },
            limits: Limits::default(),
            sha256: Some(sha256),
            actions: std::collections::BTreeSet::new(),
        };
        Config { rules: vec![("p".into(), rule)], ..config_of(looks) }
    };
    fs::write(looks.bench_file("m.txt"), &good).unwrap();
    looks.reload.reconfigure(pinned(&looks, crate::rules::sha256(&good)));
    looks.settle();
    assert_eq!((looks.heard(), looks.load_error("p")), (vec!["+p@1".to_owned()], None));
    assert!(looks.shared.registry().rules["p"].report().shadow);
    fs::write(looks.bench_file("m.txt"), &other).unwrap();
    looks.settle();
    let error = looks.load_error("p").unwrap();
    assert!(error.contains(&crate::rules::sha256(&other)) && error.contains("agent.yaml pins"), "{error}");
    assert_eq!((looks.heard(), looks.live_sha("p")), (vec![], crate::rules::sha256(&good)));
}
