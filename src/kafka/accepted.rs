//! What librdkafka says of single properties, before a handle is made: so that `check` knows. Files are not looked at.

use super::oauth;
use crate::model::Secret;
use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

/// Loads libraries as soon as it is set: not for a check to do.
const LOADS_CODE: &str = "plugin.library.paths";
/// Values of properties that take one of a few, which librdkafka does not list.
const CHOICES: [(&str, &str); 6] = [
    ("broker.address.family", "any, v4, v6"),
    ("client.dns.lookup", "use_all_dns_ips, resolve_canonical_bootstrap_servers_only"),
    ("sasl.mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"),
    ("sasl.mechanisms", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"),
    ("security.protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("ssl.endpoint.identification.algorithm", "https, none"),
];

/// Names that are suggested for one that librdkafka does not know: those that an agent may need. It lists but those that have a
/// value.
const NAMES: [&str; 64] = [
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "log_level",
    "max.in.flight.requests.per.connection",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "topic.metadata.refresh.interval.ms",
];

/// Why librdkafka does not take a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of this name.
    Unknown,
    /// Its value, for people; does not repeat it.
    Value(String),
}

/// Names that a property may well have: librdkafka's, and those that are ours to act on.
pub fn property_names() -> Vec<&'static str> {
    NAMES.into_iter().chain(oauth::PROPERTIES).collect()
}

/// Why librdkafka does not take this property, if it does not. Of one in a file only the name is looked at.
pub fn refusal_of(name: &str, secret: &Secret) -> Option<Refusal> {
    if oauth::PROPERTIES.contains(&name) || name == LOADS_CODE {
        return None;
    }
    let inline = match secret {
        Secret::Inline(value) => Some(value.as_str()),
        Secret::File(_) => None,
    };
    let mut config = ClientConfig::new();
    config.set(name, inline.unwrap_or_default());
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Some(Refusal::Unknown),
        Err(_) if inline.is_none() => None,
        Err(KafkaError::ClientConfig(_, text, ..)) => Some(Refusal::Value(told(name, &text))),
        // There is a NUL in it.
        Err(other) => Some(Refusal::Value(other.to_string())),
    }
}

/// librdkafka's words without the value, which may be a secret in the wrong place.
fn told(name: &str, text: &str) -> String {
    if let Some((_, range)) = text.split_once("is outside allowed range ") {
        return format!("allowed: {}", range.trim().replace("..", " to "));
    }
    if text.starts_with("Expected bool value") {
        return "allowed: true or false".to_owned();
    }
    if !["Invalid value", "Unsupported value"].iter().any(|start| text.starts_with(start)) {
        return text.trim().to_owned();
    }
    let choices = CHOICES.iter().find(|(known, _)| *known == name).map(|(_, choices)| format!("; allowed: {choices}"));
    format!(
        "librdkafka does not take this value{}",
        choices.as_deref().unwrap_or(" (what it takes is in its CONFIGURATION.md)")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> Option<String> {
        refusal_of(name, &Secret::Inline(value.to_owned())).map(|refusal| match refusal {
            Refusal::Unknown => "unknown".to_owned(),
            Refusal::Value(text) => text,
        })
    }

    #[test]
    fn what_librdkafka_takes_is_fine() {
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("socket.timeout.ms", "3000"),
            ("socket.keepalive.enable", "true"),
            ("debug", "broker,security"),
            ("ssl.ca.location", "/not/looked/at"),
            // An alias, and one of topics.
            ("max.in.flight", "5"),
            ("request.required.acks", "1"),
            // Ours to act on; our librdkafka refuses them.
            (oauth::METHOD, "oidc"),
            (LOADS_CODE, "/nowhere.so"),
        ] {
            assert_eq!(refused(name, value), None, "{name}");
        }
    }

    #[test]
    fn what_it_does_not_take_is_refused_and_the_value_not_repeated() {
        assert_eq!(refused("sasl.pasword", "hunter2").as_deref(), Some("unknown"));
        let file = Secret::File("/nowhere".into());
        assert_eq!(refusal_of("sasl.pasword", &file), Some(Refusal::Unknown));
        assert_eq!(refusal_of("security.protocol", &file), None);
        for (name, value, words) in [
            ("security.protocol", "hunter2", "allowed: PLAINTEXT, SSL"),
            ("sasl.oauthbearer.config", "", ""),
            ("socket.timeout.ms", "hunter2", "does not take this value"),
            ("socket.timeout.ms", "1", "allowed: 10 to 300000"),
            ("socket.keepalive.enable", "hunter2", "allowed: true or false"),
            ("debug", "hunter2", "CONFIGURATION.md"),
            ("broker.address.family", "hunter2", "allowed: any, v4, v6"),
            ("socket.timeout.ms", "", "empty"),
        ] {
            let said = refused(name, value).unwrap_or_default();
            assert!(said.contains(words) && !said.contains("hunter2"), "{name}: {said}");
        }
    }

    #[test]
    fn no_name_is_suggested_that_is_not_known() {
        let file = Secret::File("/nowhere".into());
        for name in property_names() {
            assert_eq!(refusal_of(name, &file), None, "{name}");
        }
    }
}
