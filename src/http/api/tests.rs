use super::*;
use crate::{
    alerts::AlertKey,
    model::Subject,
    pipeline::{LimitsReport, RuleSettings, StateReport},
};
use serde_json::{Value, json};
use std::sync::Arc;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn alert(rule: &str, name: &str, phase: Phase) -> Arc<Alert> {
    Arc::new(Alert {
        key: AlertKey {
            rule: rule.into(),
            name: name.into(),
            labels: labels(&[("alertname", name), ("group", "g\"<b>")]),
        },
        subject: Subject::Broker,
        annotations: labels(&[("summary", "behind <script>alert(1)</script>")]),
        value: Some(150.0),
        phase,
        active_at: Timestamp(1_763_888_400_123),
        fired_at: None,
        resolved_at: None,
        keep_firing_since: (phase == Phase::Firing).then_some(Timestamp(1_763_888_460_000)),
        last_sent: None,
    })
}

pub(crate) fn rule(name: &str) -> RuleView {
    let settings = RuleSettings {
        name: name.into(),
        interval: None,
        pending_for: Duration::from_secs(30),
        keep_firing_for: Duration::from_millis(1500),
        labels: labels(&[("severity", "warning")]),
        annotations: Labels::new(),
        shadow: false,
        actions: std::collections::BTreeSet::new(),
    };
    RuleView {
        settings: Arc::new(settings),
        module: "builtin:lag-threshold".into(),
        sha256: "0123456789abcdef".into(),
        live: true,
        load_error: None,
        last_error: None,
        last_evaluation: Some(Timestamp(1_763_888_405_000)),
        evaluation_time: Duration::from_micros(750),
        limits: LimitsReport { time_ms: 100, memory: 64 << 20, state: 1 << 20, alerts: 1000 },
        state: StateReport::default(),
        evaluations: Arc::default(),
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn alerts_have_prometheus_shape() {
    let view = AlertsView {
        alerts: vec![alert("lag", "High", Phase::Firing), alert("lag", "Old", Phase::Resolved)],
        ..AlertsView::default()
    };
    assert_eq!(
        parsed(&alerts(&view)),
        json!({"status": "success", "data": {"alerts": [{
            "labels": {"alertname": "High", "group": "g\"<b>"},
            "annotations": {"summary": "behind <script>alert(1)</script>"},
            "state": "firing",
            "activeAt": "2025-11-23T09:00:00.123Z",
            "keepFiringSince": "2025-11-23T09:01:00.000Z",
            "value": "1.5e+02",
        }]}})
    );
}

#[test]
fn what_is_told_to_nobody_says_so() {
    let view = AlertsView {
        alerts: vec![alert("lag", "High", Phase::Firing)],
        shadow: ["lag".to_owned()].into(),
        ..AlertsView::default()
    };
    assert_eq!(parsed(&alerts(&view))["data"]["alerts"][0]["shadow"], json!(true));
    let mut shadow = rule("lag");
    Arc::make_mut(&mut shadow.settings).shadow = true;
    let rules_view = RulesView { rules: vec![shadow], rules_dir_error: None };
    let told = parsed(&rules(&rules_view, &view, Duration::from_secs(5), "").unwrap());
    let rule = &told["data"]["groups"][0]["rules"][0];
    assert_eq!((&rule["shadow"], &rule["alerts"][0]["shadow"]), (&json!(true), &json!(true)));
}

#[test]
fn rules_have_prometheus_shape() {
    let mut failing = rule("failing");
    failing.load_error = Some("not a component".into());
    failing.last_error = Some("trap".into());
    failing.last_evaluation = None;
    let mut new = rule("new");
    (new.last_evaluation, new.sha256) = (None, String::new());
    let view = RulesView { rules: vec![failing, rule("lag"), new], rules_dir_error: None };
    let all = AlertsView {
        alerts: vec![alert("lag", "High", Phase::Pending), alert("other", "Low", Phase::Firing)],
        ..AlertsView::default()
    };
    let of = |query: &str| parsed(&rules(&view, &all, Duration::from_secs(5), query).unwrap());
    let lag = of("rule_name%5B%5D=lag");
    assert_eq!(
        lag,
        json!({"status": "success", "data": {"groups": [{
            "name": "lag", "file": "builtin:lag-threshold", "interval": 5.0, "limit": 0,
            "evaluationTime": 0.00075, "lastEvaluation": "2025-11-23T09:00:05.000Z",
            "rules": [{
                "state": "pending", "name": "lag", "query": "builtin:lag-threshold (0123456789abcdef)",
                "duration": 30.0, "keepFiringFor": 1.5,
                "labels": {"severity": "warning"}, "annotations": {},
                "alerts": [{
                    "labels": {"alertname": "High", "group": "g\"<b>"},
                    "annotations": {"summary": "behind <script>alert(1)</script>"},
                    "state": "pending", "activeAt": "2025-11-23T09:00:00.123Z", "value": "1.5e+02",
                }],
                "health": "ok", "evaluationTime": 0.00075, "lastEvaluation": "2025-11-23T09:00:05.000Z",
                "type": "alerting",
            }],
        }]}})
    );
    let groups = of("type=alert")["data"]["groups"].clone();
    assert_eq!(groups.as_array().unwrap().len(), 3);
    let failing = &groups[0]["rules"][0];
    assert_eq!((&failing["health"], &failing["lastError"]), (&json!("err"), &json!("not a component; trap")));
    let new = &groups[2]["rules"][0];
    assert_eq!((&new["state"], &new["health"]), (&json!("unknown"), &json!("unknown")));
    assert_eq!((&new["lastEvaluation"], &new["query"]), (&json!(NEVER), &json!("builtin:lag-threshold (not live)")));
    assert_eq!(of("type=record")["data"]["groups"], json!([]));
    assert_eq!(of("rule_name[]=lag&rule_name[]=new&x")["data"]["groups"].as_array().unwrap().len(), 2);
    let error = rules(&view, &all, Duration::ZERO, "type=%22x").unwrap_err();
    assert_eq!(
        parsed(&bad_data(&error)),
        json!({
            "status": "error", "errorType": "bad_data",
            "error": "invalid parameter \"type\": not supported value \"\\\"x\"",
        })
    );
}

/// What Grafana narrows its lists by, and turns their pages with.
#[test]
fn rules_are_narrowed_and_come_in_pages_as_prometheus_has_it() {
    let rules_view = RulesView { rules: ["a", "b", "c", "d"].map(rule).into(), rules_dir_error: None };
    let mut view = rules_view;
    view.rules[2].module = "/rules/c.wasm".into();
    Arc::make_mut(&mut view.rules[3].settings).labels = labels(&[("severity", "critical"), ("team", "data")]);
    let all = AlertsView { alerts: vec![alert("a", "High", Phase::Firing)], ..AlertsView::default() };
    let ask = |query: &str| rules(&view, &all, Duration::from_secs(5), query).map(|json| parsed(&json)["data"].clone());
    let names = |query: &str| {
        let data = ask(query).unwrap();
        let groups = data["groups"].as_array().unwrap().iter();
        groups.map(|group| group["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (query, want) in [
        ("", "a b c d"),
        ("rule_group[]=b&rule_group[]=d", "b d"),
        ("file%5B%5D=%2Frules%2Fc.wasm", "c"),
        ("file[]=builtin:lag-threshold&rule_name[]=c", ""),
        ("match[]=%7Bseverity%3D%22critical%22%7D", "d"),
        ("match[]={team=\"data\"}&match[]={severity=~\"warn.*\"}", "a b c d"),
        ("match[]={severity=\"warning\",team=\"\"}", "a b c"),
        ("group_limit=&group_next_token=&exclude_alerts=", "a b c d"),
        ("group_limit=4", "a b c d"),
    ] {
        assert_eq!(names(query), want, "{query}");
    }
    let (mut query, mut pages) = ("group_limit=3".to_owned(), Vec::new());
    loop {
        pages.push(names(&query));
        match ask(&query).unwrap()["groupNextToken"].as_str() {
            Some(token) => query = format!("group_limit=3&group_next_token={token}"),
            None => break,
        }
    }
    assert_eq!(pages, ["a b c", "d"]);
    // A group that went meanwhile costs no other its place.
    assert_eq!(names("group_limit=3&group_next_token=bb"), "c d");

    let of_a = |query: &str| ask(query).unwrap()["groups"][0]["rules"][0].clone();
    assert_eq!(of_a("exclude_alerts=false")["alerts"].as_array().unwrap().len(), 1);
    let without = of_a("exclude_alerts=true");
    assert_eq!((&without["alerts"], &without["state"]), (&json!([]), &json!("firing")));

    for (query, want) in [
        ("exclude_alerts=maybe", "invalid parameter \"exclude_alerts\": neither true nor false"),
        ("group_limit=0", "invalid parameter \"group_limit\": not a number above 0"),
        ("group_limit=x", "invalid parameter \"group_limit\": not a number above 0"),
        ("group_next_token=a", "invalid parameter \"group_next_token\": it needs group_limit"),
    ] {
        assert_eq!(ask(query), Err(want.to_owned()));
    }
    assert!(ask("match[]={").unwrap_err().starts_with("invalid parameter \"match[]\": "));
}

#[test]
fn one_query_is_answered_which_asks_whether_we_are_there() {
    let now = Timestamp(1_763_888_405_250);
    for form in ["query=1%2B1", "query=1+%2B+1&timeout=60s", "time=never&query=1%2b1"] {
        let answer = parsed(&query(form, now).unwrap());
        let want = json!({"status": "success", "data": {"resultType": "scalar", "result": [1_763_888_405.25, "2"]}});
        assert_eq!(answer, want, "{form}");
    }
    assert_eq!(parsed(&query("query=1%2B1&time=17.5", now).unwrap())["data"]["result"][0], json!(17.5));
    for form in ["", "query=", "query=up", "query=1%2B2", "Query=1%2B1"] {
        assert!(query(form, now).unwrap_err().contains("ask the Prometheus"), "{form}");
    }
    assert_eq!(parsed(&not_found("x")), json!({"status": "error", "errorType": "not_found", "error": "x"}));
}

#[test]
fn build_info_has_no_features() {
    let info = parsed(&build_info());
    assert_eq!(info["data"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["data"].get("features"), None);
}

#[test]
fn urls_are_decoded_and_times_bounded() {
    for (text, want) in
        [("a%5B%5d", "a[]"), ("a+b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%ff", "\u{fffd}"), ("%2", "%2")]
    {
        assert_eq!(decode(text), want);
    }
    assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
}
