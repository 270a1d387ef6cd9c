//! Signals: SIGHUP takes a new configuration or refuses it whole, SIGTERM and SIGINT end the agent in time.

use crate::harness::{
    daemon::{Daemon, Home, idle},
    free_port,
    guests::{self, Fault},
    holds,
    http::{self, Request, Server, reply},
    page::Page,
    pause, within,
};
use rustix::process::Signal;
use std::{
    io::Write,
    net::TcpStream,
    process::{Command, Stdio},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

const SEEN: Duration = Duration::from_secs(20);

/// How long a drain may take, by the agent's promise.
const DRAIN: Duration = Duration::from_secs(5);

/// A page that is there and has nothing to say for a long time.
fn silent() -> Server {
    Server::start(|_, _, stopped| {
        while !stopped.load(Ordering::SeqCst) {
            pause(Duration::from_millis(50));
        }
        Ok(())
    })
}

fn page(name: &str, server: &Server) -> String {
    format!("{{name: {name}, url: \"{}\", interval: 1s, timeout: 60s}}", server.url("/metrics"))
}

fn targets(agent: &Daemon) -> Vec<String> {
    let page = agent.page();
    page.all("brokerwarden_target_up", &[]).iter().map(|sample| sample.labels["target"].clone()).collect()
}

#[test]
fn sigterm_and_sigint_end_a_busy_agent_in_time() {
    let server = silent();
    for signal in [Signal::TERM, Signal::INT] {
        // A walk under way that lasts 60 s, a broker that is not there, a client that does not finish its request.
        let yaml = format!(
            "kafka: {{bootstrap_servers: \"127.0.0.1:{}\", interval: 1s, timeout: 900ms}}\njmx: [{}]",
            free_port(),
            page("silent", &server)
        );
        let mut agent = Home::new().start(&yaml);
        agent.snapshots(2.0, SEEN);
        let mut half = TcpStream::connect(agent.address()).unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
        let start = Instant::now();
        agent.signal(signal);
        let status = agent.wait(DRAIN + Duration::from_secs(10));
        assert!(start.elapsed() <= DRAIN, "{signal:?}: {:?}", start.elapsed());
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

#[test]
fn a_good_configuration_is_taken_and_a_bad_one_refused_whole() {
    let server = Server::start(|_, stream, _| {
        let page =
            b"# TYPE kafka_server_x gauge\nkafka_server_x 1\n# TYPE jmx_scrape_error gauge\njmx_scrape_error 0\n";
        reply(stream, 200, "text/plain; version=0.0.4", page)
    });
    let mut agent = Home::new().start(&format!("jmx: [{}]", page("first", &server)));
    agent.until(SEEN, "the first page", |seen| seen.expect("brokerwarden_target_up", &[("target", "first")], 1.0));

    // Good: one page more, and the old one goes.
    agent.home.configure(&format!("jmx: [{}, {}]", page("second", &server), page("third", &server)));
    agent.signal(Signal::HUP);
    agent.until(SEEN, "the new pages", |seen| {
        seen.expect("brokerwarden_target_up", &[("target", "second")], 1.0)?;
        seen.expect("brokerwarden_target_up", &[("target", "third")], 1.0)?;
        seen.expect("brokerwarden_config_last_reload_successful", &[], 1.0)?;
        holds(!seen.has("brokerwarden_target_up", &[("target", "first")]), "the old page is still there")
    });

    // Bad: nothing of it counts, not even what is good in it; said in the log and on the page.
    agent.home.configure(&format!("jmx: [{}]\nkafka: {{interval: never}}", page("fourth", &server)));
    agent.signal(Signal::HUP);
    agent.until(SEEN, "the refusal", |seen| seen.expect("brokerwarden_config_last_reload_successful", &[], 0.0));
    agent.snapshots(2.0, SEEN);
    assert_eq!(targets(&agent), ["second", "third"]);
    assert!(agent.log().contains("kafka.interval"), "{}", agent.log());
    agent.must_run();

    // The same over HTTP: 500 and the reason, then 200.
    let post = |agent: &Daemon| http::ask(agent.address(), "POST", "/-/reload", &[]).unwrap();
    let refused = post(&agent);
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("kafka.interval"), "{}", refused.text());
    assert_eq!(agent.get("/-/reload").status, 405);
    agent.home.configure(&format!("jmx: [{}]", page("fifth", &server)));
    assert_eq!(post(&agent).status, 200);
    agent.until(SEEN, "the page of the last reload", |seen| {
        seen.expect("brokerwarden_target_up", &[("target", "fifth")], 1.0)?;
        seen.expect("brokerwarden_config_last_reload_successful", &[], 1.0)
    });
}

#[test]
fn a_reload_moves_the_server_and_exchanges_rules_and_notifiers() {
    let told = |kept: &Arc<Mutex<Vec<Request>>>| kept.lock().unwrap().len();
    let webhook = || {
        let kept = Arc::<Mutex<Vec<Request>>>::default();
        let taken = Arc::clone(&kept);
        let server = Server::start(move |request, stream, _| {
            taken.lock().unwrap().push(request);
            reply(stream, 200, "text/plain", b"ok")
        });
        (server, kept)
    };
    let ((first_hook, first_told), (second_hook, second_told)) = (webhook(), webhook());
    let yaml = |module: &str, hook: &Server| {
        format!(
            "{}\nrules: [{{name: mine, module: \"{module}\"}}]\nnotify: [{{name: hook, type: webhook, url: \"{}\"}}]",
            idle(),
            hook.url("/")
        )
    };
    let firing = |page: &Page, name: &str| {
        let alert = [("alertname", name), ("rule", "mine"), ("state", "firing")];
        holds(page.has("brokerwarden_alert", &alert), format!("{name} does not fire"))
    };
    let home = Home::new();
    home.write("one.wasm", guests::rule("One", Fault::None));
    home.write("two.wasm", guests::rule("Two", Fault::None));
    let mut agent = home.start(&yaml("one.wasm", &first_hook));
    agent.until(SEEN, "the first rule", |page| firing(page, "One"));
    within(SEEN, "the first webhook is told", || holds(told(&first_told) == 1, told(&first_told)));

    let before = agent.move_to(free_port());
    agent.home.configure(&yaml("two.wasm", &second_hook));
    agent.signal(Signal::HUP);
    within(SEEN, "it answers at the new address", || http::get(agent.address(), "/-/healthy").map(|_| ()));
    within(SEEN, "the old address is free", || {
        holds(TcpStream::connect(before).is_err(), "somebody still listens there")
    });
    agent.until(SEEN, "the second rule", |page| {
        firing(page, "Two")?;
        holds(firing(page, "One").is_err(), "the first rule's alert still fires")
    });
    within(SEEN, "the second webhook is told of both", || holds(told(&second_told) >= 2, told(&second_told)));
    assert_eq!(told(&first_told), 1, "the first webhook was told after it was taken out");

    // Without rules and notifiers: what fired resolves.
    agent.home.configure(&idle());
    agent.signal(Signal::HUP);
    agent.until(SEEN, "no rule is left", |page| {
        holds(!page.has("brokerwarden_rule_info", &[]), "a rule is live")?;
        holds(firing(page, "Two").is_err(), "its alert still fires")
    });
    agent.must_run();
}

/// A log that nobody reads must not hold up the agent.
#[test]
fn a_full_pipe_on_standard_error_holds_up_nothing() {
    let home = Home::new();
    home.configure(&idle());
    let mut child = Command::new(env!("CARGO_BIN_EXE_brokerwarden"))
        .args(["run", "--config"])
        .arg(home.path("agent.yaml"))
        .env("RUST_LOG", "trace")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    within(SEEN, "it answers", || http::get(home.listen(), "/-/healthy").map(|_| ()));
    // More than fits into a pipe, since each is logged.
    for number in 0..2_000 {
        http::get(home.listen(), "/metrics").unwrap_or_else(|error| panic!("request {number}: {error}"));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let status = within(DRAIN, "it ends", || child.try_wait().unwrap().ok_or("it still runs"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reload_during_a_drain_is_no_reason_to_stay() {
    let mut agent = Home::new().start(&idle());
    agent.signal(Signal::TERM);
    agent.signal(Signal::HUP);
    assert_eq!(agent.wait(DRAIN).code(), Some(0));
}
