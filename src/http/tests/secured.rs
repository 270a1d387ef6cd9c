//! The server behind a web configuration file: log-ins and TLS on real sockets.

use super::*;
use crate::{client::Tls, config::web_config};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// `alice:` with the password `opensesame`, cheap to check.
fn alice() -> String {
    format!("alice: {}", bcrypt::hash("opensesame", 4).unwrap())
}

const RIGHT: &str = "Basic YWxpY2U6b3BlbnNlc2FtZQ=="; // alice:opensesame
const WRONG: &str = "Basic YWxpY2U6b3BlbnNlc2FtZSE="; // alice:opensesame!
const STRANGER: &str = "Basic Ym9iOm9wZW5zZXNhbWU="; // bob:opensesame

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn certificate() -> String {
    format!("cert_file: {}, key_file: {}", tls_file("server.pem").display(), tls_file("server.key").display())
}

fn guarded(limits: Limits, yaml: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yaml");
    std::fs::write(&file, yaml).unwrap();
    start_guarded(limits, Guard::new(Some((&file, web_config))).unwrap())
}

fn refused(server: &Server, reason: &str) -> Option<f64> {
    server.metrics.value(&families::HTTP_LOGINS_REFUSED, &[reason])
}

impl Server {
    async fn get_as(&self, path: &str, login: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: {login}\r\nconnection: close\r\n\r\n"))
            .await
    }

    /// A connection by TLS, or why there is none.
    async fn secure(&self, tls: &Tls) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(tls.client_config().unwrap());
        connector.connect(tls.name("localhost").unwrap(), self.connect().await).await
    }

    /// GET by TLS; a refusal may come with the handshake or, as TLS 1.3 has it, after it.
    async fn secure_get(&self, tls: &Tls) -> std::io::Result<String> {
        let mut stream = self.secure(tls).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("in time")?;
        Ok(String::from_utf8(answer).unwrap())
    }
}

fn trusting() -> Tls {
    Tls { ca_file: Some(tls_file("ca.pem")), ..Tls::default() }
}

/// Asks on a kept connection.
async fn ask_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), login: &str) -> String {
    let request = format!("GET /-/healthy HTTP/1.1\r\nhost: a\r\nauthorization: {login}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") || !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn nothing_is_told_without_logging_in() {
    let server = guarded(limits(), &format!("basic_auth_users: {{{}}}", alice()));
    for path in ["/metrics", "/", "/-/healthy", "/api/v1/alerts", "/nowhere"] {
        let answer = server.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Basic realm=\"brokerwarden\", charset=\"UTF-8\"\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nlog in\n"), "{answer}");
    }
    assert_eq!(refused(&server, "wrong"), None, "whoever does not try does not fail");
    for login in [WRONG, STRANGER, "Bearer x", "Basic", "Basic !", "Basic YWxpY2U=", "Basic /w=="] {
        assert!(server.get_as("/metrics", login).await.starts_with("HTTP/1.1 401 "), "{login}");
    }
    assert_eq!(refused(&server, "wrong"), Some(2.0));
    let answer = server.get_as("/metrics", RIGHT).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("first 1\nsecond 2\n"), "{answer}");
    assert!(server.get_as("/nowhere", &RIGHT.replace("Basic", "bAsIc")).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_password_costs_its_time_once() {
    // Some 100 ms and more for each that is not known.
    let hash = bcrypt::hash("opensesame", 11).unwrap();
    let server = guarded(limits(), &format!("basic_auth_users: {{alice: {hash}}}"));
    let first = Instant::now();
    assert!(server.get_as("/-/healthy", RIGHT).await.starts_with("HTTP/1.1 200 "));
    let first = first.elapsed();
    let rest = Instant::now();
    for _ in 0..10 {
        assert!(server.get_as("/-/healthy", RIGHT).await.starts_with("HTTP/1.1 200 "));
    }
    assert!(rest.elapsed() < first * 5, "{:?} for ten, {first:?} for the first", rest.elapsed());
    // And does not hold up others: a page on a connection that has logged in comes at once.
    let mut kept = server.connect().await;
    assert!(ask_on(&mut kept, RIGHT).await.starts_with("HTTP/1.1 200 "));
    let (guess, quick) = tokio::join!(server.get_as("/-/healthy", WRONG), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let start = Instant::now();
        assert!(ask_on(&mut kept, RIGHT).await.starts_with("HTTP/1.1 200 "));
        start.elapsed()
    });
    assert!(guess.starts_with("HTTP/1.1 401 "));
    assert!(quick < first, "{quick:?} beside one log-in, which takes {first:?}");
}

#[tokio::test]
async fn guessing_is_throttled_and_costs_those_who_are_in_nothing() {
    let server = guarded(Limits { connections: 64, ..limits() }, &format!("basic_auth_users: {{{}}}", alice()));
    let mut kept = server.connect().await;
    assert!(ask_on(&mut kept, RIGHT).await.starts_with("HTTP/1.1 200 "));
    let guesses = futures_util::future::join_all((0..40).map(|_| server.get_as("/metrics", WRONG))).await;
    let count = |status: &str| guesses.iter().filter(|answer| answer.starts_with(status)).count();
    assert_eq!((count("HTTP/1.1 401 "), count("HTTP/1.1 429 ")), (10, 30), "at the same time, too");
    assert_eq!((refused(&server, "wrong"), refused(&server, "throttled")), (Some(10.0), Some(30.0)));
    let late = guesses.iter().find(|answer| answer.starts_with("HTTP/1.1 429 ")).unwrap();
    assert!(late.contains("retry-after: 5\r\n"), "{late}");
    // A guess that is right is told no sooner: else each would be worth a try.
    assert!(server.get_as("/metrics", RIGHT).await.starts_with("HTTP/1.1 429 "));
    assert!(ask_on(&mut kept, RIGHT).await.starts_with("HTTP/1.1 200 "));
    assert!(ask_on(&mut kept, WRONG).await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn headers_are_on_every_answer() {
    let headers = "http_server_config: {headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=9, \
                   Content-Security-Policy: default-src *}}";
    let server = guarded(limits(), &format!("{headers}\nbasic_auth_users: {{{}}}", alice()));
    for answer in [server.get("/metrics").await, server.get_as("/metrics", RIGHT).await] {
        assert!(answer.contains("x-frame-options: deny\r\n"), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=9\r\n"), "{answer}");
    }
    let page = server.get_as("/", RIGHT).await;
    assert!(!page.contains("default-src *"), "the page's own policy is stricter");
}

#[tokio::test]
async fn tls_is_spoken_with_who_speaks_it() {
    let server = guarded(limits(), &format!("tls_server_config: {{{}}}", certificate()));
    for min_version in [crate::client::TlsVersion::Tls12, crate::client::TlsVersion::Tls13] {
        let answer = server.secure_get(&Tls { min_version, ..trusting() }).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("first 1\nsecond 2\n"), "{answer}");
    }
    let plain = server.get("/metrics").await;
    assert!(
        plain.starts_with("HTTP/1.1 400 ") && plain.ends_with("\r\n\r\nhttps is spoken here, not http.\n"),
        "{plain}"
    );
    server.until_rejected("no_tls").await;
    // Its certificate is not to be trusted by whoever does not trust the CA.
    let stranger = Tls { ca_file: Some(tls_file("server.pem")), ..Tls::default() };
    assert!(server.secure_get(&stranger).await.is_err());
    server.until_rejected("handshake").await;
    let anybody = Tls { insecure_skip_verify: true, ..Tls::default() };
    assert!(server.secure_get(&anybody).await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_refused() {
    let server = guarded(limits(), &format!("tls_server_config: {{{}, max_version: TLS12}}", certificate()));
    assert!(server.secure_get(&trusting()).await.unwrap().starts_with("HTTP/1.1 200 "));
    let newer = Tls { min_version: crate::client::TlsVersion::Tls13, ..trusting() };
    assert!(server.secure_get(&newer).await.is_err());
}

#[tokio::test]
async fn a_client_must_show_the_certificate_that_is_asked_for() {
    let ca = tls_file("ca.pem");
    let ca = ca.display();
    let ours = Tls { certificate: Some((tls_file("server.pem"), tls_file("server.key"))), ..trusting() };
    for (auth, sans, without, with) in [
        ("RequireAndVerifyClientCert", "", false, true),
        ("VerifyClientCertIfGiven", "", true, true),
        ("RequireAndVerifyClientCert", "[other.example.com, localhost]", false, true),
        ("RequireAndVerifyClientCert", "[127.0.0.1]", false, true),
        ("RequireAndVerifyClientCert", "['*', other.example.com, 127.0.0.2, 'spiffe://a/b']", false, false),
        ("VerifyClientCertIfGiven", "[other.example.com]", true, false),
    ] {
        let sans = if sans.is_empty() { String::new() } else { format!(", client_allowed_sans: {sans}") };
        let yaml =
            format!("tls_server_config: {{{}, client_auth_type: {auth}, client_ca_file: {ca}{sans}}}", certificate());
        let server = guarded(limits(), &yaml);
        let passes = |answer: std::io::Result<String>| answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200 "));
        assert_eq!(passes(server.secure_get(&trusting()).await), without, "{yaml} without a certificate");
        assert_eq!(passes(server.secure_get(&ours).await), with, "{yaml} with one");
    }
    // One that somebody else signed: here, one that is no CA is to have done so.
    let yaml = format!(
        "tls_server_config: {{{}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}}}",
        certificate(),
        tls_file("server.pem").display()
    );
    assert!(guarded(limits(), &yaml).secure_get(&ours).await.is_err());
}

#[tokio::test]
async fn a_handshake_that_stands_still_is_given_up() {
    let tls = format!("tls_server_config: {{{}}}", certificate());
    let server = guarded(Limits { handshake: Duration::from_millis(300), connections: 64, ..limits() }, &tls);
    let mut silent = Vec::new();
    for _ in 0..MAX_HANDSHAKES + 4 {
        let mut stream = server.connect().await;
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        silent.push(stream);
    }
    // All places are taken; who comes now gets one when they are free.
    let start = Instant::now();
    for stream in &mut silent {
        rest(stream).await;
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    server.until_rejected("too_slow").await;
    assert!(server.secure_get(&trusting()).await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_by_tls_as_without() {
    let mut limits = limits();
    limits.deadlines.stall = Duration::from_millis(300);
    let server = guarded(limits, &format!("tls_server_config: {{{}}}", certificate()));
    server.sources.page.send_replace(big_page());
    let mut stalled = server.secure(&trusting()).await.unwrap();
    stalled.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.until_rejected("too_slow").await;
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stalled.read_to_end(&mut answer)).await.expect("closed");
    assert!(end.is_err() && answer.len() < 64 << 20, "{end:?}");
    // What TLS itself has kept is waited for no longer than that: an answer shorter than its buffer.
    server.sources.page.send_replace(Arc::new(Page::default()));
    assert!(server.secure_get(&trusting()).await.unwrap().starts_with("HTTP/1.1 200 "));
}
