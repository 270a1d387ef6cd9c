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
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::{
    io::Write,
    net::{TcpListener, TcpStream},
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

#[test]
fn a_reload_answers_which_of_its_rules_were_refused() {
    let home = Home::new();
    home.write("good.wasm", guests::rule("Good", Fault::None));
    home.write("bad.wasm", "garbage");
    let agent = home.start(&idle());
    let reload = |rules: &str| {
        agent.home.configure(&format!("{}\nrules: [{rules}]", idle()));
        let answer = http::ask(agent.address(), "POST", "/-/reload", &[]).unwrap();
        (answer.status, answer.text())
    };
    let good = "{name: good, module: good.wasm}";
    let (status, said) = reload(good);
    assert_eq!((status, said.contains("refused"), said.contains("not loaded")), (200, false, false), "{said}");
    let rules = agent.get("/api/v1/rules").text();
    assert!(rules.contains("good.wasm"), "it was answered before the rule was live: {rules}");
    let bad = "{name: gone, module: gone.wasm}, {name: bad, module: bad.wasm}, \
               {name: lag, module: \"builtin:lag-threshold\", config: {threshold: many}}";
    let (status, said) = reload(&format!("{good}, {bad}"));
    assert_eq!(status, 200, "{said}");
    for word in ["refused", "gone (cannot read", "No such file", "bad (", "lag (config: "] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("good ("), "{said}");
    for rule in ["gone", "bad", "lag"] {
        let labels = [("outcome", "refused"), ("rule", rule)];
        agent.until(SEEN, "it is counted", |page| page.expect("brokerwarden_rule_reloads_total", &labels, 1.0));
        assert!(agent.log().contains(&format!("rule was not loaded rule=\"{rule}\"")), "{}", agent.log());
    }
    // Nothing that is not there is said to go on.
    assert!(!agent.log().contains("live version goes on"), "{}", agent.log());
}

#[test]
fn a_reload_moves_the_server_to_an_overlapping_address() {
    let agent = Home::new().start(&idle());
    let port = agent.address().port();
    let reload = |address: &str| {
        let yaml = format!("http: {{listen: \"{address}:{port}\"}}\ndata_dir: data\n{}\n", idle());
        agent.home.write("agent.yaml", yaml);
        let answer = http::ask(agent.address(), "POST", "/-/reload", &[]).unwrap();
        (answer.status, answer.text())
    };
    for address in ["0.0.0.0", "127.0.0.1"] {
        let (status, said) = reload(address);
        assert_eq!(status, 200, "{address}: {said}");
        within(SEEN, "it answers there", || http::get(agent.address(), "/-/healthy").map(|_| ()));
        let elsewhere = TcpStream::connect(("127.0.0.2", port));
        assert_eq!(elsewhere.is_ok(), address == "0.0.0.0", "{address}: {elsewhere:?}");
    }
    // An address that cannot be had: the old one is served as before.
    let (status, said) = reload("192.0.2.1");
    assert_eq!(status, 500, "{said}");
    assert!(said.contains("192.0.2.1") && said.contains("choose an address of this host"), "{said}");
    assert_eq!(agent.get("/-/healthy").status, 200);
    // One that overlaps and that somebody else has a part of: it goes back.
    let _taken = TcpListener::bind(("127.0.0.3", port)).unwrap();
    let (status, said) = reload("0.0.0.0");
    assert_eq!(status, 500, "{said}");
    assert!(said.contains("in use") && said.contains("choose another"), "{said}");
    within(SEEN, "it answers where it did", || http::get(agent.address(), "/-/healthy").map(|_| ()));
}

#[test]
fn a_bad_property_and_a_new_address_change_nothing() {
    let mut agent = Home::new().start(&idle());
    let new = free_port();
    let before = agent.move_to(new);
    let property = "kafka: {bootstrap_servers: \"127.0.0.1:1\", properties: {sasl.password_file: nowhere.txt}}";
    agent.home.configure(&format!("{property}\n{}", idle()));
    let refused = http::ask(before, "POST", "/-/reload", &[]).unwrap();
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("nowhere.txt"), "{}", refused.text());
    assert_eq!(http::get(before, "/-/healthy").unwrap().status, 200);
    assert!(TcpStream::connect(agent.address()).is_err(), "the new address is served");
    agent.move_to(before.port());
    assert_eq!(targets(&agent), ["absent"]);
    agent.must_run();
}

/// Broker, page and webhook take connections and never say a word.
#[test]
fn what_never_answers_does_not_keep_a_stopping_agent() {
    let mute = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (broker, page, hook) = (mute(), mute(), mute());
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let yaml = format!(
        "kafka: {{bootstrap_servers: \"{}\", interval: 1s, timeout: 900ms}}\n\
         jmx: [{{name: mute, url: \"http://{}/metrics\", interval: 1s, timeout: 60s}}]\n\
         rules: [{{name: mine, module: one.wasm}}]\n\
         notify: [{{name: hook, type: webhook, url: \"http://{}/\"}}]",
        address(&broker),
        address(&page),
        address(&hook)
    );
    let home = Home::new();
    home.write("one.wasm", guests::rule("One", Fault::None));
    let mut agent = home.start(&yaml);
    agent.until(SEEN, "the alert", |page| {
        holds(page.has("brokerwarden_alert", &[("alertname", "One"), ("state", "firing")]), "it does not fire")
    });
    // Kept open until the end.
    let mut taken = Vec::new();
    for (who, listener) in [("the broker", &broker), ("the page", &page), ("the webhook", &hook)] {
        listener.set_nonblocking(true).unwrap();
        taken.push(within(SEEN, &format!("{who} is asked"), || listener.accept()));
    }
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0), "{}", agent.log());
    assert!(took <= DRAIN, "{took:?}");
    drop(taken);
}

#[test]
fn an_agent_without_file_descriptors_goes_on_and_recovers() {
    let server = Server::start(|_, stream, _| {
        reply(stream, 200, "text/plain; version=0.0.4", b"# TYPE jmx_scrape_error gauge\njmx_scrape_error 0\n")
    });
    let mut agent = Home::new().start(&format!("jmx: [{}]", page("served", &server)));
    let up = |agent: &Daemon| {
        agent.until(SEEN, "the page", |page| page.expect("brokerwarden_target_up", &[("target", "served")], 1.0));
    };
    up(&agent);
    let process = Pid::from_raw(i32::try_from(agent.id()).unwrap());
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap().count();
    // The agent has the same as we.
    let limit = |most: u64| Rlimit { current: Some(most), ..getrlimit(Resource::Nofile) };
    let before = prlimit(process, Resource::Nofile, limit(u64::try_from(open).unwrap() + 4)).unwrap();
    let taken: Vec<_> = (0..40).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    within(SEEN, "it says that it has none left", || {
        holds(agent.log().contains("cannot accept connections"), agent.log())
    });
    pause(Duration::from_secs(2));
    agent.must_run();
    drop(taken);
    // With as few as before: connections that ended gave theirs back.
    let counted = [("reason", "accept")];
    agent.until(SEEN, "it is counted", |page| {
        let counted = page.sum("brokerwarden_http_connections_rejected_total", &counted);
        holds(counted > 0.0, counted)
    });
    prlimit(process, Resource::Nofile, before).unwrap();
    up(&agent);
    agent.ready(SEEN);
    assert_eq!(agent.terminate().0, Some(0), "{}", agent.log());
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
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
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
