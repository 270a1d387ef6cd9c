//! Everything that is known of all alerts: the one state that [`tick`](super::tick) turns into the next. Does not know
//! how it is kept over a restart.

use super::{
    AlertsView, Delivery, OwnActions, OwnAlerts, RuleSettings,
    action::{ActionStatus, ActionsView},
    deeds::DeedBook,
    own::is_reserved,
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::{BrokerId, Labels, Measurement},
    snapshot::Snapshot,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Pending and firing alerts of all rules together. A rule may take as many as are still free and no more, so that those
/// that want much never take the place of those that want little.
pub const MAX_ALERTS: usize = 20_000;

/// Pending and firing alerts of one rule; more are not taken.
pub const MAX_ALERTS_PER_RULE: usize = 5_000;

/// Resolved alerts that are kept to be told again; of the rules that have the most, those resolved longest ago are forgotten
/// first.
pub const MAX_RESOLVED: usize = 10_000;

/// Actions of its own that a rule is told of: those that wait, then those that ended last.
pub const MAX_OWN_ACTIONS: usize = 100;

/// A rule that is live.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    /// What agent.yaml and the YAML beside it say.
    pub(super) settings: Arc<RuleSettings>,
    /// Which load of it.
    pub(super) generation: u64,
    /// What its last evaluation measured; empty when that did not succeed.
    pub(super) measurements: Vec<Measurement>,
}

/// An alert, and who speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) alert: Arc<Alert>,
    /// We do. Another agent's alert is followed in silence, so that we know it when it becomes ours.
    pub(super) spoken: bool,
    /// What receivers know of it.
    pub(super) told: Option<Told>,
    /// It is from before our start, and it is not known yet whether we still answer for it: nobody hears of it.
    pub(super) restored: bool,
}

impl Held {
    /// Do we tell of it?
    pub(super) fn speaks(&self) -> bool {
        self.spoken && !self.restored
    }
}

/// What receivers were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Firing or resolved.
    pub(super) phase: Phase,
    /// We told it; else whoever spoke for it then should have.
    pub(super) by_us: bool,
}

/// The state of all alerts. A value: what is to be undone is simply not kept.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The live rules by name. An evaluation of any other is late and does not count.
    pub(super) rules: BTreeMap<String, Installed>,
    /// All alerts; those of one rule stand together. A rule that is gone may have resolved ones.
    pub(super) alerts: BTreeMap<AlertKey, Held>,
    /// The cluster's name and our broker as last known: an alert must not change its identity while Kafka is away.
    pub(super) cluster: Arc<str>,
    /// See `cluster`.
    pub(super) broker: Option<BrokerId>,
    /// The newest snapshot: who answers for what now.
    pub(super) latest: Option<Arc<Snapshot>>,
    /// There are other brokers, and so other agents that may answer for what we answered for.
    pub(super) others: bool,
    /// Rules that were in the shadow when the agent before us ended; counts of each until it is live again.
    pub(super) shadowed: BTreeSet<String>,
    /// Actions.
    pub(super) deeds: DeedBook,
    /// What was decided before our start and is not known to be told, by its place in the outbox.
    pub(super) untold: BTreeMap<u64, Delivery>,
    /// The next place in the outbox.
    pub(super) next_sequence: u64,
}

impl Book {
    /// A book in which these alerts stand, told by us. They count once their rules are installed.
    pub fn with_alerts(alerts: Vec<Alert>) -> Self {
        let held = alerts.into_iter().map(|alert| {
            let told = (alert.phase != Phase::Pending).then_some(Told { phase: alert.phase, by_us: true });
            (alert.key.clone(), Held { alert: Arc::new(alert), spoken: true, told, restored: false })
        });
        Self { alerts: held.collect(), ..Self::default() }
    }

    /// For /metrics, the API and people: what we speak for.
    pub fn view(&self) -> AlertsView {
        let measured = self.rules.iter().filter(|(_, rule)| !rule.measurements.is_empty());
        AlertsView {
            alerts: self.alerts.values().filter(|held| held.speaks()).map(|held| Arc::clone(&held.alert)).collect(),
            shadow: self.shadow(),
            measurements: measured.map(|(name, rule)| (name.clone(), rule.measurements.clone())).collect(),
        }
    }

    /// Is that rule told to nobody?
    pub(super) fn is_shadow(&self, rule: &str) -> bool {
        self.rules.get(rule).map_or_else(|| self.shadowed.contains(rule), |live| live.settings.shadow)
    }

    /// The rules that are told to nobody.
    pub(super) fn shadow(&self) -> BTreeSet<String> {
        let known = self.rules.keys().chain(&self.shadowed);
        known.filter(|rule| self.is_shadow(rule)).cloned().collect()
    }

    /// What each rule may know of its own alerts. That it keeps failing is the agent's to say.
    pub fn own_alerts(&self) -> OwnAlerts {
        let mut by_rule: BTreeMap<String, Vec<Arc<Alert>>> = BTreeMap::new();
        for held in self.alerts.values().filter(|held| is_active(&held.alert) && !is_reserved(&held.alert.key.name)) {
            by_rule.entry(held.alert.key.rule.clone()).or_default().push(Arc::clone(&held.alert));
        }
        by_rule.into_iter().map(|(rule, alerts)| (rule, alerts.into())).collect()
    }

    /// Actions as people see them.
    pub fn actions(&self) -> ActionsView {
        ActionsView {
            waiting: self.deeds.waiting.values().map(|waiting| Arc::clone(&waiting.deed)).collect(),
            ended: self.deeds.ended.iter().rev().cloned().collect(),
            refused: self.deeds.refused.values().cloned().collect(),
        }
    }

    /// What became of what each rule asked for, the newest first.
    pub fn own_actions(&self) -> OwnActions {
        let mut by_rule: BTreeMap<String, Vec<ActionStatus>> = BTreeMap::new();
        let waiting = self.deeds.waiting.values().rev();
        let waiting = waiting.map(|waiting| ActionStatus { deed: Arc::clone(&waiting.deed), result: None });
        let ended = self.deeds.ended.iter().rev();
        let ended = ended.map(|(deed, result)| ActionStatus { deed: Arc::clone(deed), result: Some(result.clone()) });
        for status in waiting.chain(ended) {
            let of_rule = by_rule.entry(status.deed.rule.clone()).or_default();
            if of_rule.len() < MAX_OWN_ACTIONS {
                of_rule.push(status);
            }
        }
        by_rule.into_iter().map(|(rule, actions)| (rule, actions.into())).collect()
    }

    /// A place in the outbox that no other had.
    pub(super) fn place(&mut self) -> u64 {
        let place = self.next_sequence;
        self.next_sequence = place.saturating_add(1);
        place
    }

    /// The alerts of one rule.
    pub(super) fn of_rule<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = (&'a AlertKey, &'a Held)> {
        let first = AlertKey { rule: rule.to_owned(), name: String::new(), labels: Labels::new() };
        self.alerts.range(first..).take_while(move |(key, _)| key.rule == rule)
    }
}

/// Does it count against the caps?
pub(super) fn is_active(alert: &Alert) -> bool {
    alert.phase != Phase::Resolved
}
