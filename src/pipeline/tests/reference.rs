//! The alerts of one rule as Prometheus' rules/alerting.go has them, as plainly as can be: the judge of `tick` in
//! `properties`. Times are seconds. What Prometheus does not have is marked.

use super::Phase;
use std::collections::BTreeMap;

const RESEND: u64 = 60;
const UNTIL_END: u64 = 4 * RESEND;
const RETENTION: u64 = 15 * 60;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Life {
    pub(super) phase: Phase,
    pub(super) active_at: u64,
    pub(super) fired_at: Option<u64>,
    pub(super) resolved_at: Option<u64>,
    pub(super) keep_since: Option<u64>,
    pub(super) value: u8,
    /// Its phase was told.
    told: bool,
    last_sent: u64,
    /// Ours: what was stored may say that it was told longer ago than it was, so that a repetition may come early.
    early: bool,
}

/// All alerts by name, and what came of the last moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub(super) pending_for: u64,
    pub(super) keep_firing_for: u64,
    pub(super) lives: BTreeMap<String, Life>,
    /// By name: `new>pending`, `firing>resolved`, …
    pub(super) transitions: BTreeMap<String, Vec<String>>,
    /// By name: `firing until 240`, `resolved again until 30`, …
    pub(super) words: BTreeMap<String, Vec<String>>,
}

impl Reference {
    /// A moment begins. Ours: nothing lies ahead of it.
    pub(super) fn begin(&mut self, now: u64) {
        self.transitions.clear();
        self.words.clear();
        for life in self.lives.values_mut() {
            life.active_at = life.active_at.min(now);
            life.fired_at = life.fired_at.map(|at| at.min(now));
            life.resolved_at = life.resolved_at.map(|at| at.min(now));
            life.keep_since = life.keep_since.map(|at| at.min(now));
            life.last_sent = life.last_sent.min(now);
        }
    }

    /// One evaluation at `at`. `seen`, which is ours: could it see whether the others hold?
    pub(super) fn evaluate(&mut self, at: u64, now: u64, holds: &BTreeMap<String, u8>, seen: bool) {
        let at = at.min(now);
        let before = self.lives.clone();
        for (name, value) in holds {
            let life = self.lives.entry(name.clone()).or_insert_with(|| Life::new(at));
            if life.phase == Phase::Resolved {
                *life = Life::new(at);
            }
            life.value = *value;
            life.keep_since = None;
            if life.phase == Phase::Pending && at.saturating_sub(life.active_at) >= self.pending_for {
                (life.phase, life.fired_at, life.told) = (Phase::Firing, Some(at), false);
            }
        }
        let keep = self.keep_firing_for;
        for (_, life) in self.lives.iter_mut().filter(|(name, _)| seen && !holds.contains_key(*name)) {
            if life.phase != Phase::Firing {
                continue;
            }
            if keep > 0 && at.saturating_sub(*life.keep_since.get_or_insert(at)) < keep {
                continue;
            }
            life.resolve(at);
        }
        self.lives.retain(|name, life| life.phase != Phase::Pending || !seen || holds.contains_key(name));
        self.note(&before, now);
    }

    /// Ours: the rule is gone.
    pub(super) fn removed(&mut self, now: u64) {
        let before = self.lives.clone();
        self.lives.retain(|_, life| life.phase != Phase::Pending);
        self.lives.values_mut().filter(|life| life.phase == Phase::Firing).for_each(|life| life.resolve(now));
        self.note(&before, now);
    }

    /// Ours: the agent was last alive at `alive`, and it is `now`. Clocks stood still.
    pub(super) fn restarted(&mut self, alive: u64, now: u64) {
        let down = now.saturating_sub(alive);
        for life in self.lives.values_mut() {
            if life.phase == Phase::Pending {
                life.active_at += down;
            }
            life.keep_since = life.keep_since.map(|since| since + down);
            life.early = true;
        }
    }

    /// What Prometheus sends after an evaluation, and what it forgets.
    pub(super) fn end(&mut self, now: u64) {
        self.tell(now);
        self.lives.retain(|_, life| life.resolved_at.is_none_or(|at| now.saturating_sub(at) <= RETENTION));
        for (name, life) in &mut self.lives {
            if life.phase != Phase::Pending && now.saturating_sub(life.last_sent) >= RESEND {
                self.words.entry(name.clone()).or_default().push(life.word(true, now));
            }
        }
    }

    /// An early repetition, where there may be one.
    pub(super) fn may_be_early(&mut self, name: &str, now: u64) -> bool {
        self.lives.get_mut(name).is_some_and(|life| {
            let early = life.early && life.phase != Phase::Pending;
            if early {
                life.word(true, now);
            }
            early
        })
    }

    /// What changed between two evaluations is a transition, and each change of what is told is told at once.
    fn note(&mut self, before: &BTreeMap<String, Life>, now: u64) {
        for (name, old) in before {
            if !self.lives.contains_key(name) {
                self.transitions.entry(name.clone()).or_default().push(format!("{}>gone", old.phase.text()));
            }
        }
        for (name, life) in &self.lives {
            let from = before.get(name).map(|life| life.phase);
            if from != Some(life.phase) {
                let text = format!("{}>{}", from.map_or("new", Phase::text), life.phase.text());
                self.transitions.entry(name.clone()).or_default().push(text);
            }
        }
        self.tell(now);
    }

    fn tell(&mut self, now: u64) {
        for (name, life) in self.lives.iter_mut().filter(|(_, life)| life.phase != Phase::Pending && !life.told) {
            self.words.entry(name.clone()).or_default().push(life.word(false, now));
        }
    }
}

impl Life {
    fn new(at: u64) -> Self {
        Self {
            phase: Phase::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_since: None,
            value: 0,
            told: true,
            last_sent: 0,
            early: false,
        }
    }

    fn resolve(&mut self, at: u64) {
        self.phase = Phase::Resolved;
        self.keep_since = None;
        self.resolved_at = Some(at);
        self.told = false;
    }

    fn word(&mut self, again: bool, now: u64) -> String {
        (self.told, self.early, self.last_sent) = (true, false, now);
        let until = self.resolved_at.unwrap_or(now + UNTIL_END);
        format!("{}{} until {until}", self.phase.text(), if again { " again" } else { "" })
    }
}
