//! What the agent itself raises: alerts about its rules and its store. Pure.

use crate::model::{BoundedText, Labels, RaisedAlert, Subject};

/// The alert about a rule that keeps failing; rules may not raise it themselves.
pub const RULE_FAILING: &str = "BrokerwardenRuleFailing";

/// The alert about a store that does not take what was decided; likewise.
pub const STORE_FAILING: &str = "BrokerwardenStoreFailing";

/// The alert about a rule whose alerts have no place in the book; likewise.
pub const ALERTS_DROPPED: &str = "BrokerwardenAlertsDropped";

/// The label `rule` of alerts that are about no rule. No rule can be called so.
pub const OWN_RULE: &str = "brokerwarden itself";

/// Bytes kept of a rule's error in the annotations of [`RULE_FAILING`], or of the store's in [`STORE_FAILING`].
pub const MAX_ERROR_TEXT: usize = 1024;

/// Is this the name of an alert that only the agent raises?
pub(super) fn is_reserved(name: &str) -> bool {
    [RULE_FAILING, STORE_FAILING, ALERTS_DROPPED].contains(&name)
}

/// The store does not take what was decided.
pub(super) fn store_failing(error: &str) -> RaisedAlert {
    let annotations = [
        ("summary", "alerts and rule state are not stored: a restart of this agent would forget them".to_owned()),
        ("description", BoundedText(error, MAX_ERROR_TEXT).to_string()),
    ];
    RaisedAlert {
        subject: Subject::Agent,
        name: STORE_FAILING.into(),
        labels: Labels::from([("severity".into(), "warning".into())]),
        annotations: annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
        value: None,
    }
}

/// A rule raised more alerts than there is place for.
pub(super) fn alerts_dropped(rule: &str, count: u64) -> RaisedAlert {
    let annotations = [
        ("summary", format!("{count} alerts of rule {rule} were not taken: there are too many")),
        (
            "description",
            "one alert for each group or topic is usually enough; docs/limits.md says how many there may be".to_owned(),
        ),
    ];
    RaisedAlert {
        subject: Subject::Agent,
        name: ALERTS_DROPPED.into(),
        labels: Labels::from([("severity".into(), "warning".into())]),
        annotations: annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
        value: None,
    }
}

/// A rule keeps failing.
pub(super) fn rule_failing(rule: &str, reason: &str, text: &str) -> RaisedAlert {
    let annotations = [
        ("summary", format!("rule {rule} keeps failing ({reason}); its alerts neither fire nor resolve")),
        ("description", BoundedText(text, MAX_ERROR_TEXT).to_string()),
    ];
    RaisedAlert {
        subject: Subject::Agent,
        name: RULE_FAILING.into(),
        labels: Labels::from([("severity".into(), "warning".into())]),
        annotations: annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
        value: None,
    }
}
