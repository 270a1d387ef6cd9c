//! Tests of the rule host against guests written in WAT (`tests/data/guests`), which need no toolchain.

mod answers;
#[path = "../../../tests/harness/attacks.rs"]
mod attacks;
#[expect(dead_code, reason = "what needs a compiler of its own is for tests/hostile")]
#[path = "../../../tests/harness/bombs.rs"]
mod bombs;
mod builtins;
mod hostile;
mod matrix;
mod offline;
mod over_time;
mod properties;
mod reload;
mod schedule;
mod takeover;
mod trial;
mod verify;

use super::{
    Config, Limits, Overlay, RuleConfig, bindings,
    cache::Cache,
    compile, engine,
    evaluate::{Code, Finished, Job, evaluate},
    host,
    load::Loader,
    memory::Memory,
    state::State,
};
use crate::{
    model::Timestamp,
    pipeline::{RuleSettings, Verdict},
    snapshot::{Group, GroupKind, KafkaView, LagRow, Share, Snapshot},
    supervise::{Ended, Tasks},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use wasmtime::component::Linker;
use wit_component::StringEncoding;

/// The parts of WASI that guests here use, besides the contract.
const WASI: &str = r"
package brokerwarden:tests;
world guest {
    include brokerwarden:rule/rule@0.1.0;
    import wasi:clocks/wall-clock@0.2.12;
    import wasi:clocks/monotonic-clock@0.2.12;
    import wasi:io/poll@0.2.12;
    import wasi:io/streams@0.2.12;
    import wasi:cli/stderr@0.2.12;
    import wasi:random/random@0.2.12;
}
world migrating { include guest; export brokerwarden:rule/state-migration@0.1.0; }
package wasi:io@0.2.12 {
    interface error { resource error; }
    interface poll { resource pollable { block: func(); } }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.12 {
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    interface monotonic-clock {
        use wasi:io/poll@0.2.12.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:random@0.2.12 {
    interface random { get-random-u64: func() -> u64; }
}
package wasi:cli@0.2.12 {
    interface stderr {
        use wasi:io/streams@0.2.12.{output-stream};
        get-stderr: func() -> output-stream;
    }
}
";

/// Text of a guest.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new("tests/data/guests").join(name)).unwrap()
}

/// A guest's file as a user would have it: a component, or a core module that says which world it is for.
pub(crate) fn module(text: &str) -> Vec<u8> {
    module_for(bindings::VERSION, text)
}

/// The same for another version of the contract that says the same.
fn module_for(version: &str, text: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(text).unwrap();
    let world = if text.contains("/state-migration@") { "migrating" } else { "guest" };
    if bytes[4] == 1 {
        let mut resolve = wit_parser::Resolve::default();
        let of_version = |text: &str| text.replace(bindings::VERSION, version);
        let contract = std::fs::read_to_string("guest-sdk/wit/rule.wit").unwrap();
        resolve.push_str("rule.wit", &of_version(&contract)).unwrap();
        let package = resolve.push_str("wasi.wit", &of_version(WASI)).unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).unwrap();
    }
    bytes
}

/// A rule host without schedule or files.
pub(super) struct Bench {
    _ended: Ended,
    tasks: Tasks,
    linker: Linker<host::Host>,
    ticking: Arc<engine::Ticking>,
    alive: Arc<()>,
}

impl Bench {
    fn new() -> Self {
        let (tasks, ended) = Tasks::new();
        let engine = engine::for_running(2).unwrap();
        let alive = engine::token();
        let ticking = Arc::default();
        engine::tick(&tasks, &engine, Arc::clone(&ticking), Arc::downgrade(&alive)).unwrap();
        let linker = host::linker(&engine).unwrap();
        Self { _ended: ended, tasks, linker, ticking, alive }
    }

    fn loader(&self) -> Loader {
        Loader::new(self.linker.clone(), Arc::clone(&self.ticking), no_cache(), in_process, self.tasks.stop())
    }

    fn code(&self, text: &str) -> Arc<Code> {
        self.loader().code(Path::new(""), &module(text)).unwrap().unwrap()
    }

    /// Why a file is no rule.
    fn refusal(&self, bytes: &[u8]) -> String {
        self.loader().code(Path::new(""), bytes).err().unwrap().to_string()
    }

    /// One evaluation of a guest.
    fn run(&self, code: &Arc<Code>, snapshot: Snapshot, state: State) -> Finished {
        self.run_with(code, snapshot, state, Limits::default(), "{}")
    }

    fn run_with(&self, code: &Arc<Code>, snapshot: Snapshot, state: State, limits: Limits, config: &str) -> Finished {
        let job = Job {
            code: Arc::clone(code),
            settings: Arc::new(settings("r")),
            config: config.into(),
            limits,
            snapshot: Arc::new(snapshot),
            memory: Memory { state, ..Memory::default() },
        };
        evaluate(&job, &[7; 32], &self.tasks.stop())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.alive = Arc::default();
        self.tasks.stop().stop();
    }
}

fn no_cache() -> Cache {
    Cache::open(Path::new("/proc/nowhere"), "e")
}

fn in_process(_: &Path, bytes: &[u8]) -> compile::Compiling {
    compile::Compiling::Done(compile::compile_bytes(bytes))
}

fn settings(name: &str) -> RuleSettings {
    RuleConfig::default().settings(name, &Overlay::default())
}

/// A snapshot with group `g`: 30 behind on `t`, unknown on `u`.
pub(super) fn snapshot(number: u64, at: u64) -> Snapshot {
    let row = |topic: &str, end| LagRow::new(0, topic.into(), 0, Some(10), Some(Timestamp(5)), Some(0), end);
    let group = Group {
        name: "g".into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(1),
        coordinator: None,
        ours: true,
    };
    Snapshot {
        number,
        at: Timestamp(at),
        interval: Duration::from_secs(5),
        cluster: "c".into(),
        kafka: Some(Arc::new(KafkaView {
            groups: vec![group],
            rows: vec![row("t", Some(40)), row("u", None)],
            offsets_partitions: vec![Some(Share::Ours)],
            ..KafkaView::default()
        })),
        pages: vec![],
        targets: vec![],
    }
}

fn config(rules_dir: &Path) -> Config {
    Config {
        rules_dir: Some(rules_dir.to_owned()),
        rules: vec![],
        parse_sidecar: |text| match text.strip_prefix("config: ") {
            Some(config) => Ok(Overlay { config: Some(config.to_owned()), ..Overlay::default() }),
            None => Err("only config here".into()),
        },
        cache_dir: rules_dir.join("compiled"),
        compiler: PathBuf::new(),
    }
}

#[track_caller]
fn alert_value(finished: &Finished) -> Option<f64> {
    match &finished.verdict {
        Verdict::Outcome(outcome) => outcome.alerts[0].value,
        other => panic!("{other:?}"),
    }
}
