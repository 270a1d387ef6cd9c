//! One rule on one snapshot after the other, with its alerts: the agent's own host and its own alert book.

use crate::{
    alerts::Alert,
    model::Timestamp,
    pipeline::{ActionStatus, Book, Evaluation, Input, Transition, Verdict, tick},
    rules::{Offline, OfflineRule},
    snapshot::Snapshot,
};
use std::{collections::BTreeMap, sync::Arc};

/// The one generation of a rule that is played.
const GENERATION: u64 = 1;

/// A rule and its alerts at one moment.
pub struct Played {
    rule: OfflineRule,
    book: Book,
    last: Option<Verdict>,
}

/// What happened at one snapshot.
pub struct Step {
    /// How the evaluation ended; `None` = there was none.
    pub verdict: Option<Verdict>,
    /// Changes of alerts, in order.
    pub transitions: Vec<Transition>,
    /// Alerts that were raised and not taken, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Played {
    /// Makes the rule live at `at`. `book` may know alerts of it.
    pub fn new(rule: OfflineRule, book: Book, at: Timestamp) -> Self {
        let installed = Input::Installed { settings: Arc::clone(rule.settings()), generation: GENERATION };
        let book = tick(book, vec![installed], at).book;
        Self { rule, book, last: None }
    }

    /// What became of the actions that it asked for, from the next evaluation on. Here nothing is done: without this there are none.
    pub fn know_actions(&mut self, actions: Arc<[ActionStatus]>) {
        self.rule.know_actions(actions);
    }

    /// Evaluates the rule if it is due, and takes what it says, at the snapshot's time.
    pub fn step(&mut self, host: &Offline, snapshot: &Arc<Snapshot>, seed: Option<&[u8; 32]>) -> Step {
        self.rule.observe(snapshot);
        let mut inputs = vec![Input::Seen(Arc::clone(snapshot))];
        let verdict = self.rule.is_due(snapshot).then(|| {
            let own = self.book.own_alerts().remove(&self.rule.settings().name);
            self.rule.know_alerts(own.unwrap_or_default());
            host.evaluate(&mut self.rule, snapshot, seed)
        });
        if let Some(verdict) = &verdict {
            inputs.push(Input::Evaluated(Evaluation {
                settings: Arc::clone(self.rule.settings()),
                generation: GENERATION,
                snapshot: Arc::clone(snapshot),
                verdict: verdict.clone(),
                failures_in_a_row: self.rule.failures_in_a_row(),
                state: None,
            }));
            self.last = Some(verdict.clone());
        }
        let ticked = tick(std::mem::take(&mut self.book), inputs, snapshot.at);
        self.book = ticked.book;
        let dropped = ticked.dropped.into_iter().map(|((reason, _), count)| (reason, count)).collect();
        Step { verdict, transitions: ticked.transitions, dropped }
    }

    /// The alerts that the agent would show.
    pub fn alerts(&self) -> Vec<Arc<Alert>> {
        self.book.view().alerts
    }

    /// How the last evaluation ended.
    pub fn last(&self) -> Option<&Verdict> {
        self.last.as_ref()
    }

    /// What the rule remembers, sorted by key.
    pub fn state(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.rule.state()
    }
}
