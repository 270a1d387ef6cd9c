//! The HTTP surface, and what clients that misbehave cost: nothing to the others.

use crate::harness::{
    daemon::{Daemon, Home, idle},
    holds,
    http::{self, Server, reply},
    page::Page,
};
use flate2::read::GzDecoder;
use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

const SEEN: Duration = Duration::from_secs(20);

/// How long others may be held up by a client that misbehaves: not noticeably.
const QUICK: Duration = Duration::from_secs(1);

/// An agent with a page of several megabytes: more than the kernel buffers for a connection.
fn agent_with_a_big_page() -> (Daemon, Server) {
    let mut page = "# TYPE kafka_server_big gauge\n".to_owned();
    for n in 0..60_000 {
        writeln!(page, "kafka_server_big{{topic=\"a-topic-with-a-rather-long-name-{n}\",partition=\"0\"}} {n}")
            .unwrap();
    }
    page += "# TYPE jmx_scrape_error gauge\njmx_scrape_error 0\n";
    let server = Server::start(move |_, stream, _| reply(stream, 200, "text/plain; version=0.0.4", page.as_bytes()));
    let jmx = format!("jmx: [{{name: broker, url: \"{}\", interval: 1s, timeout: 30s}}]", server.url("/metrics"));
    let agent = Home::new().start(&jmx);
    agent.until(SEEN, "the big page", |page| {
        let count = page.samples.iter().filter(|sample| sample.name == "kafka_server_big").count();
        holds(count == 60_000, format!("{count} series"))
    });
    (agent, server)
}

#[test]
fn the_surface_is_what_the_manual_says() {
    let agent = Home::new().start(&idle());
    agent.ready(SEEN);
    assert_eq!(agent.get("/-/healthy").status, 200);
    let index = agent.get("/");
    assert_eq!(index.status, 200);
    assert!(index.header("content-type").unwrap().starts_with("text/html"), "{index:?}");
    for link in ["/metrics", "/api/v1/alerts", "/api/v1/rules"] {
        assert!(index.text().contains(link), "{link} is not on the index page");
    }
    for (path, list) in [("/api/v1/alerts", "alerts"), ("/api/v1/rules", "groups")] {
        let answer = agent.get(path);
        assert!(answer.header("content-type").unwrap().starts_with("application/json"), "{answer:?}");
        let json = answer.json();
        assert!(json["status"] == "success" && json["data"][list].is_array(), "{json}");
    }
    assert_eq!(agent.get("/no/such/page").status, 404);
    assert_eq!(http::ask(agent.address(), "DELETE", "/metrics", &[]).unwrap().status, 405);
    let page = agent.page();
    page.expect("brokerwarden_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0).unwrap();
    for family in ["brokerwarden_process_resident_memory_bytes", "brokerwarden_process_start_time_seconds"] {
        assert!(page.value(family, &[]).is_some_and(|value| value > 0.0), "{family}");
    }
}

#[test]
fn gzip_and_plain_are_the_same_page() {
    let (agent, _server) = agent_with_a_big_page();
    let packed = http::ask(agent.address(), "GET", "/metrics", &[("Accept-Encoding", "gzip")]).unwrap();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    // One member: readers that stop after the first must have all.
    let mut text = String::new();
    GzDecoder::new(packed.body.as_slice()).read_to_string(&mut text).unwrap();
    let unpacked = Page::parse(text).unwrap();
    let plain = agent.get("/metrics");
    assert_eq!(plain.header("content-encoding"), None);
    assert!(packed.body.len() * 5 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
    let big =
        |page: &Page| page.series().into_iter().filter(|(name, _)| name == "kafka_server_big").collect::<Vec<_>>();
    let plain = Page::parse(plain.text()).unwrap();
    assert_eq!(big(&plain).len(), 60_000);
    assert!(big(&plain) == big(&unpacked), "the two pages differ");
}

#[test]
fn clients_that_read_or_write_slowly_do_not_hold_up_others() {
    let (agent, _server) = agent_with_a_big_page();
    let mut readers: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address()).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut writers: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address()).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
            stream
        })
        .collect();
    for path in ["/metrics", "/-/healthy", "/api/v1/rules"] {
        let asked = Instant::now();
        assert_eq!(agent.get(path).status, 200);
        assert!(asked.elapsed() < QUICK, "{path} took {:?}", asked.elapsed());
    }
    // Both kinds are cut off: whoever reads on at last finds the end too early, or an error.
    for stream in &mut writers {
        stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_err() || !answer.starts_with(b"HTTP/1.1 200"), "a half request was answered");
        let timed_out = end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "a half request is kept open for ever");
    }
    agent.until(Duration::from_mins(2), "slow readers are cut off and counted", |page| {
        let rejected = page.sum("brokerwarden_http_connections_rejected_total", &[]);
        holds(rejected >= 8.0, format!("{rejected} rejected"))
    });
    for stream in &mut readers {
        stream.set_read_timeout(Some(SEEN)).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.len() < agent.get("/metrics").body.len(), "a slow reader got it all");
    }
}

#[test]
fn huge_and_malformed_requests_are_refused() {
    let mut agent = Home::new().start(&idle());
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(10 << 20));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20));
    for request in [huge.as_str(), &long, "\r\n\r\nnothing\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        let mut stream = TcpStream::connect(agent.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // It may hang up before all is written.
        stream.write_all(request.as_bytes()).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(agent.get("/-/healthy").status, 200);
    }
    agent.must_run();
}

#[test]
fn more_connections_than_allowed_are_turned_away_and_the_agent_goes_on() {
    let agent = Home::new().start(&idle());
    let mut open = Vec::new();
    // Some take a second: the kernel queues few before they are accepted, and lets the others knock again.
    for _ in 0..600 {
        open.push(TcpStream::connect_timeout(&agent.address(), SEEN).unwrap());
    }
    // All are open at once until the last one was turned away.
    let last = open.last_mut().unwrap();
    last.set_read_timeout(Some(SEEN)).unwrap();
    assert!(!matches!(last.read(&mut [0]), Ok(1..)), "somebody answers who was not asked");
    drop(open);
    crate::harness::within(SEEN, "it answers after the storm", || match http::get(agent.address(), "/-/healthy") {
        Ok(answer) => holds(answer.status == 200, answer.status),
        Err(error) => Err(error.to_string()),
    });
    agent.until(SEEN, "600 connections are too many", |page| {
        holds(page.sum("brokerwarden_http_connections_rejected_total", &[]) > 0.0, "none was turned away")
    });
}
