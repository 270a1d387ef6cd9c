//! Alerts about the JVMs of the JMX pages: a heap that is full after a collection, too much time spent collecting, deadlocks.

mod names;

use brokerwarden_rule::{prelude::*, text};
use names::{Element, Jvm};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The heap has no room.
const HEAP: &str = "JvmHeapFull";
/// The JVM stands still too often.
const GC: &str = "JvmGcTime";
/// Threads wait for each other for ever.
const DEADLOCK: &str = "JvmDeadlock";

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Share of the old generation that may be in use after a collection.
    heap: f64,
    /// Share of time that may be spent in collections that stop the JVM.
    gc_time: f64,
    /// ... over this time.
    gc_window: Period,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { heap: 0.9, gc_time: 0.2, gc_window: Period::of_milliseconds(300_000), severity: None }
    }
}

struct JvmHealth;

impl Rule for JvmHealth {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let mut alerts = Alerts::new();
        let heap = judge_heap(&config, &mut alerts)?;
        let gc = judge_gc(&config, &mut alerts)?;
        let deadlocks = judge_deadlocks(&config, &mut alerts)?;
        if !(heap || gc || deadlocks) {
            return Err(Failure::Unavailable(format!(
                "no JMX page shows a JVM by a name that is known here, as {}",
                names::DEADLOCKED
            )));
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        for (key, share) in [("heap", config.heap), ("gc_time", config.gc_time)] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(format!("config.{key}: must be a share above 0, at most 1, is {share}"));
            }
        }
        if config.gc_window.milliseconds() < 60_000 {
            return Err(format!("config.gc_window: must be 1m or more, is {}", config.gc_window));
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(JvmHealth);

/// Labels that tell JVMs apart are labels of the alert.
fn named(name: &str, jvm: &Jvm, config: &Config) -> Alert {
    let alert = Alert::broker().name(name).severity(config.severity.as_deref());
    jvm.iter().fold(alert, |alert, (name, value)| alert.label(name, value))
}

/// The JVM in a sentence: by its labels, where it has any.
fn of(jvm: &Jvm) -> String {
    if jvm.is_empty() {
        return String::new();
    }
    format!(" ({})", text::list(jvm.iter().map(|(name, value)| format!("{name}={value}")), 10))
}

/// Was there anything to judge?
fn judge_heap(config: &Config, alerts: &mut Alerts) -> Result<bool, Failure> {
    let used = names::first_found(names::HEAP_AFTER_GC_USED)?;
    if used.is_empty() {
        return Ok(false);
    }
    let by_pool = |elements: Vec<Element>| -> BTreeMap<(Jvm, String), f64> {
        elements.into_iter().map(|element| ((element.jvm, element.name), element.value)).collect()
    };
    let most = by_pool(names::first_found(names::HEAP_AFTER_GC_MAX)?);
    let heap_most: BTreeMap<Jvm, f64> =
        names::first_found(names::HEAP_MAX)?.into_iter().map(|element| (element.jvm, element.value)).collect();
    for ((jvm, pool), used) in by_pool(used) {
        if !names::is_old_generation(&pool) {
            continue;
        }
        // A pool without a bound of its own may take the heap.
        let bound = |found: Option<&f64>| found.copied().filter(|most| *most > 0.0);
        let Some(most) = bound(most.get(&(jvm.clone(), pool))).or_else(|| bound(heap_most.get(&jvm))) else { continue };
        let share = used / most;
        if share > config.heap {
            let percent = text::number(share * 100.0, 0);
            let of = of(&jvm);
            let description = format!(
                "After its last collection {} of {} of the JVM's old generation{of} were still in use: {percent} % \
                 (threshold {} %). What is left goes soon; then the JVM collects without end or dies of OutOfMemoryError. \
                 Look what takes the memory (partitions, connections, large messages), or give it more (KAFKA_HEAP_OPTS).",
                bytes(used),
                bytes(most),
                text::number(config.heap * 100.0, 0),
            );
            let alert = named(HEAP, &jvm, config)
                .annotation("summary", format!("the heap is {percent} % full after a collection{of}"))
                .annotation("description", description)
                .value(share);
            alerts.raise(alert);
        }
    }
    Ok(true)
}

fn judge_gc(config: &Config, alerts: &mut Alerts) -> Result<bool, Failure> {
    let Some((alias, now)) = names::first_alias(names::GC_TIME)? else { return Ok(false) };
    let spent = match alias.rate(config.gc_window) {
        Ok(spent) => spent,
        Err(Error::Unavailable(_)) => {
            // Not looked at for long enough. The rest can be judged.
            for element in now {
                let text = "it collected garbage for too long; whether it still does is not known";
                alerts.hold(named(GC, &element.jvm, config).annotation("summary", text));
            }
            return Ok(true);
        }
        Err(other) => return Err(other.into()),
    };
    let mut shares: BTreeMap<Jvm, f64> = BTreeMap::new();
    for element in spent {
        // The JVM goes on while these run.
        if !names::is_concurrent(&element.name) {
            *shares.entry(element.jvm).or_default() += element.value;
        }
    }
    for (jvm, share) in shares.into_iter().filter(|(_, share)| *share > config.gc_time) {
        let percent = text::number(share * 100.0, 0);
        let of = of(&jvm);
        let description = format!(
            "In the last {} the JVM{of} stood still for {percent} % of the time to collect garbage (threshold {} %). \
             Clients see that as latency, and a broker that stands still for too long drops out of the cluster. Look how \
             full the heap is after a collection, and whether more is written or read than usual.",
            config.gc_window,
            text::number(config.gc_time * 100.0, 0),
        );
        let alert = named(GC, &jvm, config)
            .annotation("summary", format!("{percent} % of the time goes to collecting garbage{of}"))
            .annotation("description", description)
            .value(share);
        alerts.raise(alert);
    }
    Ok(true)
}

fn judge_deadlocks(config: &Config, alerts: &mut Alerts) -> Result<bool, Failure> {
    let found = snapshot::query(names::DEADLOCKED)?;
    for sample in found.iter().filter(|sample| sample.value > 0.0) {
        let jvm = names::jvm(sample);
        let of = of(&jvm);
        let count = text::number(sample.value, 0);
        let alert = named(DEADLOCK, &jvm, config)
            .annotation("summary", format!("{count} threads are deadlocked{of}"))
            .annotation(
                "description",
                format!(
                    "{count} threads of the JVM{of} wait for each other for ever; what they do is not done any more. Take a \
                     thread dump (jcmd PID Thread.print) for whoever mends it, then restart the JVM."
                ),
            )
            .value(sample.value);
        alerts.raise(alert);
    }
    Ok(!found.is_empty())
}

/// Bytes for people.
fn bytes(bytes: f64) -> String {
    let (value, unit) =
        if bytes >= 1_073_741_824.0 { (bytes / 1_073_741_824.0, "GiB") } else { (bytes / 1_048_576.0, "MiB") };
    format!("{} {unit}", text::number(value, 1))
}

#[cfg(test)]
mod tests;
