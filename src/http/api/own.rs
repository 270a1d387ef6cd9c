//! What is asked of our own API, and what is known for the answers.

use super::{
    alerts, groups,
    standing::{self, Standing},
    status, success, topics,
    wanted::Wanted,
};
use crate::{
    alerts::AlertsView,
    events::SelfMetrics,
    history::History,
    http::Readiness,
    model::Timestamp,
    pipeline::{NotifiersView, RulesView},
    snapshot::Snapshot,
};
use serde::Serialize;
use std::sync::Arc;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Ask {
    /// `/api/v1/overview`.
    Overview,
    /// `/api/v1/groups`.
    Groups,
    /// `/api/v1/group`.
    Group,
    /// `/api/v1/topics`.
    Topics,
    /// `/api/v1/topic`.
    Topic,
    /// `/api/v1/targets`.
    Targets,
    /// `/api/v1/rules/status`.
    Rules,
    /// `/api/v1/alerts/status`.
    Alerts,
    /// `/api/v1/notifiers`.
    Notifiers,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum Refused {
    /// The request was not understood.
    BadData(String),
    /// There is no such thing.
    NotFound(String),
    /// Not now.
    Busy(String),
}

/// What there is to be seen at one moment.
pub(in crate::http) struct Seen<'a> {
    pub(in crate::http) now: Timestamp,
    pub(in crate::http) snapshot: Arc<Snapshot>,
    pub(in crate::http) alerts: Arc<AlertsView>,
    pub(in crate::http) rules: Arc<RulesView>,
    pub(in crate::http) readiness: Arc<Readiness>,
    pub(in crate::http) history: Arc<History>,
    pub(in crate::http) notifiers: Arc<NotifiersView>,
    pub(in crate::http) metrics: &'a SelfMetrics,
    /// What can be asked of this agent by GET.
    pub(in crate::http) paths: &'static [&'static str],
}

/// What was worked out for answers before, and still holds.
#[derive(Default)]
pub(in crate::http) struct Known {
    standings: Option<Standings>,
}

/// All groups, the most urgent first, and what they were made of.
struct Standings {
    snapshot: Arc<Snapshot>,
    alerts: Arc<AlertsView>,
    all: Arc<[Standing]>,
}

/// Each answer has these beside its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dated<T> {
    now_ms: u64,
    /// Number of the snapshot.
    snapshot_number: u64,
    #[serde(flatten)]
    answer: T,
}

impl Known {
    /// JSON.
    ///
    /// # Errors
    /// When the request is not understood, or there is no such thing.
    pub(in crate::http) fn answer(&mut self, ask: Ask, query: &str, seen: &Seen<'_>) -> Result<String, Refused> {
        let wanted = Wanted::parse(query)?;
        let all = self.standings(seen);
        let (snapshot, kafka) = (&*seen.snapshot, seen.snapshot.kafka.as_deref());
        Ok(match ask {
            Ask::Overview => {
                let (rules, alerts, ready) = (&seen.rules, &seen.alerts, &seen.readiness);
                dated(seen, status::overview(snapshot, &all, rules, alerts, ready, seen.paths))
            }
            Ask::Groups => dated(seen, groups::list(kafka, &all, &seen.history, &wanted)?),
            Ask::Group => dated(seen, groups::detail(kafka, &all, &seen.history, &seen.alerts, &wanted)?),
            Ask::Topics => dated(seen, topics::list(kafka, &wanted)?),
            Ask::Topic => dated(seen, topics::detail(kafka, &all, &wanted)?),
            Ask::Targets => dated(seen, status::targets(snapshot, seen.metrics)),
            Ask::Rules => dated(seen, status::rules(&seen.rules, &seen.alerts, seen.metrics, &wanted)?),
            Ask::Alerts => dated(seen, alerts::list(&seen.alerts, &wanted)?),
            Ask::Notifiers => dated(seen, alerts::notifiers(&seen.notifiers, seen.metrics)),
        })
    }

    /// All groups, the most urgent first: worked out once for each snapshot and each change of alerts.
    fn standings(&mut self, seen: &Seen<'_>) -> Arc<[Standing]> {
        let is_same = |known: &&Standings| {
            Arc::ptr_eq(&known.snapshot, &seen.snapshot) && Arc::ptr_eq(&known.alerts, &seen.alerts)
        };
        if let Some(known) = self.standings.as_ref().filter(is_same) {
            return Arc::clone(&known.all);
        }
        let kafka = seen.snapshot.kafka.as_deref();
        let all: Arc<[Standing]> =
            kafka.map(|kafka| standing::by_urgency(kafka, &seen.alerts)).unwrap_or_default().into();
        let (snapshot, alerts) = (Arc::clone(&seen.snapshot), Arc::clone(&seen.alerts));
        self.standings = Some(Standings { snapshot, alerts, all: Arc::clone(&all) });
        all
    }
}

fn dated(seen: &Seen<'_>, answer: impl Serialize) -> String {
    success(Dated { now_ms: seen.now.0, snapshot_number: seen.snapshot.number, answer })
}

#[cfg(test)]
mod tests;
