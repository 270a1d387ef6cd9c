use super::*;
use crate::{
    http::api::tests::{alert, rule},
    snapshot::{Group, GroupKind, LagRow, TargetState},
};
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_763_888_410_000);

fn group(name: &str) -> Group {
    let (kind, state) = (GroupKind::Classic, "Stable");
    Group { name: name.into(), kind, state, members: Some(1), coordinator: None, ours: true }
}

fn snapshot(groups: Vec<Group>, rows: Vec<LagRow>) -> Snapshot {
    let kafka = KafkaView { groups, rows, ..KafkaView::default() };
    let target = |name: &str, up, reason: Option<&str>| TargetState {
        name: name.into(),
        up,
        last_success: up.then_some(Timestamp(NOW.0 - 65_000)),
        reason: reason.map(str::to_owned),
    };
    Snapshot {
        number: 7,
        at: Timestamp(NOW.0 - 2000),
        interval: Duration::from_secs(5),
        cluster: "prod<i>".into(),
        kafka: Some(Arc::new(kafka)),
        pages: Vec::new(),
        targets: vec![target("kafka", true, None), target("broker", false, Some("refused \"<b>\" & more"))],
    }
}

fn html(snapshot: &Snapshot, alerts: &AlertsView, rules: &RulesView) -> String {
    let readiness = Readiness { reasons: vec!["<i>replaying</i>".into()] };
    render(&Shown { now: NOW, snapshot, alerts, rules, readiness: &readiness })
}

#[test]
fn all_is_shown_and_hostile_names_stay_text() {
    let rows = vec![
        LagRow::new(0, "t'1".into(), 0, Some(10), None, Some(0), Some(17)),
        LagRow::new(1, "t2".into(), 0, Some(10), None, Some(0), Some(110)),
        LagRow::new(1, "t2".into(), 1, Some(10), None, None, None),
        LagRow::new(1, "t3".into(), 0, None, None, Some(0), Some(110)),
        LagRow::new(1, "t4".into(), 0, Some(5), None, None, None),
    ];
    let snapshot = snapshot(vec![group("<script>alert(1)</script>"), group(&"long".repeat(1000))], rows);
    let alerts = AlertsView { alerts: vec![alert("lag", "<High>", Phase::Firing)], ..AlertsView::default() };
    let mut broken = rule("broken");
    broken.load_error = Some("no <world> export".into());
    let rules = RulesView { rules: vec![rule("lag"), broken], rules_dir_error: Some("cannot read /rules".into()) };
    let html = html(&snapshot, &alerts, &rules);
    for text in [
        "prod&lt;i&gt;, snapshot 7, 2s ago",
        "<li>&lt;i&gt;replaying&lt;/i&gt;</li>",
        "<td>kafka</td><td class=\"good\">up</td><td>1m 5s ago</td>",
        "<td>broker</td><td class=\"bad\">down</td><td>never</td><td>refused &quot;&lt;b&gt;&quot; &amp; more</td>",
        "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>Stable</td><td>t&#39;1</td><td class=\"n\">7</td>",
        "<td>t2</td><td class=\"n warn\">100 and unknown</td>",
        "<td>t3</td><td class=\"n dim\">no commit</td>",
        "<td>t4</td><td class=\"n warn\">unknown</td><td class=\"n\"></td>",
        "<td>&lt;High&gt;</td>",
        "behind &lt;script&gt;",
        "live, new version refused",
        "no &lt;world&gt; export",
        "cannot read /rules",
        "<a href=\"/metrics\">",
    ] {
        assert!(html.contains(text), "{text} not in {html}");
    }
    assert!(!html.contains("<script") && !html.contains("<i>") && html.len() < 20_000, "{}", html.len());
}

#[test]
fn the_largest_lags_are_shown_and_the_rest_counted() {
    let groups: Vec<_> = (0..500).map(|i| group(&format!("g{i:03}"))).collect();
    let row = |i: u32| LagRow::new(i, "t".into(), 0, Some(0), None, Some(0), Some(i64::from(i)));
    let mut snapshot = snapshot(groups, (0..500).map(row).collect());
    let html_of = |snapshot: &Snapshot| html(snapshot, &AlertsView::default(), &RulesView::default());
    let page = html_of(&snapshot);
    assert!(page.contains("<td>g499</td>") && page.contains("<td>g300</td>") && !page.contains("<td>g299</td>"));
    assert!(page.contains("300 more are not shown here"));
    snapshot.kafka = None;
    assert!(html_of(&snapshot).contains("Kafka is not observed."));
}
