//! `actions:` of agent.yaml: what rules may ask to be done, and how.

use super::{
    notify::{reach, secret_url},
    problem::{MAX_SHOWN_BYTES, key_path},
    read::{Field, Reader, Section, suggestion},
    scalar,
};
use crate::{
    actions::{Argument, Config, Exec, Kind, Silencer, Webhook},
    deliver,
    model::{BoundedText, Secret},
    pipeline::{ActionPolicy, ActionRate, Parameter},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

/// Most actions.
pub const MAX_ACTIONS: usize = 100;
/// Most parameters of one action.
pub const MAX_PARAMETERS: usize = 32;
/// Most arguments of a program.
pub const MAX_ARGUMENTS: usize = 64;
/// Longest argument as it is written, and longest value of the environment, in bytes.
pub const MAX_ARGUMENT_BYTES: usize = 4096;
/// Most variables of a program's environment.
pub const MAX_ENVIRONMENT: usize = 64;
/// Allowed values of `timeout`.
pub const ACTION_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);
/// Allowed values of `concurrency`.
pub const CONCURRENCIES: RangeInclusive<u64> = 1..=16;
/// How many a `rate` may allow.
pub const ACTION_RATE_COUNTS: RangeInclusive<u32> = 1..=10_000;
/// In which time.
pub const ACTION_RATE_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(168);

/// Where nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PER_KEY: ActionRate = ActionRate { count: 1, per: Duration::from_mins(10) };
const DEFAULT_TOTAL: ActionRate = ActionRate { count: 20, per: Duration::from_hours(1) };
/// Of webhooks and records; programs run one at a time.
const DEFAULT_CONCURRENCY: usize = 4;

/// Longest name of a topic, which is Kafka's limit.
const MAX_TOPIC_BYTES: usize = 249;

const KINDS: [&str; 3] = ["exec", "produce", "webhook"];

/// Variables that a program gets from us.
const OURS: &str = "BROKERWARDEN_";

/// `actions:`. `notify`: notifiers of which `unless_silenced` names one.
pub(super) fn actions(
    reader: &mut Reader<'_>,
    field: Option<Field>,
    notify: &[deliver::Config],
    has_kafka: bool,
) -> Vec<Config> {
    let Some(mut section) = field.and_then(|field| reader.section(field)) else { return Vec::new() };
    let all = section.take_rest();
    if all.len() > MAX_ACTIONS {
        let text = format!("found {} actions; allowed: at most {MAX_ACTIONS}", all.len());
        reader.problem(&section.path, text);
        return Vec::new();
    }
    let mut actions = Vec::new();
    for (name, field) in all {
        if !scalar::is_name(&name) {
            let most = scalar::MAX_NAME_BYTES;
            reader.problem(
                &field.path,
                format_args!("not a name; allowed: 1 to {most} letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`"),
            );
            continue;
        }
        actions.extend(action(reader, name, field, notify, has_kafka));
    }
    actions
}

fn action(
    reader: &mut Reader<'_>,
    name: String,
    field: Field,
    notify: &[deliver::Config],
    has_kafka: bool,
) -> Option<Config> {
    let path = field.path.clone();
    let mut section = reader.section(field)?;
    let kind = reader.required(&mut section, "type", &KINDS.join(", "))?;
    // Without its type the other keys of an action cannot be judged.
    let word = reader.choice(&kind, &KINDS, &[])?;
    let is_exec = word == "exec";
    let params = section.take("params").map(|field| parameters(reader, field, is_exec));
    let params = params.unwrap_or_else(|| Some(BTreeMap::new()));
    let kind = match word {
        "exec" => exec(reader, &mut section, &path, params.as_ref()).map(Kind::Exec),
        "webhook" => webhook(reader, &mut section).map(|webhook| Kind::Webhook(Box::new(webhook))),
        _ => {
            if !has_kafka {
                reader.problem(&key_path(&path, "type"), "`produce` needs `kafka:`, and there is none");
            }
            topic(reader, &mut section).map(|topic| Kind::Produce { topic })
        }
    };
    let (per_key, total) = section.take("rate").map(|field| rates(reader, field)).unwrap_or_default();
    let timeout = section.take("timeout").and_then(|field| reader.duration(&field, ACTION_TIMEOUTS));
    let dry_run = section.take("dry_run").and_then(|field| reader.boolean(&field));
    let concurrency = section.take("concurrency").and_then(|field| reader.integer(&field, CONCURRENCIES, ""));
    let concurrency = concurrency.and_then(|concurrency| usize::try_from(concurrency).ok());
    let silencer = section.take("unless_silenced").map(|field| silencer(reader, &field, notify));
    reader.finish(section);
    let unless_silenced = match silencer {
        Some(silencer) => Some(silencer?),
        None => None,
    };
    Some(Config {
        name,
        kind: kind?,
        policy: ActionPolicy {
            params: params?,
            per_key: per_key.unwrap_or(DEFAULT_PER_KEY),
            total: total.unwrap_or(DEFAULT_TOTAL),
        },
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        dry_run: dry_run.unwrap_or(false),
        concurrency: concurrency.unwrap_or(if is_exec { 1 } else { DEFAULT_CONCURRENCY }),
        unless_silenced,
    })
}

/// `params:`. `None`: what is wrong with it was said.
fn parameters(reader: &mut Reader<'_>, field: Field, is_exec: bool) -> Option<BTreeMap<String, Parameter>> {
    let mut section = reader.section(field)?;
    let all = section.take_rest();
    if all.len() > MAX_PARAMETERS {
        let text = format!("found {} parameters; allowed: at most {MAX_PARAMETERS}", all.len());
        reader.problem(&section.path, text);
        return None;
    }
    let count = all.len();
    let mut parameters = BTreeMap::new();
    for (name, field) in all {
        if !scalar::is_name(&name) {
            reader.problem(&field.path, "not the name of a parameter; allowed: letters, digits, `.`, `_` and `-`");
            continue;
        }
        if let Some(pattern) = reader.regex(&field) {
            let dash = !is_exec || begins_with_dash(scalar::unanchored(&pattern));
            parameters.insert(name, Parameter { pattern, dash });
        }
    }
    (parameters.len() == count).then_some(parameters)
}

/// Does a pattern say by its own first words that a `-` comes first?
fn begins_with_dash(pattern: &str) -> bool {
    let opening = ["^", "(?:", "("];
    let mut rest = pattern;
    while let Some(inner) = opening.iter().find_map(|opening| rest.strip_prefix(opening)) {
        rest = inner;
    }
    rest.starts_with('-') || rest.starts_with("\\-")
}

/// `parameters`: `None` where they are wrong themselves, so that nothing is said of their use.
fn exec(
    reader: &mut Reader<'_>,
    section: &mut Section,
    path: &str,
    parameters: Option<&BTreeMap<String, Parameter>>,
) -> Option<Exec> {
    let example = "a program and its arguments such as [/usr/local/bin/restart, \"{{group}}\"]";
    let command = reader.required(section, "command", example).and_then(|field| {
        let path = field.path.clone();
        let items = reader.list(field)?;
        let few = (1..=MAX_ARGUMENTS.saturating_add(1)).contains(&items.len());
        if !few {
            let text =
                format!("found {} items; allowed: a program, and at most {MAX_ARGUMENTS} arguments", items.len());
            reader.problem(&path, text);
        }
        few.then_some(items)
    });
    let environment = section.take("environment").map(|field| environment(reader, field));
    let mut items = command?.into_iter();
    let program = items.next().and_then(|field| {
        let good =
            |text: &str| text.starts_with('/') && text.len() <= MAX_ARGUMENT_BYTES && !text.contains(['\0', '{', '}']);
        reader.parsed(&field, "the absolute path of a program, without `{` and `}`", |text| {
            good(text).then(|| text.to_owned())
        })
    });
    let fields: Vec<_> = items.collect();
    let arguments: Vec<_> = fields.iter().filter_map(|field| Some((field, argument(reader, field)?))).collect();
    if let Some(parameters) = parameters {
        let mut used = BTreeSet::new();
        for (field, argument) in &arguments {
            for name in argument.parameters() {
                used.insert(name.to_owned());
                if !parameters.contains_key(name) {
                    let known: Vec<_> = parameters.keys().map(String::as_str).collect();
                    let hint = match (suggestion(name, &known), known.as_slice()) {
                        (Some(near), _) => format!("did you mean `{{{{{near}}}}}`?"),
                        (None, []) => "declare it under `params:`".to_owned(),
                        (None, known) => format!("declared under `params:` are: {}", known.join(", ")),
                    };
                    let name = BoundedText(name, MAX_SHOWN_BYTES);
                    reader.problem(&field.path, format_args!("`{{{{{name}}}}}` is no parameter; {hint}"));
                }
            }
        }
        for name in parameters.keys().filter(|name| !used.contains(*name) && arguments.len() == fields.len()) {
            let path = key_path(&key_path(path, "params"), name);
            reader.problem(&path, "no argument of `command` uses it, so that asking for it would change nothing");
        }
    }
    let whole = arguments.len() == fields.len();
    let environment = match environment {
        Some(environment) => environment?,
        None => BTreeMap::new(),
    };
    let arguments = arguments.into_iter().map(|(_, argument)| argument).collect();
    Some(Exec { program: program.filter(|_| whole)?, arguments, environment })
}

fn argument(reader: &mut Reader<'_>, field: &Field) -> Option<Argument> {
    let allowed = format!("text of at most {MAX_ARGUMENT_BYTES} bytes, none of them NUL");
    let good = |text: &str| text.len() <= MAX_ARGUMENT_BYTES && !text.contains('\0');
    let text = reader.parsed(field, &allowed, |text| good(text).then(|| text.to_owned()))?;
    match Argument::parse(&text) {
        Ok(argument) => Some(argument),
        Err(reason) => {
            reader.problem(&field.path, format_args!("{reason}; allowed: text with places such as `{{{{group}}}}`"));
            None
        }
    }
}

/// `environment:`; values are taken for secrets, and may stand in files.
fn environment(reader: &mut Reader<'_>, mut field: Field) -> Option<BTreeMap<String, Secret>> {
    field.secret = true;
    let mut section = reader.section(field)?;
    let all = section.take_rest();
    if all.len() > MAX_ENVIRONMENT {
        let text = format!("found {} variables; allowed: at most {MAX_ENVIRONMENT}", all.len());
        reader.problem(&section.path, text);
        return None;
    }
    let count = all.len();
    let mut environment = BTreeMap::new();
    for (key, field) in all {
        let name = key.strip_suffix("_file").unwrap_or(&key);
        if !scalar::is_label_name(name) {
            reader.problem(&field.path, "not the name of a variable; allowed: letters, digits and `_`");
            continue;
        }
        if name.starts_with(OURS) {
            reader.problem(&field.path, format_args!("a name that is ours: we set those that begin with {OURS}"));
            continue;
        }
        let value = if name == key { variable(reader, &field) } else { reader.path(&field).map(Secret::File) };
        if value.is_some_and(|value| environment.insert(name.to_owned(), value).is_some()) {
            let text = format!("both {name} and {name}_file are there; allowed: one of them");
            reader.problem(&key_path(&section.path, name), text);
        }
    }
    (environment.len() == count).then_some(environment)
}

fn variable(reader: &mut Reader<'_>, field: &Field) -> Option<Secret> {
    let allowed = format!("text of at most {MAX_ARGUMENT_BYTES} bytes, none of them NUL");
    let good = |text: &str| text.len() <= MAX_ARGUMENT_BYTES && !text.contains('\0');
    let text = reader.parsed(field, &allowed, |text| good(text).then(|| text.to_owned()))?;
    super::secret(reader, field, text)
}

fn webhook(reader: &mut Reader<'_>, section: &mut Section) -> Option<Webhook> {
    let url = secret_url(reader, section, "url", "url_file");
    let reach = reach::reach(reader, section);
    let login = reach::login(reader, section);
    Some(Webhook { url: url?, reach: reach?, login })
}

fn topic(reader: &mut Reader<'_>, section: &mut Section) -> Option<String> {
    let allowed = format!(
        "the name of a topic: 1 to {MAX_TOPIC_BYTES} letters, digits, `.`, `_` and `-`; none of Kafka's own, which begin with `__`"
    );
    let good = |text: &str| {
        (1..=MAX_TOPIC_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !text.starts_with("__")
            && ![".", ".."].contains(&text)
    };
    let field = reader.required(section, "topic", &allowed)?;
    reader.parsed(&field, &allowed, |text| good(text).then(|| text.to_owned()))
}

/// `rate:`: for each key, and in all.
fn rates(reader: &mut Reader<'_>, field: Field) -> (Option<ActionRate>, Option<ActionRate>) {
    let Some(mut section) = reader.section(field) else { return (None, None) };
    let per_key = section.take("per_key").and_then(|field| rate(reader, &field));
    let total = section.take("total").and_then(|field| rate(reader, &field));
    reader.finish(section);
    (per_key, total)
}

fn rate(reader: &mut Reader<'_>, field: &Field) -> Option<ActionRate> {
    let (least, most) = (ACTION_RATE_TIMES.start(), ACTION_RATE_TIMES.end());
    let allowed = format!(
        "how many in which time such as `1 per 10m`, {} to {} of them, in {} to {}",
        ACTION_RATE_COUNTS.start(),
        ACTION_RATE_COUNTS.end(),
        scalar::duration_text(*least),
        scalar::duration_text(*most)
    );
    reader.parsed(field, &allowed, |text| {
        let (count, per) = text.split_once(" per ")?;
        let count = count.trim().parse().ok().filter(|count| ACTION_RATE_COUNTS.contains(count))?;
        let per = scalar::duration(per.trim()).filter(|per| ACTION_RATE_TIMES.contains(per))?;
        Some(ActionRate { count, per })
    })
}

/// `unless_silenced:`: the name of a notifier of type alertmanager.
fn silencer(reader: &mut Reader<'_>, field: &Field, notify: &[deliver::Config]) -> Option<Silencer> {
    let name = reader.text(field, "the name of a notifier of type alertmanager")?;
    let of = |config: &deliver::Config| match &config.kind {
        deliver::Kind::Alertmanager { urls } => Some(urls.clone()),
        _ => None,
    };
    if let Some((config, urls)) = notify.iter().filter(|config| config.name == name).find_map(|c| Some((c, of(c)?))) {
        return Some(Silencer { name, urls, reach: config.reach.clone(), login: config.login.clone() });
    }
    let known: Vec<_> =
        notify.iter().filter(|config| of(config).is_some()).map(|config| config.name.as_str()).collect();
    reader.unknown(field, "notifier of type alertmanager", "notify", &name, &known);
    None
}
