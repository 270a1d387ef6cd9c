//! A rule's life in a running agent: dropped in, replaced, broken, deleted; told to a webhook, a real Alertmanager and
//! the log.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        guests, holds,
        http::{Request, Server, reply},
        page::Page,
        prometheus::Alertmanager,
        within,
    },
    shared::{self, SEEN},
};
use std::{
    env, fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How soon a rule is live, by the agent's promise.
const LIVE: Duration = Duration::from_secs(3);

/// The example, as tests/run built it from its source.
fn example() -> Vec<u8> {
    let built = env::var_os("BROKERWARDEN_TEST_EXAMPLE").expect("tests/run builds rules-examples/lag-threshold");
    fs::read(PathBuf::from(built)).unwrap()
}

/// A webhook that keeps what it is told.
pub(crate) struct Webhook {
    pub(crate) server: Server,
    told: Arc<Mutex<Vec<Request>>>,
}

impl Webhook {
    pub(crate) fn start() -> Self {
        let told = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&told);
        let server = Server::start(move |request, stream, _| {
            kept.lock().unwrap().push(request);
            reply(stream, 200, "text/plain", b"ok")
        });
        Self { server, told }
    }

    /// Each alert that it was told, in the order of telling.
    pub(crate) fn alerts(&self) -> Vec<serde_json::Value> {
        let told = self.told.lock().unwrap();
        told.iter().flat_map(|request| request.json()["alerts"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// All that it was sent.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.told.lock().unwrap().clone()
    }

    /// How often it was told of that group in that state.
    fn told(&self, status: &str, group: &str) -> usize {
        let mut alerts = self.alerts();
        alerts.retain(|alert| alert["status"] == status && alert["labels"].to_string().contains(group));
        alerts.len()
    }
}

fn sha256(page: &Page) -> Result<String, String> {
    let live = page.all("brokerwarden_rule_info", &[("rule", "watch")]);
    live.first().map(|sample| sample.labels["sha256"].clone()).ok_or_else(|| "not live".to_owned())
}

fn firing(page: &Page) -> Result<(), String> {
    holds(page.has("brokerwarden_alert", &[("rule", "watch"), ("state", "firing")]), "not firing")
}

fn reloads(page: &Page, outcome: &str) -> f64 {
    page.value("brokerwarden_rule_reloads_total", &[("rule", "watch"), ("outcome", outcome)]).unwrap_or_default()
}

#[test]
fn the_life_of_a_rule() {
    let (group, cluster) = ("rule-life", shared::kraft());
    let client = cluster.client();
    client.create_topic(group, 1);
    client.produce(group, 0, 50);
    client.commit(group, group, &[(0, 10)]);
    let (webhook, alertmanager) = (Webhook::start(), Alertmanager::start());
    let notify = format!(
        "notify:\n- {{name: am, type: alertmanager, urls: [\"{}\"]}}\n- {{name: hook, type: webhook, url: \"{}\"}}\n- {{name: journal, type: log}}",
        alertmanager.url(),
        webhook.server.url("/hook?token=s3cr3t")
    );
    let home = Home::new();
    let sidecar =
        format!("config: {{groups: [{group}], threshold: 20}}\nlabels: {{severity: warning, scenario: {group}}}\n");
    home.write("rules/watch.yaml", sidecar);
    let agent = home.start(&format!("{}\nrules_dir: rules\n{notify}", shared::kafka(&cluster.bootstrap())));
    agent.ready(SEEN);
    assert!(!agent.page().has("brokerwarden_rule_info", &[("rule", "watch")]));

    // Dropped in.
    let wasm = example();
    let dropped = Instant::now();
    agent.home.write("rules/watch.wasm", &wasm);
    let first = agent.until(SEEN, "the rule is live", sha256);
    assert!(dropped.elapsed() < LIVE, "live after {:?}", dropped.elapsed());
    agent.until(SEEN, "it fires", firing);
    within(SEEN, "the webhook was told", || holds(webhook.told("firing", group) > 0, "not yet"));
    within(SEEN, "Alertmanager has it", || match alertmanager.alerts("scenario", group).as_slice() {
        [one] => holds(one["labels"]["severity"] == "warning" && one["labels"]["alertname"].is_string(), one),
        other => Err(format!("{} alerts", other.len())),
    });
    within(SEEN, "the log has it", || {
        let log = agent.log();
        holds(log.lines().any(|line| line.contains("firing") && line.contains(group)), log)
    });
    let api = agent.get("/api/v1/alerts").text();
    assert!(api.contains("\"firing\"") && api.contains(group), "{api}");
    assert!(!agent.log().contains("s3cr3t"), "the log shows the webhook's token");

    // A new version takes over, and the alert goes on as if nothing had happened.
    let second = guests::another_version(&wasm, 2);
    agent.home.write("rules/watch.wasm", &second);
    let live = agent.until(SEEN, "the new version is live", |page| {
        sha256(page).and_then(|sha| holds(sha != first, "still the first").map(|()| sha))
    });
    agent.snapshots(3.0, SEEN);
    firing(&agent.page()).unwrap();

    // Broken ones change nothing and are reported.
    let traps = guests::trapping();
    let cases: [(&str, &[u8]); 5] = [
        ("garbage", b"this is no WebAssembly"),
        ("a truncated copy", &wasm[..wasm.len() / 2]),
        ("nothing at all", b""),
        ("another world", &guests::other_world()),
        ("traps in its dry run", &traps),
    ];
    for (what, bytes) in cases {
        refused(&agent, what, bytes);
        assert_eq!(sha256(&agent.page()).as_ref(), Ok(&live), "{what}");
    }
    agent.snapshots(3.0, SEEN);
    firing(&agent.page()).unwrap();

    // A folder that cannot be read removes nothing.
    let (folder, away) = (agent.home.path("rules"), agent.home.path("rules.away"));
    fs::rename(&folder, &away).unwrap();
    fs::write(&folder, "no folder").unwrap();
    agent.until(SEEN, "the folder is unreadable", |page| page.expect("brokerwarden_rules_dir_readable", &[], 0.0));
    agent.snapshots(5.0, SEEN);
    firing(&agent.page()).unwrap();
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    agent.until(SEEN, "the folder is readable", |page| page.expect("brokerwarden_rules_dir_readable", &[], 1.0));
    agent.snapshots(3.0, SEEN);
    firing(&agent.page()).unwrap();
    assert_eq!(webhook.told("resolved", group), 0, "nothing of all that resolved it");

    // A good file again is live again; then it goes, and its alert resolves.
    agent.home.write("rules/watch.wasm", &wasm);
    agent.until(SEEN, "the good one is live", |page| {
        sha256(page).and_then(|sha| holds(sha == first, "not the first again"))
    });
    fs::remove_file(agent.home.path("rules/watch.wasm")).unwrap();
    agent.until(SEEN, "the rule is gone", |page| holds(sha256(page).is_err(), "still live"));
    agent.until(SEEN, "its alert no longer fires", |page| holds(firing(page).is_err(), "still firing"));
    within(SEEN, "the webhook was told of the end", || holds(webhook.told("resolved", group) > 0, "not yet"));
    within(SEEN, "Alertmanager has it no more", || {
        holds(alertmanager.alerts("scenario", group).is_empty(), "still active")
    });
}

/// Copies a bad file over the rule and waits until it is refused, with a reason on the page of rules.
fn refused(agent: &Daemon, what: &str, bytes: &[u8]) {
    let before = reloads(&agent.page(), "refused");
    agent.home.write("rules/watch.wasm", bytes);
    agent.until(SEEN, &format!("{what} is refused"), |page| {
        holds(reloads(page, "refused") > before, format!("{before} refusals as before"))
    });
    let rules = agent.get("/api/v1/rules").json();
    let told = rules.to_string();
    assert!(told.contains("watch") && error_of(&rules, "watch").is_some(), "{what} is not reported: {told}");
}

/// Any text about an error in the entry of that rule, wherever it stands.
fn error_of(json: &serde_json::Value, rule: &str) -> Option<String> {
    match json {
        serde_json::Value::Object(fields) => {
            let ours = fields.get("name").is_some_and(|name| name == rule);
            let error = fields.iter().find(|(key, value)| key.to_lowercase().contains("error") && value.is_string());
            match error {
                Some((_, text)) if ours => Some(text.to_string()),
                _ => fields.values().find_map(|value| error_of(value, rule)),
            }
        }
        serde_json::Value::Array(items) => items.iter().find_map(|item| error_of(item, rule)),
        _ => None,
    }
}

#[test]
fn an_alert_follows_the_lag() {
    let (group, cluster) = ("rule-follows", shared::zookeeper());
    let client = cluster.client();
    client.create_topic(group, 1);
    client.produce(group, 0, 50);
    client.commit(group, group, &[(0, 45)]);
    let webhook = Webhook::start();
    let rule = format!(
        "rules: [{{name: watch, module: \"builtin:lag-threshold\", config: {{groups: [{group}], threshold: 20}}, for: 2s}}]"
    );
    let notify = format!("notify: [{{name: hook, type: webhook, url: \"{}\"}}]", webhook.server.url("/"));
    let agent = Home::new().start(&format!("{}\n{rule}\n{notify}", shared::kafka(&cluster.bootstrap())));
    agent.until(SEEN, "the rule is live", sha256);
    agent.snapshots(3.0, SEEN);
    assert!(!agent.page().has("brokerwarden_alert", &[("rule", "watch")]), "5 behind is fine");
    client.produce(group, 0, 30);
    agent.until(SEEN, "pending first", |page| {
        holds(page.has("brokerwarden_alert", &[("rule", "watch"), ("state", "pending")]), "not pending")
    });
    assert_eq!(webhook.told("firing", group), 0, "pending is not told");
    agent.until(SEEN, "then firing", firing);
    within(SEEN, "told", || holds(webhook.told("firing", group) == 1, "not yet"));
    client.commit(group, group, &[(0, 80)]);
    within(SEEN, "the end is told", || holds(webhook.told("resolved", group) == 1, "not yet"));
    agent.until(SEEN, "no longer firing", |page| holds(firing(page).is_err(), "still firing"));
}
