//! From the YAML of a cases file to cases: all problems at once, each with its path, and the key that was meant.

mod expected;
mod inputs;
#[cfg(test)]
mod tests;

use super::{
    case::{Case, CasesFile, Expected},
    shorthand::Values,
};
use crate::{
    config::{
        HOLDS, MAX_CLUSTER_BYTES, Problem, RULE_INTERVALS, parts,
        parts::{Field, Node, Reader, Section},
    },
    model::{Labels, Timestamp},
    pipeline::RuleSettings,
    rules::{Limits, Overlay},
};
use std::{ops::RangeInclusive, path::Path, time::Duration};

/// Largest cases file, in bytes.
pub const MAX_CASES_BYTES: u64 = 4 << 20;
/// Snapshots of one case.
pub const MAX_STEPS: u64 = 20_000;
/// Allowed distances between two snapshots of a case.
pub const CASE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// Most that a whole number in a case may be: offsets, ids. Up to here each is exact as a floating point number.
const MOST: f64 = 9_007_199_254_740_992.0;
/// Distance between two snapshots where a case gives none, as in promtool.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);
/// When a case starts where it does not say: 2000-01-01T00:00:00Z. Not 1970, since rules subtract from the time.
const DEFAULT_START: Timestamp = Timestamp(946_684_800_000);

/// What may stand above the cases, for all of them, and in each.
#[derive(Clone)]
struct Common {
    overlay: Overlay,
    limits: Limits,
    interval: Duration,
    start: Timestamp,
    cluster: String,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            overlay: Overlay::default(),
            limits: Limits::default(),
            interval: DEFAULT_INTERVAL,
            start: DEFAULT_START,
            cluster: "test".into(),
        }
    }
}

/// Reads a cases file. Relative paths in it are relative to `folder`.
///
/// # Errors
/// All that is wrong with it; never empty.
pub fn parse(text: &str, folder: &Path) -> Result<CasesFile, Vec<Problem>> {
    let whole = |text: String| vec![Problem { path: String::new(), text }];
    let node = parts::parse(text).map_err(whole)?;
    if !matches!(node, Node::Map(_)) {
        return Err(whole("not a mapping; allowed: `rule: …` and `tests: [...]`".into()));
    }
    let mut reader = Reader::new(None, folder);
    let file = file(&mut reader, Field { path: String::new(), node, secret: false });
    match (file, reader.into_problems()) {
        (Some(file), problems) if problems.is_empty() => Ok(file),
        (_, problems) => Err(problems),
    }
}

fn file(reader: &mut Reader<'_>, field: Field) -> Option<CasesFile> {
    let mut section = reader.section(field)?;
    let module = section.take("rule").and_then(|field| parts::module(reader, &field));
    let common = common(reader, &mut section, &Common::default());
    let tests = reader.required(&mut section, "tests", "a list of cases");
    let tests = tests.and_then(|field| reader.list(field)).unwrap_or_default();
    let cases: Vec<_> = tests.into_iter().filter_map(|field| case(reader, field, &common)).collect();
    reader.finish(section);
    if cases.is_empty() {
        reader.problem("tests", "has no case");
    }
    Some(CasesFile { module, cases })
}

fn common(reader: &mut Reader<'_>, section: &mut Section, above: &Common) -> Common {
    let mut common = above.clone();
    let overlay = &mut common.overlay;
    if let Some(field) = section.take("config") {
        overlay.config = parts::rule_config(reader, field);
    }
    let duration = |reader: &mut Reader<'_>, field: Option<Field>, range, into: &mut Option<Duration>| {
        if let Some(field) = field {
            *into = reader.duration(&field, range);
        }
    };
    duration(reader, section.take("evaluation_interval"), RULE_INTERVALS, &mut overlay.interval);
    duration(reader, section.take("for"), HOLDS, &mut overlay.pending_for);
    duration(reader, section.take("keep_firing_for"), HOLDS, &mut overlay.keep_firing_for);
    if let Some(field) = section.take("labels") {
        overlay.labels = parts::alert_labels(reader, field);
    }
    if let Some(field) = section.take("annotations") {
        overlay.annotations = parts::annotations(reader, field);
    }
    if let Some(field) = section.take("limits") {
        common.limits = parts::limits(reader, field);
    }
    if let Some(interval) = section.take("interval").and_then(|field| reader.duration(&field, CASE_INTERVALS)) {
        common.interval = interval;
    }
    if let Some(field) = section.take("start") {
        let time = |text: &str| humantime::parse_rfc3339(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok();
        let since = reader.parsed(&field, "a time such as 2026-01-31T12:00:00Z", time);
        if let Some(since) = since.and_then(|since| u64::try_from(since.as_millis()).ok()) {
            common.start = Timestamp(since);
        }
    }
    if let Some(field) = section.take("cluster") {
        let good = |text: &str| (1..=MAX_CLUSTER_BYTES).contains(&text.len()).then(|| text.to_owned());
        if let Some(cluster) = reader.parsed(&field, "text", good) {
            common.cluster = cluster;
        }
    }
    common
}

fn case(reader: &mut Reader<'_>, field: Field, above: &Common) -> Option<Case> {
    let path = field.path.clone();
    let mut section = reader.section(field)?;
    let name = reader.required(&mut section, "name", "text that says what the case shows");
    let name = name.and_then(|field| reader.text(&field, "text"));
    let common = common(reader, &mut section, above);
    let (inputs, series) = inputs::inputs(reader, &mut section);
    let expected = expected::expected(reader, &mut section);
    reader.finish(section);
    let steps = steps(&expected, common.interval);
    if steps > MAX_STEPS {
        reader
            .problem(&path, format_args!("needs {steps} snapshots; allowed: at most {MAX_STEPS} (a longer interval)"));
    }
    for (path, length) in series.into_iter().filter(|(_, length)| *length < steps) {
        let text = format_args!(
            "ends after {length} values, and the last eval_time needs {steps}: add numbers, `_xN` for what is not known, \
             or `stalexN` for what is gone"
        );
        reader.problem(&path, text);
    }
    let Common { overlay, limits, interval, start, cluster } = common;
    let settings = RuleSettings {
        name: String::new(),
        interval: overlay.interval,
        pending_for: overlay.pending_for.unwrap_or_default(),
        keep_firing_for: overlay.keep_firing_for.unwrap_or_default(),
        labels: overlay.labels.unwrap_or_default(),
        annotations: overlay.annotations.unwrap_or_default(),
        shadow: false,
        actions: std::collections::BTreeSet::new(),
    };
    let config = overlay.config.unwrap_or_else(|| "{}".into());
    let cluster = cluster.into();
    Some(Case { name: name?, settings, config, limits, interval, start, cluster, inputs, expected, steps })
}

/// Snapshots up to the last moment of which something is expected, at least one.
fn steps(expected: &Expected, interval: Duration) -> u64 {
    let last = expected.moments().max().unwrap_or_default();
    let steps = last.as_millis().checked_div(interval.as_millis()).unwrap_or(0);
    u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)
}

/// Numbers over time: a number for ever, or the shorthand.
fn values(reader: &mut Reader<'_>, field: &Field) -> Option<Values> {
    match &field.node {
        Node::Integer(_) | Node::Float(_) => constant(&field.node).map(Values::constant),
        Node::Text(text) => match Values::parse(text) {
            Ok(values) => Some(values),
            Err(error) => {
                reader.problem(&field.path, error);
                None
            }
        },
        _ => {
            reader.refuse(field, "a number, or values over time such as \"0+10x20\"");
            None
        }
    }
}

fn constant(node: &Node) -> Option<f64> {
    match node {
        #[expect(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "whole numbers are checked against MOST"
        )]
        Node::Integer(value) => Some(*value as f64),
        Node::Float(value) => Some(*value),
        _ => None,
    }
}

/// Whole numbers over time, none below `least`.
fn whole(reader: &mut Reader<'_>, field: &Field, least: f64) -> Option<Values> {
    let values = values(reader, field)?;
    let fits = values.is_whole() && values.range().is_some_and(|(low, high)| low >= least && high <= MOST);
    if !fits {
        reader.refuse(field, format_args!("whole numbers from {least} to {MOST}"));
    }
    fits.then_some(values)
}

/// A finite or infinite number, or NaN.
fn number(reader: &mut Reader<'_>, field: &Field) -> Option<f64> {
    let value = match &field.node {
        Node::Text(text) => match Values::parse(text).ok().filter(|values| values.length() == Some(1))?.at(0) {
            super::shorthand::Value::Number(number) => Some(number),
            _ => None,
        },
        node => constant(node),
    };
    if value.is_none() {
        reader.refuse(field, "a number");
    }
    value
}

fn id(reader: &mut Reader<'_>, field: &Field) -> Option<i32> {
    let most = u64::try_from(i32::MAX).unwrap_or_default();
    reader.integer(field, 0..=most, "").and_then(|id| i32::try_from(id).ok())
}

/// Text, or a number or truth value taken for its text.
fn text(reader: &mut Reader<'_>, field: &Field) -> Option<String> {
    match &field.node {
        Node::Integer(value) => Some(value.to_string()),
        Node::Bool(value) => Some(value.to_string()),
        _ => reader.text(field, "text"),
    }
}

/// Names and texts.
fn texts(reader: &mut Reader<'_>, field: Field) -> Option<Labels> {
    let mut section = reader.section(field)?;
    let entries = section.take_rest();
    entries.into_iter().map(|(name, field)| Some((name, text(reader, &field)?))).collect()
}

/// A moment after the start; the start where it is not given.
fn moment(reader: &mut Reader<'_>, section: &mut Section, key: &'static str) -> Option<Duration> {
    match section.take(key) {
        None | Some(Field { node: Node::Integer(0), .. }) => Some(Duration::ZERO),
        Some(field) => reader.duration(&field, HOLDS),
    }
}

fn list(reader: &mut Reader<'_>, field: Option<Field>) -> Vec<Field> {
    field.and_then(|field| reader.list(field)).unwrap_or_default()
}
