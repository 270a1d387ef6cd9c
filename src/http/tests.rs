//! The server on real sockets, and what its tests share.

use super::{
    deadlines::Deadlines,
    server::{Limits, serve_with},
    *,
};
use crate::{events::SelfMetrics, model::families, supervise::Tasks};
use bytes::Bytes;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

mod secured;

const LONG: Duration = Duration::from_mins(1);

/// The sending ends of [`Views`].
pub(super) struct Sources {
    pub(super) page: watch::Sender<Arc<Page>>,
    pub(super) alerts: watch::Sender<Arc<AlertsView>>,
    pub(super) rules: watch::Sender<Arc<RulesView>>,
    pub(super) readiness: watch::Sender<Arc<Readiness>>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) notifiers: watch::Sender<Arc<NotifiersView>>,
    pub(super) reload: mpsc::Receiver<ReloadRequest>,
}

pub(super) fn views() -> (Sources, Views) {
    let empty = Snapshot {
        number: 0,
        at: crate::model::Timestamp(0),
        interval: Duration::from_secs(5),
        cluster: "".into(),
        kafka: None,
        pages: Vec::new(),
        targets: Vec::new(),
    };
    let page = Page {
        plain: vec![Bytes::from_static(b"first 1\n"), Bytes::from_static(b"second 2\n")],
        gzip: vec![Bytes::from_static(b"zipped")],
        series: 2,
    };
    let (page, page_seen) = watch::channel(Arc::new(page));
    let (alerts, alerts_seen) = watch::channel(Arc::default());
    let (rules, rules_seen) = watch::channel(Arc::default());
    let (readiness, readiness_seen) = watch::channel(Arc::default());
    let (snapshot, snapshot_seen) = watch::channel(Arc::new(empty));
    let (_, history_seen) = watch::channel(Arc::default());
    let (notifiers, notifiers_seen) = watch::channel(Arc::default());
    let (reload_asked, reload) = mpsc::channel(1);
    let views = Views {
        page: page_seen,
        alerts: alerts_seen,
        actions: watch::channel(Arc::default()).1,
        journal: Arc::new(Journal::open(None, Duration::ZERO).unwrap()),
        rules: rules_seen,
        readiness: readiness_seen,
        snapshot: snapshot_seen,
        history: history_seen,
        notifiers: notifiers_seen,
        reload: reload_asked,
    };
    (Sources { page, alerts, rules, readiness, snapshot, notifiers, reload }, views)
}

struct Server {
    address: SocketAddr,
    tasks: Tasks,
    metrics: Arc<SelfMetrics>,
    sources: Sources,
}

fn limits() -> Limits {
    Limits {
        connections: 8,
        idle: LONG,
        handshake: LONG,
        deadlines: Deadlines { head: LONG, stall: LONG, response: LONG },
    }
}

fn start(limits: Limits) -> Server {
    start_guarded(limits, Guard::new(None).unwrap())
}

fn start_guarded(limits: Limits, guard: Guard) -> Server {
    let (tasks, _ended) = Tasks::new();
    let (sources, views) = views();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address;
    let metrics = Arc::new(SelfMetrics::default());
    serve_with(&tasks, listener, guard, views, Arc::clone(&metrics), limits).unwrap();
    Server { address, tasks, metrics, sources }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request and reads to the end of the connection.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await
    }

    fn rejected(&self, reason: &str) -> Option<f64> {
        self.metrics.value(&families::HTTP_REJECTED, &[reason])
    }

    async fn until_rejected(&self, reason: &str) {
        let seen = async {
            while self.rejected(reason).is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect(reason);
    }
}

/// What comes until the server closes; also when it closes hard.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let _reset = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A page that no socket buffer holds.
fn big_page() -> Arc<Page> {
    Arc::new(Page { plain: vec![Bytes::from(vec![b'x'; 1 << 20]); 64], gzip: Vec::new(), series: 0 })
}

#[tokio::test]
async fn the_page_goes_out_whole_over_one_kept_connection() {
    let server = start(limits());
    let stream = server.connect().await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    server.tasks.task("client", async move { drop(connection.await) });
    for (method, encoding, body) in [
        ("GET", "identity", "first 1\nsecond 2\n"),
        ("GET", "gzip", "zipped"),
        ("HEAD", "identity", ""),
        ("GET", "identity", "first 1\nsecond 2\n"),
    ] {
        let request = hyper::Request::builder()
            .method(method)
            .uri("/metrics")
            .header("host", "a")
            .header("accept-encoding", encoding)
            .body(http_body_util::Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(response.headers()["vary"], "Accept-Encoding");
        assert_eq!(response.headers().get("content-encoding").is_some(), encoding == "gzip");
        assert_eq!(response.headers()["content-length"], if encoding == "gzip" { "6" } else { "17" }, "{method}");
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(bytes, body);
    }
    drop(sender);
    assert!(server.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(taken.address).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(&format!("cannot listen on {} (", taken.address)) && said.contains("choose another"),
        "{said}"
    );
    assert!(error.is_in_use());
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("in use"));
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_a_silent_connection_too() {
    let mut limits = limits();
    limits.deadlines.head = Duration::from_millis(200);
    let server = start(limits);
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let trickle = async {
        for byte in b"GET /metrics HTTP/1.1\r\nhost: a".iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), trickle).await.expect("the server closes");
    assert_eq!(rest(&mut silent).await, "");
    server.until_rejected("too_slow").await;
    assert!(server.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_a_slow_head() {
    let mut limits = limits();
    limits.deadlines.head = Duration::from_millis(150);
    limits.idle = Duration::from_millis(600);
    let server = start(limits);
    let mut stream = server.connect().await;
    let mut answer = [0; 12];
    let started = std::time::Instant::now();
    for _ in 0..2 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        // Reads the rest of the answer, and is still connected after the time that a head may take.
        let mut more = [0; 1024];
        let pause = async {
            while stream.read(&mut more).await.unwrap() > 0 {}
            panic!("closed after {:?}", started.elapsed());
        };
        assert!(tokio::time::timeout(Duration::from_millis(300), pause).await.is_err());
    }
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(server.rejected("too_slow"), None, "nobody was slow");
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_off_while_others_are_served() {
    let mut limits = limits();
    limits.deadlines.stall = Duration::from_millis(300);
    let server = start(limits);
    server.sources.page.send_replace(big_page());
    let mut slow = server.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    slow.read_exact(&mut first).await.unwrap();
    let others = async { server.get("/metrics").await.len() };
    assert!(others.await > 64 << 20);
    server.until_rejected("too_slow").await;
    assert!(rest(&mut slow).await.len() < 64 << 20);
}

#[tokio::test]
async fn a_reader_that_takes_a_little_now_and_then_is_cut_off() {
    let mut limits = limits();
    limits.deadlines.response = Duration::from_millis(500);
    let server = start(limits);
    server.sources.page.send_replace(big_page());
    let mut slow = server.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut taken = 0;
    let mut some = vec![0; 256 << 10];
    let sip = async {
        while let Ok(length @ 1..) = slow.read(&mut some).await {
            taken += length;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sip).await.expect("the server closes");
    assert!(taken < 64 << 20, "{taken}");
    server.until_rejected("too_slow").await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let server = start(limits());
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        kept.push(stream);
    }
    assert_eq!(rest(&mut server.connect().await).await, "");
    server.until_rejected("too_many").await;
    assert_eq!(server.metrics.value(&families::HTTP_CONNECTIONS, &[]), Some(8.0));
    drop(kept);
    let free = async {
        while server.metrics.value(&families::HTTP_CONNECTIONS, &[]) != Some(0.0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("closed connections are given back");
    assert!(server.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_that_are_too_large_or_malformed_are_refused() {
    let server = start(limits());
    let huge = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(MAX_HEADER_BYTES));
    assert!(server.ask(&huge).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
    assert!(server.ask(&many).await.starts_with("HTTP/1.1 431"));
    assert!(server.ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    server.until_rejected("too_large").await;
    server.until_rejected("malformed").await;
}

#[tokio::test]
async fn request_bodies_are_refused() {
    let server = start(limits());
    let answer = server.ask("POST /-/reload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_reload_is_asked_for_from_this_host() {
    let mut server = start(limits());
    let asked = async {
        let request = server.sources.reload.recv().await.unwrap();
        request.reply.send(Err("kafka.interval: must be above 0".into())).ok().unwrap();
    };
    let request = "POST /-/reload HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (answer, ()) = tokio::join!(rest(&mut stream), asked);
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.ends_with("failed to reload config: kafka.interval: must be above 0\n"), "{answer}");
}

#[tokio::test]
async fn stopping_finishes_responses_and_closes_idle_connections() {
    let server = start(limits());
    server.sources.page.send_replace(big_page());
    let mut idle = server.connect().await;
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    busy.read_exact(&mut first).await.unwrap();
    let address = server.address;
    let stopping = server.tasks.shut_down(Duration::from_secs(10));
    let (late, whole, _) = tokio::join!(stopping, rest(&mut busy), rest(&mut idle));
    assert!(late.is_empty());
    assert!(whole.len() > 64 << 20, "{}", whole.len());
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}

#[tokio::test]
async fn a_stream_of_events_outlives_the_deadline_of_an_answer_and_ends_at_a_stop() {
    let mut limits = limits();
    limits.deadlines.response = Duration::from_millis(400);
    let server = start(limits);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut seen = String::new();
    let mut some = [0; 4096];
    for number in 1..=12_u64 {
        let newer = Snapshot { number, ..Snapshot::clone(&server.sources.snapshot.borrow()) };
        server.sources.snapshot.send_replace(Arc::new(newer));
        while !seen.contains(&format!("{{\"number\":{number}}}")) {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut some)).await.expect("in time");
            let read = read.unwrap();
            assert!(read > 0, "closed after {seen}");
            seen += &String::from_utf8_lossy(&some[..read]);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = std::time::Instant::now();
    let (late, rest) = tokio::join!(server.tasks.shut_down(Duration::from_secs(5)), rest(&mut stream));
    assert!(late.is_empty() && asked.elapsed() < Duration::from_secs(1), "{late:?} after {:?}", asked.elapsed());
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ends whole: {rest:?}");
}
