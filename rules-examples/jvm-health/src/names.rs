//! What the same thing is called by the versions of the JMX exporter and by the rule sets that it is run with.

use brokerwarden_rule::{Period, Sample, prelude::*, rates};
use std::collections::BTreeMap;

/// Labels that tell one JVM from another.
pub(crate) type Jvm = BTreeMap<String, String>;

/// A memory pool or collector of a JVM, and a figure about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    pub(crate) jvm: Jvm,
    /// In lower case, words with spaces between: `g1 old gen`.
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// One way to ask for a figure.
#[derive(Debug)]
pub(crate) struct Alias {
    selector: &'static str,
    element: ElementName,
    /// To get bytes or seconds.
    factor: f64,
}

/// Where the name of the pool or collector stands.
#[derive(Debug)]
enum ElementName {
    Label(&'static str),
    /// In the metric's name, between these.
    Between(&'static str, &'static str),
    None,
}

use ElementName::{Between, Label as InLabel};

/// In use after the last collection, in bytes. The exporter's own metrics of the JVM are the same in its versions 0.17 and
/// 1.x; the others come from its rules: names in lower case, names as in Java, and the pattern of its default rules.
pub(crate) const HEAP_AFTER_GC_USED: &[Alias] = &[
    Alias { selector: "jvm_memory_pool_collection_used_bytes", element: InLabel("pool"), factor: 1.0 },
    Alias { selector: "java_lang_memorypool_collectionusage_used", element: InLabel("name"), factor: 1.0 },
    Alias { selector: "java_lang_MemoryPool_CollectionUsage_used", element: InLabel("name"), factor: 1.0 },
    Alias {
        selector: r#"{__name__=~"java_lang_.+_collectionusage_used"}"#,
        element: Between("java_lang_", "_collectionusage_used"),
        factor: 1.0,
    },
];

/// What these pools may have at most.
pub(crate) const HEAP_AFTER_GC_MAX: &[Alias] = &[
    Alias { selector: "jvm_memory_pool_collection_max_bytes", element: InLabel("pool"), factor: 1.0 },
    Alias { selector: "java_lang_memorypool_collectionusage_max", element: InLabel("name"), factor: 1.0 },
    Alias { selector: "java_lang_MemoryPool_CollectionUsage_max", element: InLabel("name"), factor: 1.0 },
    Alias {
        selector: r#"{__name__=~"java_lang_.+_collectionusage_max"}"#,
        element: Between("java_lang_", "_collectionusage_max"),
        factor: 1.0,
    },
];

/// What the heap may have at most: renamed by version 1.0 of the exporter.
pub(crate) const HEAP_MAX: &[Alias] = &[
    Alias { selector: r#"jvm_memory_max_bytes{area="heap"}"#, element: ElementName::None, factor: 1.0 },
    Alias { selector: r#"jvm_memory_bytes_max{area="heap"}"#, element: ElementName::None, factor: 1.0 },
    Alias { selector: "java_lang_memory_heapmemoryusage_max", element: ElementName::None, factor: 1.0 },
    Alias { selector: "java_lang_Memory_HeapMemoryUsage_max", element: ElementName::None, factor: 1.0 },
];

/// Time spent collecting since the start, in seconds.
pub(crate) const GC_TIME: &[Alias] = &[
    Alias { selector: "jvm_gc_collection_seconds_sum", element: InLabel("gc"), factor: 1.0 },
    Alias { selector: "java_lang_garbagecollector_collectiontime", element: InLabel("name"), factor: 0.001 },
    Alias { selector: "java_lang_GarbageCollector_CollectionTime", element: InLabel("name"), factor: 0.001 },
    Alias {
        selector: r#"{__name__=~"java_lang_.+_collectiontime"}"#,
        element: Between("java_lang_", "_collectiontime"),
        factor: 0.001,
    },
];

/// Threads that wait for each other for ever. Rules cannot show it: in Java it is a method, no attribute.
pub(crate) const DEADLOCKED: &str = "jvm_threads_deadlocked";

/// Labels that say something of the figure, not of the JVM.
const OF_THE_FIGURE: &[&str] = &["__name__", "area", "gc", "id", "key", "name", "pool", "type"];

/// Which JVM a sample is of.
pub(crate) fn jvm(sample: &Sample) -> Jvm {
    let labels = sample.labels.iter().filter(|label| !OF_THE_FIGURE.contains(&label.name.as_str()));
    labels.map(|label| (label.name.clone(), label.value.clone())).collect()
}

/// What the first alias finds that finds anything.
pub(crate) fn first_found(aliases: &'static [Alias]) -> Result<Vec<Element>, Error> {
    Ok(first_alias(aliases)?.map(|(_, found)| found).unwrap_or_default())
}

/// The first alias that finds anything, and what it finds.
pub(crate) fn first_alias(aliases: &'static [Alias]) -> Result<Option<(&'static Alias, Vec<Element>)>, Error> {
    for alias in aliases {
        let found = snapshot::query(alias.selector)?;
        if !found.is_empty() {
            return Ok(Some((alias, alias.elements(&found))));
        }
    }
    Ok(None)
}

impl Alias {
    /// Change per second.
    pub(crate) fn rate(&self, window: Period) -> Result<Vec<Element>, Error> {
        Ok(self.elements(&rates::rate(self.selector, window.into())?))
    }

    fn elements(&self, samples: &[Sample]) -> Vec<Element> {
        let element = |sample: &Sample| {
            let name = match self.element {
                InLabel(label) => sample.label(label),
                Between(before, after) => {
                    let name = sample.label("__name__");
                    name.strip_prefix(before).and_then(|name| name.strip_suffix(after)).unwrap_or_default()
                }
                ElementName::None => "",
            };
            Element { jvm: jvm(sample), name: name.to_lowercase().replace('_', " "), value: sample.value * self.factor }
        };
        samples.iter().map(element).collect()
    }
}

/// The pool where what lives long ends up: of G1, Parallel, Serial and CMS, of ZGC with and without generations, and of
/// Shenandoah.
pub(crate) fn is_old_generation(pool: &str) -> bool {
    pool.contains("old gen") || pool.contains("tenured") || pool == "zheap" || pool.starts_with("shenandoah")
}

/// A "collector" of which the time is not spent standing still: G1 Concurrent GC, ZGC and Shenandoah Cycles.
pub(crate) fn is_concurrent(collector: &str) -> bool {
    collector.contains("concurrent") || collector.contains("cycles")
}
