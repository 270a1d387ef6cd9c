//! Versions that are tried, refused or cannot be read, as the loader and whoever asks it see them.

use super::{
    module,
    reload::{Looks, config_of},
    text,
};
use crate::rules::{Config, Limits, Module, Overlay, RuleConfig};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

fn listed(name: &str, module: PathBuf, time: Duration) -> (String, RuleConfig) {
    let limits = Limits { time, ..Limits::default() };
    (name.to_owned(), RuleConfig { module: Some(Module::File(module)), limits, ..RuleConfig::default() })
}

const USUAL: Duration = Duration::from_millis(100);

#[test]
fn a_rule_that_takes_long_in_its_dry_run_holds_up_no_other() {
    let mut looks = Looks::new();
    looks.write("slow", &module(&text("loop.wat")));
    looks.write("good", &module(&text("alert.wat")));
    let rules = vec![
        listed("slow", looks.bench_file("slow"), Duration::from_secs(3)),
        listed("good", looks.bench_file("good"), USUAL),
    ];
    let config = Config { rules, ..config_of(&looks) };
    looks.reload.reconfigure(config);
    let started = Instant::now();
    looks.settle();
    assert_eq!(looks.heard(), ["+good@2"], "the other one is not live");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(looks.reload.listed().pending, ["slow"]);
    while !looks.reload.listed().pending.is_empty() {
        assert!(started.elapsed() < Duration::from_mins(1), "its trial does not end");
        std::thread::park_timeout(Duration::from_millis(50));
        looks.look();
    }
    assert!(started.elapsed() >= Duration::from_secs(3), "it was broken off early");
    let refused = looks.reload.listed().refused;
    assert!(refused[0].1.contains("dry run on the present snapshot failed (time)"), "{refused:?}");
    assert_eq!(looks.heard(), [""; 0]);

    // One that may take long and does not is live, though not at once.
    looks.write("slow", &module(&text("alert.wat")));
    looks.settle();
    while looks.reload.listed() != crate::rules::Listed::default() {
        assert!(started.elapsed() < Duration::from_mins(2), "{:?}", looks.reload.listed());
        std::thread::park_timeout(Duration::from_millis(50));
        looks.look();
    }
    assert_eq!(looks.heard().len(), 1);
}

#[test]
fn a_trial_of_what_is_not_there_any_more_does_not_count() {
    let mut looks = Looks::new();
    looks.write("a", &module(&text("loop.wat")));
    let with = |looks: &Looks| {
        let rules = vec![listed("a", looks.bench_file("a"), Duration::from_millis(300))];
        Config { rules, ..config_of(looks) }
    };
    let config = with(&looks);
    looks.reload.reconfigure(config);
    looks.settle();
    assert_eq!(looks.reload.listed().pending, ["a"]);
    looks.write("a", &module(&text("alert.wat")));
    let started = Instant::now();
    while looks.reload.listed() != crate::rules::Listed::default() {
        assert!(started.elapsed() < Duration::from_mins(1), "{:?}", looks.reload.listed());
        std::thread::park_timeout(Duration::from_millis(20));
        looks.look();
    }
    assert_eq!(looks.heard().len(), 1, "the version that is there is not live");
    assert_eq!(looks.load_error("a"), None);
    assert_eq!(looks.reloads("refused", "a"), "0");
}

#[test]
fn a_listed_module_that_cannot_be_read_is_counted_once_and_told() {
    let mut looks = Looks::new();
    let refusing = RuleConfig {
        overlay: Overlay { config: Some(r#"{"threshold": "many"}"#.to_owned()), ..Overlay::default() },
        module: Some(Module::Builtin("lag-threshold".to_owned())),
        ..RuleConfig::default()
    };
    let rules = vec![
        listed("gone", looks.bench_file("gone"), USUAL),
        listed("good", looks.bench_file("good"), USUAL),
        ("refusing".to_owned(), refusing),
    ];
    looks.write("good", &module(&text("alert.wat")));
    let config = Config { rules, ..config_of(&looks) };
    looks.reload.reconfigure(config);
    assert_eq!(looks.reload.listed().pending, ["gone", "good", "refusing"]);
    looks.look();
    assert_eq!(looks.reload.listed().pending, ["good"], "it may be half of a copy");
    looks.look();
    let listed = looks.reload.listed();
    assert!(listed.pending.is_empty(), "{listed:?}");
    let refused: Vec<_> = listed.refused.iter().map(|(rule, why)| (rule.as_str(), why.as_str())).collect();
    let [("gone", gone), ("refusing", refusing)] = refused[..] else { panic!("{refused:?}") };
    assert!(gone.starts_with("cannot read ") && gone.contains("No such file"), "{gone}");
    assert!(refusing.starts_with("config: "), "{refusing}");
    looks.look();
    assert_eq!((looks.reloads("refused", "gone"), looks.reloads("refused", "refusing")), ("1".into(), "1".into()));

    // It is there, then it is gone again: its version goes on, and that is counted, too.
    looks.write("gone", &module(&text("alert.wat")));
    looks.settle();
    assert!(looks.reload.listed().refused.iter().all(|(rule, _)| rule != "gone"));
    fs::remove_file(looks.bench_file("gone")).unwrap();
    looks.settle();
    assert_eq!(looks.reloads("refused", "gone"), "2");
    assert!(!looks.live_sha("gone").is_empty());
}
