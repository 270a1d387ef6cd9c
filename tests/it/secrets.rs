//! Secrets for Kafka, as far as they show without one: files that change, a token endpoint that is down, somebody else who
//! answers in the broker's place.

use crate::harness::{
    daemon::{Daemon, Home},
    free_port, holds,
    http::{self, Server},
    local,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest wait for the agent to see what is there. A change of a file counts when two looks, 5 s apart, saw it.
const SEEN: Duration = Duration::from_secs(40);

/// `kafka:` with nobody at the address.
fn kafka(properties: &str) -> String {
    let nobody = local(free_port());
    format!("kafka: {{bootstrap_servers: \"{nobody}\", interval: 1s, timeout: 900ms, properties: {{{properties}}}}}")
}

fn counts(agent: &Daemon, family: &str, outcome: &str) {
    agent.until(SEEN, &format!("{family} counts {outcome}"), |page| {
        holds(page.sum(family, &[("outcome", outcome)]) > 0.0, "not yet")
    });
}

#[test]
fn a_rotated_secret_makes_new_connections_and_is_never_logged() {
    let home = Home::logging_all();
    home.write("password", "Tr0ub4dor\n");
    let agent = home.start(&kafka(
        "security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, sasl.username: warden, sasl.password_file: password, \
         debug: \"security,conf,broker\"",
    ));
    agent.not_ready(SEEN, &["kafka"]);
    agent.home.write("password", "c0rrect-horse\n");
    counts(&agent, "brokerwarden_kafka_secrets_reloads_total", "loaded");
    assert!(agent.log().contains("connections to Kafka are made anew"), "{}", agent.log());
    agent.snapshots(3.0, SEEN);
    let log = agent.log();
    // librdkafka's own words are there, and none of them is the password.
    assert!(log.contains("librdkafka") && !log.contains("Tr0ub4dor") && !log.contains("c0rrect"), "{log}");
}

#[test]
fn a_token_endpoint_that_is_down_is_a_reason_and_its_secret_is_never_logged() {
    let up = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&up);
    let endpoint = Server::start(move |request, stream, _| {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/token"));
        if answers.load(Ordering::SeqCst) {
            http::reply(stream, 200, "application/json", br#"{"access_token":"Tok3n-text","expires_in":3600}"#)
        } else {
            http::reply(stream, 503, "text/plain", b"later")
        }
    });
    let home = Home::logging_all();
    home.write("secret", "Tr0ub4dor\n");
    let agent = home.start(&kafka(&format!(
        "security.protocol: SASL_PLAINTEXT, sasl.mechanism: OAUTHBEARER, sasl.oauthbearer.method: oidc, \
         sasl.oauthbearer.client.id: warden, sasl.oauthbearer.client.secret_file: secret, \
         sasl.oauthbearer.token.endpoint.url: \"{}\", debug: \"security,conf,broker\"",
        endpoint.url("/token")
    )));
    agent.not_ready(SEEN, &["no token to log in with", "503"]);
    counts(&agent, "brokerwarden_kafka_tokens_total", "failed");
    up.store(true, Ordering::SeqCst);
    counts(&agent, "brokerwarden_kafka_tokens_total", "fetched");
    // Now it is the broker that is missing.
    agent.not_ready(SEEN, &["refused"]);
    let log = agent.log();
    let basic = "d2FyZGVuOlRyMHViNGRvcg=="; // warden:Tr0ub4dor
    for secret in ["Tr0ub4dor", "Tok3n-text", basic] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

#[test]
fn an_http_server_in_the_place_of_the_broker_is_recognised() {
    let listener = TcpListener::bind(local(0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // As a web server does with a request that is none.
            stream.read_exact(&mut [0; 4]).ok();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").ok();
        }
    });
    let agent =
        Home::new().start(&format!("kafka: {{bootstrap_servers: \"{address}\", interval: 1s, timeout: 900ms}}"));
    agent.not_ready(SEEN, &["HTTP server", "kafka.bootstrap_servers"]);
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let home = Home::new();
    home.configure(&kafka("security.protocol: SASL_SSL, sasl.mechanism: OAUTHBEARER, sasl.oauthbearer.method: oidc"));
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, Some(64), "{said}");
    for name in ["client.id", "client.secret", "token.endpoint.url"] {
        assert!(said.contains(&format!("sasl.oauthbearer.{name}")), "{said}");
    }
}
