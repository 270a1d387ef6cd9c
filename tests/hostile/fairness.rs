//! A hundred rules on one host, some of which are as heavy as they may be: who gets its turn, and when.

use crate::{
    alone,
    footprint::per_mille,
    harness::{attacks, temp_dir},
};
use brokerwarden::{
    config::parse_sidecar,
    events::SelfMetrics,
    model::Timestamp,
    pipeline::{Input, Settled, Verdict},
    rules::{self, Config, Joint, Limits, Module, Overlay, RuleConfig},
    snapshot::{Group, GroupKind, KafkaView, LagRow, Share, Snapshot},
    supervise::Tasks,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

const CHEAP: usize = 79;
const HEAVY: usize = 20;
/// Distance between snapshots: a fifth of the default one, so that there is not time for all.
const TICK: Duration = Duration::from_secs(1);
/// Ticks of a run without heavy rules, and of one with them.
const CALM_TICKS: u64 = 12;
const TICKS: u64 = 36;
/// How late is not late: a cycle of the machine's scheduler between two that want its two cores.
const NOISE: Duration = Duration::from_millis(50);
/// What one unit of a heavy rule's work is measured with.
const UNITS: u32 = 400;

/// 20,000 rows in one group.
fn rows() -> Arc<KafkaView> {
    let group = Group {
        name: "g".into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(1),
        coordinator: None,
        ours: true,
    };
    let topics: Vec<Arc<str>> = (0..200).map(|topic| format!("topic-{topic:03}").into()).collect();
    let row =
        |topic: &Arc<str>, partition| LagRow::new(0, Arc::clone(topic), partition, Some(1), None, Some(0), Some(2));
    let rows = topics.iter().flat_map(|topic| (0..100).map(move |partition| row(topic, partition)));
    Arc::new(KafkaView {
        rows: rows.collect(),
        groups: vec![group],
        offsets_partitions: vec![Some(Share::Ours)],
        ..KafkaView::default()
    })
}

fn snapshot(number: u64, kafka: &Arc<KafkaView>) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        number,
        at: Timestamp(number * 1_000),
        interval: TICK,
        cluster: "c".into(),
        kafka: Some(Arc::clone(kafka)),
        pages: vec![],
        targets: vec![],
    })
}

/// One evaluation as the pipeline hears of it.
struct Heard {
    rule: String,
    snapshot: u64,
    /// Time since that snapshot was there.
    after: Duration,
    good: bool,
}

/// The rule host with the threads that it has in the agent.
struct Host {
    tasks: Tasks,
    handle: rules::RulesHandle,
    snapshots: watch::Sender<Arc<Snapshot>>,
    settle: watch::Sender<Arc<Settled>>,
    heard: mpsc::Receiver<Input>,
    kafka: Arc<KafkaView>,
    number: u64,
}

impl Host {
    fn start(config: Config) -> Self {
        let (tasks, _) = Tasks::new();
        let kafka = rows();
        let (snapshots, receiver) = watch::channel(snapshot(0, &kafka));
        let (pipeline, heard) = mpsc::channel(1_000);
        let (settle, settled) = watch::channel(Arc::default());
        let joint = Joint { inputs: pipeline, settled, restored: BTreeMap::new() };
        let (view, _) = watch::channel(Arc::default());
        let metrics = Arc::new(SelfMetrics::default());
        let handle = rules::start(&tasks, config, receiver, joint, view, metrics).unwrap();
        Self { tasks, handle, snapshots, settle, heard, kafka, number: 0 }
    }

    /// Waits until so many rules more are live.
    async fn installed(&mut self, count: usize) {
        let mut installed = 0;
        while installed < count {
            let heard = tokio::time::timeout(Duration::from_mins(1), self.heard.recv()).await;
            let input = heard.expect("rules are live").unwrap();
            self.settle(&input);
            installed += usize::from(matches!(input, Input::Installed { .. }));
        }
    }

    /// The book has taken that, as it does at once while there is nothing else to do.
    fn settle(&self, input: &Input) {
        if let Input::Evaluated(evaluation) = input {
            let which = (evaluation.generation, evaluation.snapshot.number);
            self.settle.send_modify(|settled| {
                Arc::make_mut(settled).taken.insert(evaluation.settings.name.clone(), which);
            });
        }
    }

    /// A snapshot of the time 0, on which rules behave that shall be live.
    fn behave(&mut self) {
        self.number += 1;
        let calm = Snapshot { at: Timestamp(0), ..Snapshot::clone(&snapshot(self.number, &self.kafka)) };
        self.snapshots.send_replace(Arc::new(calm));
    }

    /// One snapshot after the other; all that was heard of them.
    async fn ticks(&mut self, count: u64) -> Vec<Heard> {
        let mut all = Vec::new();
        for _ in 0..count {
            self.number += 1;
            let started = Instant::now();
            self.snapshots.send_replace(snapshot(self.number, &self.kafka));
            while let Some(left) = TICK.checked_sub(started.elapsed()) {
                let Ok(Some(input)) = tokio::time::timeout(left, self.heard.recv()).await else { break };
                self.settle(&input);
                if let Input::Evaluated(evaluation) = input {
                    let snapshot = evaluation.snapshot.number;
                    // Of an earlier one: late by that many ticks more.
                    let ticks = u32::try_from(self.number - snapshot).unwrap();
                    all.push(Heard {
                        rule: evaluation.settings.name.clone(),
                        snapshot,
                        after: started.elapsed() + TICK * ticks,
                        good: matches!(evaluation.verdict, Verdict::Outcome(_)),
                    });
                }
            }
        }
        all
    }
}

/// A rule that reads all rows, and then works in proportion to the length of its configuration.
fn heavy(table: &str) -> String {
    let work = "(local.set $left (i32.mul (local.get $config_len) (i32.const 100000)))
      (loop $work
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $work (i32.gt_s (local.get $left) (i32.const 0))))
      (i32.store (i32.const 1028)";
    let heavy = table.replacen("(i32.store (i32.const 1028)", work, 1);
    assert_ne!(heavy, table);
    heavy
}

fn listed(module: &Path, units: u32, time: Duration) -> RuleConfig {
    let config = format!("{{}}{}", " ".repeat(usize::try_from(units).unwrap()));
    RuleConfig {
        module: Some(Module::File(module.to_owned())),
        overlay: Overlay { config: Some(config), ..Overlay::default() },
        limits: Limits { time, ..Limits::default() },
        sha256: None,
        actions: BTreeSet::new(),
    }
}

/// What was heard of rules whose name begins so: how many of `expected` evaluations came in their own tick, and how late
/// they came.
fn of(heard: &[Heard], prefix: &str) -> (usize, Vec<Duration>) {
    let all = heard.iter().filter(|heard| heard.rule.starts_with(prefix));
    let after: Vec<_> = all.map(|heard| heard.after).collect();
    (after.iter().filter(|after| **after < TICK).count(), after)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[expect(clippy::await_holding_lock, reason = "nobody waits for it on this runtime")]
async fn cheap_rules_meet_their_ticks_and_heavy_ones_get_their_turns() {
    let _alone = alone();
    let dir = temp_dir("fairness");
    let table = fs::read_to_string("tests/data/guests/table.wat").unwrap();
    // But for its dry run, which sees the time 0.
    let for_ever = "(if (i64.ne (local.get $now) (i64.const 0)) (then (loop $for_ever (br $for_ever)))) (i32.store (i32.const 1028)";
    let endless = table.replacen("(i32.store (i32.const 1028)", for_ever, 1);
    let [cheap, heavy, endless] =
        [("cheap", table.clone()), ("heavy", heavy(&table)), ("endless", endless)].map(|(name, text)| {
            let path = dir.path().join(format!("{name}.module"));
            fs::write(&path, attacks::component(&text, "guest")).unwrap();
            path
        });
    let time = Limits::default().time;
    let config = |rules: Vec<(String, RuleConfig)>| Config {
        rules_dir: None,
        rules,
        parse_sidecar,
        cache_dir: dir.path().join("compiled"),
        compiler: env!("CARGO_BIN_EXE_brokerwarden").into(),
    };
    // What a unit of work costs here and now, with time enough for it.
    let measured = {
        let probe = config(vec![("probe".into(), listed(&heavy, UNITS, Duration::from_secs(10)))]);
        let mut host = Host::start(probe);
        host.installed(1).await;
        let mut after: Vec<_> = host.ticks(5).await.iter().map(|heard| heard.after).collect();
        after.sort();
        assert!(host.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
        after[0]
    };
    // 95 % of the limit, less what differs from one evaluation to the next on a shared machine.
    let units = u32::try_from(u128::from(UNITS) * (time * 95 / 100).as_micros() / measured.as_micros()).unwrap();
    println!("{UNITS} units took {measured:?}; heavy rules do {units}");

    let cheap_rules: Vec<_> = (0..CHEAP).map(|n| (format!("cheap-{n:02}"), listed(&cheap, 0, time))).collect();
    let mut all = cheap_rules.clone();
    all.extend((0..HEAVY).map(|n| (format!("heavy-{n:02}"), listed(&heavy, units, time * 5 / 4))));
    all.push(("endless".into(), listed(&endless, 1, time)));
    let mut host = Host::start(config(cheap_rules.clone()));
    host.installed(CHEAP).await;
    let mut last = String::new();
    // What others do on this machine in one of the runs, and not in the other, is not ours.
    for _ in 0..3 {
        let calm = host.ticks(CALM_TICKS).await;
        host.behave();
        host.handle.reconfigure(config(all.clone()));
        host.installed(HEAVY + 1).await;
        // The first ticks: nobody can know yet who is heavy.
        host.ticks(4).await;
        let crowded = host.ticks(TICKS).await;
        host.handle.reconfigure(config(cheap_rules.clone()));
        host.ticks(2).await;

        let ((_, calm_after), (met, cheap_after)) = (of(&calm, "cheap"), of(&crowded, "cheap"));
        let expected = CHEAP * usize::try_from(TICKS).unwrap();
        let mut turns: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for heard in crowded.iter().filter(|heard| heard.rule.starts_with("heavy") && heard.good) {
            turns.entry(&heard.rule).or_default().insert(heard.snapshot);
        }
        let fewest = if turns.len() == HEAVY { turns.values().map(BTreeSet::len).min().unwrap() } else { 0 };
        let (before, now) = (per_mille(&calm_after, 990), per_mille(&cheap_after, 990));
        last = format!(
            "cheap ones met {met} of {expected} ticks, p99 {now:?} after the snapshot and {before:?} without heavy ones; \
             heavy ones had {fewest} turns or more in {TICKS} ticks"
        );
        println!("{last}");
        assert!(crowded.iter().filter(|heard| heard.rule == "endless").all(|heard| !heard.good));
        if met * 100 >= expected * 99 && fewest * 12 >= usize::try_from(TICKS).unwrap() && now <= before.max(NOISE) * 2
        {
            assert!(host.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
            return;
        }
    }
    panic!("{last}");
}
