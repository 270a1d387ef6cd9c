//! Collects the alerts of an evaluation: keeps what could not be judged, and keeps within what the agent takes.

use crate::{Alert, Label, Outcome, logging, own_alerts};
use std::collections::{BTreeMap, BTreeSet};

/// Alerts that one evaluation returns at most: the default of `limits.alerts`.
const MOST_ALERTS: usize = 1_000;
/// Bytes of them at most; the agent takes 1 MiB, and more of one rule is nothing that people read.
const MOST_BYTES: usize = 768 << 10;
/// The longest value of a label that the agent takes, in bytes.
pub const LONGEST_LABEL: usize = 1_024;
/// The longest annotation that the agent takes, in bytes.
const LONGEST_ANNOTATION: usize = 8 << 10;
/// Labels of an alert, and annotations, that the agent takes.
const MOST_LABELS: usize = 32;
/// What a label or annotation costs besides its text, in bytes; and an alert.
const COST: usize = 16;

/// The alert that says that others were left out.
const LEFT_OUT: &str = "RuleAlertsLeftOut";

/// The alerts of one evaluation.
///
/// - [`raise`](Self::raise) what holds.
/// - [`hold`](Self::hold) what cannot be judged now, or is neither clearly there nor clearly over: it goes on if it is
///   active, and does not begin.
/// - [`into_outcome`](Self::into_outcome): when more hold than the agent takes of one rule, those that are active stay,
///   others fill up what is left, and an alert about the agent says how many are left out. Without that the agent would
///   refuse all of them.
#[derive(Debug, Default)]
pub struct Alerts {
    active: Active,
    raised: Vec<Alert>,
    held: Vec<Alert>,
    /// More than can be told, and not kept.
    more: usize,
}

impl Alerts {
    /// None yet. Asks the agent which alerts of this rule are active.
    pub fn new() -> Self {
        Self {
            active: Active::new(own_alerts::active().iter().cloned().collect()),
            raised: Vec::new(),
            held: Vec::new(),
            more: 0,
        }
    }

    /// This alert holds.
    pub fn raise(&mut self, alert: Alert) {
        self.raised.push(alert);
    }

    /// This alert holds, and `explain` adds texts and value to its name and labels: not called when there are more than can be
    /// told anyway. For rules that may find tens of thousands at once.
    pub fn raise_with(&mut self, named: Alert, explain: impl FnOnce(Alert) -> Alert) {
        if self.raised.len() < MOST_ALERTS || self.is_active(&named) {
            self.raised.push(explain(named));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Whether this alert holds cannot be told: it goes on if it is active.
    pub fn hold(&mut self, alert: Alert) {
        if self.is_active(&alert) {
            self.held.push(alert);
        }
    }

    /// Is it pending or firing? Looks at its name and labels only.
    pub fn is_active(&self, alert: &Alert) -> bool {
        self.active.find(alert).is_some()
    }

    /// All of them, or as many as the agent takes. Should two be the same, the first counts, and what was raised before what
    /// was held.
    pub fn into_outcome(self) -> Outcome {
        let Self { active, raised, held, more } = self;
        let mut seen = BTreeSet::new();
        let mut unfit = 0usize;
        let (mut before, mut new) = (Vec::new(), Vec::new());
        for alert in raised.into_iter().chain(held) {
            if !fits(&alert) {
                unfit = unfit.saturating_add(1);
            } else if seen.insert(identity(&alert)) {
                if active.find(&alert).is_some() { before.push(alert) } else { new.push(alert) }
            }
        }
        if unfit > 0 {
            let text = format!(
                "{unfit} alerts left out: a label, as a group's name, is longer than {LONGEST_LABEL} bytes, a text longer \
                 than {LONGEST_ANNOTATION}, or there are more than {MOST_LABELS} of one"
            );
            logging::warn(&text);
        }
        let all = before.len().saturating_add(new.len()).saturating_add(more);
        let mut bytes = 0usize;
        let mut kept: Vec<Alert> = before
            .into_iter()
            .chain(new)
            .enumerate()
            .take_while(|(number, alert)| {
                bytes = bytes.saturating_add(cost(alert));
                // A place is kept for the alert about the others.
                bytes <= MOST_BYTES && (*number < MOST_ALERTS.saturating_sub(1) || all <= MOST_ALERTS)
            })
            .map(|(_, alert)| alert)
            .collect();
        let left_out = all.saturating_sub(kept.len());
        kept.sort_by_cached_key(identity);
        if left_out > 0 {
            kept.truncate(MOST_ALERTS.saturating_sub(1));
            kept.push(about_the_others(left_out));
        }
        kept.into()
    }
}

/// Does the agent take it? For one that it does not take it refuses all.
fn fits(alert: &Alert) -> bool {
    alert.labels.len() <= MOST_LABELS
        && alert.annotations.len() <= MOST_LABELS
        && alert.labels.iter().all(|label| label.value.len() <= LONGEST_LABEL)
        && alert.annotations.iter().all(|text| text.value.len() <= LONGEST_ANNOTATION)
}

fn about_the_others(left_out: usize) -> Alert {
    Alert::agent()
        .name(LEFT_OUT)
        .annotation("summary", format!("{left_out} more alerts of this rule hold than are told"))
        .annotation(
            "description",
            format!(
                "{left_out} alerts of this rule are left out, since one rule has at most {MOST_ALERTS}. Look at what \
                 they have in common (a broker, a topic, a deployment); if so many are usual, narrow the rule's groups \
                 and topics or split it into several."
            ),
        )
        .count(i64::try_from(left_out).unwrap_or(i64::MAX))
}

/// Name and labels, in the order in which alerts are returned.
fn identity(alert: &Alert) -> (String, Vec<(String, String)>) {
    let mut labels: Vec<_> = alert.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
    labels.sort();
    (alert.name.clone(), labels)
}

/// About how many bytes an alert is on its way to the agent.
fn cost(alert: &Alert) -> usize {
    let texts = alert.labels.iter().chain(&alert.annotations);
    let bytes = texts.map(|label| COST.saturating_add(label.name.len()).saturating_add(label.value.len()));
    let subject = match &alert.subject {
        crate::Subject::Group(name) | crate::Subject::Topic(name) => name.len(),
        crate::Subject::Broker | crate::Subject::Agent => 0,
    };
    bytes.fold(subject.saturating_add(COST.saturating_mul(4)).saturating_add(alert.name.len()), usize::saturating_add)
}

/// The rule's active alerts, found by what an alert has.
#[derive(Debug, Default)]
struct Active {
    alerts: Vec<own_alerts::ActiveAlert>,
    /// For a label's name and value, which alerts have it.
    by_label: BTreeMap<(String, String), Vec<usize>>,
}

impl Active {
    fn new(alerts: Vec<own_alerts::ActiveAlert>) -> Self {
        let mut by_label: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (number, alert) in alerts.iter().enumerate() {
            for label in &alert.labels {
                by_label.entry((label.name.clone(), label.value.clone())).or_default().push(number);
            }
        }
        Self { alerts, by_label }
    }

    /// The active alert with this name and these labels. It may have more: settings and the agent add some. Its severity may
    /// be another, since settings can change it.
    fn find(&self, alert: &Alert) -> Option<&own_alerts::ActiveAlert> {
        let has = |active: &own_alerts::ActiveAlert| {
            active.name == alert.name && telling(alert).all(|label| active.labels.contains(label))
        };
        if self.alerts.is_empty() {
            return None;
        }
        let none = Vec::new();
        let lists = telling(alert).map(|l| self.by_label.get(&(l.name.clone(), l.value.clone())).unwrap_or(&none));
        match lists.min_by_key(|list| list.len()) {
            Some(list) => list.iter().filter_map(|at| self.alerts.get(*at)).find(|active| has(active)),
            None => self.alerts.iter().find(|active| has(active)),
        }
    }
}

/// The labels that tell an alert from others of its name.
fn telling(alert: &Alert) -> impl Iterator<Item = &Label> {
    alert.labels.iter().filter(|label| !label.value.is_empty() && label.name != "severity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Context, Failure, NoConfig, Rule,
        mock::{Mock, label},
    };

    struct Config(std::ops::Range<u32>);

    impl<'de> serde::Deserialize<'de> for Config {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(serde::Deserialize)]
            struct Range {
                from: u32,
                to: u32,
            }
            Range::deserialize(deserializer).map(|range| Self(range.from..range.to))
        }
    }

    struct Many;

    impl Rule for Many {
        type Config = Config;

        fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
            let mut alerts = Alerts::new();
            for number in config.0 {
                let group = format!("g{number:05}");
                alerts.raise(Alert::group(&group).name("Many").label("consumergroup", group));
            }
            Ok(alerts.into_outcome())
        }
    }

    #[test]
    fn those_that_are_active_keep_their_place_and_the_rest_is_counted() {
        let mut mock = Mock::new();
        let whole = mock.evaluate::<Many>(r#"{"from":500,"to":1500}"#).unwrap();
        assert_eq!(whole.alerts.len(), 1_000);
        let cut = mock.evaluate::<Many>(r#"{"from":0,"to":1500}"#).unwrap();
        assert_eq!(cut.alerts.len(), 1_000);
        let told = cut.alerts.iter().filter(|alert| alert.name == "Many");
        assert!(told.clone().all(|alert| label(&alert.labels, "consumergroup") >= "g00500"));
        let about = cut.alerts.iter().find(|alert| alert.name == LEFT_OUT).unwrap();
        assert_eq!((about.value, &about.subject), (Some(501.0), &crate::Subject::Agent));
        let after = mock.evaluate::<Many>(r#"{"from":500,"to":510}"#).unwrap();
        assert_eq!(after.alerts.len(), 10);
    }

    #[test]
    fn texts_are_made_only_for_what_is_told() {
        let mut mock = Mock::new();
        let (made, told) = mock.run(|| {
            let mut alerts = Alerts::new();
            let mut made = 0;
            for number in 0..1_500 {
                let named = Alert::agent().name("Many").label("n", format!("{number:04}"));
                alerts.raise_with(named, |alert| {
                    made += 1;
                    alert.value(1.0)
                });
            }
            (made, alerts.into_outcome().alerts)
        });
        assert_eq!((made, told.len()), (1_000, 1_000));
        assert_eq!(told.iter().find(|alert| alert.name == LEFT_OUT).unwrap().value, Some(501.0));
    }

    #[test]
    fn what_would_spoil_the_whole_answer_is_left_out() {
        struct Odd;
        impl Rule for Odd {
            type Config = NoConfig;
            fn evaluate(_ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
                let mut alerts = Alerts::new();
                for group in ["g".repeat(LONGEST_LABEL + 1), "g".into(), "g".into()] {
                    alerts.raise(Alert::group(&group).name("Odd").label("consumergroup", group));
                }
                for number in 0..200 {
                    let text = "x".repeat(8_000);
                    alerts.raise(Alert::agent().name("Long").label("n", format!("{number}")).annotation("a", text));
                }
                Ok(alerts.into_outcome())
            }
        }
        let mut mock = Mock::new();
        let said = mock.evaluate::<Odd>("{}").unwrap();
        assert_eq!(said.alerts.iter().filter(|alert| alert.name == "Odd").count(), 1);
        assert!(said.alerts.iter().map(cost).sum::<usize>() < 800 << 10);
        assert!(said.alerts.iter().any(|alert| alert.name == LEFT_OUT));
        assert!(mock.log()[0].1.starts_with("1 alerts left out"));
    }

    #[test]
    fn an_active_alert_may_have_more_labels_than_the_rule_gave() {
        let active = |labels: &[(&str, &str)]| own_alerts::ActiveAlert {
            name: "A".into(),
            labels: labels.iter().map(|(name, value)| Label::new(*name, *value)).collect(),
            state: own_alerts::State::Pending,
            active_since_ms: 1,
            value: None,
        };
        let found = Active::new(vec![active(&[("cluster", "c"), ("topic", "t")]), active(&[("topic", "u")])]);
        let alert =
            |topic: &str| Alert::topic(topic).name("A").label("topic", topic).label("empty", "").severity(Some("s"));
        assert!(found.find(&alert("t")).is_some() && found.find(&alert("u")).is_some());
        assert!(found.find(&alert("v")).is_none() && found.find(&alert("t").name("B")).is_none());
        assert!(found.find(&Alert::agent().name("A")).is_some());
    }
}
