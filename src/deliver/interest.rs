//! What one notifier wants to hear of: `match` and `repeat`. Pure.

use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::Timestamp,
    pipeline::Delivery,
    snapshot::select::{SelectError, Selector},
};
use std::{collections::BTreeMap, time::Duration};

/// Firing alerts of which one notifier keeps when they were last told.
pub const MAX_FOLLOWED: usize = 20_000;

/// Tests of an alert's labels as Prometheus writes them, with what was written.
#[derive(Clone, Debug)]
pub struct Matchers {
    text: String,
    selector: Selector,
}

impl Matchers {
    /// `name="value"`, `!=`, `=~`, `!~`, several with commas between them; braces around them may be there. A label that
    /// is missing counts as empty, and a regex must match the whole value.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        Ok(Self { text: text.to_owned(), selector: Selector::parse_matchers(text)? })
    }

    /// What was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn matches(&self, alert: &Alert) -> bool {
        let labels = &alert.key.labels;
        self.selector.matches("", |name| labels.get(name).map(String::as_str))
    }
}

impl PartialEq for Matchers {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Which alerts, and how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    /// All of them must match.
    pub matchers: Vec<Matchers>,
    /// How long after it was told an alert that still fires is told again; `None` = never.
    pub repeat: Option<Duration>,
}

/// Chooses from what the pipeline says.
#[derive(Debug, Default)]
pub(super) struct Interest {
    wants: Wants,
    /// The receiver wants to hear all repeats and counts time by itself, as Alertmanager does.
    hears_repeats: bool,
    /// When firing alerts were last told; kept while there is `repeat`.
    told: BTreeMap<AlertKey, Timestamp>,
}

impl Interest {
    pub(super) fn new(wants: Wants, hears_repeats: bool) -> Self {
        Self { wants, hears_repeats, told: BTreeMap::new() }
    }

    /// Other wishes from now on.
    pub(super) fn change(&mut self, wants: Wants) {
        if wants.repeat.is_none() {
            self.told.clear();
        }
        self.wants = wants;
    }

    /// Is this to be told?
    pub(super) fn wants(&mut self, delivery: &Delivery, now: Timestamp) -> bool {
        let alert = &delivery.alert;
        if !self.wants.matchers.iter().all(|matchers| matchers.matches(alert)) {
            return false;
        }
        let Some(repeat) = self.wants.repeat else { return delivery.transition || self.hears_repeats };
        if alert.phase != Phase::Firing {
            self.told.remove(&alert.key);
            return delivery.transition;
        }
        let due = match self.told.get(&alert.key) {
            // Told by somebody else, or before we counted: counted from now.
            None => delivery.transition,
            Some(told) => delivery.transition || now.since(*told) >= repeat,
        };
        // A clock that was set back says nothing of how long ago that was: counted from now.
        if due || self.told.get(&alert.key).is_none_or(|told| *told > now) {
            self.follow(&alert.key, now);
        }
        due
    }

    fn follow(&mut self, key: &AlertKey, now: Timestamp) {
        if self.told.len() >= MAX_FOLLOWED && !self.told.contains_key(key) {
            let oldest = self.told.iter().min_by_key(|(_, told)| **told).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.told.remove(&oldest));
        }
        self.told.insert(key.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::tests::{firing, repeat, resolved};

    fn interest(matchers: &[&str], repeat: Option<u64>) -> Interest {
        let matchers = matchers.iter().map(|text| Matchers::parse(text).unwrap()).collect();
        Interest::new(Wants { matchers, repeat: repeat.map(Duration::from_secs) }, false)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn only_what_matches_is_told_and_a_missing_label_is_empty() {
        let all: [(&[&str], bool); 10] = [
            (&["alertname=\"A\""], true),
            (&["alertname=\"B\""], false),
            (&["alertname=~\"A|B\"", "rule!=\"x\""], true),
            (&["alertname=~\"A|B\"", "rule=\"x\""], false),
            (&["{alertname!~\".\", }"], false),
            (&["severity=\"\""], true),
            (&["severity!=\"info\""], true),
            (&["severity=~\"crit.*|\", rule='r'"], true),
            (&["severity=~\".+\""], false),
            (&[], true),
        ];
        for (matchers, wanted) in all {
            assert_eq!(interest(matchers, None).wants(&firing("A", 1), at(1)), wanted, "{matchers:?}");
            assert_eq!(interest(matchers, None).wants(&resolved("A", 1, 2), at(1)), wanted, "{matchers:?}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_its_place() {
        for bad in
            ["", "{}x", "severity", "severity=critical", "severity=~\"(\"", "a=\"b\" c=\"d\"", "{a=\"b\"", "9=\"a\""]
        {
            assert!(Matchers::parse(bad).is_err(), "{bad}");
        }
        let error = Matchers::parse("severity=critical").unwrap_err().to_string();
        assert!(error.contains("byte 9") && error.contains("quotes"), "{error}");
    }

    #[test]
    fn what_still_fires_is_told_again_when_its_time_has_come() {
        let mut interest = interest(&[], Some(100));
        let again = repeat(&firing("A", 1), 5);
        assert!(interest.wants(&firing("A", 1), at(0)));
        assert!(!interest.wants(&again, at(60)) && !interest.wants(&again, at(99)));
        assert!(interest.wants(&again, at(100)));
        assert!(!interest.wants(&again, at(160)) && interest.wants(&again, at(200)));
        assert!(interest.wants(&resolved("A", 1, 2), at(201)));
        assert!(!interest.wants(&repeat(&resolved("A", 1, 2), 5), at(400)), "an end is told once");
        // After a restart we do not know when it was told: not at once, so that no restart is a storm.
        assert!(
            !interest.wants(&again, at(500)) && !interest.wants(&again, at(599)) && interest.wants(&again, at(600))
        );
        // Nor does a clock that is set back put it off by that much.
        assert!(!interest.wants(&again, at(10)) && !interest.wants(&again, at(109)) && interest.wants(&again, at(110)));
    }

    #[test]
    fn without_repeat_nothing_is_told_twice_but_to_those_who_count_by_themselves() {
        let again = repeat(&firing("A", 1), 5);
        assert!(!interest(&[], None).wants(&again, at(1_000_000)));
        assert!(Interest::new(Wants::default(), true).wants(&again, at(1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut interest = interest(&[], Some(100));
        for number in 0..=MAX_FOLLOWED {
            let seconds = u64::try_from(number).unwrap();
            assert!(interest.wants(&firing(&format!("A{number}"), 1), at(seconds)));
        }
        assert_eq!(interest.told.len(), MAX_FOLLOWED);
        assert!(!interest.told.keys().any(|key| key.name == "A0"));
    }
}
