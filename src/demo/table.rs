//! What the demo shows: a live table for a terminal, plain lines for a pipe. Pure.
//! Does not know who draws it, how often, or where its input comes from.

use super::schedule::happening;
use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::{BoundedText, Subject},
    pipeline::{AlertsView, RulesView},
    snapshot::Snapshot,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

/// Rows of the table; the others are only counted.
pub const MAX_ROWS: usize = 40;

/// Bytes of a name from outside that are shown.
pub const MAX_NAME: usize = 40;

/// Points of the trend that are kept for each row.
pub const MAX_TREND: usize = 24;

/// Alerts whose phase is remembered for the plain lines; more are not told.
pub const MAX_TOLD: usize = 1000;

/// Distance between two summary lines.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(5);

/// A trend below this is drawn low, so that a few records do not look like a mountain.
const TREND_FLOOR: i64 = 100;

/// What there is to open.
const PAGES: [(&str, &str); 4] = [
    ("/", "for people"),
    ("/metrics", "for Prometheus"),
    ("/api/v1/alerts", "alerts as JSON"),
    ("/api/v1/rules", "rules as JSON"),
];

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Lag over the last snapshots, by group and topic; `None` where it was unknown.
#[derive(Debug, Default)]
pub struct Trend {
    last: u64,
    points: BTreeMap<RowKey, VecDeque<Option<i64>>>,
}

type RowKey = (Arc<str>, Arc<str>);

/// What was already told in plain lines.
#[derive(Debug, Default)]
pub struct Told {
    phases: BTreeMap<AlertKey, Phase>,
    happening: &'static str,
    last_summary: Option<Duration>,
}

/// One group and topic.
struct Row {
    key: RowKey,
    lag: Option<i64>,
    uncommitted: u32,
    members: Option<u32>,
}

impl Trend {
    /// Takes a snapshot in; the same one twice counts once. Rows that are gone are forgotten.
    fn see(&mut self, snapshot: &Snapshot, rows: &[Row]) {
        if snapshot.number == self.last {
            return;
        }
        self.last = snapshot.number;
        let mut old = std::mem::take(&mut self.points);
        for row in rows {
            let mut points = old.remove(&row.key).unwrap_or_default();
            points.push_back(row.lag);
            if points.len() > MAX_TREND {
                points.pop_front();
            }
            self.points.insert(row.key.clone(), points);
        }
    }

    fn draw(&self, key: &RowKey) -> String {
        let Some(points) = self.points.get(key) else { return String::new() };
        let top = points.iter().flatten().copied().max().unwrap_or(0).max(TREND_FLOOR);
        let bar = |lag: Option<i64>| {
            let step = lag?.clamp(0, top).saturating_mul(7).checked_div(top)?;
            BARS.get(usize::try_from(step).ok()?).copied()
        };
        points.iter().map(|lag| bar(*lag).unwrap_or(' ')).collect()
    }
}

/// The screen: clears what was there, and is `width` columns wide at most.
///
/// `url` is where the agent's HTTP server is, without a slash at its end; `elapsed` is that of the demo's world.
pub fn render(
    snapshot: &Snapshot,
    alerts: &AlertsView,
    rules: &RulesView,
    history: &mut Trend,
    width: usize,
    url: &str,
    elapsed: Duration,
) -> String {
    let rows = rows(snapshot);
    history.see(snapshot, &rows);
    let mut screen = Screen { text: String::from("\u{1b}[H"), width };
    screen.line(None, &format!("brokerwarden demo, second {}; ctrl-C ends it", elapsed.as_secs()));
    screen.line(None, &format!("now: {}", happening(elapsed)));
    screen.line(None, "");
    let group = widest("GROUP", rows.iter().map(|row| &row.key.0));
    let topic = widest("TOPIC", rows.iter().map(|row| &row.key.1));
    screen.line(
        None,
        &format!(
            "{:group$}  {:topic$}  {:>8}  {:MAX_TREND$}  {:>7}  RULE",
            "GROUP", "TOPIC", "LAG", "TREND", "MEMBERS"
        ),
    );
    for row in rows.iter().take(MAX_ROWS) {
        let alert = alert_of(alerts, row);
        let mut state = alert.map_or_else(|| "-".to_owned(), |alert| state(alert, snapshot));
        if row.uncommitted > 0 {
            let _ = write!(state, "  ({} partition(s) never committed)", row.uncommitted);
        }
        screen.line(
            alert.map(|alert| alert.phase),
            &format!(
                "{:group$}  {:topic$}  {:>8}  {:MAX_TREND$}  {:>7}  {state}",
                name(&row.key.0),
                name(&row.key.1),
                number(row.lag),
                history.draw(&row.key),
                number(row.members),
            ),
        );
    }
    if rows.is_empty() {
        screen.line(None, "(no group seen yet)");
    }
    if rows.len() > MAX_ROWS {
        screen.line(None, &format!("({} more)", rows.len().saturating_sub(MAX_ROWS)));
    }
    screen.line(None, "");
    for text in troubles(snapshot, rules) {
        screen.line(Some(Phase::Pending), &text);
    }
    for (path, what) in PAGES {
        screen.line(None, &format!("{url}{path}  {what}"));
    }
    screen.text.push_str("\u{1b}[J");
    screen.text
}

/// Plain lines for what changed since `told`: the schedule, alerts, and every few seconds a summary.
pub fn lines(
    snapshot: &Snapshot,
    alerts: &AlertsView,
    rules: &RulesView,
    told: &mut Told,
    elapsed: Duration,
) -> Vec<String> {
    let second = elapsed.as_secs();
    let mut out = Vec::new();
    let now = happening(elapsed);
    if told.happening != now {
        told.happening = now;
        out.push(format!("[{second:>4} s] now: {now}"));
    }
    let mut phases = BTreeMap::new();
    for alert in alerts.alerts.iter().take(MAX_TOLD) {
        if told.phases.remove(&alert.key) != Some(alert.phase) {
            out.push(format!("[{second:>4} s] alert {}: {}", alert.phase.text(), describe(alert)));
        }
        phases.insert(alert.key.clone(), alert.phase);
    }
    let gone = std::mem::replace(&mut told.phases, phases);
    for (key, _) in gone.iter().filter(|(_, phase)| **phase != Phase::Resolved) {
        out.push(format!("[{second:>4} s] alert gone: {}", name(&key.name)));
    }
    if told.last_summary.is_none_or(|last| elapsed.saturating_sub(last) >= SUMMARY_INTERVAL) {
        told.last_summary = Some(elapsed);
        let rows = rows(snapshot);
        let mut text = format!("[{second:>4} s] lag:");
        for row in rows.iter().take(MAX_ROWS) {
            let _ = write!(text, " {}/{}={}", name(&row.key.0), name(&row.key.1), number(row.lag));
        }
        if rows.is_empty() {
            text.push_str(" no group seen yet");
        }
        let of = |phase| alerts.alerts.iter().filter(|alert| alert.phase == phase).count();
        let _ = write!(text, "; alerts: {} pending, {} firing", of(Phase::Pending), of(Phase::Firing));
        out.push(text);
        out.extend(troubles(snapshot, rules).into_iter().map(|trouble| format!("[{second:>4} s] {trouble}")));
    }
    out
}

fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let Some(kafka) = &snapshot.kafka else { return Vec::new() };
    let row = |sum: &crate::snapshot::TopicLag| {
        let group = kafka.group_of(sum.group)?;
        Some(Row {
            key: (Arc::clone(&group.name), Arc::clone(&sum.topic)),
            lag: sum.lag,
            uncommitted: sum.uncommitted_partitions,
            members: group.members,
        })
    };
    kafka.topic_lags().iter().filter_map(row).collect()
}

/// The worst alert about a row: firing before pending before resolved.
fn alert_of<'a>(alerts: &'a AlertsView, row: &Row) -> Option<&'a Alert> {
    let rank = |phase| match phase {
        Phase::Firing => 2,
        Phase::Pending => 1,
        Phase::Resolved => 0,
    };
    alerts
        .alerts
        .iter()
        .map(AsRef::as_ref)
        .filter(|alert| matches!(&alert.subject, Subject::Group(group) if **group == *row.key.0))
        .filter(|alert| alert.key.labels.get("topic").is_none_or(|topic| **topic == *row.key.1))
        .max_by_key(|alert| rank(alert.phase))
}

/// `RULE phase for N s`.
fn state(alert: &Alert, snapshot: &Snapshot) -> String {
    let since = match alert.phase {
        Phase::Pending => Some(alert.active_at),
        Phase::Firing => alert.fired_at,
        Phase::Resolved => alert.resolved_at,
    };
    let mut text = format!("{}: {}", name(&alert.key.rule), alert.phase.text());
    if let Some(since) = since {
        let _ = write!(text, " for {} s", snapshot.at.since(since).as_secs());
    }
    text
}

fn describe(alert: &Alert) -> String {
    let mut text = format!("{} of rule {}", name(&alert.key.name), name(&alert.key.rule));
    for (label, value) in alert.key.labels.iter().filter(|(label, _)| !matches!(label.as_str(), "alertname" | "rule")) {
        let _ = write!(text, " {}={}", name(label), name(value));
    }
    if let Some(value) = alert.value {
        let _ = write!(text, " (value {value})");
    }
    text
}

/// What people should know is wrong with the agent itself.
fn troubles(snapshot: &Snapshot, rules: &RulesView) -> Vec<String> {
    /// Bytes of a reason that are shown.
    const MAX_REASON: usize = 160;
    let mut out = Vec::new();
    for target in snapshot.targets.iter().filter(|target| !target.up) {
        let reason = target.reason.as_deref().unwrap_or("no answer yet");
        out.push(format!("{} is not up: {}", name(&target.name), BoundedText(reason, MAX_REASON)));
    }
    for rule in rules.rules.iter().take(MAX_ROWS) {
        let error = rule.load_error.as_deref().or(rule.last_error.as_deref());
        if let Some(error) = error {
            out.push(format!("rule {}: {}", name(&rule.settings.name), BoundedText(error, MAX_REASON)));
        } else if !rule.live {
            out.push(format!("rule {} is not live yet", name(&rule.settings.name)));
        }
    }
    out
}

/// A name from outside, safe to print: control characters and those that turn the writing direction are escaped.
fn name(text: &str) -> String {
    let turns =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let mut safe = String::new();
    for c in BoundedText(text, MAX_NAME).to_string().chars() {
        if turns(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

fn widest<'a>(title: &str, names: impl Iterator<Item = &'a Arc<str>>) -> usize {
    names.take(MAX_ROWS).map(|text| name(text).chars().count()).max().unwrap_or(0).max(title.len())
}

struct Screen {
    text: String,
    width: usize,
}

impl Screen {
    /// Adds one line, cut to the width, in the colour of a phase.
    fn line(&mut self, phase: Option<Phase>, line: &str) {
        let colour = match phase {
            Some(Phase::Firing) => Some("\u{1b}[31m"),
            Some(Phase::Pending) => Some("\u{1b}[33m"),
            Some(Phase::Resolved) => Some("\u{1b}[32m"),
            None => None,
        };
        self.text.push_str(colour.unwrap_or_default());
        self.text.extend(line.chars().take(self.width));
        if colour.is_some() {
            self.text.push_str("\u{1b}[0m");
        }
        self.text.push_str("\u{1b}[K\r\n");
    }
}

#[cfg(test)]
mod tests;
