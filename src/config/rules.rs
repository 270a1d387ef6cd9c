//! The keys that say what a rule does and may: `rules:` of agent.yaml, and the YAML beside a module, which grants nothing.

use super::{
    labels::{self, ALERT_RESERVED_LABELS},
    problem::key_path,
    read::{Field, Reader, Section},
    yaml,
    yaml::Node,
};
use crate::{
    pipeline::Grants,
    rules::{Limits, Module, Overlay, RuleConfig, builtin},
};
use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// Allowed distances between two evaluations.
pub const RULE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_hours(1);
/// Allowed values of `for` and `keep_firing_for`.
pub const HOLDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(30 * 24);
/// Allowed values of `limits.time`.
pub const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
/// Allowed values of `limits.memory`, in bytes.
pub const MEMORIES: RangeInclusive<u64> = 1 << 20..=1 << 30;
/// Allowed values of `limits.state`, in bytes.
pub const STATES: RangeInclusive<u64> = 0..=64 << 20;
/// Allowed values of `limits.alerts`.
pub const ALERTS: RangeInclusive<u64> = 1..=5000;
/// Longest `config` of a rule as JSON, in bytes.
pub const MAX_RULE_CONFIG_BYTES: usize = 256 << 10;
/// Longest YAML beside a module, in bytes.
pub const MAX_SIDECAR_BYTES: usize = 64 << 10;

/// Hex digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// Keys that mean nothing beside a module, since whoever may write there may add code, not rights.
const GRANTS: [&str; 4] = ["actions", "limits", "reads", "sha256"];

/// `rules:`. `actions`: the names of those that there are.
pub(super) fn rules(
    reader: &mut Reader<'_>,
    field: Option<Field>,
    actions: &BTreeSet<String>,
) -> Vec<(String, RuleConfig)> {
    let rules = field.and_then(|field| reader.list(field)).unwrap_or_default();
    let mut names = BTreeSet::new();
    rules.into_iter().filter_map(|field| rule(reader, field, &mut names, actions)).collect()
}

fn rule(
    reader: &mut Reader<'_>,
    field: Field,
    names: &mut BTreeSet<String>,
    actions: &BTreeSet<String>,
) -> Option<(String, RuleConfig)> {
    let mut section = reader.section(field)?;
    let name = super::name(reader, &mut section, names);
    let module = section.take("module").and_then(|field| module(reader, &field));
    let overlay = overlay(reader, &mut section);
    let limits = section.take("limits").map(|field| limits(reader, field)).unwrap_or_default();
    let granted = section.take("actions").map(|field| grants(reader, field, actions)).unwrap_or_default();
    if let Some(field) = section.take("reads") {
        reads(reader, field);
    }
    let sha256 = section.take("sha256").and_then(|field| sha256(reader, &field));
    reader.finish(section);
    Some((name?, RuleConfig { module, overlay, limits, sha256, actions: granted }))
}

/// `builtin:NAME`, or the path of a module.
pub(crate) fn module(reader: &mut Reader<'_>, field: &Field) -> Option<Module> {
    let built_in: Vec<_> = builtin::names().map(|name| format!("builtin:{name}")).collect();
    let allowed = format!("{}, or the path of a .wasm file", built_in.join(", "));
    let text = reader.parsed(field, &allowed, |text| {
        let good = match text.strip_prefix("builtin:") {
            Some(name) => builtin::builtin(name).is_some(),
            None => !text.is_empty() && !text.contains('\0'),
        };
        good.then(|| text.to_owned())
    })?;
    Some(match text.strip_prefix("builtin:") {
        Some(name) => Module::Builtin(name.to_owned()),
        None => Module::File(reader.joined(&PathBuf::from(text))),
    })
}

fn overlay(reader: &mut Reader<'_>, section: &mut Section) -> Overlay {
    let config = section.take("config").and_then(|field| rule_config(reader, field));
    let interval = section.take("interval").and_then(|field| reader.duration(&field, RULE_INTERVALS));
    let pending_for = section.take("for").and_then(|field| reader.duration(&field, HOLDS));
    let keep_firing_for = section.take("keep_firing_for").and_then(|field| reader.duration(&field, HOLDS));
    let labels = section.take("labels").and_then(|field| labels::labels(reader, field, &ALERT_RESERVED_LABELS));
    let annotations = section.take("annotations").and_then(|field| labels::labels(reader, field, &[]));
    let shadow = section.take("shadow").and_then(|field| reader.boolean(&field));
    Overlay { config, interval, pending_for, keep_firing_for, labels, annotations, shadow }
}

/// `limits:`.
pub(crate) fn limits(reader: &mut Reader<'_>, field: Field) -> Limits {
    let mut limits = Limits::default();
    let Some(mut section) = reader.section(field) else { return limits };
    if let Some(time) = section.take("time").and_then(|field| reader.duration(&field, TIMES)) {
        limits.time = time;
    }
    if let Some(memory) = section.take("memory").and_then(|field| reader.size(&field, MEMORIES)) {
        limits.memory = memory;
    }
    if let Some(state) = section.take("state").and_then(|field| reader.size(&field, STATES)) {
        limits.state = state;
    }
    let alerts = section.take("alerts").and_then(|field| reader.integer(&field, ALERTS, ""));
    if let Some(alerts) = alerts.and_then(|alerts| u32::try_from(alerts).ok()) {
        limits.alerts = alerts;
    }
    reader.finish(section);
    limits
}

/// A rule reads everything for now; anything less is refused, since it would not be kept to.
fn reads(reader: &mut Reader<'_>, field: Field) {
    let Some(mut section) = reader.section(field) else { return };
    for key in ["groups", "topics", "metrics"] {
        let Some(field) = section.take(key) else { continue };
        let all = matches!(&field.node, Node::List(items)
            if matches!(items.as_slice(), [Node::Text(text)] if text == ".*"));
        if !all {
            reader.problem(&field.path, "not supported yet; allowed: [\".*\"]");
        }
    }
    reader.finish(section);
}

fn sha256(reader: &mut Reader<'_>, field: &Field) -> Option<String> {
    reader.parsed(field, "text of 64 hex digits, the SHA-256 of the module's file", |text| {
        let good = text.len() == SHA256_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| text.to_ascii_lowercase())
    })
}

/// Names of actions that a rule may ask for, each of which must be there.
fn grants(reader: &mut Reader<'_>, field: Field, actions: &BTreeSet<String>) -> Grants {
    let items = reader.list(field).unwrap_or_default();
    let known: Vec<&str> = actions.iter().map(String::as_str).collect();
    let mut granted = Grants::new();
    for item in &items {
        let Some(name) = reader.text(item, "the name of an action") else { continue };
        if actions.contains(&name) {
            granted.insert(name);
        } else {
            reader.unknown(item, "action", "actions", &name, &known);
        }
    }
    granted
}

/// `config:` of a rule, as JSON.
pub(crate) fn rule_config(reader: &mut Reader<'_>, field: Field) -> Option<String> {
    if !matches!(field.node, Node::Map(_)) {
        reader.refuse(&field, "a mapping (`key: value`)");
        return None;
    }
    let path = field.path.clone();
    let text = json(reader, field)?.to_string();
    if text.len() > MAX_RULE_CONFIG_BYTES {
        reader.problem(&path, format_args!("found {} bytes; allowed: at most {MAX_RULE_CONFIG_BYTES}", text.len()));
        return None;
    }
    Some(text)
}

/// YAML as JSON, text as it is: `${}` means nothing inside a rule's configuration.
fn json(reader: &mut Reader<'_>, field: Field) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match field.node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::Text(text) => Value::String(text),
        Node::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            _ => {
                reader.refuse(&field, "a whole number of 64 bits");
                return None;
            }
        },
        Node::Float(value) => {
            let number = serde_json::Number::from_f64(value);
            if number.is_none() {
                reader.refuse(&field, "a finite number (JSON has no other)");
            }
            Value::Number(number?)
        }
        Node::List(nodes) => {
            let item = |(index, node)| Field { path: format!("{}[{index}]", field.path), node, secret: false };
            let items: Vec<_> = nodes.into_iter().enumerate().map(item).map(|field| json(reader, field)).collect();
            Value::Array(items.into_iter().collect::<Option<_>>()?)
        }
        Node::Map(_) => {
            let mut section = reader.section(field)?;
            let entries: Vec<_> =
                section.take_rest().into_iter().map(|(key, field)| Some((key, json(reader, field)?))).collect();
            Value::Object(entries.into_iter().collect::<Option<_>>()?)
        }
    })
}

/// Reads the YAML beside a module, which says what a rule does and never what it may. The error names all problems.
pub fn parse_sidecar(text: &str) -> Result<Overlay, String> {
    if text.len() > MAX_SIDECAR_BYTES {
        return Err(format!("{} bytes; allowed: at most {MAX_SIDECAR_BYTES}", text.len()));
    }
    let node = match yaml::parse(text)? {
        Node::Null => return Ok(Overlay::default()),
        node => node,
    };
    let mut reader = Reader::new(None, Path::new(""));
    let field = Field { path: String::new(), node, secret: false };
    let Some(mut section) = reader.section(field) else { return Err("not a mapping (`key: value`)".into()) };
    let overlay = overlay(&mut reader, &mut section);
    for key in GRANTS {
        if section.remove(key).is_some() {
            reader.problem(&key_path("", key), "only counts in agent.yaml");
        }
    }
    reader.finish(section);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(overlay) } else { Err(super::problem::sentence(&problems)) }
}
