//! wasmtime alone, doing the calls that a rule and the agent do: what the rule host is measured against. Answers are made
//! once, checks and limits there are none.

#![expect(dead_code, reason = "what crosses the boundary is taken over whole, and not looked at")]

use super::attacks::version;
use std::sync::Arc;
use wasmtime::{
    Config, Engine, PoolingAllocationConfig, Store,
    component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower, TypedFunc},
};

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Pattern {
    #[component(name = "exact")]
    Exact(String),
    #[component(name = "glob")]
    Glob(String),
    #[component(name = "regex")]
    Regex(String),
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Filter {
    groups: Vec<Pattern>,
    topics: Vec<Pattern>,
    #[component(name = "min-lag")]
    min_lag: Option<i64>,
    offset: u32,
    limit: u32,
}

/// As the contract's `lag-columns`. Shared, so that an answer costs a copy into the guest and nothing else.
#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct Columns {
    names: Arc<[String]>,
    group: Arc<[u32]>,
    topic: Arc<[u32]>,
    partition: Arc<[u32]>,
    status: Arc<[u8]>,
    committed: Arc<[i64]>,
    #[component(name = "committed-at-ms")]
    committed_at_ms: Arc<[i64]>,
    #[component(name = "log-start")]
    log_start: Arc<[i64]>,
    #[component(name = "log-end")]
    log_end: Arc<[i64]>,
    #[component(name = "last-stable")]
    last_stable: Arc<[i64]>,
    lag: Arc<[i64]>,
    lost: Arc<[i64]>,
    #[component(name = "lag-seconds")]
    lag_seconds: Arc<[f64]>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-argument")]
    InvalidArgument(String),
    #[component(name = "limit-exceeded")]
    LimitExceeded(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Target {
    name: String,
    up: bool,
    #[component(name = "last-success-ms")]
    last_success_ms: Option<u64>,
}

#[derive(ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Context {
    #[component(name = "now-ms")]
    now_ms: u64,
    #[component(name = "interval-ms")]
    interval_ms: u64,
    rule: String,
    cluster: String,
    config: String,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Subject {
    #[component(name = "group")]
    Group(String),
    #[component(name = "topic")]
    Topic(String),
    #[component(name = "broker")]
    Broker,
    #[component(name = "agent")]
    Agent,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Label {
    name: String,
    value: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Alert {
    subject: Subject,
    name: String,
    labels: Vec<Label>,
    annotations: Vec<Label>,
    value: Option<f64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Action {
    subject: Subject,
    name: String,
    params: Vec<Label>,
    key: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Measurement {
    subject: Subject,
    name: String,
    labels: Vec<Label>,
    value: f64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Outcome {
    alerts: Vec<Alert>,
    actions: Vec<Action>,
    measurements: Vec<Measurement>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Failure {
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "failed")]
    Failed(String),
}

type Evaluate = TypedFunc<(&'static Context,), (Result<Outcome, Failure>,)>;

/// A component, ready to be instantiated.
pub(crate) struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    evaluate: ComponentExportIndex,
    context: &'static Context,
}

impl Bare {
    /// Compiles it; its answers have that many rows.
    pub(crate) fn new(module: &[u8], rows: usize) -> Self {
        let mut config = Config::new();
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(2 << 20);
        config.epoch_interruption(true).concurrency_support(false).allocation_strategy(pool);
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, module).unwrap();
        let mut linker = Linker::<()>::new(&engine);
        let columns = columns(rows);
        let mut snapshot = linker.instance(&format!("brokerwarden:rule/snapshot@{}", version())).unwrap();
        let table = move |_: wasmtime::StoreContextMut<'_, ()>, (_,): (Filter,)| Ok((Ok::<_, Error>(columns.clone()),));
        snapshot.func_wrap("lag-table", table).unwrap();
        snapshot.func_wrap("targets", |_, (): ()| Ok((Vec::<Target>::new(),))).unwrap();
        let mut logging = linker.instance(&format!("brokerwarden:rule/logging@{}", version())).unwrap();
        logging.func_wrap("log", |_, (_, _): (Level, String)| Ok(())).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        let evaluator = format!("brokerwarden:rule/evaluator@{}", version());
        let interface = component.get_export_index(None, &evaluator).unwrap();
        let evaluate = component.get_export_index(Some(&interface), "evaluate").unwrap();
        let context = Box::leak(Box::new(Context {
            now_ms: 1_763_888_400_000,
            interval_ms: 5_000,
            rule: "bench".into(),
            cluster: "bench".into(),
            config: "{}".into(),
        }));
        Self { engine, pre, evaluate, context }
    }

    /// One call in a store of its own; how many alerts hold.
    pub(crate) fn evaluate(&self) -> usize {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = self.pre.instantiate(&mut store).unwrap();
        let evaluate: Evaluate = instance.get_typed_func(&mut store, self.evaluate).unwrap();
        let (said,) = evaluate.call(&mut store, (self.context,)).unwrap();
        said.ok().map(|outcome| outcome.alerts.len()).unwrap()
    }
}

fn columns(rows: usize) -> Columns {
    let ids: Arc<[u32]> = (0..700).cycle().take(rows).collect();
    let numbers: Arc<[i64]> = (0..20).cycle().take(rows).collect();
    let same = || Arc::clone(&numbers);
    Columns {
        names: (0..700).map(|name| format!("group-{name:04}")).collect(),
        group: Arc::clone(&ids),
        topic: Arc::clone(&ids),
        partition: ids,
        status: vec![0; rows].into(),
        committed: same(),
        committed_at_ms: same(),
        log_start: same(),
        log_end: same(),
        last_stable: same(),
        lag: same(),
        lost: same(),
        lag_seconds: vec![0.5; rows].into(),
    }
}
