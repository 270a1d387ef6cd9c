//! The rule in other languages, where a file of cases is not enough: more rows than one answer has.

use super::{Bench, engine, in_process, settings, snapshot};
use crate::{
    pipeline::Verdict,
    rules::{
        Limits,
        cache::Cache,
        evaluate::{Job, evaluate},
        load::Loader,
        memory::Memory,
    },
    snapshot::{KafkaView, LagRow, Snapshot},
};
use std::{fs, io::Read, path::Path, sync::Arc};

/// Group `g` on so many topics; the last one is 101 behind, the others 100.
fn topics(count: usize) -> Snapshot {
    let base = snapshot(1, 1);
    let row = |number| {
        let end = if number + 1 == count { 101 } else { 100 };
        LagRow::new(0, format!("t{number:04}").into(), 0, Some(0), None, Some(0), Some(end))
    };
    let kafka = KafkaView { rows: (0..count).map(row).collect(), ..KafkaView::clone(base.kafka.as_ref().unwrap()) };
    Snapshot { kafka: Some(Arc::new(kafka)), ..base }
}

#[test]
fn rules_in_all_languages_read_all_pages() {
    let bench = Bench::new();
    // WASI wants one.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    // QuickJS takes seconds to compile: once for all runs of this test.
    let cache = Cache::open(Path::new("target/test-compiled/pages"), &engine::identity(bench.linker.engine()));
    let ticking = Arc::clone(&bench.ticking);
    let mut loader = Loader::new(bench.linker.clone(), ticking, cache, in_process, bench.tasks.stop());
    for language in ["c", "go", "js", "rust", "ts"] {
        let held = fs::File::open(format!("tests/data/held/{language}.wasm.gz")).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(held).read_to_end(&mut bytes).unwrap();
        let code = loader.code(Path::new(""), &bytes).unwrap_or_else(|error| panic!("{language}: {error}")).unwrap();
        let job = Job {
            code,
            settings: Arc::new(settings("r")),
            config: r#"{"thresholds":{"g":100}}"#.into(),
            limits: Limits::default(),
            snapshot: Arc::new(topics(2_500)),
            memory: Memory::default(),
        };
        match evaluate(&job, &[7; 32], &bench.tasks.stop()).verdict {
            Verdict::Outcome(outcome) => {
                let topics: Vec<_> = outcome.alerts.iter().map(|alert| alert.labels["topic"].as_str()).collect();
                assert_eq!(topics, ["t2499"], "{language}");
            }
            other => panic!("{language}: {other:?}"),
        }
    }
}
