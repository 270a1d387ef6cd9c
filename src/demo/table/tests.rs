//! Tests of what the demo shows.

use super::*;
use crate::{
    model::{Labels, Timestamp},
    pipeline::{LimitsReport, RuleSettings, RuleView, StateReport},
    snapshot::{Group, GroupKind, KafkaView, LagRow, TargetState},
};

fn snapshot(number: u64, lags: &[(&str, Option<i64>)]) -> Snapshot {
    let group = |name: &str| Group {
        name: name.into(),
        kind: GroupKind::Classic,
        state: "Stable",
        members: Some(2),
        coordinator: None,
        ours: true,
    };
    let row = |(index, (_, lag)): (usize, &(&str, Option<i64>))| {
        let index = u32::try_from(index).unwrap();
        LagRow::new(index, "orders".into(), 0, Some(0), None, None, *lag)
    };
    let kafka = KafkaView {
        groups: lags.iter().map(|(name, _)| group(name)).collect(),
        rows: lags.iter().enumerate().map(row).collect(),
        ..KafkaView::default()
    };
    Snapshot {
        number,
        at: Timestamp(100_000),
        interval: Duration::from_secs(2),
        cluster: "demo".into(),
        kafka: Some(Arc::new(kafka)),
        pages: Vec::new(),
        targets: vec![TargetState { name: "kafka".into(), up: true, last_success: None, reason: None }],
    }
}

fn alert(group: &str, phase: Phase) -> AlertsView {
    let labels = Labels::from([
        ("alertname".to_owned(), "ConsumerLag".to_owned()),
        ("consumergroup".to_owned(), group.to_owned()),
        ("topic".to_owned(), "orders".to_owned()),
    ]);
    let alert = Alert {
        key: AlertKey { rule: "consumer-lag".into(), name: "ConsumerLag".into(), labels },
        subject: Subject::Group(group.into()),
        annotations: Labels::new(),
        value: Some(345.0),
        phase,
        active_at: Timestamp(88_000),
        fired_at: Some(Timestamp(93_000)),
        resolved_at: Some(Timestamp(99_000)),
        keep_firing_since: None,
        last_sent: None,
    };
    AlertsView { alerts: vec![Arc::new(alert)], ..AlertsView::default() }
}

fn screen(snapshot: &Snapshot, alerts: &AlertsView, history: &mut Trend, width: usize) -> Vec<String> {
    let url = "http://127.0.0.1:9308";
    let text = render(snapshot, alerts, &RulesView::default(), history, width, url, Duration::from_secs(12));
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn line_of<'a>(screen: &'a [String], group: &str) -> &'a str {
    screen.iter().find(|line| line.contains(group)).unwrap()
}

#[test]
fn a_row_shows_lag_trend_members_and_the_rule_s_word() {
    let mut history = Trend::default();
    for (number, lag) in [(1, Some(0)), (2, None), (2, Some(9)), (3, Some(200)), (4, Some(400))] {
        screen(&snapshot(number, &[("checkout", lag)]), &AlertsView::default(), &mut history, 120);
    }
    let now = snapshot(5, &[("billing", Some(3)), ("checkout", Some(345))]);
    let shown = screen(&now, &alert("checkout", Phase::Firing), &mut history, 120);
    let line = line_of(&shown, "checkout  ");
    assert_eq!(
        line,
        "\u{1b}[31mcheckout  orders       345  ▁ ▄█▇                           2  consumer-lag: firing for 7 s\u{1b}[0m\u{1b}[K"
    );
    assert!(line_of(&shown, "billing").ends_with("▁                               2  -\u{1b}[K"), "{shown:?}");
    assert!(shown.iter().any(|line| line.contains("http://127.0.0.1:9308/metrics")));
    assert!(shown[1].contains("checkout has stopped committing"));
}

#[test]
fn unknown_lag_is_a_question_mark_and_a_missing_snapshot_no_row() {
    let mut history = Trend::default();
    let shown = screen(&snapshot(1, &[("g", None)]), &AlertsView::default(), &mut history, 120);
    assert!(line_of(&shown, "g  ").contains("       ?"), "{shown:?}");
    let nothing = Snapshot { kafka: None, ..snapshot(2, &[]) };
    let shown = screen(&nothing, &AlertsView::default(), &mut history, 120);
    assert!(shown.iter().any(|line| line.starts_with("(no group seen yet)")));
    assert!(history.points.is_empty());
}

#[test]
fn names_cannot_drive_the_terminal_and_lines_are_cut() {
    let hostile = "\u{1b}[2J\u{202e}\r\nx";
    let view = alert(hostile, Phase::Pending);
    let mut history = Trend::default();
    let now = snapshot(1, &[(hostile, Some(1))]);
    let shown = screen(&now, &view, &mut history, 1000);
    let line = line_of(&shown, "[2J");
    assert!(line.contains("\\u{1b}[2J\\u{202e}\\r\\nx"), "{line}");
    let told = lines(&now, &view, &RulesView::default(), &mut Told::default(), Duration::ZERO);
    assert!(told.iter().all(|line| !line.contains(char::is_control)), "{told:?}");
    let narrow = screen(&now, &view, &mut history, 20);
    for line in narrow {
        let plain =
            ["\u{1b}[33m", "\u{1b}[0m", "\u{1b}[K", "\u{1b}[H", "\u{1b}[J"].iter().fold(line, |l, c| l.replace(c, ""));
        assert!(plain.trim_end().chars().count() <= 20, "{plain}");
    }
}

#[test]
fn more_rows_than_fit_are_counted() {
    let names: Vec<String> = (0..MAX_ROWS + 3).map(|n| format!("g{n:03}")).collect();
    let lags: Vec<(&str, Option<i64>)> = names.iter().map(|name| (name.as_str(), Some(0))).collect();
    let shown = screen(&snapshot(1, &lags), &AlertsView::default(), &mut Trend::default(), 120);
    assert!(shown.iter().any(|line| line.starts_with("(3 more)")));
    assert!(!shown.iter().any(|line| line.contains(&names[MAX_ROWS])));
}

#[test]
fn plain_lines_tell_each_change_once_and_sum_up_every_few_seconds() {
    let mut told = Told::default();
    let now = snapshot(1, &[("checkout", Some(345))]);
    let mut tell = |alerts: &AlertsView, second| {
        lines(&now, alerts, &RulesView::default(), &mut told, Duration::from_secs(second)).join("\n")
    };
    let first = tell(&AlertsView::default(), 0);
    assert!(first.contains("[   0 s] now: all groups read"), "{first}");
    assert!(first.contains("[   0 s] lag: checkout/orders=345; alerts: 0 pending, 0 firing"), "{first}");
    let want =
        "[   1 s] alert pending: ConsumerLag of rule consumer-lag consumergroup=checkout topic=orders (value 345)";
    assert_eq!(tell(&alert("checkout", Phase::Pending), 1), want);
    assert_eq!(tell(&alert("checkout", Phase::Pending), 2), "");
    assert!(tell(&alert("checkout", Phase::Firing), 3).starts_with("[   3 s] alert firing: "));
    let fifth = tell(&alert("checkout", Phase::Firing), 5);
    assert_eq!(fifth, "[   5 s] lag: checkout/orders=345; alerts: 0 pending, 1 firing");
    assert!(tell(&alert("checkout", Phase::Resolved), 6).starts_with("[   6 s] alert resolved: "));
    assert_eq!(tell(&AlertsView::default(), 7), "", "a resolved alert is forgotten without a word");
    assert_eq!(tell(&alert("checkout", Phase::Pending), 7).lines().count(), 1);
    assert!(tell(&AlertsView::default(), 8).ends_with("[   8 s] alert gone: ConsumerLag"));
}

#[test]
fn what_is_wrong_is_said() {
    let mut now = snapshot(1, &[]);
    now.targets[0].up = false;
    now.targets[0].reason = Some("refused".into());
    let settings = RuleSettings {
        name: "consumer-lag".into(),
        interval: None,
        pending_for: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        labels: Labels::new(),
        annotations: Labels::new(),
        shadow: false,
        actions: std::collections::BTreeSet::new(),
    };
    let rule = RuleView {
        settings: Arc::new(settings),
        module: "builtin:lag-threshold".into(),
        sha256: String::new(),
        live: false,
        load_error: Some("bad\nmodule".into()),
        last_error: None,
        last_evaluation: None,
        evaluation_time: Duration::ZERO,
        limits: LimitsReport::default(),
        state: StateReport::default(),
        evaluations: Arc::default(),
    };
    let rules = RulesView { rules: vec![rule], rules_dir_error: None };
    let told = lines(&now, &AlertsView::default(), &rules, &mut Told::default(), Duration::ZERO);
    assert!(told.contains(&"[   0 s] kafka is not up: refused".to_owned()), "{told:?}");
    assert!(told.contains(&"[   0 s] rule consumer-lag: bad\\nmodule".to_owned()), "{told:?}");
}
