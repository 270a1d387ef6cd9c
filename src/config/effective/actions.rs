//! `actions:` as it takes effect.

use super::{
    duration, map,
    notify::{Entries, reach},
    regex, secret, text,
};
use crate::{
    actions::{Config, Kind},
    config::scalar,
    pipeline::ActionRate,
};
use serde_yaml::Value;

/// One action.
pub(super) fn action(config: &Config) -> Value {
    let mut entries: Entries = vec![("type".into(), text(config.kind.text()))];
    match &config.kind {
        Kind::Exec(exec) => {
            let arguments = exec.arguments.iter().map(|argument| text(&argument.text()));
            let command = std::iter::once(text(&exec.program)).chain(arguments).collect();
            entries.push(("command".into(), Value::Sequence(command)));
            let environment = exec.environment.iter().map(|(name, value)| secret(name, value));
            entries.push(("environment".into(), map(environment)));
        }
        Kind::Webhook(webhook) => {
            entries.push(secret("url", &webhook.url));
            reach(&mut entries, &webhook.reach, webhook.login.as_ref());
        }
        Kind::Produce { topic } => entries.push(("topic".into(), text(topic))),
    }
    let params = config.policy.params.iter().map(|(name, parameter)| (name.as_str(), regex(&parameter.pattern)));
    entries.push(("params".into(), map(params)));
    let (per_key, total) = (rate(config.policy.per_key), rate(config.policy.total));
    entries.push(("rate".into(), map([("per_key", per_key), ("total", total)])));
    entries.push(("timeout".into(), duration(config.timeout)));
    entries.push(("dry_run".into(), config.dry_run.into()));
    entries.push(("concurrency".into(), u64::try_from(config.concurrency).unwrap_or(u64::MAX).into()));
    if let Some(silencer) = &config.unless_silenced {
        entries.push(("unless_silenced".into(), text(&silencer.name)));
    }
    map(entries)
}

fn rate(rate: ActionRate) -> Value {
    text(&format!("{} per {}", rate.count, scalar::duration_text(rate.per)))
}
