//! A configuration as YAML with every default written out and secrets masked. What it writes, [`super::load`] reads
//! as the same configuration, but for the secrets.

mod actions;
mod notify;

use super::{Config, MASK, scalar};
use crate::{
    jmx, kafka,
    model::{Labels, Secret},
    rules::{Module, RuleConfig},
};
use regex::Regex;
use serde_yaml::{Mapping, Value};
use std::{path::Path, time::Duration};

/// The effective configuration as YAML; secrets are `***`, or the path of their file.
pub fn effective(config: &Config) -> String {
    let compatibility = if config.page.kafka_exporter { vec![text("kafka_exporter")] } else { Vec::new() };
    let mut top = vec![
        ("cluster", config.cluster.as_deref().map_or(Value::Null, text)),
        ("data_dir", path(&config.data_dir)),
        (
            "http",
            map([
                ("listen", text(&config.http.listen.to_string())),
                ("web_config_file", config.http.web_config_file.as_deref().map_or(Value::Null, path)),
            ]),
        ),
    ];
    top.extend(config.kafka.as_ref().map(|config| ("kafka", kafka(config))));
    top.extend([
        ("jmx", list(&config.jmx, page)),
        (
            "metrics",
            map([("compatibility", Value::Sequence(compatibility)), ("max_series", config.page.max_series.into())]),
        ),
        ("rules_dir", config.rules.rules_dir.as_deref().map_or(Value::Null, path)),
        ("rules", list(&config.rules.rules, |(name, config)| rule(name, config))),
        ("notify", list(&config.notify, notify::notifier)),
        ("actions", map(config.actions.iter().map(|action| (action.name.as_str(), actions::action(action))))),
    ]);
    // Nothing in it can fail to be written: all keys are text, and there is no tag.
    serde_yaml::to_string(&map(top)).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

fn kafka(config: &kafka::Config) -> Value {
    let scope = match config.scope {
        kafka::Scope::Broker => "broker",
        kafka::Scope::Cluster => "cluster",
    };
    let offsets = match config.offsets {
        kafka::OffsetsSource::Admin => "admin",
        kafka::OffsetsSource::Auto => "auto",
        kafka::OffsetsSource::Topic => "topic",
    };
    map([
        ("bootstrap_servers", text(&config.bootstrap_servers)),
        ("scope", text(scope)),
        ("broker_id", config.broker_id.map_or_else(|| text("auto"), Value::from)),
        ("offsets", text(offsets)),
        ("replay_max_records", config.replay_max_records.into()),
        ("interval", duration(config.interval)),
        ("timeout", duration(config.timeout)),
        ("groups", name_filter(&config.groups)),
        ("topics", name_filter(&config.topics)),
        ("inactive_groups", text(if config.hide_inactive { "hide" } else { "keep" })),
        ("properties", map(config.properties.iter().map(|(name, value)| secret(name, value)))),
    ])
}

fn name_filter(filter: &kafka::NameFilter) -> Value {
    map([("include", list(&filter.include, regex)), ("exclude", list(&filter.exclude, regex))])
}

fn page(config: &jmx::Config) -> Value {
    let mut entries = vec![("name".to_owned(), text(&config.name)), ("url".to_owned(), text(&config.url.to_string()))];
    entries.extend(config.login.as_ref().map(notify::login));
    entries.extend(notify::tls(&config.tls));
    let others = [
        ("interval", duration(config.interval)),
        ("timeout", duration(config.timeout)),
        ("max_size", text(&scalar::size_text(config.max_size))),
        ("keep", list(&config.keep, regex)),
        ("drop", list(&config.drop, regex)),
        ("labels", labels(&config.labels)),
    ];
    entries.extend(others.map(|(key, value)| (key.to_owned(), value)));
    map(entries)
}

fn rule(name: &str, config: &RuleConfig) -> Value {
    let module = match &config.module {
        None => Value::Null,
        Some(Module::Builtin(name)) => text(&format!("builtin:{name}")),
        Some(Module::File(file)) => path(file),
    };
    let overlay = &config.overlay;
    let all = || Value::Sequence(vec![text(".*")]);
    // It was JSON when it was read, so it is now; and it is never expanded, so nothing is escaped.
    let rule_config = overlay.config.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let or_null = |value: Option<Duration>| value.map_or(Value::Null, duration);
    map([
        ("name", text(name)),
        ("module", module),
        ("config", rule_config.unwrap_or_default()),
        ("interval", or_null(overlay.interval)),
        ("for", or_null(overlay.pending_for)),
        ("keep_firing_for", or_null(overlay.keep_firing_for)),
        ("labels", overlay.labels.as_ref().map_or(Value::Null, labels)),
        ("annotations", overlay.annotations.as_ref().map_or(Value::Null, labels)),
        ("actions", Value::Sequence(config.actions.iter().map(|action| text(action)).collect())),
        ("reads", map([("groups", all()), ("topics", all()), ("metrics", all())])),
        ("sha256", config.sha256.as_deref().map_or(Value::Null, text)),
        ("shadow", overlay.shadow.map_or(Value::Null, Value::from)),
        (
            "limits",
            map([
                ("time", duration(config.limits.time)),
                ("memory", text(&scalar::size_text(config.limits.memory))),
                ("state", text(&scalar::size_text(config.limits.state))),
                ("alerts", config.limits.alerts.into()),
            ]),
        ),
    ])
}

fn secret(key: &str, secret: &Secret) -> (String, Value) {
    match secret {
        Secret::Inline(_) => (key.to_owned(), MASK.into()),
        Secret::File(file) => (format!("{key}_file"), path(file)),
    }
}

fn labels(labels: &Labels) -> Value {
    map(labels.iter().map(|(name, value)| (name.as_str(), text(value))))
}

fn regex(regex: &Regex) -> Value {
    text(scalar::unanchored(regex))
}

fn duration(duration: Duration) -> Value {
    text(&scalar::duration_text(duration))
}

fn path(path: &Path) -> Value {
    text(&path.to_string_lossy())
}

/// Text that reads back as itself, though `${NAME}` is expanded.
fn text(text: &str) -> Value {
    text.replace("${", "$${").into()
}

fn list<T>(items: &[T], item: impl Fn(&T) -> Value) -> Value {
    Value::Sequence(items.iter().map(item).collect())
}

fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let entry = |(key, value): (K, Value)| (Value::String(key.into()), value);
    Value::Mapping(entries.into_iter().map(entry).collect::<Mapping>())
}
