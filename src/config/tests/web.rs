//! Web configuration files: what is taken of them, and what is said about the rest.

use super::*;
use crate::{
    client::TlsVersion,
    http::{ClientAuth, WebConfig},
};
use rustls::{CipherSuite, NamedGroup};

/// Has the form of one.
const HASH: &str = "$2y$04$.....................................................";

fn read(text: &str) -> (PathBuf, Result<WebConfig, String>) {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("web.yaml");
    fs::write(&file, text).expect("written");
    (folder.path().to_owned(), web_config(&file))
}

/// All problems in one line, without the file's path.
#[track_caller]
fn wrong(text: &str) -> String {
    let (folder, result) = read(text);
    let said = result.expect_err(text);
    let said = said.strip_prefix(&format!("{}/web.yaml: ", folder.display())).expect("the file's name").to_owned();
    assert!(!said.contains("hunter2"), "{said}");
    said
}

#[test]
fn every_key_is_taken() {
    let (folder, config) = read(&format!(
        "tls_server_config:
  cert_file: server.pem
  key_file: /etc/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example.com, 10.0.0.1, 'spiffe://a/b', 'https://a@b/']
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256]
http_server_config:
  http2: false
  headers: {{X-Frame-Options: sameorigin, X-XSS-Protection: '', Content-Security-Policy: 'default-src self'}}
basic_auth_users: {{alice: {HASH}, 'b $ {{ü}}': '{HASH}'}}
"
    ));
    let config = config.expect("good");
    let tls = config.tls.as_ref().expect("TLS");
    assert_eq!(tls.certificate, Secret::File(folder.join("server.pem")));
    assert_eq!(tls.key, Secret::File("/etc/server.key".into()));
    assert_eq!((tls.client_auth, &tls.client_ca), (ClientAuth::Required, &Some(Secret::File(folder.join("ca.pem")))));
    assert_eq!(tls.client_allowed_sans.len(), 4);
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls12));
    let suites = [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_128_GCM_SHA256];
    assert_eq!((&tls.cipher_suites[..], tls.prefer_server_cipher_suites), (&suites[..], false));
    assert_eq!(tls.curve_preferences, [NamedGroup::X25519, NamedGroup::secp256r1]);
    let headers: Vec<_> = config.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("content-security-policy", &b"default-src self"[..]), ("x-frame-options", b"sameorigin")]);
    assert_eq!(config.users.keys().collect::<Vec<_>>(), ["alice", "b $ {ü}"]);
    assert!(!format!("{config:?}").contains("$2y$"), "{config:?}");
}

#[test]
fn what_is_left_out_is_as_in_exporter_toolkit() {
    for empty in ["", "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\n", "basic_auth_users: {}"] {
        assert_eq!(read(empty).1, Ok(WebConfig::default()), "{empty}");
    }
    let tls = read("tls_server_config: {cert_file: a, key_file: b}").1.expect("good").tls.expect("TLS");
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
    assert!(tls.prefer_server_cipher_suites && tls.client_auth == ClientAuth::None);
    // In the file itself; nothing is expanded.
    let pem = "-----BEGIN PRIVATE KEY-----\n${SECRET}hunter2\n-----END PRIVATE KEY-----\n";
    let text = format!("tls_server_config: {{cert_file: a, key: {pem:?}}}");
    let tls = read(&text).1.expect("good").tls.expect("TLS");
    assert_eq!(tls.key, Secret::Inline(pem.to_owned()));
    assert!(!format!("{tls:?}").contains("hunter2"), "{tls:?}");
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let good = "cert_file: a, key_file: b";
    for (keys, problem) in [
        (
            "",
            "tls_server_config.cert_file: missing; allowed: the path of a file in PEM; tls_server_config.key_file: missing",
        ),
        ("cert_file: a", "tls_server_config.key_file: missing; allowed: the path of a file in PEM"),
        (
            "cert_file: a, cert: b, key_file: c",
            "tls_server_config.cert: both cert and cert_file are there; allowed: one of them",
        ),
        ("cert_file: a, key: hunter2", "tls_server_config.key: found text (not shown); allowed: text in PEM"),
        (
            &format!("{good}, min_version: TLS11"),
            "tls_server_config.min_version: found \"TLS11\"; allowed: TLS12, TLS13",
        ),
        (
            &format!("{good}, min_version: TLS13, max_version: TLS12"),
            "tls_server_config.min_version: found TLS13; allowed: at most max_version (TLS12)",
        ),
        (
            &format!("{good}, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"),
            "tls_server_config.cipher_suites[0]: found \"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\"; allowed: TLS_AES_128_GCM_SHA256, ",
        ),
        (
            &format!("{good}, curve_preferences: [CurveP521]"),
            "tls_server_config.curve_preferences[0]: found \"CurveP521\"; allowed: CurveP256, CurveP384, X25519",
        ),
        (
            &format!("{good}, client_auth_type: RequireAnyClientCert, client_ca_file: c"),
            "tls_server_config.client_auth_type: found \"RequireAnyClientCert\"; allowed: NoClientCert, \
             VerifyClientCertIfGiven, RequireAndVerifyClientCert (any other",
        ),
        (&format!("{good}, client_ca_file: c"), "tls_server_config.client_auth_type: there is a client_ca_file"),
        (&format!("{good}, client_auth_type: RequireAndVerifyClientCert"), "tls_server_config.client_ca_file: missing"),
        (&format!("{good}, client_allowed_sans: [a]"), "tls_server_config.client_allowed_sans: no certificate"),
        (
            &format!(
                "{good}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: c, client_allowed_sans: []"
            ),
            "tls_server_config.client_allowed_sans: found none; allowed: one name at least",
        ),
        (
            &format!(
                "{good}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: c, client_allowed_sans: [a@b.c]"
            ),
            "tls_server_config.client_allowed_sans[0]: found \"a@b.c\"; allowed: a DNS name, an IP address or a URI",
        ),
        (&format!("{good}, cert_fle: a"), "tls_server_config.cert_fle: unknown key; did you mean `cert_file`?"),
    ] {
        let said = wrong(&format!("tls_server_config: {{{keys}}}"));
        assert!(said.starts_with(problem), "{said}\nis not\n{problem}");
    }
    for (text, problem) in [
        (
            "basic_auth_users: {alice: hunter2}",
            "basic_auth_users.alice: found not a hash by bcrypt; allowed: one by bcrypt of cost 4 to 15, as of `htpasswd",
        ),
        ("basic_auth_users: {alice: 5}", "basic_auth_users.alice: found a number (not shown); allowed: text, a hash"),
        (
            "basic_auth_users: {'a:b': hunter2}",
            "basic_auth_users[\"a:b\"]: not the name of a user; allowed: 1 to 255 bytes without colon",
        ),
        ("basic_auth_users: {a: x, a: y}", "basic_auth_users.a: the key is there twice"),
        ("basic_auth_users: [hunter2]", "basic_auth_users: found a list (not shown); allowed: a mapping"),
        ("http_server_config: {http2: true}", "http_server_config.http2: found `true`; allowed: false"),
        (
            "http_server_config: {headers: {X-Frame-Options: DENY}}",
            "http_server_config.headers.X-Frame-Options: found \"DENY\"; allowed: deny, sameorigin",
        ),
        (
            "http_server_config: {headers: {X-Content-Type-Options: a}}",
            "http_server_config.headers.X-Content-Type-Options: found \"a\"; allowed: nosniff",
        ),
        (
            "http_server_config: {headers: {Server: a}}",
            "http_server_config.headers.Server: unknown key; allowed: Content-Security-Policy, ",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}",
            "http_server_config.headers.X-XSS-Protection: found",
        ),
        ("rate_limit: {interval: 1s, burst: 2}", "rate_limit: there is none here; allowed: nothing"),
        ("tls_config: {}", "tls_config: unknown key; allowed: tls_server_config, http_server_config, basic_auth_users"),
        ("[]", "top level: found a list"),
        ("a: [", "not usable as YAML: "),
    ] {
        let said = wrong(text);
        assert!(said.starts_with(problem), "{said}\nis not\n{problem}");
    }
    assert!(web_config(Path::new("/nowhere/web.yaml")).unwrap_err().starts_with("/nowhere/web.yaml: No such file"));
}
