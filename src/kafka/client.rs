//! librdkafka handles: how they are set up, and what they say between calls. Two for each agent: one that reads
//! `__consumer_offsets`, one for requests (a broker answers one request for each connection at a time, so a waiting
//! Fetch would hold up the others). One more where groups are asked for one by one: it needs a group of its own. And one
//! for last stable offsets where there are transactions: a handle asks for the one kind of end or the other.

use super::Config;
use crate::{
    events::SelfMetrics,
    files,
    model::{BoundedText, Secret, families},
};
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The longest text of librdkafka's that is passed on, in bytes.
pub const MAX_ERROR_TEXT: usize = 500;
/// The largest file that may hold a secret, in bytes.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;
/// What librdkafka said longer ago than this does not explain a failure of now.
const ERROR_MEMORY: Duration = Duration::from_secs(30);
/// Bytes of fetched records that may wait for our reader.
const MAX_QUEUED_BYTES: u64 = 16 << 20;
/// Longest time for a connection to a broker to be set up, TLS and SASL included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before a lost connection is tried again; doubled after each failure.
const FIRST_RECONNECT: Duration = Duration::from_millis(100);
/// Longest such wait.
const LONGEST_RECONNECT: Duration = Duration::from_secs(1);

impl ClientError {
    /// The error and its cause, in one line for people.
    pub fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{self}{cause}")
    }
}

/// Keeps the last thing that a handle complained of: the calls themselves only say that they timed out.
#[derive(Debug)]
pub struct Context {
    /// What it is for, as the label `handle` has it.
    handle: &'static str,
    metrics: Arc<SelfMetrics>,
    last: Mutex<Option<(Instant, String)>>,
}

impl Context {
    /// What the handle last complained of, if that was lately.
    pub fn complaint(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < ERROR_MEMORY).map(|(_, text)| text.clone())
    }

    /// Forgets it, after something succeeded.
    pub fn all_well(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as errors too; the rest is for those who look for it.
        tracing::debug!(target: "librdkafka", facility, message = %BoundedText(message, MAX_ERROR_TEXT));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The agent needs no right on its own group name; librdkafka looks for its coordinator all the same.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            return;
        }
        if is_about_connection(error.rdkafka_error_code()) {
            self.metrics.count(&families::KAFKA_CONNECTION_ERRORS, &[self.handle]);
        }
        // What follows counts repetitions and milliseconds, and would make each failure look like another one.
        let reason = reason.split_once(" (after ").map_or(reason, |(what, _)| what);
        let text = BoundedText(reason, MAX_ERROR_TEXT).to_string();
        tracing::debug!(target: "librdkafka", error = %text);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down" follows the reason and says less.
        let keep = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
            && last.as_ref().is_some_and(|(at, _)| at.elapsed() < ERROR_MEMORY);
        if !keep {
            *last = Some((Instant::now(), text));
        }
    }
}

impl ConsumerContext for Context {}

fn is_about_connection(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
        )
    )
}

/// A handle of ours.
pub type Handle = BaseConsumer<Context>;

/// Takes the events of a handle that delivers no messages: its log, its errors, requests for tokens.
pub fn serve_events(handle: &Handle) {
    while let Some(event) = handle.poll(Duration::ZERO) {
        if let Err(error) = event {
            tracing::debug!(%error, "librdkafka");
        }
    }
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A property's file cannot be read.
    #[error("cannot read the file for kafka.properties.{property}")]
    Secret {
        /// The property.
        property: String,
        /// Why.
        source: std::io::Error,
    },
    /// librdkafka refuses the properties.
    #[error("librdkafka refuses the kafka configuration")]
    Refused(#[source] KafkaError),
}

/// How the reader's Fetch requests are tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At start: the end of each partition should be seen at once.
    Replay,
    /// Afterwards: one second of freshness buys most of the idle Fetch requests.
    Steady,
}

/// The handle that reads `__consumer_offsets`.
///
/// # Errors
/// When a property cannot be read or is refused.
pub fn reader(config: &Config, pace: Pace, metrics: &Arc<SelfMetrics>) -> Result<Handle, ClientError> {
    let mut client = common(config);
    let (wait, least) = match pace {
        Pace::Replay => ("50", "1"),
        Pace::Steady => ("1000", "65536"),
    };
    client
        .set("fetch.wait.max.ms", wait)
        .set("fetch.min.bytes", least)
        // assign() wants a group; nothing is ever subscribed or committed, so none comes into being.
        .set("group.id", "brokerwarden")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        // An open, later aborted, transaction's commits must never be shown.
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", (MAX_QUEUED_BYTES >> 10).to_string());
    create(config, &mut client, "reader", metrics)
}

/// The handle for metadata and offsets.
///
/// # Errors
/// As [`reader`].
pub fn requests(config: &Config, metrics: &Arc<SelfMetrics>) -> Result<Handle, ClientError> {
    let mut client = common(config);
    // read_uncommitted: ListOffsets then gives the high watermark, which is what lag is measured from.
    client.set("isolation.level", "read_uncommitted");
    create(config, &mut client, "requests", metrics)
}

/// The handle for last stable offsets.
///
/// # Errors
/// As [`reader`].
pub fn last_stable(config: &Config, metrics: &Arc<SelfMetrics>) -> Result<Handle, ClientError> {
    let mut client = common(config);
    // read_committed: ListOffsets then gives the last stable offset as the end.
    client.set("isolation.level", "read_committed");
    create(config, &mut client, "last_stable", metrics)
}

/// The handle that asks for groups one by one.
///
/// # Errors
/// As [`reader`].
pub fn admin(config: &Config, metrics: &Arc<SelfMetrics>) -> Result<Handle, ClientError> {
    let mut client = common(config);
    client
        // Nothing is ever subscribed or committed; what needs it is told in `ffi`.
        .set("group.id", "brokerwarden")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // For so long after its last use librdkafka trusts what it knows of a group's coordinator, also when the broker
        // has answered that it is none.
        .set("metadata.max.age.ms", "1000");
    create(config, &mut client, "groups", metrics)
}

fn common(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("client.id", "brokerwarden")
        // OpenSSL is built in and knows no folder of certificates of its own.
        .set("ssl.ca.location", "probe")
        .set("allow.auto.create.topics", "false")
        .set("enable.metrics.push", "false")
        .set("log.connection.close", "false")
        .set("reconnect.backoff.ms", FIRST_RECONNECT.as_millis().to_string())
        .set("reconnect.backoff.max.ms", LONGEST_RECONNECT.as_millis().to_string())
        .set("socket.connection.setup.timeout.ms", CONNECT_TIMEOUT.as_millis().to_string())
        // Metadata is asked for in each cycle anyway.
        .set("topic.metadata.refresh.interval.ms", "-1");
    client
}

/// The user's properties go before our defaults; those that must be ours are refused with the configuration.
fn create(
    config: &Config,
    client: &mut ClientConfig,
    handle: &'static str,
    metrics: &Arc<SelfMetrics>,
) -> Result<Handle, ClientError> {
    for (property, secret) in &config.properties {
        let value = match secret {
            Secret::Inline(value) => value.clone(),
            Secret::File(path) => files::read_secret(path, MAX_SECRET_FILE)
                .map_err(|source| ClientError::Secret { property: property.clone(), source })?,
        };
        client.set(property, value);
    }
    let context = Context { handle, metrics: Arc::clone(metrics), last: Mutex::default() };
    client.create_with_context(context).map_err(|error| ClientError::Refused(without_secrets(config, error)))
}

/// librdkafka repeats the offending value in its message; that may be a secret.
fn without_secrets(config: &Config, error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(result, mut text, key, _) => {
            for secret in config.properties.values() {
                if let Secret::Inline(value) = secret
                    && !value.is_empty()
                {
                    text = text.replace(value, "***");
                }
            }
            KafkaError::ClientConfig(result, text, key, "***".to_owned())
        }
        other => other,
    }
}
