//! What to do about what librdkafka complains of: which property to mend. Pure.

/// Words that are all in a complaint, and what it means. The first that fits counts.
const HINTS: &[(&[&str], &str)] = &[
    (
        &[NOT_VERIFIED],
        "the broker's certificate is not trusted: its CA is not in ssl.ca.location, it has expired, or it is for another \
         name; mend ssl.ca.location in kafka.properties, or the certificate",
    ),
    (
        &["alert certificate expired"],
        "our certificate has expired: renew what ssl.certificate.location (or ssl.keystore.location) in kafka.properties \
         names",
    ),
    (&["alert unknown ca"], NO_CERTIFICATE),
    (&["alert bad certificate"], NO_CERTIFICATE),
    (&["alert certificate"], NO_CERTIFICATE),
    (&["client SSL authentication might be required"], NO_CERTIFICATE),
    (
        &["alert handshake failure"],
        "broker and agent have no TLS version or cipher in common, or the broker has no certificate",
    ),
    (&["connecting to a PLAINTEXT broker listener"], NO_TLS),
    (&["SSL", "wrong version number"], NO_TLS),
    (&["SSL", "packet length too long"], NO_TLS),
    (&["SSL", "record layer failure"], NO_TLS),
    (
        &["Invalid response size 1213486160"], // HTTP
        "what answered is an HTTP server, not a broker: mend kafka.bootstrap_servers",
    ),
    // An alert of TLS 1.0 to 1.3, read as a length.
    (&["Invalid response size 35251"], TLS),
    (&["connecting to a SSL listener"], TLS),
    (
        &["mechanism handshake failed", "current SASL state"],
        "the broker wants no password on this port: mend security.protocol (PLAINTEXT or SSL) in kafka.properties, or \
         kafka.bootstrap_servers",
    ),
    (
        &["mechanism handshake failed"],
        "the broker has not enabled this mechanism: mend sasl.mechanism in kafka.properties, or the broker's \
         sasl.enabled.mechanisms",
    ),
    (&["might require SASL authentication"], CLOSED),
    (&["invalid_token"], BAD_TOKEN),
    (&["OAUTHBEARER authentication failed"], BAD_TOKEN),
    (&["SASL authentication error"], PASSWORD),
    (&["SASL", "uthentication failed"], PASSWORD),
    (&["check client", "credentials"], PASSWORD),
    (
        &["Failed to resolve"],
        "there is no such host: mend kafka.bootstrap_servers, or the broker's advertised.listeners",
    ),
    (
        &["No provider for SASL mechanism GSSAPI"],
        "set sasl.mechanism in kafka.properties; its default, GSSAPI, needs a build with the feature kerberos",
    ),
    (&["key values mismatch"], "ssl.key.location in kafka.properties is not the key of ssl.certificate.location"),
    // Before anything was asked; brokers that were learned of have a number in place of this word.
    (&["/bootstrap: Disconnected"], CLOSED),
];

/// What librdkafka says of every certificate that it does not take, whatever is wrong with it.
const NOT_VERIFIED: &str = "certificate verify failed";
const NO_CERTIFICATE: &str = "the broker wants a certificate of ours that it trusts: mend ssl.certificate.location and \
    ssl.key.location in kafka.properties, or the broker's ssl.truststore";
const CLOSED: &str = "the broker closes the connection: it may want TLS or a password on this port, or none: mend \
    security.protocol and sasl.mechanism in kafka.properties";
const NO_TLS: &str = "the broker does not speak TLS on this port: mend security.protocol (PLAINTEXT or SASL_PLAINTEXT) \
    in kafka.properties, or kafka.bootstrap_servers";
const TLS: &str = "the broker speaks TLS on this port: mend security.protocol (SSL or SASL_SSL) in kafka.properties, or \
    kafka.bootstrap_servers";
const BAD_TOKEN: &str = "the broker does not take the token: mend sasl.oauthbearer.scope or sasl.oauthbearer.extensions in \
    kafka.properties, or the issuer and audience that the broker expects";
const PASSWORD: &str = "wrong user name or password: mend sasl.username and sasl.password (or sasl.password_file) in \
    kafka.properties";

/// What a complaint means, if we know.
pub fn hint(complaint: &str) -> Option<&'static str> {
    HINTS.iter().find(|(words, _)| words.iter().all(|word| complaint.contains(word))).map(|(_, hint)| *hint)
}

/// The complaint behind what it means: people read the beginning.
pub fn with_hint(complaint: &str) -> String {
    hint(complaint).map_or_else(|| complaint.to_owned(), |hint| format!("{hint} ({complaint})"))
}

/// The broker (`host:port`) whose certificate was not trusted, if a complaint is about that.
pub fn whose_certificate(complaint: &str) -> Option<&str> {
    let (_, rest) = complaint.split_once("ssl://")?;
    let (address, _) = rest.split_once('/')?;
    complaint.contains(NOT_VERIFIED).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "sasl_ssl://a.example:9093/bootstrap: SSL handshake failed: error:0A000086:SSL \
        routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is \
        correctly configured or root CA certificates are installed (install ca-certificates package)";

    #[test]
    fn each_complaint_names_what_to_mend() {
        for (complaint, mend) in [
            (CERTIFICATE, "ssl.ca.location"),
            ("ssl://a:1/1: error:0A000415:SSL routines::ssl/tls alert certificate expired", "ssl.certificate.location"),
            ("ssl://a:1/1: error:0A00045C:SSL routines::tlsv13 alert certificate required", "ssl.key.location"),
            ("ssl://a:1/1: error:0A000412:SSL routines::ssl/tls alert bad certificate", "ssl.key.location"),
            ("ssl://a:1/1: error:0A000418:SSL routines::tlsv1 alert unknown ca", "ssl.key.location"),
            (
                "ssl://a:1/1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
                "security.protocol",
            ),
            (
                "ssl://a:1/1: SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                "security.protocol",
            ),
            (
                "a:1/1: Receive failed: Invalid response size 1213486160 (0..100000000): increase",
                "kafka.bootstrap_servers",
            ),
            ("a:1/1: Receive failed: Invalid response size 352518912 (0..100000000): increase", "(SSL or SASL_SSL)"),
            (
                "a:1/1: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration \
                 (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request)",
                "(SSL or SASL_SSL)",
            ),
            (
                "sasl_plaintext://a:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: \
                 broker's supported mechanisms: SCRAM-SHA-256",
                "sasl.mechanism",
            ),
            (
                "sasl_plaintext://a:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request not valid in current \
                 SASL state: broker's supported mechanisms: ",
                "security.protocol",
            ),
            (
                "a:1/1: Disconnected: verify that security.protocol is correctly configured, broker might require SASL \
                 authentication",
                "sasl.mechanism",
            ),
            (
                "sasl_ssl://a:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password",
                "sasl.password",
            ),
            (
                "sasl_ssl://a:1/bootstrap: SASL authentication error: Authentication failed during authentication due to \
                 invalid credentials with SASL mechanism SCRAM-SHA-256",
                "sasl.password",
            ),
            ("sasl_ssl://a:1/1: SASL authentication error: {\"status\":\"invalid_token\"}", "sasl.oauthbearer.scope"),
            ("a:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN", "security.protocol"),
            (
                "Client creation error: ssl.key.location failed: error:05800074:x509: key values mismatch",
                "is not the key of",
            ),
            ("Failed to resolve 'kafka.invalid:9092': Name or service not known", "kafka.bootstrap_servers"),
            ("No provider for SASL mechanism GSSAPI: recompile librdkafka with libsasl2", "sasl.mechanism"),
        ] {
            let said = with_hint(complaint);
            assert!(said.contains(mend) && said.ends_with(&format!(" ({complaint})")), "{said}");
        }
        let refused = "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(with_hint(refused), refused);
        let restarted = "a:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN";
        assert_eq!(with_hint(restarted), restarted);
    }

    #[test]
    fn a_broker_with_a_bad_certificate_is_named() {
        assert_eq!(whose_certificate(CERTIFICATE), Some("a.example:9093"));
        assert_eq!(whose_certificate(&with_hint(CERTIFICATE)), Some("a.example:9093"));
        assert_eq!(whose_certificate("ssl://a:1/1: SSL handshake failed: Disconnected"), None);
        assert_eq!(whose_certificate("a:1/1: Disconnected"), None);
    }
}
