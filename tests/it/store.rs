//! What survives: the real binary is killed and started again, its store damaged, taken away, filled.

use crate::harness::{
    daemon::{Daemon, Home, idle},
    guests::{self, Fault},
    holds,
    http::{Request, Server, reply},
    pause, within,
};
use rustix::process::Signal;
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

const SEEN: Duration = Duration::from_secs(30);

/// A webhook that takes all, and what it took: status of each alert `Always`, in order.
fn webhook() -> (Server, Arc<Mutex<Vec<String>>>) {
    let taken = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&taken);
    let server = Server::start(move |request: Request, stream, _| {
        let alerts = request.json()["alerts"].as_array().cloned().unwrap_or_default();
        let always = alerts.iter().filter(|alert| alert["labels"]["alertname"] == "Always");
        kept.lock().unwrap().extend(always.map(|alert| alert["status"].as_str().unwrap_or("?").to_owned()));
        reply(stream, 200, "text/plain", b"taken")
    });
    (server, taken)
}

fn with_rule(hook: &Server) -> Home {
    let home = Home::new();
    home.write("rules/always.wasm", guests::rule("Always", Fault::None));
    home.configure(&format!(
        "{}\nrules_dir: rules\nnotify: [{{name: hook, type: webhook, url: \"{}\"}}]",
        idle(),
        hook.url("/")
    ));
    home
}

fn fires(agent: &Daemon) {
    agent.until(SEEN, "the alert", |page| {
        let alert = [("alertname", "Always"), ("rule", "always"), ("state", "firing")];
        holds(page.has("brokerwarden_alert", &alert), "not firing")
    });
}

/// Since when it fires, as the API has it.
fn active_at(agent: &Daemon) -> String {
    let answer = agent.get("/api/v1/alerts").text();
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let alerts = json["data"]["alerts"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == "Always");
    alert.unwrap_or_else(|| panic!("{answer}"))["activeAt"].as_str().unwrap().to_owned()
}

fn kill(agent: &mut Daemon) {
    agent.signal(Signal::KILL);
    agent.wait(SEEN);
}

#[test]
fn a_firing_alert_survives_kill_9_at_any_time_and_is_told_once() {
    let (hook, told) = webhook();
    let mut agent = with_rule(&hook).start_as_configured();
    fires(&agent);
    within(SEEN, "the webhook is told", || holds(told.lock().unwrap().len() == 1, "not told"));
    let since = active_at(&agent);
    // Long enough ago to be surely told.
    pause(Duration::from_secs(62));
    for round in 0..20u64 {
        // At any time: while it starts, reads the store, looks at rules, evaluates.
        pause(Duration::from_millis(round * 97 % 1300));
        kill(&mut agent);
        agent = agent.start_again();
    }
    fires(&agent);
    assert_eq!(active_at(&agent), since, "it is the same alert");
    assert_eq!(*told.lock().unwrap(), ["firing"], "no end, no second beginning");
    // Its end is told as ever.
    fs::remove_file(agent.home.path("rules/always.wasm")).unwrap();
    within(SEEN, "the end", || holds(told.lock().unwrap().len() == 2, "not told"));
    assert_eq!(*told.lock().unwrap(), ["firing", "resolved"]);
    kill(&mut agent);
    let (code, said) = agent.home.command(&["store", "check"]);
    assert!(code == Some(0) && said.contains("nothing is wrong"), "{said}");
}

#[test]
fn the_alerts_of_a_rule_that_went_while_we_were_down_end() {
    let (hook, told) = webhook();
    let mut agent = with_rule(&hook).start_as_configured();
    fires(&agent);
    within(SEEN, "the webhook is told", || holds(told.lock().unwrap().len() == 1, "not told"));
    agent.terminate();
    fs::remove_file(agent.home.path("rules/always.wasm")).unwrap();
    let _agent = agent.start_again();
    within(SEEN, "the end", || {
        let told = told.lock().unwrap();
        holds(told.last().is_some_and(|last| last == "resolved"), format!("{told:?}"))
    });
}

/// What the rule `count` remembers, as it is stored.
fn count(home: &Home) -> u32 {
    let (code, said) = home.command(&["store", "export"]);
    assert_eq!(code, Some(0), "{said}");
    let rows = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut of_rule = rows.filter(|row| row["table"] == "rule_state" && row["scope"] == "count");
    let row = of_rule.next().unwrap_or_else(|| panic!("nothing remembered: {said}"));
    row["value"].as_str().unwrap().chars().next().unwrap().into()
}

#[test]
fn a_rule_goes_on_from_what_it_remembered() {
    let home = Home::new();
    home.write("rules/count.wasm", guests::counting());
    home.configure(&format!("{}\nrules_dir: rules", idle()));
    let mut agent = home.start_as_configured();
    let evaluated = |agent: &Daemon, times: f64| {
        agent.until(SEEN * 2, "evaluations", |page| {
            let ok = [("outcome", "ok"), ("rule", "count")];
            holds(page.sum("brokerwarden_rule_evaluations_total", &ok) >= times, "too few")
        });
    };
    evaluated(&agent, 2.0);
    agent.terminate();
    let first = count(&agent.home);
    assert!(first >= 2, "{first}");
    let mut agent = agent.start_again();
    evaluated(&agent, 1.0);
    kill(&mut agent);
    let second = count(&agent.home);
    assert!((first..first + 50).contains(&second), "{first} then {second}");
    let mut agent = agent.start_again();
    evaluated(&agent, 2.0);
    agent.terminate();
    assert!(count(&agent.home) > second);
}

#[test]
fn one_agent_at_a_time() {
    let mut agent = Home::new().start(&idle());
    let other = Home::new();
    let folder = agent.home.path("data");
    other.configure_at(&folder, &idle());
    let (code, said) = other.command(&["run", "--config", "agent.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("in use by another brokerwarden") && said.contains(&agent.id().to_string()), "{said}");
    for command in ["check", "repair", "export"] {
        let (code, said) = agent.home.command(&["store", command]);
        assert!(code == Some(2) && said.contains("in use"), "{command}: {said}");
    }
    agent.must_run();
    agent.terminate();
    let _other = other.start_as_configured();
}

#[test]
fn a_store_that_is_damaged_or_somebody_elses_is_refused_with_the_way_out() {
    let mut agent = Home::new().start(&idle());
    agent.terminate();
    let (home, path) = (&agent.home, agent.home.path("data/store.db"));
    let (code, said) = home.command(&["store", "check"]);
    assert!(code == Some(0) && said.contains("alerts: 0 rows"), "{said}");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..].fill(0x5a);
    fs::write(&path, &damaged).unwrap();
    let (code, said) = home.command(&["run"]);
    assert!(code == Some(2) && said.contains("brokerwarden store repair"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), damaged, "left as it is");
    assert_eq!(home.command(&["store", "check"]).0, Some(1));
    let (code, said) = home.command(&["store", "repair"]);
    assert!(code == Some(0) && said.contains("store.db.damaged-"), "{said}");
    assert_eq!(home.command(&["store", "check"]).0, Some(0));
    fs::write(&path, "somebody's notes ".repeat(100)).unwrap();
    let (code, said) = home.command(&["run"]);
    assert!(code == Some(2) && said.contains("no store of brokerwarden's"), "{said}");
}

#[test]
fn without_a_place_to_write_alerts_are_told_all_the_same() {
    let (hook, told) = webhook();
    let home = with_rule(&hook);
    // A file where the folder should be: nobody can write there, not even root.
    home.write("data", "");
    let agent = home.start_as_configured();
    fires(&agent);
    within(SEEN, "the webhook is told", || holds(told.lock().unwrap().len() == 1, "not told"));
    agent.until(SEEN, "it is said", |page| {
        page.expect("brokerwarden_store_durable", &[], 0.0)?;
        let alert = [("alertname", "BrokerwardenStoreFailing"), ("state", "firing")];
        holds(page.has("brokerwarden_alert", &alert), "no alert about it")
    });
    assert_eq!(agent.log().matches("nothing will survive a restart").count(), 1, "{}", agent.log());
}
