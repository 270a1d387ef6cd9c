//! Commits what the book and the rules have come to before anybody is told of it. A store that hangs or fails holds up the
//! owner once, for a moment; what it did not take is written later.

use super::{Evaluation, Input, Verdict, book::Book, saved};
use crate::{
    alerts::AlertKey,
    model::{RuleState, Timestamp},
    store::{Change, Reply, Row, Store, Table},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::oneshot::error::TryRecvError;

/// How long alerts wait for the store. Then they are told all the same, marked.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(1);

/// Distance between two notes that we are alive, while nothing else is written.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What is not in the store.
#[derive(Default)]
struct Unsaved {
    alerts: BTreeSet<AlertKey>,
    /// By rule, what it remembers; `None` = it is gone.
    states: BTreeMap<String, Option<RuleState>>,
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.states.is_empty()
    }
}

/// See the module.
pub(super) struct Saver {
    store: Store,
    unsaved: Unsaved,
    /// What the store has of each rule.
    states: BTreeMap<String, RuleState>,
    in_flight: Option<(Reply, Unsaved)>,
    alive: Option<Timestamp>,
    /// Why what was decided is not in the store.
    pub(super) failing: Option<String>,
}

impl Saver {
    /// `states`: what the store has of each rule; `touched`: alerts that it has otherwise than they are.
    pub(super) fn new(store: Store, states: BTreeMap<String, RuleState>, touched: BTreeSet<AlertKey>) -> Self {
        Self {
            store,
            unsaved: Unsaved { alerts: touched, states: BTreeMap::new() },
            states,
            in_flight: None,
            alive: None,
            failing: None,
        }
    }

    /// Notes what the rules remember, and which are gone.
    pub(super) fn note(&mut self, inputs: &[Input]) {
        for input in inputs {
            match input {
                Input::Evaluated(Evaluation { settings, verdict: Verdict::Outcome(_), state: Some(state), .. }) => {
                    self.remember(&settings.name, state);
                }
                Input::Remembers { rule, state } => self.remember(rule, state),
                Input::Removed { rule, .. } => {
                    self.unsaved.states.insert(rule.clone(), None);
                }
                Input::Known(rules) => {
                    let gone = self.states.keys().filter(|rule| !rules.contains(*rule));
                    self.unsaved.states.extend(gone.map(|rule| (rule.clone(), None)));
                }
                Input::Seen(_)
                | Input::Installed { .. }
                | Input::Evaluated(_)
                | Input::Store(_)
                | Input::Policies(_)
                | Input::Ended(_) => {}
            }
        }
    }

    fn remember(&mut self, rule: &str, state: &RuleState) {
        let known = match self.unsaved.states.get(rule) {
            Some(known) => known.as_ref(),
            None => self.states.get(rule),
        };
        if known.cloned().unwrap_or_default() != *state {
            self.unsaved.states.insert(rule.to_owned(), Some(state.clone()));
        }
    }

    /// Commits what changed: `touched` alerts, what was noted, what was not taken before. True: all of it is in the store.
    /// Waits for [`COMMIT_DEADLINE`], but not while the store fails already.
    pub(super) async fn save(&mut self, book: &Book, touched: BTreeSet<AlertKey>, now: Timestamp) -> bool {
        self.unsaved.alerts.extend(touched);
        if self.in_flight.is_some() && !self.landed(self.patience()).await {
            return false;
        }
        let alive = self.alive.is_some_and(|at| now >= at && now.since(at) < ALIVE_INTERVAL);
        if self.unsaved.is_empty() && alive {
            return self.failing.is_none();
        }
        let mut changes: Vec<Change> = self.unsaved.alerts.iter().map(|key| saved::alert_change(book, key)).collect();
        for (rule, state) in &self.unsaved.states {
            changes.extend(state_changes(rule, self.states.get(rule), state.as_ref()));
        }
        changes.extend(saved::meta_changes(book, now));
        self.alive = Some(now);
        self.in_flight = Some((self.store.commit(changes), std::mem::take(&mut self.unsaved)));
        // Anew: what was under way may have shown that the store works again.
        self.landed(self.patience()).await
    }

    fn patience(&self) -> Duration {
        if self.failing.is_some() { Duration::ZERO } else { COMMIT_DEADLINE }
    }

    /// Waits for what is under way. True: the store has all of it.
    async fn landed(&mut self, patience: Duration) -> bool {
        let Some((reply, _)) = &mut self.in_flight else { return self.failing.is_none() };
        let result = match reply.try_recv() {
            Err(TryRecvError::Empty) => match tokio::time::timeout(patience, &mut *reply).await {
                Ok(Ok(result)) => Some(result.map_err(|error| error.to_string())),
                Ok(Err(_)) => Some(Err("the store is closed".to_owned())),
                Err(_) => None,
            },
            Ok(result) => Some(result.map_err(|error| error.to_string())),
            Err(TryRecvError::Closed) => Some(Err("the store is closed".to_owned())),
        };
        let Some(result) = result else {
            self.failing.get_or_insert_with(|| format!("the store does not answer within {COMMIT_DEADLINE:?}"));
            return false;
        };
        let Some((_, sent)) = self.in_flight.take() else { return false };
        match result {
            Ok(()) => {
                for (rule, state) in sent.states {
                    match state {
                        Some(state) => self.states.insert(rule, state),
                        None => self.states.remove(&rule),
                    };
                }
                self.failing = None;
                true
            }
            Err(error) => {
                self.unsaved.alerts.extend(sent.alerts);
                for (rule, state) in sent.states {
                    self.unsaved.states.entry(rule).or_insert(state);
                }
                // A note that we are alive is as old as what goes with it.
                self.alive = None;
                self.failing = Some(error);
                false
            }
        }
    }

    /// The last commit of all: what is not in the store is lost otherwise.
    pub(super) async fn finish(mut self, book: &Book, now: Timestamp) {
        self.alive = None;
        if !self.save(book, BTreeSet::new(), now).await {
            let error = self.failing.unwrap_or_default();
            tracing::warn!(error, "stopped before the alerts were stored; the next start knows what was stored before");
        }
    }
}

/// What makes `new` of what is stored of a rule. Where it is not known what that is, all of it goes first.
fn state_changes(rule: &str, stored: Option<&RuleState>, new: Option<&RuleState>) -> Vec<Change> {
    let (table, scope) = (Table::RuleState, rule.to_owned());
    let clear = Change::RemoveScope { table, scope: scope.clone() };
    let Some(new) = new else { return vec![clear] };
    let clear = stored.is_none().then_some(clear);
    let (stored, new) = (stored.map(saved::state_rows).unwrap_or_default(), saved::state_rows(new));
    let gone = stored.keys().filter(|key| !new.contains_key(*key));
    let remove = gone.map(|key| Change::Remove { table, scope: scope.clone(), key: key.clone() });
    let changed = new.iter().filter(|(key, value)| stored.get(*key) != Some(*value));
    let put = changed
        .map(|(key, value)| Change::Put(table, Row { scope: scope.clone(), key: key.clone(), value: value.to_vec() }));
    clear.into_iter().chain(remove).chain(put).collect()
}
