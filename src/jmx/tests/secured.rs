//! Pages behind TLS and a log-in.

use super::*;
use crate::{client::TlsVersion, model::Secret};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(tls_file(name)).unwrap().map(Result::unwrap).collect()
}

/// A page by TLS that keeps what it was asked.
struct Page {
    url: hyper::Uri,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Page {
    fn start(mutual: bool, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("ca.pem"));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
        let config = Arc::new(builder.with_single_cert(certificates("server.pem"), key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/metrics", listener.local_addr().unwrap().port()).parse().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&asked);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    request.push(byte[0]);
                }
                if request.is_empty() {
                    continue; // the handshake failed
                }
                keep.lock().unwrap().push(String::from_utf8(request).unwrap().to_ascii_lowercase());
                drop(stream.write_all(&response("200 OK", TEXT, GOOD.as_bytes())));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        Self { url, asked }
    }

    fn config(&self, tls: Tls) -> Config {
        Config { tls, ..config(self.url.clone()) }
    }

    fn last_request(&self) -> String {
        self.asked.lock().unwrap().last().cloned().expect("asked")
    }
}

fn trusting() -> Tls {
    Tls { ca_file: Some(tls_file("ca.pem")), ..Tls::default() }
}

#[tokio::test]
async fn a_page_by_tls_is_read_from_whom_we_trust_only() {
    let page = Page::start(false, rustls::ALL_VERSIONS);
    let (observation, _) = observe(page.config(trusting())).await;
    assert!(observation.target.up, "{:?}", observation.target.reason);
    assert!(page.last_request().contains(&format!("host: {}\r\n", page.url.authority().unwrap())));
    let anybody = Tls { insecure_skip_verify: true, ..Tls::default() };
    assert!(observe(page.config(anybody)).await.0.target.up);
    let by_name = Tls { server_name: Some("127.0.0.1".to_owned()), ..trusting() };
    assert!(observe(page.config(by_name)).await.0.target.up);
    let asked = page.asked.lock().unwrap().len();

    let gone = PathBuf::from("/nowhere/ca.pem");
    let address = page.url.authority().unwrap().to_string();
    for (tls, words) in [
        (
            Tls { ca_file: Some(tls_file("server.pem")), ..Tls::default() },
            format!("no TLS connection to {address}: invalid peer certificate"),
        ),
        (
            Tls { server_name: Some("broker.example.com".to_owned()), ..trusting() },
            format!("no TLS connection to {address}: invalid peer certificate"),
        ),
        (
            Tls { ca_file: Some(gone), ..Tls::default() },
            "tls_config cannot be used: cannot read ca_file /nowhere/ca.pem: No such file".to_owned(),
        ),
        (Tls { ca_file: Some(tls_file("server.key")), ..Tls::default() }, "ca_file /".to_owned()),
        (
            Tls { certificate: Some((tls_file("server.pem"), tls_file("ca.pem"))), ..trusting() },
            "tls_config cannot be used: key_file /".to_owned(),
        ),
        (Tls { server_name: Some(":".to_owned()), ..trusting() }, "none that a certificate can have".to_owned()),
    ] {
        check_failure(page.config(tls), "tls", &words).await;
    }
    assert_eq!(page.asked.lock().unwrap().len(), asked, "nothing was asked of a stranger");

    let old = Page::start(false, &[&rustls::version::TLS12]);
    assert!(observe(old.config(trusting())).await.0.target.up);
    let newer = Tls { min_version: TlsVersion::Tls13, ..trusting() };
    check_failure(old.config(newer), "tls", "no TLS connection to localhost:").await;
    // Plain words where TLS should be, and silence.
    let plain = serve(|stream, _| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let plain: hyper::Uri = plain.to_string().replace("http:", "https:").parse().unwrap();
    let quick = Duration::from_millis(300);
    check_failure(Config { timeout: quick, ..config(plain) }, "timeout", "not read within 300ms").await;
}

#[tokio::test]
async fn we_show_our_certificate_where_it_is_asked_for() {
    let page = Page::start(true, rustls::ALL_VERSIONS);
    let ours = Tls { certificate: Some((tls_file("server.pem"), tls_file("server.key"))), ..trusting() };
    let (observation, _) = observe(page.config(ours)).await;
    assert!(observation.target.up, "{:?}", observation.target.reason);
    let asked = page.asked.lock().unwrap().len();
    let (observation, _) = observe(page.config(trusting())).await;
    assert!(!observation.target.up);
    assert_eq!(page.asked.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn we_log_in_with_what_the_file_holds_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let page = Page::start(false, rustls::ALL_VERSIONS);
    let basic = Login::Basic { username: "warden".to_owned(), password: Secret::File(file.clone()) };
    let token = Login::Header { scheme: "Bearer".to_owned(), credentials: Secret::File(file.clone()) };
    let with = |login: &Login| Config { login: Some(login.clone()), ..page.config(trusting()) };
    check_failure(with(&basic), "login", "cannot log in: cannot read basic_auth.password_file /").await;
    for (secret, encoded) in [("first\n", "d2fyzgvuomzpcnn0"), ("second", "d2fyzgvuonnly29uza==")] {
        std::fs::write(&file, secret).unwrap();
        assert!(observe(with(&basic)).await.0.target.up);
        assert!(
            page.last_request().contains(&format!("\r\nauthorization: basic {encoded}\r\n")),
            "{}",
            page.last_request()
        );
        assert!(observe(with(&token)).await.0.target.up);
        let bearer = format!("\r\nauthorization: bearer {}\r\n", secret.trim());
        assert!(page.last_request().contains(&bearer), "{}", page.last_request());
    }
    assert!(observe(page.config(trusting())).await.0.target.up);
    assert!(!page.last_request().contains("authorization"));
    assert!(
        !format!("{:?}", with(&Login::Basic { username: "a".into(), password: Secret::Inline("hunter2".into()) }))
            .contains("hunter2")
    );
}
