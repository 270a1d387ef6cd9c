//! Hostile rules: each fails for itself, and neither fires nor resolves anything by it.

use crate::harness::{
    daemon::Home,
    guests::{self, Fault},
    holds,
    http::{Server, reply},
    page::Page,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const SEEN: Duration = Duration::from_mins(1);

const FAULTS: [(&str, Fault); 7] = [
    ("trap", Fault::Trap),
    ("endless-loop", Fault::EndlessLoop),
    ("memory-growth", Fault::MemoryGrowth),
    ("deep-recursion", Fault::DeepRecursion),
    ("huge-output", Fault::HugeOutput),
    ("out-of-bounds", Fault::OutputOutOfBounds),
    ("not-utf8", Fault::OutputNotUtf8),
];

/// A JMX page that is down until a test opens it: what the rules of this file wait for.
fn gate() -> (Server, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&open);
    let server = Server::start(move |_, stream, _| {
        let status = if now.load(Ordering::SeqCst) { 200 } else { 503 };
        let page =
            b"# TYPE kafka_server_x gauge\nkafka_server_x 1\n# TYPE jmx_scrape_error gauge\njmx_scrape_error 0\n";
        reply(stream, status, "text/plain; version=0.0.4", page)
    });
    (server, open)
}

fn behind(gate: &Server) -> String {
    format!("jmx: [{{name: gate, url: \"{}\", interval: 1s, timeout: 900ms}}]\nrules_dir: rules", gate.url("/"))
}

fn evaluations(page: &Page, rule: &str, outcome: &str) -> f64 {
    page.sum("brokerwarden_rule_evaluations_total", &[("rule", rule), ("outcome", outcome)])
}

fn failures(page: &Page, rule: &str) -> f64 {
    page.sum("brokerwarden_rule_failures_total", &[("rule", rule)])
}

fn firing(page: &Page, rule: &str) -> Result<(), String> {
    let alert = [("alertname", "Always"), ("rule", rule), ("state", "firing")];
    holds(page.has("brokerwarden_alert", &alert), format!("{rule} does not fire"))
}

fn live(page: &Page, rule: &str) -> Result<(), String> {
    holds(page.has("brokerwarden_rule_info", &[("rule", rule)]), format!("{rule} is not live"))
}

#[test]
fn a_rule_that_turns_bad_fails_for_itself() {
    let (server, open) = gate();
    let home = Home::new();
    for (name, fault) in FAULTS {
        home.write(&format!("rules/{name}.wasm"), guests::rule("Always", fault));
    }
    home.write("rules/flood.wasm", guests::rule("Always", Fault::LogFlood));
    home.write("rules/good.wasm", guests::rule("Always", Fault::None));
    let mut agent = home.start(&behind(&server));
    let all = || FAULTS.iter().map(|(name, _)| *name).chain(["flood", "good"]);
    agent.until(SEEN, "all rules are live and fire", |page| {
        all().try_for_each(|rule| live(page, rule).and(firing(page, rule)))
    });

    open.store(true, Ordering::SeqCst);
    agent.until(SEEN, "each fails with a reason", |page| {
        FAULTS.iter().try_for_each(|(rule, _)| {
            holds(failures(page, rule) > 0.0, format!("{rule} does not fail"))?;
            holds(evaluations(page, rule, "failed") > 0.0, format!("{rule}: no failed evaluation"))
        })
    });
    agent.until(SEEN, "the flood is cut and counted", |page| {
        let dropped = page.sum("brokerwarden_rule_log_dropped_bytes_total", &[("rule", "flood")]);
        holds(dropped > 0.0, "nothing dropped")
    });

    // Nobody else notices, and no alert ended by it.
    let before = evaluations(&agent.page(), "good", "ok");
    for _ in 0..5 {
        let asked = Instant::now();
        let page = agent.page();
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        all().try_for_each(|rule| firing(&page, rule)).unwrap();
        agent.snapshots(1.0, SEEN);
    }
    agent.until(SEEN, "the good rule goes on", |page| {
        let now = evaluations(page, "good", "ok");
        holds(now >= before + 3.0, format!("{before} then {now}"))
    });
    let page = agent.page();
    for (rule, _) in FAULTS {
        live(&page, rule).unwrap();
        let reasons = page.all("brokerwarden_rule_failures_total", &[("rule", rule)]);
        assert!(reasons.iter().all(|sample| !sample.labels["reason"].is_empty()), "{reasons:?}");
    }
    assert!(failures(&page, "good") < 1.0);
    assert!(agent.log().len() < 4 << 20, "{} bytes of log", agent.log().len());

    // Who keeps failing is itself the subject of an alert.
    agent.until(SEEN, "an alert about a rule that keeps failing", |page| {
        let about = page.samples.iter().find(|sample| {
            sample.name == "brokerwarden_alert"
                && sample.labels["alertname"] != "Always"
                && sample.labels.values().any(|value| value == "trap")
        });
        about.map(drop).ok_or_else(|| "no alert names the rule".to_owned())
    });

    // Good again once what it stumbles over is gone.
    open.store(false, Ordering::SeqCst);
    let before = agent.page();
    agent.until(SEEN * 3, "they recover from their back-off", |page| {
        FAULTS.iter().try_for_each(|(rule, _)| {
            let (was, now) = (evaluations(&before, rule, "ok"), evaluations(page, rule, "ok"));
            holds(now > was, format!("{rule}: {was} good evaluations as before"))
        })
    });
    agent.must_run();
}

#[test]
fn a_rule_that_is_bad_from_the_start_is_refused() {
    let (server, _open) = gate();
    let home = Home::new();
    home.write("rules/good.wasm", guests::rule("Always", Fault::None));
    home.write("rules/core.wasm", guests::core_module("Always"));
    let refused: [(&str, Vec<u8>); 6] = [
        ("endless-start", guests::endless_start()),
        ("traps", guests::trapping()),
        ("missing-import", guests::missing_import()),
        ("other-world", guests::other_world()),
        ("garbage", b"\0asm\x0d\0\x01\0and then nothing".to_vec()),
        ("empty", Vec::new()),
    ];
    for (name, bytes) in &refused {
        home.write(&format!("rules/{name}.wasm"), bytes);
    }
    let agent = home.start(&behind(&server));
    agent.until(SEEN, "good ones are live, bad ones refused", |page| {
        // A core module with the contract's metadata is as good as a component.
        ["good", "core"].into_iter().try_for_each(|rule| live(page, rule).and(firing(page, rule)))?;
        refused.iter().try_for_each(|(rule, _)| {
            let labels = [("rule", *rule), ("outcome", "refused")];
            holds(page.sum("brokerwarden_rule_reloads_total", &labels) > 0.0, format!("{rule} is not refused"))?;
            holds(live(page, rule).is_err(), format!("{rule} is live"))
        })
    });
    let rules = agent.get("/api/v1/rules").text();
    for (rule, _) in &refused {
        assert!(rules.contains(rule), "{rule} is not among the rules: {rules}");
    }
}

#[test]
fn a_sidecar_sets_what_a_rule_does_but_grants_nothing() {
    let (server, _open) = gate();
    let home = Home::new();
    for name in ["plain", "greedy", "sloppy"] {
        home.write(&format!("rules/{name}.wasm"), guests::rule("Always", Fault::None));
    }
    home.write("rules/plain.yaml", "labels: {severity: info}\nfor: 1s\n");
    home.write("rules/greedy.yaml", "limits: {memory: 4GiB}\nactions: [everything]\n");
    home.write("rules/sloppy.yaml", "labls: {severity: info}\n");
    let agent = home.start(&behind(&server));
    agent.until(SEEN, "the label is on the alert", |page| {
        let labels = [("alertname", "Always"), ("rule", "plain"), ("severity", "info"), ("state", "firing")];
        holds(page.has("brokerwarden_alert", &labels), "not there")
    });
    agent.until(SEEN, "the others are refused", |page| {
        ["greedy", "sloppy"].into_iter().try_for_each(|rule| {
            let labels = [("rule", rule), ("outcome", "refused")];
            holds(page.sum("brokerwarden_rule_reloads_total", &labels) > 0.0, format!("{rule} is not refused"))
        })
    });
    let rules = agent.get("/api/v1/rules").text();
    assert!(rules.contains("limits") && rules.contains("labls"), "{rules}");
}
