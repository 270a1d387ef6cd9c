//! Two rules that are replaced a thousand times while they are evaluated: every word is of the version that is live, and
//! the alert book hears of each change exactly once.

use crate::{
    alone,
    footprint::{Footprint, NOTHING},
    harness::{guests, guests::Fault, temp_dir},
};
use brokerwarden::{
    alerts::Phase,
    config::parse_sidecar,
    events::SelfMetrics,
    model::Timestamp,
    pipeline::{Book, Input, Settled, Transition, Verdict, tick},
    rules::{self, Config, Joint, Module, RuleConfig},
    snapshot::Snapshot,
    supervise::Tasks,
};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

const REPLACEMENTS: usize = 1_000;
/// Files that take turns.
const VERSIONS: usize = 10;
/// Replacements after which the footprint is taken that must not grow any more.
const WARM: usize = 100;
/// Distance between snapshots.
const TICK: Duration = Duration::from_millis(5);
/// Longest wait for a version to be live and to have spoken.
const PATIENCE: Duration = Duration::from_secs(20);

fn snapshot(number: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        number,
        at: Timestamp(number * 1_000),
        interval: Duration::from_secs(1),
        cluster: "c".into(),
        kafka: None,
        pages: vec![],
        targets: vec![],
    })
}

/// `named` changes the name of its alert with each version; `same` is always the same rule, in ever other bytes.
struct Files {
    named: Vec<PathBuf>,
    same: Vec<PathBuf>,
}

fn version(alert: usize) -> String {
    format!("Version{alert}")
}

fn config(files: &Files, turn: usize, folder: &std::path::Path) -> Config {
    let rule = |files: &[PathBuf]| RuleConfig {
        module: Some(Module::File(files[turn % VERSIONS].clone())),
        ..RuleConfig::default()
    };
    Config {
        rules_dir: None,
        rules: vec![("named".into(), rule(&files.named)), ("same".into(), rule(&files.same))],
        parse_sidecar,
        cache_dir: folder.join("compiled"),
        compiler: env!("CARGO_BIN_EXE_brokerwarden").into(),
    }
}

/// What the pipeline heard, and what its book made of it.
#[derive(Default)]
struct Listener {
    book: Book,
    live: BTreeMap<String, u64>,
    transitions: Vec<Transition>,
    evaluations: usize,
}

impl Listener {
    /// Takes what was heard while `turn` is, or becomes, live. Is it live, and has it spoken, of both rules?
    fn hear(&mut self, input: Input, turn: usize, spoken: &mut BTreeMap<String, bool>) -> bool {
        match &input {
            Input::Installed { settings, generation } => {
                let before = self.live.insert(settings.name.clone(), *generation);
                assert!(before.is_none_or(|before| before < *generation), "an older version over a newer one");
                spoken.insert(settings.name.clone(), false);
            }
            Input::Evaluated(evaluation) => {
                self.evaluations += 1;
                let name = &evaluation.settings.name;
                assert_eq!(self.live.get(name), Some(&evaluation.generation), "{name} spoke, and is not live");
                let Verdict::Outcome(outcome) = &evaluation.verdict else { panic!("{:?}", evaluation.verdict) };
                if let Some(spoken) = spoken.get_mut(name) {
                    *spoken = true;
                    // One version, whole: its own alert and no other.
                    let wanted = if name == "named" { version(turn % VERSIONS) } else { "Always".to_owned() };
                    let said: Vec<_> = outcome.alerts.iter().map(|alert| &alert.name).collect();
                    assert_eq!(said, [&wanted]);
                }
            }
            // Which rules there are, live or not: all of them, all the time.
            Input::Known(_) => {}
            other => panic!("{other:?}"),
        }
        let now = Timestamp(u64::try_from(self.evaluations).unwrap());
        let ticked = tick(std::mem::take(&mut self.book), vec![input], now);
        self.book = ticked.book;
        self.transitions.extend(ticked.transitions);
        spoken.len() == 2 && spoken.values().all(|spoken| *spoken)
    }

    /// The phases that an alert came into, in order.
    fn phases(&self, rule: &str, alert: &str) -> Vec<Phase> {
        let of = |transition: &&Transition| transition.alert.key.rule == rule && transition.alert.key.name == alert;
        self.transitions.iter().filter(of).map(|transition| transition.alert.phase).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "nobody waits for it on this runtime")]
#[expect(clippy::disallowed_methods, reason = "the world, and no part of the agent")]
async fn a_thousand_versions_speak_one_at_a_time_and_leave_nothing_behind() {
    let _alone = alone();
    let dir = temp_dir("storm");
    let write = |name: String, bytes: Vec<u8>| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let same = guests::rule("Always", Fault::None);
    let files = Files {
        named: (0..VERSIONS).map(|n| write(format!("named-{n}"), guests::rule(&version(n), Fault::None))).collect(),
        same: (0..VERSIONS)
            .map(|n| write(format!("same-{n}"), guests::another_version(&same, u8::try_from(n).unwrap())))
            .collect(),
    };
    let (tasks, _ended) = Tasks::new();
    let (snapshots, receiver) = watch::channel(snapshot(1));
    let (pipeline, mut heard) = mpsc::channel(100);
    let (view, _view) = watch::channel(Arc::default());
    let (settle, settled) = watch::channel(Arc::<Settled>::default());
    let joint = Joint { inputs: pipeline, settled, restored: BTreeMap::new() };
    let metrics = Arc::new(SelfMetrics::default());
    let first = config(&files, 0, dir.path());
    let handle = rules::start(&tasks, first, receiver, joint, view, metrics).unwrap();
    let stop = tasks.stop();
    let load = tokio::spawn(async move {
        let mut number = 1;
        while !stop.stopped() {
            number += 1;
            snapshots.send_replace(snapshot(number));
            tokio::time::sleep(TICK).await;
        }
    });

    let mut listener = Listener::default();
    let mut warm = None;
    let started = Instant::now();
    for turn in 0..REPLACEMENTS {
        handle.reconfigure(config(&files, turn, dir.path()));
        let mut spoken = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "version {turn} is not live: {spoken:?}");
            // A file counts at the second look; each of these asks for one.
            handle.reconfigure(config(&files, turn, dir.path()));
            match tokio::time::timeout(TICK, heard.recv()).await {
                Ok(Some(input)) => {
                    if let Input::Evaluated(evaluation) = &input {
                        let which = (evaluation.generation, evaluation.snapshot.number);
                        settle.send_modify(|settled| {
                            Arc::make_mut(settled).taken.insert(evaluation.settings.name.clone(), which);
                        });
                    }
                    if listener.hear(input, turn, &mut spoken) {
                        break;
                    }
                }
                Ok(None) => panic!("the host ended"),
                Err(_) => {}
            }
        }
        if turn == WARM {
            warm = Some(Footprint::of(std::process::id(), &dir.path().join("compiled")));
        }
    }
    let now = Footprint::of(std::process::id(), &dir.path().join("compiled"));
    println!("{REPLACEMENTS} replacements, {} evaluations, {:?}: {now}", listener.evaluations, started.elapsed());
    now.as_before(&warm.unwrap(), NOTHING).unwrap();
    assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    load.await.unwrap();

    // The one that all versions of `same` raise began once, and never ended.
    assert_eq!(listener.phases("same", "Always"), [Phase::Firing]);
    // Those of `named` began with their version and ended with it, each time.
    for n in 0..VERSIONS {
        let turns = REPLACEMENTS / VERSIONS;
        let mut wanted = [Phase::Firing, Phase::Resolved].repeat(turns);
        if n == VERSIONS - 1 {
            wanted.pop();
        }
        assert_eq!(listener.phases("named", &version(n)), wanted, "{}", version(n));
    }
    assert_eq!(listener.transitions.len(), 1 + 2 * REPLACEMENTS - 1);
}
