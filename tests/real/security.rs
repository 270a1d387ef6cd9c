//! The broker's side of TLS, passwords and tokens: one cluster with a listener for each.

use crate::{
    harness::{
        certificates::Authority,
        daemon::{Daemon, Home},
        free_port, holds,
        http::{self, Server},
        kafka::{Cluster, Listener},
        local,
    },
    shared::SEEN,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

/// No secret of these tests may be in a log.
const PASSWORD: &str = "c0rrect-horse";
const WRONG: &str = "Tr0ub4dor";
const CLIENT_SECRET: &str = "b4ttery/staple+";

/// A change of a file counts when two looks, 5 s apart, saw it.
const ROTATED: Duration = Duration::from_secs(40);

/// Life of a token: it is fetched anew after 8 s, and the broker lets nobody stay for longer.
const LIFE: u64 = 10;

struct Secured {
    cluster: Cluster,
    authority: Authority,
    ports: BTreeMap<&'static str, u16>,
}

impl Secured {
    fn bootstrap(&self, listener: &str) -> String {
        local(self.ports[listener]).to_string()
    }
}

/// `t` with 10 records, of which `g` has read 4.
fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let names = ["TLS", "MTLS", "EXPIRED", "MISNAMED", "PASSWORD", "OAUTH"];
        let ports: BTreeMap<_, _> = names.map(|name| (name, free_port())).into();
        let mut authority = None;
        let cluster = Cluster::shared_with(|dir| {
            let issuer = Authority::new(&dir.join("certificates"));
            issuer.issue("broker", "IP:127.0.0.1,DNS:localhost", 30);
            issuer.issue("expired", "IP:127.0.0.1,DNS:localhost", -1);
            issuer.issue("misnamed", "DNS:kafka.invalid", 30);
            issuer.issue("warden", "DNS:warden", 30);
            issuer.issue("late", "DNS:warden", -1);
            let listeners = names.map(|name| listener(name, ports[name], &issuer));
            authority = Some(issuer);
            listeners.into()
        });
        cluster.enrol("warden", PASSWORD);
        let client = cluster.client();
        client.create_topic("t", 1);
        client.produce("t", 0, 10);
        client.commit("g", "t", &[(0, 4)]);
        Secured { cluster, authority: authority.unwrap(), ports }
    })
}

fn listener(name: &'static str, port: u16, issuer: &Authority) -> Listener {
    let keystore = |certificate: &str| {
        vec!["ssl.keystore.type=PEM".to_owned(), format!("ssl.keystore.location={}", issuer.file(certificate))]
    };
    let module = "org.apache.kafka.common.security";
    let (protocol, properties) = match name {
        "TLS" => ("SSL", keystore("broker-both.pem")),
        "EXPIRED" => ("SSL", keystore("expired-both.pem")),
        "MISNAMED" => ("SSL", keystore("misnamed-both.pem")),
        "MTLS" => {
            let trust = format!("ssl.truststore.location={}", issuer.file("ca.pem"));
            let more = ["ssl.client.auth=required".to_owned(), "ssl.truststore.type=PEM".to_owned(), trust];
            ("SSL", [keystore("broker-both.pem"), more.into()].concat())
        }
        "PASSWORD" => {
            let scram = |bits| format!("scram-sha-{bits}.sasl.jaas.config={module}.scram.ScramLoginModule required;");
            let plain =
                format!("plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_warden=\"{PASSWORD}\";");
            let mechanisms = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned();
            ("SASL_SSL", [keystore("broker-both.pem"), vec![mechanisms, plain, scram(256), scram(512)]].concat())
        }
        // Tokens without a signature, as Kafka takes them where no key is configured.
        "OAUTH" => (
            "SASL_PLAINTEXT",
            vec![
                "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
                format!("oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required;"),
                "oauthbearer.connections.max.reauth.ms=3600000".to_owned(),
            ],
        ),
        other => panic!("no listener {other}"),
    };
    Listener { name, port, protocol, properties }
}

fn yaml(bootstrap: &str, properties: &[(&str, &str)]) -> String {
    let properties =
        properties.iter().map(|(name, value)| format!("    {name}: \"{value}\"\n")).collect::<Vec<_>>().concat();
    format!(
        "kafka:\n  bootstrap_servers: \"{bootstrap}\"\n  interval: 1s\n  timeout: 900ms\n  properties:\n    \
         debug: \"security,conf,broker\"\n{properties}"
    )
}

/// An agent on that listener that logs all that it can.
fn agent(listener: &str, properties: &[(&str, &str)]) -> Daemon {
    Home::logging_all().start(&yaml(&secured().bootstrap(listener), properties))
}

/// It sees the group, and gives nothing away.
#[track_caller]
fn sees_all(agent: &Daemon) {
    let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, 6.0));
    agent.ready(SEEN);
    gives_nothing_away(agent);
}

#[track_caller]
fn gives_nothing_away(agent: &Daemon) {
    let (log, ready) = (agent.log(), agent.get("/-/ready").text());
    for secret in [PASSWORD, WRONG, CLIENT_SECRET, "b4ttery", "eyJ", "PRIVATE KEY"] {
        assert!(!log.contains(secret), "the log has {secret}");
        assert!(!ready.contains(secret), "/-/ready has {secret}");
    }
}

/// It is up, not ready, says all of these words, and gives nothing away.
#[track_caller]
fn says(listener: &str, properties: &[(&str, &str)], words: &[&str]) {
    let agent = agent(listener, properties);
    agent.not_ready(SEEN, words);
    gives_nothing_away(&agent);
}

/// The path of the CA's certificate.
fn ca() -> String {
    secured().authority.file("ca.pem")
}

#[test]
fn tls_with_a_file_of_cas() {
    sees_all(&agent("TLS", &[("security.protocol", "SSL"), ("ssl.ca.location", &ca())]));
}

/// The system's CAs are where librdkafka looks, or in the file that the environment names.
#[test]
fn tls_with_the_cas_that_the_system_trusts() {
    let tls = yaml(&secured().bootstrap("TLS"), &[("security.protocol", "SSL")]);
    sees_all(&Home::logging_all().with("SSL_CERT_FILE", &ca()).start(&tls));
    // The test's CA is not among them otherwise.
    let agent = Home::logging_all().start(&tls);
    agent.not_ready(SEEN, &["was not issued by a CA that we know", "ssl.ca.location"]);
}

#[test]
fn tls_with_a_certificate_of_ours_that_is_renewed_in_place() {
    let issuer = &secured().authority;
    let home = Home::logging_all();
    home.write("cert.pem", issuer.read("late.pem"));
    home.write("key.pem", issuer.read("late.key"));
    let (certificate, key) = (home.path("cert.pem").display().to_string(), home.path("key.pem").display().to_string());
    let tls = [("security.protocol", "SSL"), ("ssl.ca.location", &ca())];
    says("MTLS", &tls, &["ssl.certificate.location"]);
    let with_certificate =
        [&tls[..], &[("ssl.certificate.location", &certificate), ("ssl.key.location", &key)]].concat();
    let agent = home.start(&yaml(&secured().bootstrap("MTLS"), &with_certificate));
    // It has expired.
    agent.not_ready(SEEN, &["ssl.certificate.location"]);
    agent.home.write("cert.pem", issuer.read("warden.pem"));
    agent.home.write("key.pem", issuer.read("warden.key"));
    agent.ready(ROTATED);
    sees_all(&agent);
}

#[test]
fn passwords() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let ca = ca();
        let with = |password| {
            [
                ("security.protocol", "SASL_SSL"),
                ("ssl.ca.location", ca.as_str()),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "warden"),
                ("sasl.password", password),
            ]
        };
        sees_all(&agent("PASSWORD", &with(PASSWORD)));
        says("PASSWORD", &with(WRONG), &["wrong user name or password", "sasl.password"]);
    }
}

#[test]
fn a_password_that_is_mended_in_its_file() {
    let home = Home::logging_all();
    home.write("password", format!("{WRONG}\n"));
    let file = home.path("password").display().to_string();
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &ca()),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "warden"),
        ("sasl.password_file", &file),
    ];
    let agent = home.start(&yaml(&secured().bootstrap("PASSWORD"), &properties));
    agent.not_ready(SEEN, &["sasl.password"]);
    agent.home.write("password", format!("{PASSWORD}\n"));
    agent.ready(ROTATED);
    sees_all(&agent);
    // A good connection is made anew as well, and nothing of what was read is lost meanwhile.
    agent.home.write("password", format!("  {PASSWORD}\n"));
    let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
    agent.until(ROTATED, "the second change is seen", |page| {
        page.expect("kafka_consumergroup_lag", &labels, 6.0).unwrap();
        page.expect("brokerwarden_kafka_secrets_reloads_total", &[("outcome", "loaded")], 2.0)
    });
    agent.snapshots(3.0, SEEN);
    sees_all(&agent);
}

#[test]
fn bad_certificates_are_told_apart() {
    let strangers = tempfile::tempdir().unwrap();
    let stranger = Authority::new(strangers.path());
    let tls = |ca: &str| [("security.protocol", "SSL".to_owned()), ("ssl.ca.location", ca.to_owned())];
    for (listener, ca, words) in [
        ("EXPIRED", ca(), &["the certificate of 127.0.0.1", "has expired"][..]),
        ("TLS", stranger.file("ca.pem"), &["was not issued by a CA that we know", "ssl.ca.location"]),
        ("MISNAMED", ca(), &["is not for this name", "kafka.bootstrap_servers"]),
    ] {
        let properties = tls(&ca);
        let properties = [0, 1].map(|at: usize| (properties[at].0, properties[at].1.as_str()));
        says(listener, &properties, words);
    }
}

#[test]
fn the_wrong_protocol_is_named() {
    let (ca, plain) = (ca(), secured().cluster.bootstrap());
    let on_plain = |properties: &[(&str, &str)], words: &[&str]| {
        let agent = Home::new().start(&yaml(&plain, properties));
        agent.not_ready(SEEN, words);
    };
    on_plain(&[("security.protocol", "SSL"), ("ssl.ca.location", &ca)], &["does not speak TLS", "security.protocol"]);
    let password = [("sasl.mechanism", "PLAIN"), ("sasl.username", "warden"), ("sasl.password", WRONG)];
    let sasl = [&password[..], &[("security.protocol", "SASL_PLAINTEXT")]].concat();
    on_plain(&sasl, &["security.protocol"]);
    says("TLS", &[("client.rack", "a")], &["TLS", "security.protocol"]);
    says("OAUTH", &sasl, &["has not enabled this mechanism", "sasl.mechanism", "OAUTHBEARER"]);
}

/// An issuer that gives out tokens of [`LIFE`] while it is up.
struct Issuer {
    server: Server,
    up: Arc<AtomicBool>,
    given: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let (up, given) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (answers, counter) = (Arc::clone(&up), Arc::clone(&given));
        let server = Server::start(move |request, stream, _| {
            let header =
                request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
            let credentials = format!("warden:{}", CLIENT_SECRET.replace('/', "%2F").replace('+', "%2B"));
            let known = header == Some(format!("Basic {}", base64(credentials.as_bytes())).as_str());
            let asked = String::from_utf8_lossy(&request.body).into_owned();
            if !answers.load(Ordering::SeqCst) {
                return http::reply(stream, 503, "text/plain", b"later");
            }
            if !known || asked != "grant_type=client_credentials&scope=kafka" {
                return http::reply(stream, 401, "application/json", br#"{"error":"invalid_client"}"#);
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let claims = format!(r#"{{"sub":"warden","scope":"kafka","iat":{now},"exp":{}}}"#, now + LIFE);
            let part = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_");
            let token = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims));
            let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{LIFE}}}"#);
            http::reply(stream, 200, "application/json", body.as_bytes())
        });
        Self { server, up, given }
    }

    fn properties(&self, secret: &str) -> Vec<(&'static str, String)> {
        [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "warden"),
            ("sasl.oauthbearer.client.secret", secret),
            ("sasl.oauthbearer.scope", "kafka"),
            ("sasl.oauthbearer.extensions", "traceId=1"),
            ("sasl.oauthbearer.token.endpoint.url", &self.server.url("/token")),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }
}

#[test]
fn tokens_are_fetched_in_time_and_again_after_an_outage() {
    let issuer = Issuer::start();
    let properties = issuer.properties(CLIENT_SECRET);
    let properties: Vec<_> = properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let agent = agent("OAUTH", &properties);
    sees_all(&agent);
    // All handles share a token; the broker ends each session with it, and nobody notices.
    let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
    agent.until(SEEN * 2, "a third token", |page| {
        page.expect("kafka_consumergroup_lag", &labels, 6.0)?;
        page.expect("brokerwarden_target_up", &[("target", "kafka")], 1.0)?;
        holds(issuer.given.load(Ordering::SeqCst) >= 3, issuer.given.load(Ordering::SeqCst))
    });
    agent.ready(SEEN);
    assert!(agent.page().sum("brokerwarden_kafka_tokens_total", &[("outcome", "failed")]) < 1.0);
    issuer.up.store(false, Ordering::SeqCst);
    agent.not_ready(SEEN * 2, &["no token to log in with", "503"]);
    issuer.up.store(true, Ordering::SeqCst);
    agent.ready(SEEN * 3);
    sees_all(&agent);
}

#[test]
fn a_client_that_the_issuer_does_not_know_is_named() {
    let issuer = Issuer::start();
    let properties = issuer.properties(WRONG);
    let properties: Vec<_> = properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
    says("OAUTH", &properties, &["invalid_client", "sasl.oauthbearer.client.secret"]);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= three.len() { digit } else { '=' });
        }
    }
    text
}
