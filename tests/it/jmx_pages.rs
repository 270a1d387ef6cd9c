//! Bad JMX pages: each costs its own target and nothing else.

use crate::harness::{
    daemon::{Daemon, Home},
    free_port, holds,
    http::{Server, Stopped, reply},
    page::Page,
    pause,
};
use std::{
    fmt::Write as _,
    io::Write as _,
    net::TcpStream,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

/// Longest wait for a change to show.
const SEEN: Duration = Duration::from_secs(30);

/// What a page may have decompressed, in these tests.
const MAX_SIZE: usize = 1 << 20;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a page answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Good,
    /// Closes the connection without a word.
    HangsUp,
    Status500,
    Html,
    /// Promises more than it sends.
    Truncated,
    /// Ends in the middle of a line.
    CutLine,
    /// One byte a second.
    Trickle,
    /// Good lines without end.
    Endless,
    /// Promises 1 GB and sends it.
    Gigabyte,
    /// 64 MB of good lines in few bytes of gzip.
    GzipBomb,
    /// The JMX exporter's own word that its walk failed.
    ScrapeError,
    /// The same family and the same series twice.
    Duplicates,
    /// Values that are no numbers.
    NotNumbers,
    InvalidUtf8,
    /// One sample with 5,000 labels, one with a label of 500 kB.
    LabelBomb,
}

use Behaviour::{
    CutLine, Duplicates, Endless, Gigabyte, Good, GzipBomb, HangsUp, Html, InvalidUtf8, LabelBomb, NotNumbers,
    ScrapeError, Status500, Trickle, Truncated,
};

const ALL: [Behaviour; 14] = [
    HangsUp,
    Status500,
    Html,
    Truncated,
    CutLine,
    Trickle,
    Endless,
    Gigabyte,
    GzipBomb,
    ScrapeError,
    Duplicates,
    NotNumbers,
    InvalidUtf8,
    LabelBomb,
];

/// The pages that cannot count as collected.
const USELESS: [Behaviour; 9] =
    [HangsUp, Status500, Html, Truncated, Trickle, Endless, Gigabyte, GzipBomb, ScrapeError];

/// A page of real shape whose series carry the name of the target.
fn good(target: &str) -> String {
    format!(
        "# HELP kafka_server_marker A sample of this page.\n# TYPE kafka_server_marker untyped\n\
         kafka_server_marker{{page=\"{target}\",}} 4.0199224E7\n\
         # TYPE jmx_scrape_error gauge\njmx_scrape_error 0.0\n"
    )
}

/// A JMX exporter whose behaviour a test changes.
struct FakePage {
    server: Server,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl FakePage {
    fn start(target: String) -> Self {
        let behaviour = Arc::new(Mutex::new(Good));
        let now = Arc::clone(&behaviour);
        let server = Server::start(move |_, stream, stopped| {
            let behaviour = *now.lock().unwrap();
            answer(behaviour, &target, stream, stopped)
        });
        Self { server, behaviour }
    }

    fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }
}

fn answer(behaviour: Behaviour, target: &str, stream: &mut TcpStream, stopped: &Stopped) -> std::io::Result<()> {
    let good = good(target);
    let goes_on = || !stopped.load(Ordering::SeqCst);
    match behaviour {
        Good => reply(stream, 200, TEXT, good.as_bytes()),
        HangsUp => Ok(()),
        Status500 => reply(stream, 500, TEXT, good.as_bytes()),
        Html => reply(stream, 200, "text/html", b"<html><h1>It works!</h1></html>"),
        Truncated => write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: 100000\r\n\r\n{good}"),
        CutLine => reply(stream, 200, TEXT, format!("{good}kafka_server_cut{{page=\"").as_bytes()),
        Trickle => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\n\r\n")?;
            for byte in good.bytes().cycle().take_while(|_| goes_on()) {
                stream.write_all(&[byte])?;
                pause(Duration::from_secs(1));
            }
            Ok(())
        }
        Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\n\r\n")?;
            (0_u64..).take_while(|_| goes_on()).try_for_each(|n| writeln!(stream, "kafka_server_n{{n=\"{n}\"}} 1"))
        }
        Gigabyte => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: 1000000000\r\n\r\n")?;
            let block = "kafka_server_block 1\n".repeat(1000);
            (0..50_000).take_while(|_| goes_on()).try_for_each(|_| stream.write_all(block.as_bytes()))
        }
        GzipBomb => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let block = "kafka_server_block 1\n".repeat(1000);
            (0..3200).try_for_each(|_| packed.write_all(block.as_bytes()))?;
            let packed = packed.finish()?;
            let length = packed.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            )?;
            stream.write_all(&packed)
        }
        ScrapeError => {
            reply(stream, 200, TEXT, good.replace("jmx_scrape_error 0.0", "jmx_scrape_error 1.0").as_bytes())
        }
        Duplicates => {
            let twice = format!(
                "{good}# TYPE other gauge\nother 1\n# TYPE kafka_server_marker gauge\nkafka_server_marker{{page=\"{target}\"}} 2\n"
            );
            reply(stream, 200, TEXT, twice.as_bytes())
        }
        NotNumbers => {
            let odd = "kafka_server_odd{n=\"1\"} NaN\nkafka_server_odd{n=\"2\"} +Inf\nkafka_server_odd{n=\"3\"} -Inf\n";
            reply(stream, 200, TEXT, format!("{good}{odd}").as_bytes())
        }
        InvalidUtf8 => {
            let bytes = [good.as_bytes(), b"kafka_server_odd{name=\"\xff\xfe\"} 1\n"].concat();
            reply(stream, 200, TEXT, &bytes)
        }
        LabelBomb => {
            let mut bomb = format!("{good}kafka_server_bomb{{");
            (0..5000).for_each(|n| write!(bomb, "l{n}=\"x\",").unwrap());
            writeln!(bomb, "}} 1\nkafka_server_bomb{{l=\"{}\"}} 1", "x".repeat(500_000)).unwrap();
            reply(stream, 200, TEXT, bomb.as_bytes())
        }
    }
}

fn marker(page: &Page, target: &str) -> bool {
    page.has("kafka_server_marker", &[("page", target)])
}

fn errors(page: &Page, target: &str) -> f64 {
    page.sum("brokerwarden_target_errors_total", &[("target", target)])
}

/// An agent with a good page, an absent one, and one page for each behaviour, all good at first.
fn agent() -> (Daemon, FakePage, Vec<(Behaviour, String, FakePage)>) {
    let healthy = FakePage::start("healthy".to_owned());
    let pages: Vec<_> = ALL
        .iter()
        .map(|behaviour| {
            let target = format!("{behaviour:?}").to_lowercase();
            (*behaviour, target.clone(), FakePage::start(target))
        })
        .collect();
    let mut yaml = "jmx:\n".to_owned();
    let mut add = |target: &str, url: &str| {
        let limits = format!("interval: 1s, timeout: 3s, max_size: {MAX_SIZE}, labels: {{from: {target}}}");
        writeln!(yaml, "- {{name: {target}, url: \"{url}\", {limits}}}").unwrap();
    };
    add("healthy", &healthy.server.url("/metrics"));
    add("absent", &format!("http://127.0.0.1:{}/metrics", free_port()));
    for (_, target, page) in &pages {
        add(target, &page.server.url("/metrics"));
    }
    (Home::new().start(&yaml), healthy, pages)
}

#[test]
fn bad_pages_cost_their_own_target_only() {
    let (mut agent, _healthy, pages) = agent();
    agent.until(SEEN, "all pages are collected", |page| {
        let missing = pages.iter().find(|(_, target, _)| !marker(page, target));
        holds(missing.is_none() && marker(page, "healthy"), format!("{:?}", missing.map(|(_, target, _)| target)))
    });
    agent.page().expect("brokerwarden_target_up", &[("target", "absent")], 0.0).unwrap();

    for (behaviour, _, page) in &pages {
        page.becomes(*behaviour);
    }
    agent.until(SEEN, "useless pages are down, counted and gone", |page| {
        for (behaviour, target, _) in &pages {
            if USELESS.contains(behaviour) {
                page.expect("brokerwarden_target_up", &[("target", target)], 0.0)?;
                holds(errors(page, target) > 0.0, format!("{target}: no error counted"))?;
                let left = page.samples.iter().find(|sample| sample.has(&[("from", target)]));
                holds(left.is_none(), format!("{target}: {left:?}"))?;
            }
        }
        holds(errors(page, "absent") > 0.0, "absent: no error counted")
    });
    // The others may be taken in part, but not as they are.
    agent.until(SEEN, "odd pages are dealt with", |page| {
        for n in [("1", f64::NAN), ("2", f64::INFINITY), ("3", f64::NEG_INFINITY)] {
            let value = page.value("kafka_server_odd", &[("from", "notnumbers"), ("n", n.0)]);
            let same = value.is_some_and(|value| value.to_bits() == n.1.to_bits() || value.is_nan() && n.1.is_nan());
            holds(same, format!("{n:?} is {value:?}"))?;
        }
        for target in ["cutline", "duplicates", "invalidutf8", "labelbomb"] {
            let down = page.expect("brokerwarden_target_up", &[("target", target)], 0.0).is_ok();
            let dropped = page.sum("brokerwarden_page_samples_dropped_total", &[("target", target)]);
            holds(down && errors(page, target) > 0.0 || dropped > 0.0, format!("{target}: nothing counted"))?;
        }
        let bomb = page.samples.iter().find(|sample| sample.name == "kafka_server_bomb");
        holds(bomb.is_none(), "a label bomb is passed on")
    });
    // The healthy one did not notice, and the page is whole and quick while they all go on.
    for _ in 0..5 {
        let asked = Instant::now();
        let page = agent.page();
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        assert!(marker(&page, "healthy"));
        page.expect("brokerwarden_target_up", &[("target", "healthy")], 1.0).unwrap();
        agent.snapshots(1.0, SEEN);
    }
    agent.must_run();
    assert!(resident(&agent) < 300 << 20, "{} bytes", resident(&agent));

    // Good again, back again.
    for (_, _, page) in &pages {
        page.becomes(Good);
    }
    agent.until(SEEN * 2, "all pages are back", |page| {
        let missing = pages.iter().find(|(_, target, _)| {
            !marker(page, target) || page.expect("brokerwarden_target_up", &[("target", target)], 1.0).is_err()
        });
        holds(missing.is_none(), format!("{:?}", missing.map(|(_, target, _)| target)))
    });
}

fn resident(agent: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn two_pages_with_the_same_series_are_told_apart_by_their_labels_or_dropped() {
    let (one, two) = (FakePage::start("same".to_owned()), FakePage::start("same".to_owned()));
    let entry = |name: &str, page: &FakePage, labels: &str| {
        format!("- {{name: {name}, url: \"{}\", interval: 1s, timeout: 3s{labels}}}\n", page.server.url("/metrics"))
    };
    let yaml = format!("jmx:\n{}{}", entry("one", &one, ""), entry("two", &two, ", labels: {node: b}"));
    let agent = Home::new().start(&yaml);
    agent.until(SEEN, "both are told apart", |page| {
        let all = page.all("kafka_server_marker", &[("page", "same")]);
        holds(all.len() == 2 && all.iter().any(|sample| sample.has(&[("node", "b")])), format!("{all:?}"))
    });

    let yaml = format!("jmx:\n{}{}", entry("one", &one, ""), entry("two", &two, ""));
    let agent = Home::new().start(&yaml);
    agent.until(SEEN, "the second is dropped and counted", |page| {
        page.value("kafka_server_marker", &[("page", "same")]).ok_or("not there")?;
        let dropped = page.sum("brokerwarden_page_samples_dropped_total", &[("target", "two")]);
        holds(dropped > 0.0, "nothing counted")
    });
}

#[test]
fn keep_and_drop_choose_what_is_re_exported() {
    let page = FakePage::start("filtered".to_owned());
    let url = page.server.url("/metrics");
    let yaml = format!(
        "jmx: [{{name: broker, url: \"{url}\", interval: 1s, timeout: 3s, keep: [\"jmx_.*\", \"kafka_.*\"], drop: [\"kafka_server.*\"]}}]"
    );
    let agent = Home::new().start(&yaml);
    agent.until(SEEN, "the page is collected", |page| page.expect("jmx_scrape_error", &[], 0.0));
    assert!(!marker(&agent.page(), "filtered"));
}
