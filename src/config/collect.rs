//! The keys of agent.yaml that say what is collected and shown: `http`, `kafka`, `jmx`, `metrics`.

use super::{
    labels::{self, JMX_RESERVED_LABELS},
    notify,
    problem::key_path,
    read::{Field, Reader, Section, suggestion},
    scalar, url,
    yaml::Node,
};
use crate::{http, jmx, kafka, model::Secret, page};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

/// Allowed distances between two collections.
pub const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_hours(1);
/// Allowed deadlines of Kafka requests; also less than the interval.
pub const KAFKA_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Allowed deadlines of JMX walks.
pub const JMX_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);
/// Allowed sizes of JMX pages, in bytes.
pub const JMX_SIZES: RangeInclusive<u64> = 1024..=1 << 30;
/// Allowed values of `metrics.max_series`.
pub const SERIES: RangeInclusive<u64> = 1000..=100_000_000;
/// Allowed values of `kafka.replay_max_records`.
pub const REPLAYS: RangeInclusive<u64> = 1000..=1_000_000_000_000;
/// Most bytes of `kafka.bootstrap_servers`.
pub const MAX_BOOTSTRAP_BYTES: usize = 8192;
/// Longest name of a librdkafka property, in bytes.
pub const MAX_PROPERTY_NAME_BYTES: usize = 128;
/// Most bytes of a librdkafka property (a PEM chain is the longest that is known).
pub const MAX_PROPERTY_BYTES: usize = 64 << 10;

const DEFAULT_BOOTSTRAP: &str = "localhost:9092";
const DEFAULT_KAFKA_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_KAFKA_TIMEOUT: Duration = Duration::from_secs(4);
const DEFAULT_JMX_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_JMX_TIMEOUT: Duration = Duration::from_mins(1);
const DEFAULT_JMX_SIZE: u64 = 64 << 20;
const DEFAULT_MAX_SERIES: u64 = 2_000_000;
const DEFAULT_REPLAY: u64 = 50_000_000;
const DEFAULT_PORT: u16 = 9308;

/// librdkafka's property with the file of CAs that are trusted.
const CA_FILE: &str = "ssl.ca.location";
/// Where OpenSSL's users and ours (for tokens) name the file of CAs that this system trusts. The OpenSSL that is built in has
/// librdkafka look in the usual places only.
const CA_VARIABLE: &str = "SSL_CERT_FILE";
/// librdkafka properties that are ours to set, and why.
pub const OWNED_PROPERTIES: [(&str, &str); 12] = [
    ("allow.auto.create.topics", "an agent creates nothing"),
    ("auto.offset.reset", "the offsets topic is read from where we decide"),
    ("bootstrap.servers", "write kafka.bootstrap_servers"),
    ("client.id", "it tells the broker's operator who asks"),
    ("enable.auto.commit", "an agent commits nothing"),
    ("enable.auto.offset.store", "an agent commits nothing"),
    ("enable.partition.eof", "it tells when the offsets topic is read to its end"),
    ("group.id", "an agent joins no group"),
    ("group.instance.id", "an agent joins no group"),
    ("isolation.level", "each offset is read at the level that it needs"),
    ("metadata.broker.list", "write kafka.bootstrap_servers"),
    ("statistics.interval.ms", "its statistics would go nowhere"),
];

/// `http:`.
pub(super) fn http(reader: &mut Reader<'_>, field: Option<Field>) -> http::Config {
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
    let mut config = http::Config { listen, web_config_file: None };
    if let Some(mut section) = field.and_then(|field| reader.section(field)) {
        if let Some(field) = section.take("listen") {
            let allowed = "an IP address and a port, such as 0.0.0.0:9308 or [::]:9308";
            config.listen = reader.parsed(&field, allowed, |text| text.parse().ok()).unwrap_or(config.listen);
        }
        config.web_config_file = section.take("web_config_file").and_then(|field| reader.path(&field));
        reader.finish(section);
    }
    config
}

/// `metrics:`.
pub(super) fn metrics(reader: &mut Reader<'_>, field: Option<Field>) -> page::Config {
    let mut config = page::Config { kafka_exporter: true, max_series: DEFAULT_MAX_SERIES };
    if let Some(mut section) = field.and_then(|field| reader.section(field)) {
        if let Some(names) = section.take("compatibility").and_then(|field| reader.list(field)) {
            config.kafka_exporter = false;
            for name in names {
                config.kafka_exporter |= reader.choice(&name, &["kafka_exporter"], &[]).is_some();
            }
        }
        if let Some(field) = section.take("max_series") {
            config.max_series = reader.integer(&field, SERIES, "").unwrap_or(DEFAULT_MAX_SERIES);
        }
        reader.finish(section);
    }
    config
}

/// `kafka:`, which is there.
pub(super) fn kafka(reader: &mut Reader<'_>, field: Field) -> Option<kafka::Config> {
    let mut section = reader.section(field)?;
    let servers = section.take("bootstrap_servers").and_then(|field| {
        let allowed = "host:port[,host:port…]";
        reader.parsed(&field, allowed, |text| is_server_list(text).then(|| text.to_owned()))
    });
    let scope = section.take("scope").and_then(|field| reader.choice(&field, &["broker", "cluster"], &[]));
    let broker_id = section.take("broker_id").and_then(|field| broker_id(reader, &field));
    let offsets = section.take("offsets").and_then(|field| reader.choice(&field, &["admin", "auto", "topic"], &[]));
    let replay = section.take("replay_max_records").and_then(|field| reader.integer(&field, REPLAYS, ""));
    let (interval, timeout) = kafka_times(reader, &mut section);
    let groups = name_filter(reader, section.take("groups"));
    let topics = name_filter(reader, section.take("topics"));
    let inactive = section.take("inactive_groups").and_then(|field| reader.choice(&field, &["hide", "keep"], &[]));
    let properties = section.take("properties").map(|field| properties(reader, field)).unwrap_or_default();
    reader.finish(section);
    Some(kafka::Config {
        bootstrap_servers: servers.unwrap_or_else(|| DEFAULT_BOOTSTRAP.into()),
        scope: if scope == Some("cluster") { kafka::Scope::Cluster } else { kafka::Scope::Broker },
        broker_id,
        offsets: match offsets {
            Some("admin") => kafka::OffsetsSource::Admin,
            Some("topic") => kafka::OffsetsSource::Topic,
            _ => kafka::OffsetsSource::Auto,
        },
        replay_max_records: replay.unwrap_or(DEFAULT_REPLAY),
        interval,
        timeout,
        groups,
        topics,
        hide_inactive: inactive == Some("hide"),
        properties,
    })
}

fn kafka_times(reader: &mut Reader<'_>, section: &mut Section) -> (Duration, Duration) {
    let interval = section.take("interval").map(|field| reader.duration(&field, INTERVALS));
    let timeout = section.take("timeout").and_then(|field| Some((reader.duration(&field, KAFKA_TIMEOUTS)?, field)));
    // A bad interval is one problem, not two.
    let known = interval.unwrap_or(Some(DEFAULT_KAFKA_INTERVAL));
    if let (Some(interval), Some((timeout, field))) = (known, &timeout)
        && *timeout >= interval
    {
        reader.refuse(field, format_args!("less than kafka.interval ({})", scalar::duration_text(interval)));
    }
    let interval = known.unwrap_or(DEFAULT_KAFKA_INTERVAL);
    // A shorter interval alone must not need a timeout beside it.
    let shorter = interval.checked_mul(4).and_then(|four| four.checked_div(5)).unwrap_or(DEFAULT_KAFKA_TIMEOUT);
    (interval, timeout.map_or(shorter.min(DEFAULT_KAFKA_TIMEOUT), |(timeout, _)| timeout))
}

fn broker_id(reader: &mut Reader<'_>, field: &Field) -> Option<i32> {
    if matches!(&field.node, Node::Text(text) if text == "auto") {
        return None;
    }
    let most = u64::try_from(i32::MAX).unwrap_or_default();
    reader.integer(field, 0..=most, ", or auto").and_then(|id| i32::try_from(id).ok())
}

fn name_filter(reader: &mut Reader<'_>, field: Option<Field>) -> kafka::NameFilter {
    let mut filter = kafka::NameFilter { include: everything(), exclude: Vec::new() };
    if let Some(mut section) = field.and_then(|field| reader.section(field)) {
        if let Some(field) = section.take("include") {
            filter.include = reader.regexes(field);
        }
        if let Some(field) = section.take("exclude") {
            filter.exclude = reader.regexes(field);
        }
        reader.finish(section);
    }
    filter
}

/// What `[".*"]` becomes.
fn everything() -> Vec<Regex> {
    scalar::anchored(".*").into_iter().collect()
}

fn properties(reader: &mut Reader<'_>, mut field: Field) -> BTreeMap<String, Secret> {
    field.secret = true;
    let Some(mut section) = reader.section(field) else { return BTreeMap::new() };
    let mut properties = BTreeMap::new();
    let path = section.path.clone();
    let entries = section.take_rest();
    let count = entries.len();
    for (key, field) in entries {
        let name = key.strip_suffix("_file").unwrap_or(&key);
        if let Some(reason) = owned_because(name) {
            reader.problem(&field.path, format_args!("not yours to set: {reason}"));
            continue;
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > MAX_PROPERTY_NAME_BYTES || !name.bytes().all(plain) {
            reader.problem(&field.path, "not the name of a librdkafka property");
            continue;
        }
        let secret = if name == key { property(reader, &field) } else { reader.path(&field).map(Secret::File) };
        if secret.is_some_and(|secret| properties.insert(name.to_owned(), secret).is_some()) {
            let path = key_path(&path, name);
            reader.problem(&path, format_args!("both {name} and {name}_file are there; allowed: one of them"));
        }
    }
    // What is missing because it was refused above is no second problem.
    let together = if properties.len() == count { kafka::property_problems(&properties) } else { Vec::new() };
    for (name, secret) in properties.iter().filter(|(name, _)| together.iter().all(|(known, _)| known != *name)) {
        if let Some(refusal) = kafka::refusal_of(name, secret) {
            refuse_property(reader, &path, name, secret, &refusal);
        }
    }
    for (name, problem) in together {
        reader.problem(&key_path(&path, &name), problem);
    }
    if let Some(path) = reader.variable(CA_VARIABLE).filter(|_| trusts_the_system(&properties)) {
        properties.insert(CA_FILE.to_owned(), Secret::Inline(path));
    }
    properties
}

/// Says why librdkafka does not take a property, at the path where it is written.
fn refuse_property(reader: &mut Reader<'_>, path: &str, name: &str, secret: &Secret, refusal: &kafka::Refusal) {
    let end = if matches!(secret, Secret::File(_)) { "_file" } else { "" };
    let path = key_path(path, &format!("{name}{end}"));
    if let kafka::Refusal::Value(text) = refusal {
        return reader.problem(&path, text);
    }
    match suggestion(name, &kafka::property_names()) {
        Some(near) => reader.problem(&path, format_args!("unknown property; did you mean `{near}{end}`?")),
        None => reader.problem(&path, "unknown property; allowed: those of librdkafka's CONFIGURATION.md"),
    }
}

/// Brokers have certificates, and nothing says whose are good.
fn trusts_the_system(properties: &BTreeMap<String, Secret>) -> bool {
    let tls = properties.get("security.protocol").is_some_and(|protocol| match protocol {
        Secret::Inline(value) => value.to_ascii_lowercase().ends_with("ssl"),
        Secret::File(_) => true,
    });
    tls && ![CA_FILE, "ssl.ca.pem"].iter().any(|name| properties.contains_key(*name))
}

fn owned_because(name: &str) -> Option<&'static str> {
    if name.ends_with("_cb") || name.ends_with("_data") || name == "opaque" {
        return Some("it is a pointer inside the program");
    }
    OWNED_PROPERTIES.iter().find(|(owned, _)| *owned == name).map(|(_, reason)| *reason)
}

fn property(reader: &mut Reader<'_>, field: &Field) -> Option<Secret> {
    let sensitive = ["password", "passphrase", "secret"].iter().any(|word| field.path.contains(word));
    let text = match &field.node {
        // A number is not always written back as it was: 0x1F, 1_000, 007.
        Node::Integer(value) if !sensitive => value.to_string(),
        Node::Bool(value) if !sensitive => value.to_string(),
        _ => reader.text(field, "text")?,
    };
    if text.len() > MAX_PROPERTY_BYTES || text.contains('\0') {
        reader.refuse(field, format_args!("at most {MAX_PROPERTY_BYTES} bytes, none of them NUL"));
        return None;
    }
    super::secret(reader, field, text)
}

fn is_server_list(text: &str) -> bool {
    let server = |server: &str| {
        server.rsplit_once(':').is_some_and(|(host, port)| {
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host_ok = match bracketed {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                }
            };
            host_ok && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    text.len() <= MAX_BOOTSTRAP_BYTES && text.split(',').map(str::trim).all(server)
}

/// `jmx:`.
pub(super) fn jmx(reader: &mut Reader<'_>, field: Option<Field>) -> Vec<jmx::Config> {
    let pages = field.and_then(|field| reader.list(field)).unwrap_or_default();
    let mut names = BTreeSet::new();
    pages.into_iter().filter_map(|field| jmx_page(reader, field, &mut names)).collect()
}

fn jmx_page(reader: &mut Reader<'_>, field: Field, names: &mut BTreeSet<String>) -> Option<jmx::Config> {
    let mut section = reader.section(field)?;
    let name = super::name(reader, &mut section, names);
    if name.as_deref() == Some("kafka") {
        let path = key_path(&section.path, "name");
        reader.problem(&path, "found \"kafka\"; allowed: any other name (this one is the Kafka collector's)");
    }
    let example = "a URL such as http://localhost:9094/metrics";
    let url = reader.required(&mut section, "url", example);
    let url = url.and_then(|field| url::url(reader, field, &["http", "https"], example));
    let login = notify::login(reader, &mut section);
    let tls = notify::tls(reader, &mut section, true);
    let interval = section.take("interval").and_then(|field| reader.duration(&field, INTERVALS));
    let timeout = section.take("timeout").and_then(|field| reader.duration(&field, JMX_TIMEOUTS));
    let max_size = section.take("max_size").and_then(|field| reader.size(&field, JMX_SIZES));
    let keep = section.take("keep").map_or_else(everything, |field| reader.regexes(field));
    let drop = section.take("drop").map(|field| reader.regexes(field)).unwrap_or_default();
    let labels = section.take("labels").and_then(|field| labels::labels(reader, field, &JMX_RESERVED_LABELS));
    reader.finish(section);
    Some(jmx::Config {
        name: name?,
        url: url?,
        login,
        tls: tls.unwrap_or_default(),
        interval: interval.unwrap_or(DEFAULT_JMX_INTERVAL),
        timeout: timeout.unwrap_or(DEFAULT_JMX_TIMEOUT),
        max_size: max_size.unwrap_or(DEFAULT_JMX_SIZE),
        keep,
        drop,
        labels: Arc::new(labels.unwrap_or_default()),
    })
}
