//! 10,000 alerts at once, to a real Alertmanager: what it takes by itself, and what it takes from us. `--nocapture` shows the
//! figures.

use crate::{
    harness::{
        daemon::Home,
        holds,
        http::{Server, reply},
        prometheus::Alertmanager,
        within,
    },
    shared::SEEN,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// All alerts that the agent keeps.
const ALERTS: usize = 10_000;
/// Those that one built-in rule raises at most, and so many rules.
const EACH: usize = 1_000;
const RULES: usize = ALERTS / EACH;
/// In one post of ours.
const POST: usize = 256;

/// No machine takes so long.
const LIMIT: Duration = Duration::from_mins(2);

/// One connection that is kept, as ours is.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    fn post(&mut self, body: &[u8]) {
        let head =
            "POST /api/v2/alerts HTTP/1.1\r\nHost: alertmanager\r\nContent-Type: application/json\r\nContent-Length:";
        let stream = self.0.get_mut();
        stream.write_all(format!("{head} {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let (mut length, mut line) = (0, String::new());
        self.0.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line.trim_end() != "" {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let value = line.to_ascii_lowercase();
            length = value.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
    }
}

fn labels(n: usize) -> Value {
    json!({
        "alertname": "Load", "rule": format!("r{}", n / EACH), "severity": "warning", "n": n.to_string(),
        "consumergroup": format!("group-{n}"), "topic": "payments.authorised.v3",
    })
}

fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// How long Alertmanager takes for all of them, in posts like ours, made before the clock runs.
fn posted(alertmanager: &Alertmanager, ended: bool) -> Duration {
    let now = SystemTime::now();
    let (starts, ends) = (now - Duration::from_mins(1), if ended { now } else { now + Duration::from_mins(4) });
    let alert = |n| {
        json!({
            "labels": labels(n), "startsAt": rfc3339(starts), "endsAt": rfc3339(ends), "generatorURL": "",
            "annotations": {"summary": format!("group-{n} is 12345 messages behind"), "description": "It has not caught up."},
        })
    };
    let all: Vec<_> = (0..ALERTS).map(alert).collect();
    let bodies: Vec<_> = all.chunks(POST).map(|part| serde_json::to_vec(part).unwrap()).collect();
    let mut client = Client::connect(alertmanager.address());
    let start = Instant::now();
    for body in &bodies {
        client.post(body);
    }
    start.elapsed()
}

/// Ten thousand series, above their threshold or not.
fn page(high: bool) -> String {
    let mut page = "load_marker 1\n".to_owned();
    for n in 0..ALERTS {
        let (rule, value) = (n / EACH, if high { 20 } else { 1 });
        writeln!(page, "load_{rule}{{n=\"{n}\",consumergroup=\"group-{n}\",topic=\"payments.authorised.v3\"}} {value}")
            .unwrap();
    }
    page
}

#[test]
fn ten_thousand_alerts_begin_and_end_at_once_at_a_real_alertmanager() {
    let by_itself = Alertmanager::start();
    let (fires, ends) = (posted(&by_itself, false), posted(&by_itself, true));
    drop(by_itself);

    let alertmanager = Alertmanager::start();
    let high = Arc::new(AtomicBool::new(false));
    let is_high = Arc::clone(&high);
    let server = Server::start(move |_, stream, _| {
        reply(stream, 200, "text/plain; version=0.0.4", page(is_high.load(Ordering::SeqCst)).as_bytes())
    });
    // One more that is told at the same time, and one that never answers.
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let hook = Server::start(move |request, stream, _| {
        count.fetch_add(request.json()["alerts"].as_array().unwrap().len(), Ordering::SeqCst);
        reply(stream, 200, "text/plain", b"ok")
    });
    let hangs = Server::start(|_, stream, _| stream.read(&mut [0]).map(drop));
    let rule = |n: usize| {
        format!(
            "- {{name: r{n}, module: \"builtin:metric-threshold\", limits: {{alerts: {EACH}, time: 5s}}, \
             config: {{alert: Load, severity: warning, selector: load_{n}, threshold: 10, \
             summary: \"{{{{labels.consumergroup}}}} is {{{{value}}}} behind\", description: \"It has not caught up.\"}}}}\n"
        )
    };
    let yaml = format!(
        "jmx: [{{name: load, url: \"{}\", interval: 1s}}]\nrules:\n{}notify:\n- {{name: am, type: alertmanager, urls: [\"{}\"]}}\n\
         - {{name: hook, type: webhook, url: \"{}\"}}\n- {{name: hangs, type: alertmanager, urls: [\"{}\"]}}\n",
        server.url("/metrics"),
        (0..RULES).map(rule).collect::<String>(),
        alertmanager.url(),
        hook.url("/"),
        hangs.url(""),
    );
    let agent = Home::new().start(&yaml);
    agent.until(SEEN, "all rules are evaluated", |page| {
        let evaluated = |n: usize| {
            let rule = format!("r{n}");
            page.value("brokerwarden_rule_evaluations_total", &[("rule", &rule), ("outcome", "ok")])
        };
        holds((0..RULES).all(|n| evaluated(n) >= Some(2.0)), agent.get("/api/v1/rules").text())
    });
    let many = f64::from(u32::try_from(ALERTS).unwrap());
    let told = |high_now: bool, status: &str, active: usize, hook: usize| {
        high.store(high_now, Ordering::SeqCst);
        let start = Instant::now();
        within(LIMIT, "Alertmanager has them all", || {
            let received = alertmanager.received(status);
            holds(received >= many, format!("{received} of {many}"))
        });
        let took = start.elapsed();
        within(LIMIT, "so has the webhook", || {
            let heard = heard.load(Ordering::SeqCst);
            holds(heard == hook, format!("{heard} of {hook}"))
        });
        let told = start.elapsed();
        assert_eq!(alertmanager.alerts("alertname", "Load").len(), active);
        (took, told)
    };
    let (began, began_hook) = told(true, "firing", ALERTS, ALERTS);
    let (over, over_hook) = told(false, "resolved", 0, 2 * ALERTS);
    let page = agent.page();
    let of = |notifier, outcome| {
        page.value("brokerwarden_notifications_total", &[("notifier", notifier), ("outcome", outcome)])
            .unwrap_or_default()
    };
    for notifier in ["am", "hook"] {
        let lost = of(notifier, "dropped") + of(notifier, "failed");
        assert!(lost.abs() < 0.5, "{notifier}: {lost} lost");
    }
    let memory = page.value("brokerwarden_process_resident_memory_bytes", &[]).unwrap() / f64::from(1 << 20);
    println!(
        "{ALERTS} alerts, Alertmanager by itself, posts of {POST}: begin {fires:.1?}, end {ends:.1?}\n\
         from a page that changes to Alertmanager's count, looks at the page each second: begin {began:.1?}, end {over:.1?}; \
         to a webhook: {began_hook:.1?}, {over_hook:.1?}; the agent has {memory:.0} MiB after that"
    );
}
