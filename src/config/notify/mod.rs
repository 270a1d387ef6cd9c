//! `notify:` of agent.yaml: where alerts are told.

mod kinds;
pub(super) mod reach;

use super::{
    problem::key_path,
    read::{Field, Reader, Section},
    scalar,
    url::is_http_url,
};
use crate::{
    deliver::{Config, Kind, Matchers, Rate, Wants},
    model::{Secret, with_causes},
};
use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

pub use kinds::MAX_RECEIVERS;
pub(super) use reach::{login, tls, tls_version};

/// How long an alert may wait to be told again.
pub const REPEATS: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(8760);
/// Messages of a `rate`.
pub const RATE_MESSAGES: RangeInclusive<usize> = 1..=10_000;
/// Time of a `rate`.
pub const RATE_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// Most items of `match`.
pub const MAX_MATCHERS: usize = 32;

const KINDS: [&str; 6] = ["alertmanager", "email", "log", "pagerduty", "slack", "webhook"];

/// `notify:`.
pub(super) fn notify(reader: &mut Reader<'_>, field: Option<Field>) -> Vec<Config> {
    let notifiers = field.and_then(|field| reader.list(field)).unwrap_or_default();
    let mut names = BTreeSet::new();
    notifiers.into_iter().filter_map(|field| notifier(reader, field, &mut names)).collect()
}

fn notifier(reader: &mut Reader<'_>, field: Field, names: &mut BTreeSet<String>) -> Option<Config> {
    let mut section = reader.section(field)?;
    let name = super::name(reader, &mut section, names);
    let kind = reader.required(&mut section, "type", &KINDS.join(", "))?;
    // Without its type the other keys of a notifier cannot be judged.
    let word = reader.choice(&kind, &KINDS, &[])?;
    let kind = match word {
        "alertmanager" => kinds::alertmanager(reader, &mut section),
        "email" => kinds::email(reader, &mut section),
        "pagerduty" => kinds::pagerduty(reader, &mut section),
        "slack" => kinds::slack(reader, &mut section),
        "webhook" => kinds::webhook(reader, &mut section),
        _ => Some(Kind::Log),
    };
    let matchers = section.take("match").map(|field| matchers(reader, field)).unwrap_or_default();
    let repeat = section.take("repeat").and_then(|field| {
        if word == "alertmanager" {
            reader.problem(&field.path, "not for alertmanager, which repeats by its own `repeat_interval`");
            return None;
        }
        reader.duration(&field, REPEATS)
    });
    let by_http = matches!(word, "alertmanager" | "webhook");
    let rate = if word == "log" { None } else { section.take("rate").and_then(|field| rate(reader, &field)) };
    let reach = if word == "log" { None } else { reach::reach(reader, &mut section) };
    let login = if by_http { login(reader, &mut section) } else { None };
    reader.finish(section);
    let config = Config::new(name?, kind?);
    let rate = rate.or(config.rate);
    Some(Config { wants: Wants { matchers, repeat }, rate, reach: reach.unwrap_or_default(), login, ..config })
}

fn matchers(reader: &mut Reader<'_>, field: Field) -> Vec<Matchers> {
    let path = field.path.clone();
    let items = reader.list(field).unwrap_or_default();
    if items.len() > MAX_MATCHERS {
        reader.problem(&path, format_args!("found {} matchers; allowed: at most {MAX_MATCHERS}", items.len()));
        return Vec::new();
    }
    items.iter().filter_map(|item| one_matcher(reader, item)).collect()
}

fn one_matcher(reader: &mut Reader<'_>, field: &Field) -> Option<Matchers> {
    let text = reader.text(field, "text such as severity=\"critical\"")?;
    match Matchers::parse(&text) {
        Ok(matchers) => Some(matchers),
        Err(error) => {
            let why = with_causes(&error).replace("of the selector", "of it");
            let why = why.lines().next().unwrap_or_default().to_owned();
            reader.refuse(field, format_args!("matchers such as severity=\"critical\", team=~\"a|b\" ({why})"));
            None
        }
    }
}

fn rate(reader: &mut Reader<'_>, field: &Field) -> Option<Rate> {
    let (least, most) = (scalar::duration_text(*RATE_TIMES.start()), scalar::duration_text(*RATE_TIMES.end()));
    let (fewest, many) = (RATE_MESSAGES.start(), RATE_MESSAGES.end());
    let allowed = format!("messages in a time such as `20 per 1m`, {fewest} to {many} of them, in {least} to {most}");
    reader.parsed(field, &allowed, |text| {
        let (messages, per) = text.split_once(" per ")?;
        let messages = messages.trim().parse().ok().filter(|messages| RATE_MESSAGES.contains(messages))?;
        let per = scalar::duration(per.trim()).filter(|per| RATE_TIMES.contains(per))?;
        Some(Rate { messages, per })
    })
}

/// A secret under `key`, or the file that holds it under `key_file`; `None` also where it is wrong.
fn secret(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
    key_file: &'static str,
    what: &str,
) -> Option<Secret> {
    let (inline, file) = (section.take(key), section.take(key_file));
    match (inline, file) {
        (None, None) => {
            let text = format!("missing; allowed: {what}, or {key_file} with a path");
            reader.problem(&key_path(&section.path, key), text);
            None
        }
        (Some(field), Some(_)) => {
            reader.problem(&field.path, format_args!("both {key} and {key_file} are there; allowed: one of them"));
            None
        }
        (None, Some(field)) => Some(Secret::File(reader.path(&field)?)),
        (Some(mut field), None) => {
            field.secret = true;
            let text = reader.text(&field, what)?;
            if text.is_empty() || text.contains(char::is_control) {
                reader.refuse(&field, what);
                return None;
            }
            super::secret(reader, &field, text)
        }
    }
}

/// As [`secret`], for a URL.
pub(super) fn secret_url(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
    key_file: &'static str,
) -> Option<Secret> {
    let secret = secret(reader, section, key, key_file, "a URL")?;
    if matches!(&secret, Secret::Inline(text) if !is_http_url(text)) {
        let text = "found text (not shown); allowed: a URL such as https://example.com/hook, without credentials";
        reader.problem(&key_path(&section.path, key), text);
        return None;
    }
    Some(secret)
}
