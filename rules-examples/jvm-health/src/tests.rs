use super::JvmHealth;
use brokerwarden_rule::{
    mock::{Mock, label},
    prelude::*,
    read_config,
};

/// As exporter 0.17 and 1.0 write it, and as its rules do.
const AGENT_0_17: &str = "jvm_memory_bytes_max{area=\"heap\",} 8.0E8
jvm_memory_pool_collection_used_bytes{pool=\"G1 Eden Space\",} 9.0E8
jvm_memory_pool_collection_used_bytes{pool=\"G1 Old Gen\",} USED
jvm_memory_pool_collection_max_bytes{pool=\"G1 Eden Space\",} -1.0
jvm_memory_pool_collection_max_bytes{pool=\"G1 Old Gen\",} 8.0E8
jvm_gc_collection_seconds_sum{gc=\"G1 Young Generation\",} SECONDS
jvm_gc_collection_seconds_sum{gc=\"G1 Old Generation\",} 0.0
jvm_threads_deadlocked DEADLOCKED
";
const AGENT_1_0: &str = "jvm_memory_max_bytes{area=\"heap\"} 8.0E8
jvm_memory_pool_collection_used_bytes{pool=\"ZHeap\"} USED
jvm_memory_pool_collection_max_bytes{pool=\"ZHeap\"} -1.0
jvm_gc_collection_seconds_sum{gc=\"ZGC Pauses\"} SECONDS
jvm_gc_collection_seconds_sum{gc=\"ZGC Cycles\"} CYCLES
jvm_threads_deadlocked DEADLOCKED
";
const DEFAULT_RULES: &str = "java_lang_g1_old_gen_collectionusage_used{type=\"MemoryPool\"} USED
java_lang_g1_eden_space_collectionusage_used{type=\"MemoryPool\"} 0
java_lang_g1_old_gen_collectionusage_max{type=\"MemoryPool\"} 8.0E8
java_lang_g1_young_generation_collectiontime{type=\"GarbageCollector\"} MILLISECONDS
";
const LABELLED_RULES: &str = "java_lang_memorypool_collectionusage_used{name=\"PS Old Gen\"} USED
java_lang_memorypool_collectionusage_max{name=\"PS Old Gen\"} 8.0E8
java_lang_garbagecollector_collectiontime{name=\"PS Scavenge\"} MILLISECONDS
";

fn page(template: &str, used: f64, seconds: f64, deadlocked: u32) -> String {
    template
        .replace("USED", &used.to_string())
        .replace("MILLISECONDS", &(seconds * 1_000.0).to_string())
        .replace("SECONDS", &seconds.to_string())
        .replace("CYCLES", &(seconds * 100.0).to_string())
        .replace("DEADLOCKED", &deadlocked.to_string())
}

fn evaluate(mock: &mut Mock, page: &str) -> Vec<Alert> {
    mock.forget_samples();
    mock.set_page(page);
    let said = mock.evaluate::<JvmHealth>(r#"{"gc_window": "1m"}"#).unwrap();
    mock.advance_ms(60_000);
    said.alerts
}

fn names(alerts: &[Alert]) -> Vec<(&str, Option<f64>)> {
    alerts.iter().map(|alert| (alert.name.as_str(), alert.value.map(|value| (value * 100.0).round() / 100.0))).collect()
}

#[track_caller]
fn check(template: &str, deadlocks: bool) {
    let mut mock = Mock::new();
    assert_eq!(evaluate(&mut mock, &page(template, 7.2e8, 10.0, 0)), []);
    let said = evaluate(&mut mock, &page(template, 7.28e8, 22.6, 2));
    let mut want = vec![("JvmDeadlock", Some(2.0)), ("JvmGcTime", Some(0.21)), ("JvmHeapFull", Some(0.91))];
    want.retain(|(name, _)| deadlocks || *name != "JvmDeadlock");
    assert_eq!(names(&said), want);
    assert!(said.iter().all(|alert| alert.subject == Subject::Broker && alert.labels.is_empty()));
    // The clock starts anew with the JVM.
    assert_eq!(evaluate(&mut mock, &page(template, 1e8, 0.5, 0)), []);
}

#[test]
fn every_version_and_rule_set_is_understood() {
    check(AGENT_0_17, true);
    check(AGENT_1_0, true);
    check(DEFAULT_RULES, false);
    check(LABELLED_RULES, false);
}

#[test]
fn people_are_told_what_to_do() {
    let mut mock = Mock::new();
    let said = evaluate(&mut mock, &page(AGENT_0_17, 7.6e8, 0.0, 0));
    assert_eq!(label(&said[0].annotations, "summary"), "the heap is 95 % full after a collection");
    let description = label(&said[0].annotations, "description");
    assert!(
        description.starts_with("After its last collection 724.8 MiB of 762.9 MiB of the JVM's old generation were"),
        "{description}"
    );
}

#[test]
fn pages_are_told_apart_by_their_labels() {
    let mut mock = Mock::new();
    let line = |of: &str, deadlocked: u32| format!("jvm_threads_deadlocked{{jvm=\"{of}\"}} {deadlocked}\n");
    let said = evaluate(&mut mock, &(line("broker", 0) + &line("connect", 3)));
    let [alert] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(alert.labels, [Label::new("jvm", "connect")]);
    assert_eq!(label(&alert.annotations, "summary"), "3 threads are deadlocked (jvm=connect)");
}

#[test]
fn what_no_page_shows_is_not_healthy() {
    let mut mock = Mock::new();
    assert!(
        matches!(mock.evaluate::<JvmHealth>("{}"), Err(Failure::Unavailable(text)) if text.contains("jvm_threads_deadlocked"))
    );
    mock.set_page(&page(AGENT_1_0, 0.0, 0.0, 0));
    mock.set_target("broker", false, None);
    assert!(matches!(mock.evaluate::<JvmHealth>("{}"), Err(Failure::Unavailable(_))));
}

#[test]
fn shares_are_shares() {
    let refused = |config: &str| read_config::<JvmHealth>(config).unwrap_err();
    assert_eq!(refused(r#"{"heap": 90}"#), "config.heap: must be a share above 0, at most 1, is 90");
    assert_eq!(refused(r#"{"gc_time": 0}"#), "config.gc_time: must be a share above 0, at most 1, is 0");
    assert!(refused(r#"{"gc_window": "5"}"#).starts_with("config.gc_window: \"5\" is no duration"));
}
