use super::*;
use crate::model::families::{PAGE_SAMPLES_DROPPED, TARGET_ERRORS, TARGET_LAST_SUCCESS, TARGET_UP};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

mod secured;

const TEXT: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
const GOOD: &str = "# TYPE a gauge\na{b=\"c\"} 1\njmx_scrape_error 0.0\n";

/// A server on a free port, whose answers are up to the test. One connection at a time, each asked for one request.
fn serve(mut answer: impl FnMut(&mut TcpStream, &str) + Send + 'static) -> hyper::Uri {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or_default() == 1 {
                request.push(byte[0]);
            }
            answer(&mut stream, &String::from_utf8(request).unwrap());
        }
    });
    url.parse().unwrap()
}

/// A whole answer.
fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    [format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn config(url: hyper::Uri) -> Config {
    Config {
        name: "p".to_owned(),
        url,
        login: None,
        tls: Tls::default(),
        interval: Duration::from_hours(1),
        timeout: Duration::from_secs(20),
        max_size: 8 << 20,
        keep: Vec::new(),
        drop: Vec::new(),
        labels: Arc::new([("dc".to_owned(), "1".to_owned())].into()),
    }
}

async fn next(receiver: &mut watch::Receiver<Arc<PageObservation>>) -> Arc<PageObservation> {
    tokio::time::timeout(Duration::from_mins(1), receiver.changed()).await.unwrap().unwrap();
    Arc::clone(&receiver.borrow_and_update())
}

/// What comes of one walk; the reader must also stop when told to.
async fn observe(config: Config) -> (Arc<PageObservation>, Arc<SelfMetrics>) {
    let (tasks, _ended) = Tasks::new();
    let metrics = Arc::new(SelfMetrics::default());
    let mut receiver = start(&tasks, config, Arc::clone(&metrics));
    let before = Arc::clone(&receiver.borrow());
    assert!(!before.target.up && before.page.is_none() && before.target.last_success.is_none());
    assert_eq!(before.target.reason.as_deref(), Some("not scraped yet"));
    assert_eq!(metrics.value(&TARGET_UP, &["p"]), Some(0.0));
    let observation = next(&mut receiver).await;
    assert!(tasks.shut_down(Duration::from_secs(10)).await.is_empty());
    (observation, metrics)
}

async fn observe_answer(answer: Vec<u8>) -> (Arc<PageObservation>, Arc<SelfMetrics>) {
    // The reader may give up before all is written.
    observe(config(serve(move |stream, _| drop(stream.write_all(&answer))))).await
}

/// The walk fails for this reason, and everything says so.
async fn check_failure(config: Config, kind: &str, words: &str) {
    let (observation, metrics) = observe(config).await;
    let reason = observation.target.reason.clone().unwrap();
    assert!(reason.contains(words), "{reason}");
    assert!(!observation.target.up && observation.page.is_none() && observation.target.last_success.is_none());
    assert_eq!(metrics.value(&TARGET_ERRORS, &[kind, "p"]), Some(1.0), "{reason}");
    assert_eq!(metrics.value(&TARGET_UP, &["p"]), Some(0.0));
    assert_eq!(metrics.value(&TARGET_LAST_SUCCESS, &["p"]), None);
}

async fn check_answer(answer: Vec<u8>, kind: &str, words: &str) {
    check_failure(config(serve(move |stream, _| drop(stream.write_all(&answer)))), kind, words).await;
}

#[tokio::test]
async fn a_good_page_is_observed() {
    let (requests, asked) = std::sync::mpsc::sync_channel(1);
    let url = serve(move |stream, request| {
        requests.send(request.to_ascii_lowercase()).unwrap();
        stream.write_all(&response("200 OK", TEXT, GOOD.as_bytes())).unwrap();
    });
    let address = url.authority().unwrap().to_string();
    let (observation, metrics) = observe(config(url)).await;
    assert_eq!(observation.page.as_ref().unwrap().samples().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 0.0]);
    assert!(observation.target.up && observation.target.reason.is_none());
    assert_eq!(observation.target.last_success, Some(observation.at));
    assert_eq!(observation.labels["dc"], "1");
    assert_eq!(observation.stale_after, Duration::from_hours(3));
    assert_eq!(metrics.value(&TARGET_UP, &["p"]), Some(1.0));
    assert_eq!(metrics.value(&TARGET_LAST_SUCCESS, &["p"]), Some(observation.at.seconds()));
    assert!(metrics.value(&crate::model::families::COLLECTION_DURATION, &["p"]).unwrap() > 0.0);
    let request = asked.recv().unwrap();
    assert!(request.starts_with("get /metrics http/1.1\r\n"), "{request}");
    for line in ["accept: text/plain;version=0.0.4\r\n", "accept-encoding: gzip\r\n", &format!("host: {address}\r\n")] {
        assert!(request.contains(line), "{request}");
    }
}

#[tokio::test]
async fn real_pages_are_read_compressed_and_plain() {
    for (name, samples, id) in [("agent-0.17.2-kafka-3.9.1", 30_641, 1), ("agent-1.0.1-kafka-4.1.1", 40_331, 2)] {
        let packed = std::fs::read(format!("{}/tests/data/jmx/{name}.txt.gz", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut plain = Vec::new();
        GzDecoder::new(&*packed).read_to_end(&mut plain).unwrap();
        let packed = response("200 OK", &format!("{TEXT}Content-Encoding: gzip\r\n"), &packed);
        for answer in [packed, response("200 OK", TEXT, &plain)] {
            let (observation, _) = observe_answer(answer).await;
            let page = observation.page.as_ref().unwrap();
            assert_eq!((page.sample_count(), broker_id(page)), (samples, Some(id)));
        }
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:secret@{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let (observation, _) = observe(config(url)).await;
    assert!(!observation.target.reason.as_ref().unwrap().contains("secret"));
    check_failure(config("http://127.0.0.1:1/metrics".parse().unwrap()), "refused", "no connection to 127.0.0.1:1")
        .await;
}

#[tokio::test]
async fn answers_that_are_no_page() {
    let html = "Content-Type: text/html\r\n";
    let trace = b"java.lang.NullPointerException\n\tat io.prometheus";
    check_answer(response("500 Internal Server Error", TEXT, trace), "status", "answered with status 500").await;
    check_answer(response("301 Moved", "Location: /\r\n", b""), "status", "301").await;
    check_answer(response("200 OK", html, b"<html>a 1\n</html>"), "content_type", "something else than text/plain")
        .await;
    check_answer(response("200 OK", "", GOOD.as_bytes()), "content_type", "something else").await;
    let encoding = format!("{TEXT}Content-Encoding: br\r\n");
    check_answer(response("200 OK", &encoding, GOOD.as_bytes()), "encoding", "not asked for").await;
    check_answer(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "http", "no HTTP answer").await;
    check_answer(Vec::new(), "http", "no HTTP answer").await;
    check_answer(response("200 OK", TEXT, b""), "empty", "the page is empty").await;
    check_answer(response("200 OK", TEXT, b"# TYPE a gauge\n"), "empty", "the page is empty").await;
}

#[tokio::test]
async fn pages_that_are_cut_short() {
    let short = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 1000\r\n\r\n{GOOD}").into_bytes();
    check_answer(short, "incomplete", "the answer broke off").await;
    let length = GOOD.len();
    let chunked = format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{GOOD}\r\n");
    check_answer(chunked.clone().into_bytes(), "incomplete", "the answer broke off").await;
    let whole = format!("{chunked}0\r\n\r\n").into_bytes();
    assert!(observe_answer(whole).await.0.target.up, "the same with its end is fine");
    let words = "line 3: the page ends in the middle of a line: jmx_scrape_error 0.";
    check_answer(response("200 OK", TEXT, &GOOD.as_bytes()[..length - 2]), "parse", words).await;
    let packed = gzip(GOOD.as_bytes());
    let headers = format!("{TEXT}Content-Encoding: gzip\r\n");
    for cut in [1, 8, 9, packed.len() - 5] {
        let answer = response("200 OK", &headers, &packed[..packed.len() - cut]);
        check_answer(answer, "encoding", "cannot be unpacked").await;
    }
    let more = [&packed[..], b"more"].concat();
    check_answer(response("200 OK", &headers, &more), "encoding", "cannot be unpacked").await;
    check_answer(response("200 OK", &headers, GOOD.as_bytes()), "encoding", "cannot be unpacked").await;
}

#[tokio::test]
async fn a_page_that_comes_byte_by_byte_is_given_up() {
    let url = serve(|stream, _| {
        for byte in response("200 OK", TEXT, GOOD.as_bytes()) {
            thread::park_timeout(Duration::from_millis(20));
            if stream.write_all(&[byte]).is_err() {
                break;
            }
        }
    });
    let timeout = Duration::from_millis(300);
    check_failure(Config { timeout, ..config(url) }, "timeout", "not read within 300ms").await;
}

#[tokio::test]
async fn a_page_without_end_is_given_up() {
    let endless = |start: &'static str, piece: &'static str| {
        serve(move |stream, _| {
            let many = piece.repeat(10_000);
            drop(stream.write_all(start.as_bytes()));
            while stream.write_all(many.as_bytes()).is_ok() {}
        })
    };
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_failure(config(endless(chunked, "4\r\na 1\n\r\n")), "too_large", "larger than 8388608 bytes").await;
    let until_closed = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    check_failure(config(endless(until_closed, "a 1\n")), "too_large", "larger than 8388608 bytes").await;
    check_failure(config(endless("HTTP/1.1 200 OK\r\n", "A: b\r\n")), "http", "no HTTP answer").await;
    check_failure(config(endless("HTTP/1.1 200 OK\r\nA: ", "b")), "http", "no HTTP answer").await;
}

#[tokio::test]
async fn pages_that_are_too_large() {
    let huge = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 1073741824\r\n\r\na 1\n").into_bytes();
    check_answer(huge, "too_large", "larger than 8388608 bytes").await;
    let packed = gzip(&b"a 1\n".repeat(64 << 20 >> 2));
    assert!(packed.len() < 1 << 20);
    let bomb = response("200 OK", &format!("{TEXT}Content-Encoding: gzip\r\n"), &packed);
    check_answer(bomb, "too_large", "larger than 8388608 bytes").await;
    let page = GOOD.as_bytes();
    let exact = |max_size, answer: Vec<u8>| Config {
        max_size,
        ..config(serve(move |stream, _| drop(stream.write_all(&answer))))
    };
    let size = u64::try_from(page.len()).unwrap();
    assert!(observe(exact(size, response("200 OK", TEXT, page))).await.0.target.up);
    check_failure(exact(size - 1, response("200 OK", TEXT, page)), "too_large", "larger than").await;
}

#[tokio::test]
async fn pages_that_cannot_be_read() {
    check_answer(response("200 OK", TEXT, b"a{b=\"\xff\"} 1\n"), "utf8", "the page is not UTF-8").await;
    check_answer(response("200 OK", TEXT, b"a 1\nb 0x1p3\n"), "parse", "line 2: malformed value: b 0x1p3").await;
    check_answer(response("200 OK", TEXT, b"<html>\n"), "parse", "line 1: malformed metric name: <html>").await;
    let labels = (0..1000).map(|n| format!("l{n}=\"v\",")).collect::<Vec<_>>().concat();
    check_answer(response("200 OK", TEXT, format!("a{{{labels}}} 1\n").as_bytes()), "limit", "more labels in a sample")
        .await;
    let value = "v".repeat(1 << 20);
    let bomb = format!("a{{b=\"{value}\"}} 1\n");
    check_answer(response("200 OK", TEXT, bomb.as_bytes()), "limit", "more bytes in a label value than 131072").await;
    check_answer(response("200 OK", TEXT, b"a 1\njmx_scrape_error 1.0\n"), "scrape_error", "jmx_scrape_error").await;
    check_answer(response("200 OK", TEXT, b"a 1\njmx_scrape_error NaN\n"), "scrape_error", "jmx_scrape_error").await;
}

#[tokio::test]
async fn odd_pages_that_are_read() {
    let odd = "# TYPE a gauge\na{x=\"1\"} NaN\n# TYPE a counter\nb +Inf\na{x=\"2\"} -Inf\nb{y=\"1\",y=\"2\"} 1\n";
    let (observation, metrics) = observe_answer(response("200 OK", TEXT, odd.as_bytes())).await;
    let page = observation.page.as_ref().unwrap();
    let values: Vec<_> = page.samples().map(|sample| sample.value.to_string()).collect();
    assert_eq!(values, ["NaN", "-inf", "inf"]);
    assert_eq!(metrics.value(&PAGE_SAMPLES_DROPPED, &["duplicate_label", "p"]), Some(1.0));
}

#[tokio::test]
async fn a_page_comes_and_goes() {
    let mut number = 0;
    let url = serve(move |stream, _| {
        number += 1;
        let status = if number == 2 { "200 OK" } else { "503 Service Unavailable" };
        drop(stream.write_all(&response(status, TEXT, GOOD.as_bytes())));
    });
    let (tasks, _ended) = Tasks::new();
    let metrics = Arc::new(SelfMetrics::default());
    let mut receiver =
        start(&tasks, Config { interval: Duration::from_millis(50), ..config(url) }, Arc::clone(&metrics));
    assert!(!next(&mut receiver).await.target.up);
    let good = next(&mut receiver).await;
    assert!(good.target.up && good.page.is_some());
    let bad = next(&mut receiver).await;
    assert!(!bad.target.up && bad.page.is_none(), "an old page must not speak for a broker that is down");
    assert_eq!(bad.target.last_success, Some(good.at));
    assert_eq!(metrics.value(&TARGET_LAST_SUCCESS, &["p"]), Some(good.at.seconds()));
    assert_eq!(metrics.value(&TARGET_UP, &["p"]), Some(0.0));
    assert!(tasks.shut_down(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test]
async fn the_exporter_gets_ten_times_the_rest_that_a_walk_took() {
    let shortest_rest = Arc::new(AtomicU64::new(u64::MAX));
    let rest = Arc::clone(&shortest_rest);
    let mut ended: Option<Instant> = None;
    let url = serve(move |stream, _| {
        if let Some(ended) = ended {
            rest.fetch_min(u64::try_from(ended.elapsed().as_millis()).unwrap(), Ordering::SeqCst);
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(30) {
            thread::park_timeout(Duration::from_millis(30));
        }
        ended = Some(Instant::now());
        drop(stream.write_all(&response("200 OK", TEXT, GOOD.as_bytes())));
    });
    let (tasks, _ended) = Tasks::new();
    let interval = Duration::from_millis(1);
    let mut receiver = start(&tasks, Config { interval, ..config(url) }, Arc::default());
    for _ in 0..3 {
        let observation = next(&mut receiver).await;
        assert!(observation.target.up && observation.stale_after >= Duration::from_millis(12 * 30));
    }
    assert!(shortest_rest.load(Ordering::SeqCst) >= 300, "{shortest_rest:?}");
    assert!(tasks.shut_down(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test]
async fn a_walk_that_hangs_does_not_hold_up_the_end() {
    let (asked, mut was_asked) = tokio::sync::mpsc::channel(1);
    let (closed, was_closed) = std::sync::mpsc::sync_channel(1);
    let url = serve(move |stream, _| {
        asked.blocking_send(()).unwrap();
        // Returns when the reader closes the connection.
        closed.send(stream.read(&mut [0]).unwrap_or_default()).unwrap();
    });
    let (tasks, _ended) = Tasks::new();
    let timeout = Duration::from_hours(1);
    let _receiver = start(&tasks, Config { timeout, ..config(url) }, Arc::default());
    tokio::time::timeout(Duration::from_secs(20), was_asked.recv()).await.unwrap().unwrap();
    assert!(tasks.shut_down(Duration::from_secs(10)).await.is_empty());
    assert_eq!(was_closed.recv_timeout(Duration::from_secs(20)).unwrap(), 0, "and the broker hears of it");
}

#[test]
fn the_broker_is_named_once_or_not_at_all() {
    let id = |text: &str| broker_id(&Exposition::parse(text.to_owned()).unwrap());
    assert_eq!(id("kafka_server_app_info_starttimems{id=\"2\",} 1.7E12\n"), Some(2));
    assert_eq!(
        id("kafka_server_app_info_StartTimeMs{id=\"2\"} 1\nkafka_server_app_info_starttimems{id=\"2\"} 1\n"),
        Some(2)
    );
    assert_eq!(
        id("kafka_server_app_info_starttimems{id=\"2\"} 1\nkafka_server_app_info_starttimems{id=\"3\"} 1\n"),
        None
    );
    assert_eq!(
        id("kafka_server_app_info_starttimems{id=\"2\"} 1\nkafka_server_app_info_starttimems{id=\"x\"} 1\n"),
        None
    );
    assert_eq!(id("kafka_server_app_info_starttimems{id=\"-1\"} 1\n"), None);
    assert_eq!(id("kafka_server_app_info_starttimems 1\n"), None);
    assert_eq!(id("kafka_consumer_app_info_starttimems{id=\"2\"} 1\n"), None);
}
