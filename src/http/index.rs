//! The page for people: what is collected, who lags, which alerts and rules there are. Server-side HTML, no script.
//! All text from outside is cut and escaped.

use super::{Readiness, api::rfc3339};
use crate::{
    alerts::{Alert, AlertsView, Phase},
    model::{BoundedText, Timestamp},
    pipeline::{RuleView, RulesView},
    snapshot::{KafkaView, Snapshot, TopicLag},
};
use std::{
    cmp::Reverse,
    fmt::{self, Display, Write},
    time::Duration,
};

/// Rows of each table of the page for people: those with the most lag, the first alerts, the first rules.
pub const MAX_INDEX_ROWS: usize = 200;

/// Longest name or message on the page for people and in `/-/ready`, in bytes.
pub const MAX_INDEX_TEXT: usize = 500;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;\
    color-scheme:light dark}h2{margin-top:2rem}table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top;\
    overflow-wrap:anywhere}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
    .bad{color:#c62828;font-weight:600}.warn{color:#b26a00;font-weight:600}.good{color:#2e7d32}.dim{opacity:.7}";

/// All that the page shows.
pub(super) struct Shown<'a> {
    pub(super) now: Timestamp,
    pub(super) snapshot: &'a Snapshot,
    pub(super) alerts: &'a AlertsView,
    pub(super) rules: &'a RulesView,
    pub(super) readiness: &'a Readiness,
}

/// Text from outside, bounded.
pub(super) fn foreign(text: &str) -> BoundedText<'_> {
    BoundedText(text, MAX_INDEX_TEXT)
}

/// Text from outside, bounded, for HTML.
struct Html<'a>(&'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in foreign(self.0).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page. Writing to a `String` cannot fail, so an error means a bug in a `Display`, and the rest is left out.
pub(super) fn render(shown: &Shown<'_>) -> String {
    let mut out = String::new();
    let parts = [head, targets, lags, alerts, rules];
    for part in parts {
        if part(&mut out, shown).is_err() {
            break;
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn head(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>brokerwarden</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>brokerwarden <span class=\"dim\">{version}</span></h1>\n\
         <p>Watches the Kafka broker beside it.</p>\n<p>"
    )?;
    for link in ["/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/api/v1/rules"] {
        write!(out, "<a href=\"{link}\">{link}</a> ")?;
    }
    let snapshot = shown.snapshot;
    out.write_str("</p>\n<p>")?;
    if !snapshot.cluster.is_empty() {
        write!(out, "Cluster {}, ", Html(&snapshot.cluster))?;
    }
    if snapshot.number == 0 {
        out.write_str("nothing observed yet")?;
    } else {
        write!(out, "snapshot {}, {} ago", snapshot.number, age(shown.now.since(snapshot.at)))?;
    }
    out.write_str("</p>\n")?;
    if shown.readiness.reasons.is_empty() {
        return out.write_str("<p class=\"good\">ready</p>\n");
    }
    out.write_str("<p class=\"warn\">not ready</p>\n<ul>")?;
    for reason in &shown.readiness.reasons {
        write!(out, "<li>{}</li>", Html(reason))?;
    }
    out.write_str("</ul>\n")
}

fn targets(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    out.write_str(
        "<h2>Targets</h2>\n<table><tr><th>target</th><th>state</th><th>last collected</th><th>reason</th></tr>\n",
    )?;
    for target in &shown.snapshot.targets {
        let (class, state) = if target.up { ("good", "up") } else { ("bad", "down") };
        let last =
            target.last_success.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(shown.now.since(at))));
        let reason = target.reason.as_deref().unwrap_or_default();
        writeln!(
            out,
            "<tr><td>{}</td><td class=\"{class}\">{state}</td><td>{last}</td><td>{}</td></tr>",
            Html(&target.name),
            Html(reason)
        )?;
    }
    out.write_str("</table>\n")
}

fn lags(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    out.write_str("<h2>Lag</h2>\n")?;
    let Some(kafka) = &shown.snapshot.kafka else {
        return out.write_str("<p>Kafka is not observed.</p>\n");
    };
    let shown = |sum: &&TopicLag| kafka.group_of(sum.group).is_some_and(|group| kafka.shows(group));
    let mut sums: Vec<_> = kafka.topic_lags().iter().filter(shown).collect();
    // Stable, so that equals stay in the order of their names.
    sums.sort_by_key(|sum| Reverse(sum.known_lag));
    if sums.is_empty() {
        return out.write_str("<p>No group that this agent answers for has committed.</p>\n");
    }
    out.write_str(
        "<table><tr><th>group</th><th>state</th><th>topic</th><th class=\"n\">lag</th><th class=\"n\">largest of a partition</th>\
         <th class=\"n\">lost</th><th class=\"n\">partitions</th></tr>\n",
    )?;
    for sum in sums.iter().take(MAX_INDEX_ROWS) {
        lag_row(out, kafka, sum)?;
    }
    out.write_str("</table>\n")?;
    left_out(out, sums.len())
}

fn lag_row(out: &mut String, kafka: &KafkaView, sum: &TopicLag) -> fmt::Result {
    let Some(group) = kafka.group_of(sum.group) else { return Ok(()) };
    let nothing_known = sum.unknown_partitions.saturating_add(sum.uncommitted_partitions) >= sum.partitions;
    write!(out, "<tr><td>{}</td><td>{}</td><td>{}</td>", Html(&group.name), group.state, Html(&sum.topic))?;
    match sum.lag {
        _ if sum.uncommitted_partitions >= sum.partitions => out.write_str("<td class=\"n dim\">no commit</td>")?,
        Some(lag) => write!(out, "<td class=\"n\">{lag}</td>")?,
        None if nothing_known => out.write_str("<td class=\"n warn\">unknown</td>")?,
        None => write!(out, "<td class=\"n warn\">{} and unknown</td>", sum.known_lag)?,
    }
    if nothing_known {
        out.write_str("<td class=\"n\"></td>")?;
    } else {
        write!(out, "<td class=\"n\">{}</td>", sum.max_lag)?;
    }
    let lost = if sum.lost > 0 { "n bad" } else { "n" };
    write!(out, "<td class=\"{lost}\">{}</td><td class=\"n\">{}", sum.lost, sum.partitions)?;
    if sum.uncommitted_partitions > 0 {
        write!(out, " <span class=\"dim\">({} without a commit)</span>", sum.uncommitted_partitions)?;
    }
    out.write_str("</td></tr>\n")
}

fn alerts(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    out.write_str("<h2>Alerts</h2>\n")?;
    let mut all: Vec<&Alert> = shown.alerts.alerts.iter().map(|alert| &**alert).collect();
    let rank = |phase| match phase {
        Phase::Firing => 0,
        Phase::Pending => 1,
        Phase::Resolved => 2,
    };
    all.sort_by_key(|alert| rank(alert.phase));
    if all.is_empty() {
        return out.write_str("<p>None.</p>\n");
    }
    out.write_str(
        "<table><tr><th>state</th><th>since</th><th>alert</th><th>labels</th><th class=\"n\">value</th><th>says</th></tr>\n",
    )?;
    for alert in all.iter().take(MAX_INDEX_ROWS) {
        let class = match alert.phase {
            Phase::Firing => "bad",
            Phase::Pending => "warn",
            Phase::Resolved => "dim",
        };
        let since = alert.resolved_at.filter(|_| alert.phase == Phase::Resolved).unwrap_or(alert.active_at);
        write!(
            out,
            "<tr><td class=\"{class}\">{}{}</td><td title=\"{}\">{} ago</td><td>{}</td><td>",
            alert.phase.text(),
            if shown.alerts.shadow.contains(&alert.key.rule) { ", told to nobody" } else { "" },
            rfc3339(since),
            age(shown.now.since(since)),
            Html(&alert.key.name),
        )?;
        for (name, value) in alert.key.labels.iter().filter(|(name, _)| *name != "alertname") {
            write!(out, "{}={} ", Html(name), Html(value))?;
        }
        let value = alert.value.map(|value| value.to_string()).unwrap_or_default();
        let says = ["summary", "description"].iter().find_map(|name| alert.annotations.get(*name));
        let says = says.map(String::as_str).unwrap_or_default();
        writeln!(out, "</td><td class=\"n\">{value}</td><td>{}</td></tr>", Html(says))?;
    }
    out.write_str("</table>\n")?;
    left_out(out, all.len())
}

fn rules(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    out.write_str("<h2>Rules</h2>\n")?;
    if let Some(error) = &shown.rules.rules_dir_error {
        writeln!(out, "<p class=\"bad\">{}</p>", Html(error))?;
    }
    if shown.rules.rules.is_empty() {
        return out.write_str("<p>None.</p>\n");
    }
    out.write_str(
        "<table><tr><th>rule</th><th>state</th><th>module</th><th>last evaluated</th><th class=\"n\">took</th><th>error</th></tr>\n",
    )?;
    for rule in shown.rules.rules.iter().take(MAX_INDEX_ROWS) {
        rule_row(out, rule, shown.now)?;
    }
    out.write_str("</table>\n")?;
    left_out(out, shown.rules.rules.len())
}

fn rule_row(out: &mut String, rule: &RuleView, now: Timestamp) -> fmt::Result {
    let (class, state) = match (rule.live, &rule.load_error, &rule.last_error) {
        (false, ..) => ("bad", "not live"),
        (true, Some(_), _) => ("warn", "live, new version refused"),
        (true, None, Some(_)) => ("bad", "failing"),
        (true, None, None) if rule.settings.shadow => ("good", "live, told to nobody (shadow)"),
        (true, None, None) => ("good", "live"),
    };
    let last = rule.last_evaluation.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(now.since(at))));
    let took = rule.last_evaluation.map(|_| format!("{:.1?}", rule.evaluation_time));
    let digest = rule.sha256.get(..12).unwrap_or(&rule.sha256);
    write!(
        out,
        "<tr><td>{}</td><td class=\"{class}\">{state}</td><td>{} <span class=\"dim\">{}</span></td><td>{last}</td>\
         <td class=\"n\">{}</td><td>",
        Html(&rule.settings.name),
        Html(&rule.module),
        Html(digest),
        took.unwrap_or_default(),
    )?;
    for error in [&rule.load_error, &rule.last_error].into_iter().flatten() {
        write!(out, "<div>{}</div>", Html(error))?;
    }
    out.write_str("</td></tr>\n")
}

fn left_out(out: &mut String, all: usize) -> fmt::Result {
    match all.saturating_sub(MAX_INDEX_ROWS) {
        0 => Ok(()),
        more => {
            writeln!(out, "<p class=\"dim\">{more} more are not shown here; they are on /metrics and in the API.</p>")
        }
    }
}

/// An age in whole seconds.
fn age(age: Duration) -> String {
    humantime::format_duration(Duration::from_secs(age.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
