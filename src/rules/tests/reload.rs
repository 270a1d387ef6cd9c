//! Rules come, change and go while all runs.

use super::{Bench, alert_value, config, in_process, module, no_cache, settings, snapshot, text};
use crate::{
    events::SelfMetrics,
    model::{RuleState, families},
    pipeline::{Input, RulesView, Settled, Verdict},
    rules::{
        Config, Limits, Module, Overlay, RuleConfig,
        compile::{CompileError, Compiling, in_child},
        evaluate::Finished,
        limits,
        load::{Compile, Loader},
        pool::Shared,
        rates::Rates,
        registry::{Lane, Registry, Version},
        reload::Reload,
        start::{Joint, start_with},
        state::State,
        trial::{self, Trials},
    },
    snapshot::Snapshot,
    supervise::Tasks,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// The loader without its threads: each look is made by hand.
pub(super) struct Looks {
    pub(super) bench: Bench,
    pub(super) reload: Reload,
    pub(super) shared: Arc<Shared>,
    dir: tempfile::TempDir,
    heard: mpsc::Receiver<Input>,
    /// Which rules the pipeline was told that there are.
    known: Vec<String>,
    view: watch::Receiver<Arc<RulesView>>,
    metrics: Arc<SelfMetrics>,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self::with(in_process)
    }

    pub(super) fn with(compile: Compile) -> Self {
        Self::with_all(compile, BTreeMap::new())
    }

    /// Rules remembered that before the start.
    pub(super) fn restoring(restored: BTreeMap<String, RuleState>) -> Self {
        Self::with_all(in_process, restored)
    }

    fn with_all(compile: Compile, restored: BTreeMap<String, RuleState>) -> Self {
        let bench = Bench::new();
        let dir = tempfile::tempdir().unwrap();
        let (pipeline, heard) = mpsc::channel(100);
        let (view_sender, view) = watch::channel(Arc::default());
        let (snapshot_sender, snapshots) = watch::channel(Arc::new(snapshot(1, 1)));
        let metrics = Arc::new(SelfMetrics::default());
        let shared = Arc::new(Shared::new([7; 32], Arc::clone(&metrics), pipeline, view_sender, restored));
        let stop = bench.tasks.stop();
        let loader = Loader::new(bench.linker.clone(), Arc::clone(&bench.ticking), no_cache(), compile, stop.clone());
        let config = Config { compiler: dir.path().join(".compiler"), ..config(dir.path()) };
        let (slow, waiting) = std::sync::mpsc::sync_channel(limits::TRIALS_WAITING);
        let trials = Trials::new([7; 32], stop.clone());
        let trials_of_thread = trials.clone();
        bench.tasks.thread("rules-trials", move |_| trial::serve(&trials_of_thread, &waiting)).unwrap();
        let reload = Reload::new(Arc::clone(&shared), loader, trials.with_thread(slow), config, snapshots, stop);
        Self { bench, reload, shared, dir, heard, known: Vec::new(), view, metrics, _snapshots: snapshot_sender }
    }

    pub(super) fn bench_file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn look(&mut self) {
        self.reload.look(Instant::now());
    }

    /// Two looks: enough for a file that stands still.
    pub(super) fn settle(&mut self) {
        self.look();
        self.look();
    }

    pub(super) fn write(&self, file: &str, bytes: &[u8]) {
        // As a careful user does it; half a copy is another test.
        let beside = self.dir.path().join(".new");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, self.dir.path().join(file)).unwrap();
    }

    /// What the pipeline heard since the last time: + installed, - removed.
    pub(super) fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Ok(input) = self.heard.try_recv() {
            heard.push(match input {
                Input::Seen(_) | Input::Store(_) | Input::Policies(_) | Input::Ended(_) => {
                    unreachable!("not said by the rule host")
                }
                Input::Known(rules) => {
                    self.known.push(rules.into_iter().collect::<Vec<_>>().join(" "));
                    continue;
                }
                Input::Installed { settings, generation } => format!("+{}@{generation}", settings.name),
                Input::Remembers { rule, .. } => format!("={rule}"),
                Input::Removed { rule, generation } => format!("-{rule}@{generation}"),
                Input::Evaluated(evaluation) => format!("{:?}", evaluation.verdict),
            });
        }
        heard
    }

    pub(super) fn load_error(&self, rule: &str) -> Option<String> {
        let view = self.view.borrow();
        view.rules.iter().find(|one| one.settings.name == rule).unwrap().load_error.clone()
    }

    pub(super) fn live_sha(&self, rule: &str) -> String {
        let registry = self.shared.registry();
        registry.rules[rule].live.as_ref().map(|live| live.code.sha256.clone()).unwrap_or_default()
    }

    pub(super) fn reloads(&self, outcome: &str, rule: &str) -> String {
        self.metrics.value(&families::RULE_RELOADS, &[outcome, rule]).unwrap_or(0.0).to_string()
    }
}

fn version_b() -> Vec<u8> {
    module(&text("alert.wat").replace("VersionA", "VersionB"))
}

/// A compiler that does not come to an end with the second version.
fn stuck_with_b(compiler: &Path, bytes: &[u8]) -> Compiling {
    if bytes.windows(8).any(|text| text == b"VersionB") {
        return in_child(compiler, bytes);
    }
    in_process(compiler, bytes)
}

#[test]
fn a_module_that_takes_long_to_compile_holds_up_no_other_and_is_given_up_when_nobody_wants_it() {
    let mut looks = Looks::with(stuck_with_b);
    let (script, ran) = (looks.dir.path().join(".compiler"), looks.dir.path().join("ran"));
    fs::write(&script, format!("#!/bin/sh\necho $$ >>{}\nexec sleep 600\n", ran.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    looks.write("slow.wasm", &version_b());
    looks.settle();
    assert_eq!(looks.heard(), [""; 0]);
    let child = fs::read_to_string(&ran).unwrap();
    assert!(Path::new("/proc").join(child.trim()).exists());
    looks.write("quick.wasm", &module(&text("alert.wat")));
    looks.settle();
    assert_eq!(looks.heard().len(), 1, "the other one is not live");
    assert_eq!(fs::read_to_string(&ran).unwrap(), child, "it was begun again");
    looks.write("slow.wasm", &module(&text("alert.wat")));
    looks.settle();
    assert_eq!(looks.heard().len(), 1, "the version that compiles is not live");
    assert!(!Path::new("/proc").join(child.trim()).exists(), "the compiler runs on");
}

/// Out of memory at first; then it takes long.
fn killed_then_slow(compiler: &Path, bytes: &[u8]) -> Compiling {
    let killed_before = compiler.with_file_name("killed");
    if killed_before.exists() {
        return in_child(compiler, bytes);
    }
    fs::write(killed_before, b"").unwrap();
    Compiling::Done(Err(CompileError::Killed("signal 9".into())))
}

#[test]
fn a_second_try_that_takes_long_is_waited_for() {
    let mut looks = Looks::with(killed_then_slow);
    let (script, ran) = (looks.dir.path().join(".compiler"), looks.dir.path().join("ran"));
    fs::write(&script, format!("#!/bin/sh\necho $$ >>{}\nexec sleep 600\n", ran.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    looks.write("a.wasm", &version_b());
    looks.settle();
    assert!(looks.load_error("a").unwrap().contains("signal 9"));
    let later = Instant::now() + limits::LOAD_RETRY;
    looks.reload.look(later);
    let child = fs::read_to_string(&ran).unwrap();
    for _ in 0..3 {
        looks.reload.look(later);
    }
    assert!(Path::new("/proc").join(child.trim()).exists(), "the second try was given up");
    assert_eq!(fs::read_to_string(&ran).unwrap(), child, "it was begun again");
}

#[test]
fn a_file_is_live_after_two_looks_and_its_next_version_takes_over() {
    let mut looks = Looks::new();
    looks.write("a.wasm", &module(&text("alert.wat")));
    looks.look();
    assert_eq!(looks.heard(), [""; 0]);
    looks.look();
    assert_eq!(looks.heard(), ["+a@1"]);
    let first = looks.live_sha("a");
    looks.settle();
    assert_eq!(looks.heard(), [""; 0]);
    looks.write("a.wasm", &version_b());
    looks.settle();
    assert_eq!(looks.heard(), ["+a@2"]);
    assert_ne!(looks.live_sha("a"), first);
    assert_eq!(looks.reloads("loaded", "a"), "2");
    let view = looks.view.borrow();
    let module = view.rules[0].module.clone();
    assert!(view.rules[0].live && module.ends_with("a.wasm"), "{view:?}");
    assert_eq!(looks.metrics.value(&families::RULE_INFO, &[&module, "a", &view.rules[0].sha256]), Some(1.0));
    assert_eq!(looks.metrics.value(&families::RULE_INFO, &[&module, "a", &first]), None);
}

#[test]
fn what_rules_there_are_is_told_once_when_the_folder_was_read_well_twice() {
    let mut looks = Looks::new();
    looks.write("a.wasm", &module(&text("alert.wat")));
    looks.write("bad.wasm", b"garbage");
    looks.look();
    looks.heard();
    assert!(looks.known.is_empty());
    looks.settle();
    looks.heard();
    assert_eq!(looks.known, ["a bad"], "one that cannot be loaded is there, too");
}

#[test]
fn what_a_rule_remembered_before_our_start_is_there_before_it_is_and_goes_with_it() {
    let entries = Arc::new(BTreeMap::from([("k".to_owned(), Arc::from(&b"value"[..]))]));
    let state = RuleState { version: Some(3), entries, earlier: None };
    let mut registry = Registry::restoring(BTreeMap::from([("a".to_owned(), state)]));
    assert_eq!(registry.memory_of("a").state.get("k"), Some(&b"value"[..]));
    let settings = Arc::new(RuleConfig::default().settings("a", &Overlay::default()));
    registry.refuse(&settings, "a.wasm", "broken".into());
    assert_eq!(registry.memory_of("a").state.get("k"), Some(&b"value"[..]));
    registry.rules.remove("a");
    assert_eq!(registry.memory_of("a").state, State::default());
}

#[test]
fn whatever_is_wrong_with_a_new_version_the_old_one_goes_on() {
    let mut looks = Looks::new();
    let good = module(&text("alert.wat"));
    looks.write("a.wasm", &good);
    looks.settle();
    let (first, _) = (looks.live_sha("a"), looks.heard());
    for (refused, (bytes, part)) in [
        (b"garbage".to_vec(), "not a WebAssembly component"),
        (good[..good.len() / 2].to_vec(), ""),
        (module(&text("no_export.wat")), "does not fit the world"),
        (module(&text("sockets.wat")), "rules do not have"),
        (module(&text("trap.wat")), "dry run on the present snapshot failed (trap)"),
        (module(&text("loop_start.wat")), "dry run on the present snapshot failed (time)"),
        (vec![0; 33 << 20], "over 33554432 bytes"),
    ]
    .into_iter()
    .enumerate()
    {
        looks.write("a.wasm", &bytes);
        looks.settle();
        let error = looks.load_error("a").unwrap();
        assert!(error.contains(part), "{error}");
        assert_eq!(looks.live_sha("a"), first);
        assert_eq!(looks.heard(), [""; 0], "{part}");
        assert_eq!(looks.reloads("refused", "a"), (refused + 1).to_string());
    }
    looks.write("a.wasm", &good);
    looks.settle();
    assert_eq!((looks.heard().len(), looks.load_error("a")), (1, None));
    // What is not observed is no fault of the rule's.
    looks.write("u.wasm", &module(&text("unavailable.wat")));
    looks.settle();
    assert_eq!((looks.heard().len(), looks.load_error("u")), (1, None));
}

#[test]
fn a_copy_in_progress_is_not_loaded() {
    let mut looks = Looks::new();
    let bytes = module(&text("alert.wat"));
    for end in [10, 100, bytes.len()] {
        fs::write(looks.dir.path().join("a.wasm"), &bytes[..end]).unwrap();
        looks.look();
    }
    assert_eq!(looks.reloads("refused", "a"), "0");
    looks.look();
    assert_eq!(looks.heard(), ["+a@1"]);
}

#[test]
fn a_deleted_file_removes_its_rule_and_an_unreadable_folder_removes_nothing() {
    let mut looks = Looks::new();
    looks.write("a.wasm", &module(&text("alert.wat")));
    looks.settle();
    looks.heard();
    let (folder, away) = (looks.dir.path().to_owned(), looks.dir.path().with_extension("away"));
    fs::rename(&folder, &away).unwrap();
    looks.settle();
    looks.settle();
    assert_eq!(looks.heard(), [""; 0]);
    assert!(looks.view.borrow().rules_dir_error.as_ref().unwrap().contains("cannot read"));
    assert_eq!(looks.metrics.value(&families::RULES_DIR_READABLE, &[]), Some(0.0));
    fs::rename(&away, &folder).unwrap();
    looks.settle();
    assert_eq!((looks.heard().len(), looks.view.borrow().rules_dir_error.clone()), (0, None));
    fs::remove_file(folder.join("a.wasm")).unwrap();
    looks.look();
    assert_eq!(looks.heard(), [""; 0]);
    looks.look();
    assert_eq!(looks.heard(), ["-a@2"]);
    assert!(looks.view.borrow().rules.is_empty());
    assert_eq!(looks.reloads("removed", "a"), "1");
}

#[test]
fn the_yaml_beside_a_module_configures_it_and_a_bad_one_changes_nothing() {
    let mut looks = Looks::new();
    looks.write("f.wasm", &module(&text("failed.wat")));
    looks.write("f.yaml", b"config: told by yaml");
    looks.settle();
    assert!(looks.load_error("f").unwrap().contains("(error): told by yaml"));
    looks.write("a.wasm", &module(&text("alert.wat")));
    looks.settle();
    assert_eq!(looks.heard().len(), 1);
    looks.write("a.yaml", b"rights: all");
    looks.settle();
    assert_eq!(looks.heard(), [""; 0]);
    assert!(looks.load_error("a").unwrap().ends_with("a.yaml: only config here"));
    looks.write("a.yaml", b"config: {}");
    looks.settle();
    assert_eq!((looks.heard().len(), looks.load_error("a")), (1, None));
}

#[test]
fn a_new_configuration_changes_settings_and_removes_rules_at_once() {
    let mut looks = Looks::new();
    looks.write("m.txt", &module(&text("alert.wat")));
    let listed = |interval| RuleConfig {
        module: Some(Module::File(looks.dir.path().join("m.txt"))),
        overlay: Overlay { interval, ..Overlay::default() },
        limits: Limits::default(),
        sha256: None,
        actions: std::collections::BTreeSet::new(),
    };
    let with = |rules: Vec<(String, RuleConfig)>| Config { rules, ..config(looks.dir.path()) };
    let (one, changed) =
        (with(vec![("l".into(), listed(None))]), with(vec![("l".into(), listed(Some(Duration::MAX)))]));
    let (missing, none) = (
        with(vec![("l".into(), RuleConfig { module: Some(Module::Builtin("nix".into())), ..RuleConfig::default() })]),
        with(vec![]),
    );
    looks.reload.reconfigure(one);
    looks.settle();
    assert_eq!(looks.heard(), ["+l@1"]);
    let sha256 = looks.live_sha("l");
    looks.reload.reconfigure(changed);
    looks.look();
    assert_eq!((looks.heard(), looks.live_sha("l")), (vec!["+l@2".to_owned()], sha256.clone()));
    looks.reload.reconfigure(missing);
    looks.look();
    assert_eq!((looks.heard(), looks.live_sha("l")), (vec![], sha256));
    assert_eq!(looks.load_error("l").unwrap(), "there is no builtin rule \"nix\"");
    // A file that cannot be read is no removed rule either.
    fs::remove_file(looks.dir.path().join("m.txt")).unwrap();
    looks.settle();
    looks.reload.reconfigure(none);
    looks.look();
    assert_eq!(looks.heard(), ["-l@4"]);
}

#[test]
fn a_rule_refuses_its_configuration() {
    let mut looks = Looks::new();
    let listed = |config: &str| {
        let rule = RuleConfig {
            module: Some(Module::Builtin("lag-threshold".into())),
            overlay: Overlay { config: Some(config.to_owned()), ..Overlay::default() },
            limits: Limits::default(),
            sha256: None,
            actions: std::collections::BTreeSet::new(),
        };
        Config { rules: vec![("l".into(), rule)], ..config_of(&looks) }
    };
    let (bad, good) = (listed(r#"{"threshold": -1}"#), listed(r#"{"threshold": 1}"#));
    looks.reload.reconfigure(bad);
    looks.look();
    let error = looks.load_error("l").unwrap();
    assert!(error.starts_with("config: config.threshold: must be"), "{error}");
    looks.reload.reconfigure(good);
    looks.look();
    assert_eq!((looks.heard(), looks.load_error("l")), (vec!["+l@2".to_owned()], None));
}

/// Nothing was remembered before.
fn joint(inputs: mpsc::Sender<Input>, settled: watch::Receiver<Arc<Settled>>) -> Joint {
    Joint { inputs, settled, restored: BTreeMap::new() }
}

pub(super) fn config_of(looks: &Looks) -> Config {
    config(looks.dir.path())
}

#[test]
fn an_older_load_does_not_replace_a_newer_and_a_late_evaluation_changes_nothing() {
    let bench = Bench::new();
    let version = |text: &str, generation| Version {
        code: bench.code(text),
        settings: Arc::new(settings("a")),
        config: "{}".into(),
        limits: Limits::default(),
        module: "m".into(),
        writes_as: 0,
        generation,
    };
    let (old, new) = (version(&text("counter.wat"), 3), version(&text("empty.wat"), 4));
    let mut registry = Registry::default();
    registry.observe(Arc::new(snapshot(1, 2)), Instant::now());
    assert!(registry.install(old.clone()));
    let (job, generation) = registry.next(Lane::Any, Instant::now()).unwrap();
    let finished: Finished = crate::rules::evaluate::evaluate(&job, &[7; 32], &bench.tasks.stop());
    assert_eq!(alert_value(&finished), Some(1.0));
    assert!(registry.install(new) && !registry.install(old));
    registry.done("a", generation, finished, Instant::now());
    let entry = &registry.rules["a"];
    assert_eq!((entry.live.as_ref().unwrap().generation, registry.memory_of("a").state), (4, State::default()));
}

#[test]
fn a_rule_that_keeps_failing_pauses_longer_and_longer() {
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
    let fail = || Finished {
        verdict: Verdict::Failed { reason: "trap", text: "x".into() },
        state: State::default(),
        rates: Rates::default(),
        cpu: Duration::ZERO,
        wall: Duration::ZERO,
        memory_used: 0,
        log_dropped: 0,
    };
    let mut now = Instant::now();
    let mut number = 0;
    let mut evaluated = Vec::new();
    for second in 0..200u64 {
        number += 1;
        registry.observe(Arc::new(snapshot(number, number * 1000)), now);
        if registry.next(Lane::Any, now).is_some() {
            evaluated.push(second);
            registry.done("a", 1, fail(), now);
        }
        now += Duration::from_secs(1);
    }
    assert_eq!(evaluated, [0, 1, 2, 7, 17, 37, 77, 157]);
    assert_eq!(registry.failures_with("a", &fail().verdict), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_whole_host_runs_reloads_and_stops() {
    let (tasks, _ended) = Tasks::new();
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let (pipeline, mut heard) = mpsc::channel(10);
    let (view_sender, _view) = watch::channel(Arc::default());
    let (snapshots, receiver) = watch::channel(Arc::new(snapshot(0, 0)));
    let (settle, settled) = watch::channel(Arc::new(Settled::default()));
    let metrics = Arc::new(SelfMetrics::default());
    let mut settings = config(&rules);
    settings.cache_dir = dir.path().join("compiled");
    start_with(&tasks, settings, receiver, joint(pipeline, settled), view_sender, Arc::clone(&metrics), in_process)
        .unwrap();
    fs::write(
        rules.join("hog.wasm"),
        module(
            &text("call_flood.wat")
                .replace("(br $again)) unreachable", "(br_if $again (i32.const 0)))(i32.const 1024)"),
        ),
    )
    .unwrap();
    fs::write(rules.join("a.wasm"), module(&text("alert.wat"))).unwrap();
    let mut number = 0;
    let mut installed: Vec<(String, u64)> = Vec::new();
    let mut names = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut replaced = false;
    while Instant::now() < deadline && !names.contains(&"VersionB".to_owned()) {
        number += 1;
        snapshots.send_replace(Arc::new(snapshot(number, number * 1000)));
        while let Ok(Some(input)) = tokio::time::timeout(Duration::from_millis(50), heard.recv()).await {
            match input {
                Input::Installed { settings, generation } => installed.push((settings.name.clone(), generation)),
                Input::Evaluated(evaluation) => {
                    settle.send_modify(|settled| {
                        let which = (evaluation.generation, evaluation.snapshot.number);
                        Arc::make_mut(settled).taken.insert(evaluation.settings.name.clone(), which);
                    });
                    let live = installed.iter().rev().find(|(name, _)| *name == evaluation.settings.name).unwrap();
                    assert_eq!(live.1, evaluation.generation, "a version spoke that was not, or no more, installed");
                    let Verdict::Outcome(outcome) = evaluation.verdict else { panic!("{:?}", evaluation.verdict) };
                    names.extend(outcome.alerts.into_iter().map(|alert| alert.name));
                }
                Input::Known(_) => {}
                Input::Removed { .. } => panic!("nothing was removed"),
                other => unreachable!("not said here: {other:?}"),
            }
        }
        if !replaced && names.contains(&"VersionA".to_owned()) {
            fs::write(rules.join("a.wasm"), version_b()).unwrap();
            replaced = true;
        }
    }
    assert!(names.contains(&"VersionB".to_owned()), "{names:?}");
    assert!(metrics.value(&families::RULE_EVALUATIONS, &["ok", "a"]).unwrap() >= 2.0);
    let started = Instant::now();
    assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(fs::read_dir(dir.path().join("compiled")).unwrap().count() >= 3, "code was not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_endless_rule_does_not_keep_others_or_the_end_waiting() {
    let (tasks, _ended) = Tasks::new();
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, mut heard) = mpsc::channel(10);
    let (view_sender, _view) = watch::channel(Arc::default());
    let (snapshots, receiver) = watch::channel(Arc::new(snapshot(0, 0)));
    // Loops for ever, but not in the dry run: that sees snapshot 0.
    let body = "(if (i64.ne (local.get $now) (i64.const 0)) (then (loop $again (br $again)))) (i32.const 1024)";
    let endless = text("loop.wat").replace("(loop $again (br $again)) unreachable", body);
    fs::write(dir.path().join("endless.wasm"), module(&endless)).unwrap();
    fs::write(dir.path().join("good.wasm"), module(&text("alert.wat"))).unwrap();
    let mut settings = config(dir.path());
    let limits = Limits { time: Duration::from_mins(1), ..Limits::default() };
    settings.rules = vec![("endless".into(), RuleConfig { limits, ..RuleConfig::default() })];
    settings.cache_dir = Path::new("/proc/nowhere").to_owned();
    let metrics = Arc::new(SelfMetrics::default());
    let (_settle, settled) = watch::channel(Arc::default());
    start_with(&tasks, settings, receiver, joint(pipeline, settled), view_sender, metrics, in_process).unwrap();
    let mut installed = 0;
    while installed < 2 {
        let input = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap();
        assert!(matches!(input, Input::Installed { .. } | Input::Known(_)));
        installed += u32::from(matches!(input, Input::Installed { .. }));
    }
    snapshots.send_replace(Arc::new(snapshot(1, 1000)));
    // With one thread the endless rule may well hold it now; the end must come all the same.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
