//! librdkafka handles: how they are set up, and what they say between calls (`handles` keeps them). Two for each agent:
//! one that reads `__consumer_offsets`, one for requests (a broker answers one request for each connection at a time, so
//! a waiting Fetch would hold up the others). One more where groups are asked for one by one: it needs a group of its
//! own. And one for last stable offsets where there are transactions: a handle asks for the one kind of end or the other. And
//! one that produces, while there are actions that do (`produce` keeps it).

use super::{Config, ffi, hints, oauth};
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
use rustix::fs::Access;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The longest text of librdkafka's that is passed on, in bytes.
pub const MAX_ERROR_TEXT: usize = 500;
/// The largest file that may hold a secret, in bytes.
pub const MAX_SECRET_FILE: u64 = 64 * 1024;
/// Properties with the path of a file (of CAs and lists of revoked certificates: or of a folder) that librdkafka reads when
/// a handle is made.
pub const LOCATIONS: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.crl.location", "ssl.key.location", "ssl.keystore.location"];
/// What librdkafka said longer ago than this does not explain a failure of now.
const ERROR_MEMORY: Duration = Duration::from_secs(30);
/// Bytes of fetched records that may wait for our reader.
const MAX_QUEUED_BYTES: u64 = 16 << 20;
/// Longest time for a connection to a broker to be set up, TLS and SASL included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request, if `kafka.timeout` is not longer; a broker that is silent for so long is taken for
/// lost, and nobody asks it for metadata.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What librdkafka takes at most for that.
const LONGEST_ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// Wait before a lost connection is tried again; doubled after each failure.
const FIRST_RECONNECT: Duration = Duration::from_millis(100);
/// Longest such wait.
const LONGEST_RECONNECT: Duration = Duration::from_secs(1);

impl ClientError {
    /// Can it be mended in agent.yaml, or in a file that it names?
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::NoQueue)
    }

    /// The error and its cause, in one line for people.
    pub fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{self}{cause}")
    }
}

/// Keeps the last things that a handle complained of: the calls themselves only say that they timed out.
#[derive(Debug)]
pub struct Context {
    /// What it is for, as the label `handle` has it.
    handle: &'static str,
    metrics: Arc<SelfMetrics>,
    complaints: Mutex<Complaints>,
}

#[derive(Debug, Default)]
struct Complaints {
    error: Option<(Instant, String)>,
    /// A connection that was closed, which librdkafka does not call an error: it may be one, or say why there is one.
    closed: Option<(Instant, String)>,
}

impl Complaints {
    fn most_telling(&self) -> Option<&str> {
        let recent = |complaint: &&(Instant, String)| complaint.0.elapsed() < ERROR_MEMORY;
        let error = self.error.as_ref().filter(recent);
        error.or_else(|| self.closed.as_ref().filter(recent)).map(|(_, text)| text.as_str())
    }
}

impl Context {
    fn new(handle: &'static str, metrics: &Arc<SelfMetrics>) -> Self {
        Self { handle, metrics: Arc::clone(metrics), complaints: Mutex::default() }
    }

    /// What the handle last complained of, if that was lately.
    pub fn complaint(&self) -> Option<String> {
        self.lock().most_telling().map(str::to_owned)
    }

    /// Forgets it, after something succeeded.
    pub fn all_well(&self) {
        *self.lock() = Complaints::default();
    }

    fn lock(&self) -> MutexGuard<'_, Complaints> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A complaint for people, with a hint.
fn complaint(text: &str) -> (Instant, String) {
    // What follows counts repetitions and milliseconds, and would make each failure look like another one.
    let text = text.split_once(" (after ").map_or(text, |(what, _)| what);
    (Instant::now(), hints::with_hint(&BoundedText(text, MAX_ERROR_TEXT).to_string()))
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as errors too, or is kept here; the rest is for those who look for it.
        tracing::debug!(target: "librdkafka", facility, message = %BoundedText(message, MAX_ERROR_TEXT));
        if facility == "FAIL" {
            // Behind the name of a thread.
            let message = message.split_once("]: ").map_or(message, |(_, text)| text);
            self.lock().closed = Some(complaint(message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The agent needs no right on its own group name; librdkafka looks for its coordinator all the same.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            return;
        }
        if is_about_connection(error.rdkafka_error_code()) {
            self.metrics.count(&families::KAFKA_CONNECTION_ERRORS, &[self.handle]);
        }
        let (at, text) = complaint(reason);
        tracing::debug!(target: "librdkafka", error = %text);
        let mut complaints = self.lock();
        // Both follow a reason, or come between two of the same, and say less.
        let all_down = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let closed = reason.contains(": Disconnected") && !reason.contains("handshake failed");
        if !all_down && !closed {
            complaints.error = Some((at, text));
        } else if !all_down || complaints.most_telling().is_none() {
            complaints.closed = Some((at, text));
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
    ffi::serve_events(handle);
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A property's file cannot be read.
    #[error("cannot read {}, the file for kafka.properties.{property}", path.display())]
    File {
        /// The property.
        property: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A property that is ours to act on makes no sense.
    #[error("kafka.properties.{property}: {problem}")]
    Property {
        /// The property.
        property: String,
        /// Why.
        problem: &'static str,
    },
    /// librdkafka has no queue for it.
    #[error("librdkafka has no queue for a handle: out of memory")]
    NoQueue,
    /// librdkafka refuses the properties.
    #[error("librdkafka refuses the kafka configuration{hint}")]
    Refused {
        /// Nothing, or `: ` and what to do about it.
        hint: String,
        /// Why.
        source: KafkaError,
    },
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

/// A handle that produces, and gives a record up after `timeout`.
///
/// # Errors
/// As [`reader`].
pub fn producer(
    config: &Config,
    timeout: Duration,
    metrics: &Arc<SelfMetrics>,
) -> Result<ffi::ProducerHandle, ClientError> {
    let mut client = common(config);
    client
        .remove("allow.auto.create.topics")
        // The same key goes to the same partition as with Kafka's own clients.
        .set("partitioner", "murmur2_random")
        .set("topic.metadata.refresh.interval.ms", "300000")
        .set("linger.ms", "0");
    let values = with_properties(config, &mut client)?;
    client
        .remove("transactional.id")
        // Other names of what is set here; which of two counts is left to chance.
        .remove("request.required.acks")
        .remove("delivery.timeout.ms")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", timeout.as_millis().to_string());
    let context = Context::new("producer", metrics);
    ffi::ProducerHandle::new(&client, context).map_err(|error| refused(&values, error))
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
        // Why a connection was closed may be all that is known of a failure; idle ones are not told of.
        .set("log.connection.close", "true")
        .set("reconnect.backoff.ms", FIRST_RECONNECT.as_millis().to_string())
        .set("reconnect.backoff.max.ms", LONGEST_RECONNECT.as_millis().to_string())
        .set("socket.connection.setup.timeout.ms", CONNECT_TIMEOUT.as_millis().to_string())
        .set("socket.timeout.ms", answer_timeout(config.timeout).as_millis().to_string())
        // Metadata is asked for in each cycle anyway.
        .set("topic.metadata.refresh.interval.ms", "-1");
    client
}

fn answer_timeout(timeout: Duration) -> Duration {
    timeout.clamp(ANSWER_TIMEOUT, LONGEST_ANSWER_TIMEOUT)
}

/// The value of a property, if it is there; from its file, if it is in one.
///
/// # Errors
/// When that file cannot be read.
pub fn property(config: &Config, name: &str) -> Result<Option<String>, ClientError> {
    config.properties.get(name).map(|secret| value(name, secret)).transpose()
}

fn value(property: &str, secret: &Secret) -> Result<String, ClientError> {
    match secret {
        Secret::Inline(value) => Ok(value.clone()),
        Secret::File(path) => files::read_secret(path, MAX_SECRET_FILE).map_err(|source| ClientError::File {
            property: property.to_owned(),
            path: path.clone(),
            source,
        }),
    }
}

fn create(
    config: &Config,
    client: &mut ClientConfig,
    handle: &'static str,
    metrics: &Arc<SelfMetrics>,
) -> Result<Handle, ClientError> {
    let values = with_properties(config, client)?;
    client.create_with_context(Context::new(handle, metrics)).map_err(|error| refused(&values, error))
}

/// The user's properties go before our defaults; those that must be ours are refused with the configuration. Returns their
/// values.
fn with_properties(config: &Config, client: &mut ClientConfig) -> Result<Vec<String>, ClientError> {
    let mut values = Vec::new();
    for (property, secret) in &config.properties {
        if oauth::PROPERTIES.contains(&property.as_str()) {
            continue;
        }
        let value = value(property, secret)?;
        if LOCATIONS.contains(&property.as_str()) && value != "probe" {
            // librdkafka says less of it.
            rustix::fs::access(&value, Access::READ_OK).map_err(|error| ClientError::File {
                property: property.clone(),
                path: PathBuf::from(&value),
                source: error.into(),
            })?;
        }
        client.set(property, &value);
        values.push(value);
    }
    // Not what our own log takes: `Context` looks at some lines, too.
    let debug = config.properties.contains_key("debug");
    client.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    Ok(values)
}

fn refused(values: &[String], error: KafkaError) -> ClientError {
    let source = without_values(values, error);
    let hint = hints::hint(&source.to_string()).map(|hint| format!(": {hint}")).unwrap_or_default();
    ClientError::Refused { hint, source }
}

/// librdkafka repeats the offending value in its message; that may be a secret.
fn without_values(values: &[String], error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(result, mut text, key, _) => {
            for value in values.iter().filter(|value| !value.is_empty()) {
                text = text.replace(value, "***");
            }
            KafkaError::ClientConfig(result, text, key, "***".to_owned())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config_for_tests;

    #[track_caller]
    fn refused_with(properties: &[(&str, Secret)]) -> String {
        let mut config = config_for_tests("127.0.0.1:1");
        config.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        requests(&config, &Arc::default()).map(drop).expect_err("refused").with_cause()
    }

    #[test]
    fn a_refused_value_is_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        let missing = refused_with(&[("sasl.password", Secret::File(path.clone()))]);
        assert!(missing.contains("kafka.properties.sasl.password") && missing.contains("No such file"), "{missing}");
        std::fs::write(&path, "hunter2\n").unwrap();
        for secret in [Secret::Inline("hunter2".to_owned()), Secret::File(path)] {
            let said = refused_with(&[("security.protocol", secret)]);
            assert!(said.contains("security.protocol") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn no_timeout_that_may_be_set_is_refused_by_librdkafka() {
        for (timeout, want) in [(1, 10), (11, 11), (3600, 300)] {
            let mut config = config_for_tests("127.0.0.1:1");
            config.timeout = Duration::from_secs(timeout);
            assert_eq!(answer_timeout(config.timeout), Duration::from_secs(want));
            let made = [requests, last_stable, admin].map(|make| make(&config, &Arc::default()).is_ok());
            assert!(made == [true; 3] && reader(&config, Pace::Steady, &Arc::default()).is_ok(), "{timeout} s");
        }
    }

    #[test]
    fn a_refusal_names_what_to_mend() {
        let text = |text: &str| Secret::Inline(text.to_owned());
        if !cfg!(feature = "kerberos") {
            let said = refused_with(&[("security.protocol", text("SASL_SSL"))]);
            assert!(said.contains("set sasl.mechanism"), "{said}");
        }
        let said = refused_with(&[("security.protocol", text("SSL")), ("ssl.ca.location", text("/nowhere/ca.pem"))]);
        assert!(said.contains("cannot read /nowhere/ca.pem, the file for kafka.properties.ssl.ca.location"), "{said}");
        assert!(said.contains("No such file"), "{said}");
    }

    #[test]
    fn a_handle_keeps_what_it_complained_of_with_a_hint() {
        let metrics = Arc::default();
        let context = Context::new("reader", &metrics);
        let code = KafkaError::Global(RDKafkaErrorCode::Authentication);
        context.error(code, "sasl_ssl://a:1/bootstrap: SASL authentication error: wrong (after 3ms in state AUTH_REQ)");
        let said = context.complaint().expect("a complaint");
        assert!(said.starts_with("wrong user name or password") && !said.contains("3ms"), "{said}");
        let down = || KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        context.error(down(), "1/1 brokers are down");
        let transport = KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        context.error(transport, "sasl_ssl://a:1/bootstrap: Disconnected: connection reset by peer");
        let closed = "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected: might be caused by incorrect security.protocol \
                      configuration (connecting to a SSL listener?) (after 3ms in state APIVERSION_QUERY)";
        context.log(RDKafkaLogLevel::Info, "FAIL", closed);
        assert_eq!(context.complaint(), Some(said));
        context.all_well();
        assert_eq!(context.complaint(), None);
        context.error(down(), "1/1 brokers are down");
        assert_eq!(context.complaint().as_deref(), Some("1/1 brokers are down"));
        context.log(RDKafkaLogLevel::Info, "OTHER", "a:1/bootstrap: something else");
        context.log(RDKafkaLogLevel::Info, "FAIL", closed);
        context.error(down(), "1/1 brokers are down");
        let said = context.complaint().expect("a complaint");
        assert!(said.starts_with("the broker speaks TLS") && said.contains("(a:1/bootstrap: "), "{said}");
        assert!(!said.contains("3ms"), "{said}");
        // The login and the lost connection; what is only logged was told as an error, or was none.
        assert_eq!(metrics.value(&families::KAFKA_CONNECTION_ERRORS, &["reader"]), Some(2.0));
    }
}
