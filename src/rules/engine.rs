//! wasmtime as we use it: which WebAssembly is taken, how instances are pooled, the clock that ends endless loops.

use super::limits;
use crate::supervise::Tasks;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};
use wasmtime::{Config, Engine, PoolingAllocationConfig};

/// How often the epoch's thread looks whether it should end, while nothing is evaluated.
const LOOK: Duration = Duration::from_millis(100);

/// What the child that compiles and the agent that runs must agree on.
fn config() -> Config {
    let mut config = Config::new();
    // More than one memory in a module stays allowed: where a component is made of others (as those of QuickJS are), what
    // wasmtime puts between them copies from one memory to the other. All memories together have one limit all the same.
    // Tail calls stay allowed, too: QuickJS is built with them, and each call looks at the epoch.
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(limits::MAX_WASM_STACK)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    config
}

/// For compiling only: reserves nothing, so that it works under an address space limit.
pub(super) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// For running on up to `threads` threads at once.
pub(super) fn for_running(threads: usize) -> wasmtime::Result<Engine> {
    let count = |each: usize| u32::try_from(each.saturating_mul(threads)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(1))
        .total_core_instances(count(limits::MAX_INSTANCES))
        .total_memories(count(limits::MAX_MEMORIES))
        .total_tables(count(limits::MAX_TABLES))
        .max_core_instances_per_component(u32::try_from(limits::MAX_INSTANCES).unwrap_or(u32::MAX))
        .max_memories_per_component(u32::try_from(limits::MAX_MEMORIES).unwrap_or(u32::MAX))
        .max_tables_per_component(u32::try_from(limits::MAX_TABLES).unwrap_or(u32::MAX))
        .max_tables_per_module(u32::try_from(limits::MAX_TABLES).unwrap_or(u32::MAX))
        .max_component_instance_size(limits::MAX_INSTANCE_BYTES)
        .max_core_instance_size(limits::MAX_INSTANCE_BYTES)
        .linear_memory_keep_resident(limits::KEPT_MEMORY)
        // No more than run at once: what an evaluation with many memories touched would all stay else.
        .max_unused_warm_slots(count(1).min(limits::WARM_SLOTS))
        .max_memory_size(limits::MAX_MEMORY)
        .table_elements(limits::MAX_TABLE_ELEMENTS);
    let mut pooled = config();
    pooled.allocation_strategy(pool);
    Engine::new(&pooled).or_else(|error| {
        // A pool reserves address space (never memory); where that is limited, rules run all the same, slower.
        tracing::warn!(error = %format!("{error:#}"), "cannot reserve address space for rules; instances are made one by one");
        Engine::new(&config())
    })
}

/// Changes whenever compiled code of before must not be used any more.
pub(super) fn identity(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Counts evaluations, so that the epoch ticks only while there are any: 200 wake-ups a second cost more than all else
/// that an idle agent does.
#[derive(Debug, Default)]
pub(super) struct Ticking {
    running: Mutex<usize>,
    bell: Condvar,
}

/// While this lives, the epoch ticks.
pub(super) struct Evaluating(Arc<Ticking>);

impl Ticking {
    pub(super) fn begin(self: &Arc<Self>) -> Evaluating {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_add(1);
        if *running == 1 {
            self.bell.notify_all();
        }
        Evaluating(Arc::clone(self))
    }

    /// Is there an evaluation, now or within `limit`?
    fn await_any(&self, limit: Duration) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(running, limit, |running| *running == 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > 0
    }
}

impl Drop for Evaluating {
    fn drop(&mut self) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_sub(1);
    }
}

/// Keeps the epoch ticking while something is evaluated, and for as long as one of the threads that evaluate holds its
/// token.
pub(super) fn tick(tasks: &Tasks, engine: &Engine, ticking: Arc<Ticking>, evaluating: Weak<()>) -> std::io::Result<()> {
    let engine = engine.clone();
    tasks.thread("rules-epoch", move |stop| {
        while !stop.stopped() || evaluating.strong_count() > 0 {
            if ticking.await_any(LOOK) {
                // Not `Stop::sleep`: evaluations must be interrupted also while all is being stopped.
                thread::park_timeout(limits::EPOCH_TICK);
                engine.increment_epoch();
            }
        }
    })
}

/// A token for [`tick`].
pub(super) fn token() -> Arc<()> {
    Arc::new(())
}
