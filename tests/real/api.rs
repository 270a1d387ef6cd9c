//! The API beside that of a real Prometheus with the same alerting rule: whoever reads the one can read the other.

use crate::{
    harness::{daemon::Home, holds, http, local, process::run, within},
    scripted::{
        Line,
        Part::{Down, Up},
        Scripted,
    },
    shared::SEEN,
};
use serde_json::Value;
use std::{net::SocketAddr, process::Command, time::Duration};

/// Fires at once, and is then only kept firing.
const LINES: &[Line] = &[("watched", "kept", &[Up(10), Down(1)])];
const RULES: &[(&str, &str, u64, u64)] = &[("Watched", "watched", 0, 600)];

/// Both fire, and are kept.
const KEPT: Duration = Duration::from_secs(40);

fn get(address: SocketAddr, path: &str) -> Value {
    http::get(address, path).unwrap_or_else(|error| panic!("GET {path}: {error}")).json()
}

/// Where `ours` lacks what `theirs` has, or has something of another kind there. Names of labels and annotations are free.
fn lacking(theirs: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let free = path.ends_with(".labels") || path.ends_with(".annotations");
            for (key, value) in theirs.iter().filter(|_| !free) {
                match ours.get(key) {
                    Some(other) => lacking(value, other, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
            for (key, value) in ours.iter().filter(|(_, value)| free && !value.is_string()) {
                found.push(format!("{path}.{key} is {value}"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => match (theirs.first(), ours.first()) {
            (Some(one), Some(other)) => lacking(one, other, &format!("{path}[]"), found),
            (Some(_), None) => found.push(format!("{path} is empty")),
            (None, _) => {}
        },
        (Value::String(one), Value::String(other)) => {
            let is_time = |text: &str| humantime::parse_rfc3339(text).is_ok();
            if is_time(one) != is_time(other) {
                found.push(format!("{path} is {other:?}, theirs {one:?}"));
            }
        }
        (one, other) if std::mem::discriminant(one) == std::mem::discriminant(other) => {}
        (one, other) => found.push(format!("{path} is {other}, theirs {one}")),
    }
}

#[test]
fn rules_and_alerts_have_all_that_prometheus_s_have() {
    let page = Scripted::new(LINES);
    let agent = Home::new().start(&page.agent(RULES));
    let prometheus = page.prometheus(RULES, "127.0.0.1:9", "/");
    page.start();
    let kept = |address| {
        let alerts = get(address, "/api/v1/alerts");
        let one = &alerts["data"]["alerts"][0];
        holds(one["state"] == "firing" && one["keepFiringSince"].is_string(), alerts.to_string())
    };
    for address in [prometheus.address(), agent.address()] {
        within(KEPT, "it fires, and is kept", || kept(address));
    }
    let mut found = Vec::new();
    for path in [
        "/api/v1/alerts",
        "/api/v1/rules",
        "/api/v1/rules?type=alert",
        "/api/v1/rules?type=nonsense",
        "/api/v1/query?query=1%2B1",
    ] {
        let (theirs, ours) = (get(prometheus.address(), path), get(agent.address(), path));
        let before = found.len();
        lacking(&theirs, &ours, path, &mut found);
        assert_eq!(theirs["status"], ours["status"], "{path}: {ours}");
        if found.len() > before {
            eprintln!("{path}:\n  theirs {theirs}\n  ours   {ours}");
        }
    }
    assert_eq!(found, Vec::<String>::new());
    // Groups of which no rule is wanted are left out, as later versions of Prometheus do.
    assert_eq!(ours_of(&agent.get("/api/v1/rules?type=record").json()), Vec::<&str>::new());

    // Grafana takes whoever answers without `features` for a Prometheus with rules that are read-only.
    let (theirs, ours) =
        (get(prometheus.address(), "/api/v1/status/buildinfo"), get(agent.address(), "/api/v1/status/buildinfo"));
    lacking(&theirs, &ours, "buildinfo", &mut found);
    assert_eq!((found, ours["data"].get("features")), (Vec::new(), None));
    // Any answer here means Thanos to it.
    assert_eq!(agent.get("/api/v1/status/flags").status, 404);
    assert_eq!(
        ours_of(&agent.get("/api/v1/rules?rule_group[]=watched&file[]=builtin:metric-threshold").json()),
        ["watched"]
    );
}

fn ours_of(rules: &Value) -> Vec<&str> {
    rules["data"]["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect()
}

/// promtool asks by form, amtool Alertmanager's API, which we do not have.
#[test]
fn promtool_reads_what_it_can() {
    let agent = Home::new().start(&crate::harness::daemon::idle());
    let url = format!("http://{}", agent.address());
    let instant = |url: &str, query: &str| run(Command::new("promtool").args(["query", "instant", url, query]), "");
    let (code, said) = instant(&url, "1+1");
    assert!(code == Some(0) && said.contains("scalar: 2"), "{code:?}: {said}");
    let (code, said) = instant(&url, "up");
    assert!(code != Some(0) && said.contains("ask the Prometheus"), "{code:?}: {said}");
    let (code, said) = instant(&format!("http://{}", local(9)), "1+1");
    assert!(code != Some(0), "{said}");
    within(SEEN, "ready", || holds(agent.get("/-/ready").status == 200, "not yet"));
}
