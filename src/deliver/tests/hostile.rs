//! Receivers, and things on the way to them, that mean harm.

use super::*;
use crate::{
    client::Tls,
    deliver::{
        connect::Reach,
        error::TellError,
        post::{Answer as Answered, Sender},
    },
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

pub(super) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// Trusts the CA of the tests.
pub(super) fn trusting() -> Reach {
    Reach { tls: Tls { ca_file: Some(tls_file("ca.pem")), ..Tls::default() }, ..Reach::default() }
}

pub(super) fn acceptor(asks_for_certificate: bool) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let certificates = |name| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(tls_file(name)).unwrap().collect();
        all.unwrap()
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if asks_for_certificate {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificates("ca.pem"));
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
    Arc::new(builder.with_single_cert(certificates("server.pem"), key).unwrap()).into()
}

/// Runs `serve` on each connection; the port.
pub(super) async fn listening<F>(tasks: &Tasks, serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = tasks.group();
    tasks.task("raw listener", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.task("raw connection", serve(stream));
        }
    });
    port
}

/// The head of a request, and its body as far as it came with it.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("\r\n\r\n") {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).await.unwrap();
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..count]);
    }
    String::from_utf8(bytes).unwrap()
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn post(url: &str, reach: Reach, timeout: Duration) -> Result<Answered, TellError> {
    Sender::new(timeout, reach).post(&url.parse().unwrap(), None, b"[]".to_vec()).await
}

const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_head_that_never_ends_runs_into_the_deadline() {
    let world = World::new();
    let port = listening(&world.listeners, |mut stream| async move {
        request(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nX-Slow: ").await;
        std::future::pending::<()>().await;
    });
    let begun = Instant::now();
    let error = post(&format!("http://127.0.0.1:{}/", port.await), Reach::default(), SOON).await.unwrap_err();
    assert!(matches!(error, TellError::Timeout(_)) && !error.is_final(), "{error}");
    assert!(begun.elapsed() < SOON * 10);
    world.stop().await;
}

#[tokio::test]
async fn a_head_without_end_is_given_up_before_the_deadline() {
    let world = World::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let port = listening(&world.listeners, move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            request(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nX-Long: ").await;
            while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {
                count.fetch_add(1 << 14, Ordering::SeqCst);
            }
        }
    });
    let begun = Instant::now();
    let error = post(&format!("http://127.0.0.1:{}/", port.await), Reach::default(), LATE).await.unwrap_err();
    assert!(matches!(error, TellError::Exchange(_)) && !error.is_final(), "{error}");
    assert!(begun.elapsed() < LATE / 2 && taken.load(Ordering::SeqCst) < 32 << 20, "{taken:?}");
    world.stop().await;
}

#[tokio::test]
async fn of_a_gigabyte_next_to_nothing_is_read() {
    let world = World::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let port = listening(&world.listeners, move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            request(&mut stream).await;
            say(&mut stream, "HTTP/1.1 500 Oh\r\nContent-Length: 1073741824\r\n\r\n").await;
            let much = vec![b'x'; 1 << 16];
            while count.load(Ordering::SeqCst) < 1 << 30 && stream.write_all(&much).await.is_ok() {
                count.fetch_add(1 << 16, Ordering::SeqCst);
            }
        }
    });
    let begun = Instant::now();
    let error = post(&format!("http://127.0.0.1:{}/", port.await), Reach::default(), LATE).await.unwrap_err();
    assert!(matches!(error, TellError::Status { .. }) && error.answer().len() <= MAX_ANSWER, "{error}");
    // What the kernel holds of it is beyond us.
    assert!(begun.elapsed() < LATE / 2 && taken.load(Ordering::SeqCst) < 32 << 20, "{taken:?}");
    world.stop().await;
}

#[tokio::test]
async fn no_redirect_is_followed_least_of_all_to_ourselves() {
    let world = World::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&inside);
    let within = listening(&world.listeners, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let within = within.await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Over there\r\nLocation: http://127.0.0.1:{within}/\r\nContent-Length: 0\r\n\r\n"
        );
        let port = listening(&world.listeners, move |mut stream| {
            let answer = answer.clone();
            async move {
                request(&mut stream).await;
                say(&mut stream, &answer).await;
            }
        });
        let error = post(&format!("http://127.0.0.1:{}/", port.await), Reach::default(), LATE).await.unwrap_err();
        assert!(error.is_final() && error.to_string().contains(&status.to_string()), "{error}");
    }
    assert_eq!(inside.load(Ordering::SeqCst), 0);
    world.stop().await;
}

async fn secure_listener(tasks: &Tasks, asks_for_certificate: bool) -> u16 {
    let acceptor = acceptor(asks_for_certificate);
    listening(tasks, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if request(&mut stream).await.is_empty() {
                return;
            }
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn tls_is_with_whom_we_trust_or_not_at_all() {
    let world = World::new();
    let port = secure_listener(&world.listeners, false).await;
    let url = format!("https://127.0.0.1:{port}/");
    assert_eq!(post(&url, trusting(), LATE).await.unwrap().text, "ok");
    assert_eq!(post(&format!("https://localhost:{port}/"), trusting(), LATE).await.unwrap().text, "ok");

    let other_name = Tls { server_name: Some("hooks.example.com".into()), ..trusting().tls };
    let no_file = Tls { ca_file: Some("/nowhere/ca.pem".into()), ..Tls::default() };
    let no_pem = Tls { ca_file: Some(tls_file("server.key")), ..Tls::default() };
    let stranger = Tls { ca_file: Some(tls_file("server.pem")), ..Tls::default() };
    let bad = [
        (other_name, "certificate"),
        (no_file, "cannot read ca_file /nowhere/ca.pem: No such file"),
        (no_pem, "holds no certificate"),
        (stranger, "certificate"),
    ];
    for (tls, part) in bad {
        let error = post(&url, Reach { tls, ..Reach::default() }, LATE).await.unwrap_err();
        assert!(error.chain().contains(part) && !error.is_final(), "{part}: {}", error.chain());
    }
    // Plain words where TLS should be.
    let plain = listening(&world.listeners, |mut stream| async move { say(&mut stream, "hello, it is me\r\n").await });
    let error = post(&format!("https://127.0.0.1:{}/", plain.await), trusting(), LATE).await.unwrap_err();
    assert!(error.chain().contains("no TLS connection"), "{}", error.chain());
    // Silence where TLS should be.
    let silent = listening(&world.listeners, |stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let error = post(&format!("https://127.0.0.1:{}/", silent.await), trusting(), SOON).await.unwrap_err();
    assert!(matches!(error, TellError::Timeout(_)), "{error}");
    world.stop().await;
}

#[tokio::test]
async fn our_certificate_is_shown_to_who_asks_for_it() {
    let world = World::new();
    let url = format!("https://127.0.0.1:{}/", secure_listener(&world.listeners, true).await);
    let tls = Tls { certificate: Some((tls_file("server.pem"), tls_file("server.key"))), ..trusting().tls };
    assert_eq!(post(&url, Reach { tls, ..Reach::default() }, LATE).await.unwrap().text, "ok");
    assert!(post(&url, trusting(), LATE).await.is_err());
    let tls = Tls { certificate: Some((tls_file("server.pem"), tls_file("ca.pem"))), ..trusting().tls };
    let error = post(&url, Reach { tls, ..Reach::default() }, LATE).await.unwrap_err();
    assert!(error.chain().contains("ca.pem holds no key"), "{}", error.chain());
    world.stop().await;
}

/// A proxy that says `answer` to CONNECT and then connects; it keeps the first line of what it hears.
async fn proxy(tasks: &Tasks, answer: &'static str) -> (Reach, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heard);
    let port = listening(tasks, move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let request = request(&mut stream).await;
            let first = request.lines().next().unwrap_or_default().to_owned();
            kept.lock().unwrap().push(first.clone());
            let Some(to) = first.strip_prefix("CONNECT ") else {
                say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy").await;
                return;
            };
            say(&mut stream, answer).await;
            if !answer.contains(" 200 ") {
                return;
            }
            let to = to.split(' ').next().unwrap().to_owned();
            let mut onward = TcpStream::connect(to).await.unwrap();
            // Ends with whoever ends first, which is not the test's matter.
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    let proxy = format!("http://127.0.0.1:{}", port.await).parse().unwrap();
    (Reach { proxy: Some(proxy), ..trusting() }, heard)
}

#[tokio::test]
async fn a_proxy_is_asked_for_http_and_tunnels_https() {
    let world = World::new();
    let port = secure_listener(&world.listeners, false).await;
    let (reach, heard) = proxy(&world.listeners, "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
    assert_eq!(post("http://hooks.example/a?b=c", reach.clone(), LATE).await.unwrap().text, "proxy");
    assert_eq!(post(&format!("https://localhost:{port}/secret"), reach, LATE).await.unwrap().text, "ok");
    let heard = heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        ["POST http://hooks.example/a?b=c HTTP/1.1".to_owned(), format!("CONNECT localhost:{port} HTTP/1.1")]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_or_babbles_is_a_failure_for_a_while() {
    let world = World::new();
    let (reach, _) = proxy(&world.listeners, "HTTP/1.1 407 Who\u{1b}[2J\r\n\r\n").await;
    let error = post("https://hooks.example/", reach, LATE).await.unwrap_err();
    assert!(
        error.chain().contains("the proxy answered HTTP/1.1 407 Who\\u{1b}") && !error.is_final(),
        "{}",
        error.chain()
    );
    let port = listening(&world.listeners, |mut stream| async move {
        request(&mut stream).await;
        while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {}
    });
    let proxy = format!("http://127.0.0.1:{}", port.await).parse().unwrap();
    let error =
        post("https://hooks.example/", Reach { proxy: Some(proxy), ..Reach::default() }, LATE).await.unwrap_err();
    assert!(error.chain().contains("too much"), "{}", error.chain());
    world.stop().await;
}
