//! From agent.yaml to each module's own configuration. The only module that reads the environment.

mod actions;
mod collect;
mod effective;
mod labels;
mod notify;
pub(crate) mod parts;
mod problem;
mod read;
mod rules;
mod scalar;
#[cfg(test)]
mod tests;
mod url;
mod web;
mod yaml;

pub use actions::{
    ACTION_RATE_COUNTS, ACTION_RATE_TIMES, ACTION_TIMEOUTS, CONCURRENCIES, MAX_ACTIONS, MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS, MAX_ENVIRONMENT, MAX_PARAMETERS,
};
pub use collect::{
    INTERVALS, JMX_SIZES, JMX_TIMEOUTS, KAFKA_TIMEOUTS, MAX_BOOTSTRAP_BYTES, MAX_PROPERTY_BYTES, OWNED_PROPERTIES,
    SERIES,
};
pub use effective::effective;
pub use labels::{ALERT_RESERVED_LABELS, JMX_RESERVED_LABELS, MAX_LABEL_NAME_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS};
pub use notify::{MAX_MATCHERS, MAX_RECEIVERS, RATE_MESSAGES, RATE_TIMES, REPEATS};
pub use problem::{LoadError, MAX_PROBLEMS_SHOWN, MAX_SHOWN_BYTES, Problem};
pub use read::{MAX_EXPANDED_BYTES, MAX_LIST};
pub use rules::{
    ALERTS, HOLDS, MAX_RULE_CONFIG_BYTES, MAX_SIDECAR_BYTES, MEMORIES, RULE_INTERVALS, STATES, TIMES, parse_sidecar,
};
pub use scalar::{MAX_NAME_BYTES, MAX_REGEX_BYTES, MAX_REGEX_COMPILED_BYTES};
pub use url::MAX_URL_BYTES;
pub use web::{MAX_INLINE_PEM_BYTES, MAX_USER_BYTES, MAX_WEB_USERS, web_config};
pub use yaml::{MAX_BRACKETS, MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES};

use crate::{deliver, files, http, jmx, kafka, model::Secret, page};
use read::{Field, Reader, Section};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use yaml::Node;

/// Largest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest value of `cluster`, in bytes.
pub const MAX_CLUSTER_BYTES: usize = 255;

/// How [`effective()`] writes a secret; refused where a secret is read.
const MASK: &str = "***";

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Value of our `cluster` label; `None` = Kafka's cluster id.
    pub cluster: Option<String>,
    /// Where what must survive is kept.
    pub data_dir: PathBuf,
    /// The HTTP server.
    pub http: http::Config,
    /// The Kafka collector; `None` = no Kafka.
    pub kafka: Option<kafka::Config>,
    /// The JMX pages.
    pub jmx: Vec<jmx::Config>,
    /// The metrics page.
    pub page: page::Config,
    /// The rules.
    pub rules: crate::rules::Config,
    /// The notifiers.
    pub notify: Vec<deliver::Config>,
    /// The actions.
    pub actions: Vec<crate::actions::Config>,
}

/// The value of a variable of our own environment; `None` also where it is not UTF-8.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads and checks the file at `path`; all problems at once. `${NAME}` is looked up in `environment`, and relative
/// paths are taken from the file's folder. Nothing else is read or created: not the secrets, not the folders.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, LoadError> {
    let read = |source| LoadError::Read { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(read)?;
    let whole = |text: String| LoadError::Problems(vec![Problem { path: path.display().to_string(), text }]);
    let bytes = files::read_short(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => whole(error.to_string()),
        _ => read(error),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|error| whole(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
    let node = match yaml::parse(&text).map_err(whole)? {
        Node::Null => Node::Map(Vec::new()),
        node @ Node::Map(_) => node,
        node => return Err(whole(format!("found {} at the top; allowed: a mapping (`key: value`)", node.kind()))),
    };
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let mut reader = Reader::new(Some(environment), folder);
    let config = config(&mut reader, node, &path.display().to_string());
    match (config, reader.into_problems()) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(LoadError::Problems(problems)),
    }
}

/// Has a value exactly when `reader` has no problem with `node` as a whole.
fn config(reader: &mut Reader<'_>, node: Node, file: &str) -> Option<Config> {
    let mut section = reader.section(Field { path: String::new(), node, secret: false })?;
    let cluster = section.take("cluster").and_then(|field| {
        let allowed = format!("text of 1 to {MAX_CLUSTER_BYTES} bytes without control characters");
        let good = |text: &str| (1..=MAX_CLUSTER_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        reader.parsed(&field, &allowed, |text| good(text).then(|| text.to_owned()))
    });
    let data_dir = section.take("data_dir").and_then(|field| reader.path(&field));
    let data_dir = data_dir.unwrap_or_else(|| reader.joined(Path::new("data")));
    let http = collect::http(reader, section.take("http"));
    let kafka_empty = section.is_null("kafka");
    if kafka_empty {
        reader.problem("kafka", "found nothing; allowed: a mapping (`kafka: {}` for all defaults), or no such key");
    }
    let kafka_field = section.take("kafka");
    let jmx_field = section.take("jmx");
    let no_pages = jmx_field.as_ref().is_none_or(|field| matches!(&field.node, Node::List(pages) if pages.is_empty()));
    if kafka_field.is_none() && !kafka_empty && no_pages {
        reader.problem(file, "nothing to collect from; allowed: kafka, jmx or both");
    }
    let has_kafka = kafka_field.is_some();
    let kafka = kafka_field.and_then(|field| collect::kafka(reader, field));
    let jmx = collect::jmx(reader, jmx_field);
    let page = collect::metrics(reader, section.take("metrics"));
    let rules_dir = section.take("rules_dir").and_then(|field| reader.path(&field));
    let rules_dir = rules_dir.unwrap_or_else(|| reader.joined(Path::new("rules")));
    let actions = section.keys_below("actions");
    let rules = rules::rules(reader, section.take("rules"), &actions);
    let notify = notify::notify(reader, section.take("notify"));
    let actions = actions::actions(reader, section.take("actions"), &notify, has_kafka);
    reader.finish(section);
    Some(Config {
        cluster,
        http,
        kafka,
        jmx,
        page,
        rules: crate::rules::Config {
            rules_dir: Some(rules_dir),
            rules,
            parse_sidecar,
            cache_dir: data_dir.join("compiled"),
            compiler: PathBuf::from("/proc/self/exe"),
        },
        data_dir,
        notify,
        actions,
    })
}

/// `name:` of an item of a list, which no other item has.
fn name(reader: &mut Reader<'_>, section: &mut Section, names: &mut BTreeSet<String>) -> Option<String> {
    let allowed =
        format!("1 to {MAX_NAME_BYTES} letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`");
    let field = reader.required(section, "name", &allowed)?;
    let name = reader.parsed(&field, &allowed, |text| scalar::is_name(text).then(|| text.to_owned()))?;
    if !names.insert(name.clone()) {
        reader.refuse(&field, "a name that no other has");
    }
    Some(name)
}

/// A secret written in the configuration.
fn secret(reader: &mut Reader<'_>, field: &Field, text: String) -> Option<Secret> {
    if text == MASK {
        reader.problem(&field.path, "found the mask of a secret; allowed: the secret itself, or a file that holds it");
        return None;
    }
    Some(Secret::Inline(text))
}
