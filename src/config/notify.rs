//! `notify:` of agent.yaml: where alerts are told.

use super::{
    problem::key_path,
    read::{Field, Reader, Section},
    url::{is_http_url, url},
    yaml::Node,
};
use crate::{
    deliver::{Config, Kind},
    model::Secret,
};
use std::collections::BTreeSet;

/// Most Alertmanagers of one notifier.
pub const MAX_ALERTMANAGERS: usize = 16;

const LATER: [&str; 3] = ["email", "pagerduty", "slack"];

/// `notify:`.
pub(super) fn notify(reader: &mut Reader<'_>, field: Option<Field>) -> Vec<Config> {
    let notifiers = field.and_then(|field| reader.list(field)).unwrap_or_default();
    let mut names = BTreeSet::new();
    notifiers.into_iter().filter_map(|field| notifier(reader, field, &mut names)).collect()
}

fn notifier(reader: &mut Reader<'_>, field: Field, names: &mut BTreeSet<String>) -> Option<Config> {
    let mut section = reader.section(field)?;
    let name = super::name(reader, &mut section, names);
    let kind = reader.required(&mut section, "type", "alertmanager, log, webhook")?;
    // Without its type the other keys of a notifier cannot be judged.
    let kind = match reader.choice(&kind, &["alertmanager", "log", "webhook"], &LATER)? {
        "alertmanager" => alertmanager(reader, &mut section),
        "webhook" => webhook(reader, &mut section),
        _ => Some(Kind::Log),
    };
    reader.later(section.take("match").filter(|field| !matches!(&field.node, Node::List(items) if items.is_empty())));
    reader.later(section.take("repeat"));
    reader.finish(section);
    Some(Config { name: name?, kind: kind? })
}

fn alertmanager(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let example = "URLs such as [http://localhost:9093]";
    let field = reader.required(section, "urls", example)?;
    let path = field.path.clone();
    let items = reader.list(field)?;
    let count = items.len();
    if !(1..=MAX_ALERTMANAGERS).contains(&count) {
        reader.problem(&path, format_args!("found {count} URLs; allowed: 1 to {MAX_ALERTMANAGERS}"));
        return None;
    }
    let example = "a URL such as http://localhost:9093";
    let urls: Vec<_> = items.into_iter().filter_map(|item| url(reader, item, &["http", "https"], example)).collect();
    (urls.len() == count).then_some(Kind::Alertmanager { urls })
}

fn webhook(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let (inline, file) = (section.take("url"), section.take("url_file"));
    match (inline, file) {
        (None, None) => {
            reader.problem(&key_path(&section.path, "url"), "missing; allowed: a URL, or url_file with a path");
            None
        }
        (Some(field), Some(_)) => {
            reader.problem(&field.path, "both url and url_file are there; allowed: one of them");
            None
        }
        (None, Some(field)) => Some(Kind::Webhook { url: Secret::File(reader.path(&field)?) }),
        (Some(mut field), None) => {
            field.secret = true;
            let text = reader.text(&field, "a URL")?;
            let secret = super::secret(reader, &field, text.clone())?;
            if !is_http_url(&text) {
                reader.refuse(&field, "a URL such as https://example.com/hook, without credentials");
                return None;
            }
            Some(Kind::Webhook { url: secret })
        }
    }
}
