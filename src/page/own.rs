//! The part of the page about ourselves: our figures, the alerts, and what rules measured.
//! Does not know where figures come from.

use super::encode;
use crate::{
    alerts::{Alert, AlertsView, Phase},
    events::{BUCKETS, Figure, Histogram},
    model::{
        Labels,
        families::{self, Family},
    },
};
use std::collections::BTreeMap;

/// Prefix of the families that rules measure.
const MEASUREMENT_PREFIX: &str = "rule_";
const MEASUREMENT_HELP: &str = "Measured by the rule named in the label.";

/// All figures about ourselves, as `SelfMetrics::figures` gives them.
pub(super) type Figures = Vec<(&'static Family, Vec<(Vec<String>, Figure)>)>;

/// Encodes the part: text 0.0.4, families sorted by name, and the number of series.
pub(super) fn encode(figures: &Figures, view: &AlertsView) -> (Vec<u8>, u64) {
    let mut families: BTreeMap<String, Block> = BTreeMap::new();
    for (family, sets) in figures {
        let block = Block::of(&mut families, family.name, family.help, family.kind.text());
        for (values, figure) in sets {
            let labels: Vec<_> = family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
            match figure {
                Figure::Number(value) => block.push(family.name, &labels, *value),
                Figure::Histogram(histogram) => block.push_histogram(family.name, &labels, histogram),
            }
        }
    }
    for alert in view.alerts.iter().filter(|alert| alert.phase != Phase::Resolved) {
        let family = &families::ALERT;
        let block = Block::of(&mut families, family.name, family.help, family.kind.text());
        let mut labels = alert_labels(alert);
        if view.shadow.contains(&alert.key.rule) {
            labels = with_fixed(&labels, [("shadow", "true")]);
        }
        block.push(family.name, &pairs(&labels), 1.0);
    }
    for (rule, measurement) in view.measurements.iter().flat_map(|(rule, all)| all.iter().map(move |one| (rule, one))) {
        let name = format!("{MEASUREMENT_PREFIX}{}", measurement.name);
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let labels = with_fixed(&measurement.labels, [("rule", rule.as_str())]);
        let block = Block::of(&mut families, &name, MEASUREMENT_HELP, "gauge");
        block.push(&name, &pairs(&labels), measurement.value);
    }
    let told = || families.values().filter(|block| !block.lines.is_empty());
    let series = told().map(|block| block.lines.len()).fold(0, usize::saturating_add);
    (told().map(Block::text).collect::<Vec<_>>().concat(), u64::try_from(series).unwrap_or(u64::MAX))
}

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// An alert's own labels with its name, rule and state.
fn alert_labels(alert: &Alert) -> Labels {
    let fixed = [("alertname", alert.key.name.as_str()), ("rule", &alert.key.rule), ("state", alert.phase.text())];
    with_fixed(&alert.key.labels, fixed)
}

/// Labels of somebody else's choice with some of ours. As Prometheus does at a scrape, a label of theirs that has the
/// name of one of ours, and says something else, is told as `exported_NAME`. One with a name that no parser reads is
/// left out, and so is an empty one, which is the same as none.
fn with_fixed<const N: usize>(labels: &Labels, fixed: [(&str, &str); N]) -> Labels {
    let mut all = Labels::new();
    for (name, value) in labels.iter().filter(|(name, value)| encode::is_label_name(name) && !value.is_empty()) {
        match fixed.iter().find(|(fixed, _)| fixed == name) {
            None => drop(all.insert(name.clone(), value.clone())),
            Some((_, ours)) if ours == value => {}
            Some(_) => drop(all.entry(format!("exported_{name}")).or_insert_with(|| value.clone())),
        }
    }
    all.extend(fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}

/// One family's lines by their labels and their place among lines of the same labels. Of two equal series the first
/// counts.
struct Block {
    header: Vec<u8>,
    lines: BTreeMap<(Vec<u8>, usize), Vec<u8>>,
}

impl Block {
    fn of<'a>(families: &'a mut BTreeMap<String, Self>, name: &str, help: &str, kind: &str) -> &'a mut Self {
        families.entry(name.to_owned()).or_insert_with(|| {
            let mut header = Vec::new();
            encode::push_header(&mut header, name, help, kind);
            Self { header, lines: BTreeMap::new() }
        })
    }

    fn push(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut key = Vec::new();
        encode::push_labels(&mut key, labels);
        let line = line(name, &key, value);
        self.lines.entry((key, 0)).or_insert(line);
    }

    fn push_histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut key = Vec::new();
        encode::push_labels(&mut key, labels);
        let mut lines = Vec::new();
        let mut total = 0u64;
        let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(histogram.counts) {
            total = total.saturating_add(count);
            let mut le = Vec::new();
            encode::push_float(&mut le, bound);
            let le = String::from_utf8_lossy(&le);
            let mut of_bucket = Vec::new();
            encode::push_labels(&mut of_bucket, &[labels, &[("le", &*le)]].concat());
            lines.push(line(&format!("{name}_bucket"), &of_bucket, to_float(total)));
        }
        lines.push(line(&format!("{name}_sum"), &key, histogram.sum));
        lines.push(line(&format!("{name}_count"), &key, to_float(total)));
        for (place, line) in lines.into_iter().enumerate() {
            self.lines.entry((key.clone(), place)).or_insert(line);
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = self.header.clone();
        for line in self.lines.values() {
            text.extend_from_slice(line);
        }
        text
    }
}

fn line(name: &str, labels: &[u8], value: f64) -> Vec<u8> {
    let mut line = name.as_bytes().to_vec();
    line.extend_from_slice(labels);
    line.push(b' ');
    encode::push_float(&mut line, value);
    line.push(b'\n');
    line
}

fn to_float(count: u64) -> f64 {
    encode::to_float(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alerts::AlertKey,
        events::SelfMetrics,
        model::{Measurement, Subject, Timestamp},
    };
    use std::sync::Arc;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn alert(name: &str, phase: Phase, pairs: &[(&str, &str)]) -> Arc<Alert> {
        Arc::new(Alert {
            key: AlertKey { rule: "lag".into(), name: name.into(), labels: labels(pairs) },
            subject: Subject::Broker,
            annotations: Labels::new(),
            value: Some(1.0),
            phase,
            active_at: Timestamp(1),
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent: None,
        })
    }

    fn measurement(name: &str, pairs: &[(&str, &str)], value: f64) -> Measurement {
        Measurement { subject: Subject::Broker, name: name.into(), labels: labels(pairs), value }
    }

    fn page(metrics: &SelfMetrics, view: &AlertsView) -> String {
        let (text, series) = encode(&metrics.figures(), view);
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(usize::try_from(series), Ok(lines));
        text
    }

    #[test]
    fn figures_and_histograms() {
        let metrics = SelfMetrics::default();
        metrics.set(&families::TARGET_UP, &["kafka"], 0.0);
        metrics.set(&families::HTTP_CONNECTIONS, &[], 3.0);
        metrics.observe(&families::RULE_EVALUATION_SECONDS, &["r"], 0.05);
        metrics.observe(&families::RULE_EVALUATION_SECONDS, &["r"], 50.0);
        metrics.set(&families::RULE_INFO, &["m", "gone", "s"], 1.0);
        metrics.forget(&families::RULE_INFO, |_| true);
        assert_eq!(
            page(&metrics, &AlertsView::default()),
            "# HELP brokerwarden_http_connections Open connections to our HTTP server.\n\
             # TYPE brokerwarden_http_connections gauge\n\
             brokerwarden_http_connections 3\n\
             # HELP brokerwarden_rule_evaluation_seconds Wall time of one evaluation.\n\
             # TYPE brokerwarden_rule_evaluation_seconds histogram\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"0.0001\"} 0\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"0.001\"} 0\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"0.01\"} 0\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"0.1\"} 1\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"1\"} 1\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"10\"} 1\n\
             brokerwarden_rule_evaluation_seconds_bucket{rule=\"r\",le=\"+Inf\"} 2\n\
             brokerwarden_rule_evaluation_seconds_sum{rule=\"r\"} 50.05\n\
             brokerwarden_rule_evaluation_seconds_count{rule=\"r\"} 2\n\
             # HELP brokerwarden_target_up 1 if the last collection from a target succeeded.\n\
             # TYPE brokerwarden_target_up gauge\n\
             brokerwarden_target_up{target=\"kafka\"} 0\n"
        );
    }

    #[test]
    fn alerts_with_hostile_labels_stay_one_series_each() {
        let view = AlertsView {
            alerts: vec![
                alert("High", Phase::Firing, &[("alertname", "High"), ("group", "b"), ("rule", "mine"), ("empty", "")]),
                alert("High", Phase::Firing, &[("alertname", "High"), ("group", "b"), ("rule", "mine")]),
                alert(
                    "High",
                    Phase::Pending,
                    &[("alertname", "High"), ("group", "a\"\n"), ("a-b", "x"), ("__name__", "x")],
                ),
                alert("Gone", Phase::Resolved, &[("alertname", "Gone")]),
            ],
            ..AlertsView::default()
        };
        assert_eq!(
            page(&SelfMetrics::default(), &view),
            "# HELP brokerwarden_alert 1 for each pending or firing alert, with the alert's own labels.\n\
             # TYPE brokerwarden_alert gauge\n\
             brokerwarden_alert{alertname=\"High\",exported_rule=\"mine\",group=\"b\",rule=\"lag\",state=\"firing\"} 1\n\
             brokerwarden_alert{alertname=\"High\",group=\"a\\\"\\n\",rule=\"lag\",state=\"pending\"} 1\n"
        );
    }

    #[test]
    fn alerts_of_a_rule_that_is_told_to_nobody_say_so() {
        let alerts = vec![alert("High", Phase::Firing, &[("alertname", "High"), ("shadow", "of a doubt")])];
        let view = AlertsView { alerts, shadow: ["lag".to_owned()].into(), ..AlertsView::default() };
        let page = page(&SelfMetrics::default(), &view);
        let labels = "alertname=\"High\",exported_shadow=\"of a doubt\",rule=\"lag\",shadow=\"true\",state=\"firing\"";
        assert!(page.ends_with(&format!("brokerwarden_alert{{{labels}}} 1\n")), "{page}");
    }

    #[test]
    fn measurements_of_all_rules_share_a_family() {
        let view = AlertsView {
            measurements: vec![
                ("a".into(), vec![measurement("x", &[("k", "2")], 2.0), measurement("x", &[("k", "1")], f64::NAN)]),
                (
                    "b".into(),
                    vec![measurement("x", &[], 4.0), measurement("x", &[], 5.0), measurement("bad name", &[], 6.0)],
                ),
            ],
            ..AlertsView::default()
        };
        assert_eq!(
            page(&SelfMetrics::default(), &view),
            "# HELP rule_x Measured by the rule named in the label.\n\
             # TYPE rule_x gauge\n\
             rule_x{k=\"1\",rule=\"a\"} NaN\n\
             rule_x{k=\"2\",rule=\"a\"} 2\n\
             rule_x{rule=\"b\"} 4\n"
        );
    }
}
