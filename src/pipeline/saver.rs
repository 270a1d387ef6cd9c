//! Commits what the book and the rules have come to before anybody is told of it. A store that hangs or fails holds up the
//! owner once, for a moment; what it did not take is written later.

use super::{Delivery, Evaluation, Input, Touched, Verdict, book::Book, saved};
use crate::{
    model::{RuleState, Timestamp},
    store::{Change, Reply, Row, Store, Table},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::oneshot::error::TryRecvError;

/// How long alerts wait for the store. Then they are told all the same, marked.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(1);

/// Distance between two notes that we are alive, while nothing else is written.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What is not in the store.
#[derive(Default)]
struct Unsaved {
    touched: Touched,
    /// By rule, what it remembers; `None` = it is gone.
    states: BTreeMap<String, Option<RuleState>>,
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.states.is_empty()
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
    /// `states`: what the store has of each rule; `touched`: what it has otherwise than it is.
    pub(super) fn new(store: Store, states: BTreeMap<String, RuleState>, touched: Touched) -> Self {
        Self {
            store,
            unsaved: Unsaved { touched, states: BTreeMap::new() },
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

    /// Nobody is told of what is at this place of the outbox.
    pub(super) fn forget(&mut self, sequence: u64) {
        self.unsaved.touched.lapsed.insert(sequence);
    }

    /// Commits what changed: what was touched or noted, what was not taken before, and `deliveries` that are to wait in the
    /// outbox. True: all of it is in the store. Waits for [`COMMIT_DEADLINE`], but not while the store fails already. What
    /// is told although it is not stored is not put into the outbox later: it may be told by then.
    pub(super) async fn save(
        &mut self,
        book: &Book,
        touched: Touched,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> bool {
        self.unsaved.touched.extend(touched);
        if self.in_flight.is_some() && !self.landed(self.patience()).await {
            return false;
        }
        let alive = self.alive.is_some_and(|at| now >= at && now.since(at) < ALIVE_INTERVAL);
        let outbox: Vec<Change> = deliveries.iter().filter_map(saved::delivery_change).collect();
        if self.unsaved.is_empty() && alive && outbox.is_empty() {
            return self.failing.is_none();
        }
        let touched = &self.unsaved.touched;
        let mut changes: Vec<Change> = touched.alerts.iter().map(|key| saved::alert_change(book, key)).collect();
        changes.extend(touched.deeds.iter().flat_map(|sequence| saved::deed_changes(book, *sequence)));
        changes.extend(touched.keys.iter().map(|key| saved::key_change(book, key)));
        changes.extend(touched.lapsed.iter().flat_map(|sequence| saved::told_changes(*sequence)));
        changes.extend(outbox);
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
                self.unsaved.touched.extend(sent.touched);
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
        if !self.save(book, Touched::default(), &[], now).await {
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
