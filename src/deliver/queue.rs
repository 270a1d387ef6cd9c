//! What one notifier has still to tell, in order and bounded. Pure: knows neither who listens nor how.

use crate::{
    alerts::{Alert, AlertKey},
    pipeline::Delivery,
};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An alert found by its identity.
#[derive(Debug)]
struct ByKey(Arc<Alert>);

impl Borrow<AlertKey> for ByKey {
    fn borrow(&self) -> &AlertKey {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// Where what is said of one rule's alerts stands.
#[derive(Debug, Default)]
struct OfRule {
    /// What is nothing new.
    repeats: BTreeSet<i64>,
    transitions: BTreeSet<i64>,
    /// When it was put first; 0 = not since it had something to say.
    turn: u64,
}

impl OfRule {
    fn len(&self) -> usize {
        self.repeats.len().saturating_add(self.transitions.len())
    }

    fn first(&self) -> Option<i64> {
        [self.repeats.first(), self.transitions.first()].into_iter().flatten().min().copied()
    }

    fn in_order(&self) -> impl Iterator<Item = i64> {
        self.repeats.union(&self.transitions).copied()
    }
}

/// Deliveries in order. Transitions of one alert stay in order; of repeats only the newest word is kept.
#[derive(Debug)]
pub(super) struct Queue {
    entries: BTreeMap<i64, Delivery>,
    /// Where the newest word about an alert is.
    newest: BTreeMap<ByKey, i64>,
    of_rule: BTreeMap<String, OfRule>,
    /// Rules that were put first.
    turns: u64,
    /// Numbers outside which all are free.
    first: i64,
    next: i64,
    capacity: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            newest: BTreeMap::new(),
            of_rule: BTreeMap::new(),
            turns: 0,
            first: 0,
            next: 0,
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the newest word about an alert; returns what was dropped for it.
    pub(super) fn push(&mut self, delivery: Delivery) -> Vec<Delivery> {
        if let Some(&at) = self.newest.get(&delivery.alert.key)
            && let Some(queued) = self.entries.get_mut(&at)
        {
            if !delivery.transition && is_same_life(&queued.alert, &delivery.alert) {
                // The word that waits has not been told yet: it is told with what is true now.
                let stored = queued.stored.take();
                *queued = Delivery { transition: queued.transition, stored, ..delivery };
                return Vec::new();
            }
            if !queued.transition {
                self.remove(at);
            }
        }
        let at = self.next;
        self.next = self.next.saturating_add(1);
        self.newest.remove(&delivery.alert.key);
        self.newest.insert(ByKey(Arc::clone(&delivery.alert)), at);
        self.insert(at, delivery);
        self.trim()
    }

    /// Puts what was taken and could not be told before all others, brought up to date by what came meanwhile. Returns
    /// what was dropped for it.
    pub(super) fn put_back(&mut self, taken: Vec<Delivery>) -> Vec<Delivery> {
        for mut delivery in taken.into_iter().rev() {
            let newer = self.newest.get(&delivery.alert.key).copied();
            if let Some(newer) = newer {
                if !delivery.transition {
                    continue;
                }
                let replaces = self
                    .entries
                    .get(&newer)
                    .is_some_and(|newer| !newer.transition && is_same_life(&newer.alert, &delivery.alert));
                if replaces && let Some(newer) = self.remove(newer) {
                    delivery = Delivery { transition: true, stored: delivery.stored, ..newer };
                }
            }
            self.first = self.first.saturating_sub(1);
            if !self.newest.contains_key(&delivery.alert.key) {
                self.newest.insert(ByKey(Arc::clone(&delivery.alert)), self.first);
            }
            self.insert(self.first, delivery);
        }
        self.trim()
    }

    /// Takes up to `max` of those for which `wanted` says so, oldest first and at most one word about each alert, so
    /// that no receiver sees two in an order of its own.
    pub(super) fn take(&mut self, max: usize, mut wanted: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let mut seen: BTreeSet<&AlertKey> = BTreeSet::new();
        let mut chosen = Vec::new();
        for (at, delivery) in &self.entries {
            if chosen.len() >= max {
                break;
            }
            if wanted(delivery) && seen.insert(&delivery.alert.key) {
                chosen.push(*at);
            }
        }
        chosen.into_iter().filter_map(|at| self.remove(at)).collect()
    }

    /// Takes all, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<Delivery> {
        let capacity = self.capacity;
        std::mem::replace(self, Self::new(capacity)).entries.into_values().collect()
    }

    /// The oldest for which `wanted` says so, of the rule whose turn it is: rules are told of in turn, so that none waits for
    /// all that another says.
    pub(super) fn next_in_turn(&mut self, wanted: impl Fn(&Delivery) -> bool) -> Option<&Delivery> {
        let mut rules: Vec<(u64, &mut OfRule)> = self.of_rule.values_mut().map(|rule| (rule.turn, rule)).collect();
        rules.sort_by_key(|(turn, rule)| (*turn, rule.first()));
        for (_, rule) in rules {
            let found = rule.in_order().find_map(|at| self.entries.get(&at).filter(|delivery| wanted(delivery)));
            if let Some(found) = found {
                self.turns = self.turns.saturating_add(1);
                rule.turn = self.turns;
                return Some(found);
            }
        }
        None
    }

    fn insert(&mut self, at: i64, delivery: Delivery) {
        let of_rule = self.of_rule.entry(delivery.alert.key.rule.clone()).or_default();
        if delivery.transition { &mut of_rule.transitions } else { &mut of_rule.repeats }.insert(at);
        self.entries.insert(at, delivery);
    }

    fn remove(&mut self, at: i64) -> Option<Delivery> {
        let delivery = self.entries.remove(&at)?;
        if let Some(of_rule) = self.of_rule.get_mut(&delivery.alert.key.rule) {
            of_rule.repeats.remove(&at);
            of_rule.transitions.remove(&at);
            if of_rule.len() == 0 {
                self.of_rule.remove(&delivery.alert.key.rule);
            }
        }
        if self.newest.get(&delivery.alert.key) == Some(&at) {
            self.newest.remove(&delivery.alert.key);
        }
        Some(delivery)
    }

    fn trim(&mut self) -> Vec<Delivery> {
        let mut dropped = Vec::new();
        while self.entries.len() > self.capacity {
            // Of who has the most: no rule's flood costs another its place.
            let largest = self.of_rule.values().max_by_key(|of_rule| of_rule.len());
            let oldest = largest.and_then(|rule| rule.repeats.first().or_else(|| rule.transitions.first()).copied());
            let Some(gone) = oldest.and_then(|at| self.remove(at)) else { break };
            dropped.push(gone);
        }
        dropped
    }
}

fn is_same_life(one: &Alert, other: &Alert) -> bool {
    one.phase == other.phase && one.fired_at == other.fired_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alerts::Phase,
        deliver::tests::{firing, repeat, resolved},
    };

    fn words(all: &[Delivery]) -> Vec<String> {
        let word = |d: &Delivery| {
            let again = if d.transition { "" } else { " again" };
            format!("{} {}{again} {}", d.alert.key.name, d.alert.phase.text(), d.ends_at.0)
        };
        all.iter().map(word).collect()
    }

    fn all(queue: &mut Queue) -> Vec<String> {
        words(&queue.take(usize::MAX, |_| true))
    }

    #[test]
    fn the_newest_repeat_replaces_an_untold_one_and_updates_an_untold_transition() {
        let mut queue = Queue::new(10);
        queue.push(firing("A", 1));
        queue.push(repeat(&firing("B", 1), 50));
        queue.push(repeat(&firing("A", 1), 60));
        queue.push(repeat(&firing("B", 1), 61));
        assert_eq!(all(&mut queue), ["A firing 60", "B firing again 61"]);
        queue.push(repeat(&firing("A", 1), 70));
        queue.push(resolved("A", 1, 80));
        assert_eq!(all(&mut queue), ["A resolved 80"]);
    }

    #[test]
    fn transitions_of_one_alert_keep_their_order_and_go_one_at_a_time() {
        let mut queue = Queue::new(10);
        for delivery in [firing("A", 1), resolved("A", 1, 2), firing("B", 2), firing("A", 3)] {
            queue.push(delivery);
        }
        assert_eq!(all(&mut queue), ["A firing 1001", "B firing 1002"]);
        assert_eq!(all(&mut queue), ["A resolved 2"]);
        assert_eq!(all(&mut queue), ["A firing 1003"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_put_back_goes_first_and_is_brought_up_to_date() {
        let mut queue = Queue::new(10);
        for delivery in [firing("A", 1), repeat(&firing("B", 1), 5), firing("C", 1), firing("D", 1)] {
            queue.push(delivery);
        }
        let taken = queue.take(3, |_| true);
        assert_eq!(words(&taken), ["A firing 1001", "B firing again 5", "C firing 1001"]);
        queue.push(repeat(&firing("A", 1), 2000));
        queue.push(resolved("B", 1, 9));
        queue.push(resolved("C", 1, 9));
        assert_eq!(queue.put_back(taken).len(), 0);
        assert_eq!(all(&mut queue), ["A firing 2000", "C firing 1001", "D firing 1001", "B resolved 9"]);
        assert_eq!(all(&mut queue), ["C resolved 9"]);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_repeat_and_then_the_oldest() {
        let mut queue = Queue::new(2);
        assert_eq!(queue.push(firing("A", 1)).len(), 0);
        assert_eq!(queue.push(repeat(&firing("B", 1), 5)).len(), 0);
        assert_eq!(queue.push(firing("C", 1)).len(), 1);
        assert_eq!(queue.push(firing("D", 1)).len(), 1);
        assert_eq!(all(&mut queue), ["C firing 1001", "D firing 1001"]);
        let taken = vec![firing("A", 1), firing("B", 1)];
        queue.push(firing("C", 1));
        assert_eq!(queue.put_back(taken).len(), 1);
        assert_eq!(all(&mut queue), ["B firing 1001", "C firing 1001"]);
    }

    #[test]
    fn a_flood_of_one_rule_costs_another_neither_its_place_nor_its_turn() {
        let of = |rule: &str, name: &str| {
            let delivery = firing(name, 1);
            let mut alert = Alert::clone(&delivery.alert);
            alert.key.rule = rule.to_owned();
            Delivery { alert: Arc::new(alert), ..delivery }
        };
        let mut queue = Queue::new(4);
        queue.push(of("small", "S"));
        let dropped: Vec<_> = (0..9).flat_map(|n| queue.push(of("flood", &format!("F{n}")))).collect();
        assert!(dropped.len() == 6 && dropped.iter().all(|delivery| delivery.alert.key.rule == "flood"));
        queue.push(of("other", "O"));
        let mut turns = Vec::new();
        while let Some(next) = queue.next_in_turn(|_| true).map(|delivery| delivery.alert.key.clone()) {
            turns.push(next.name.clone());
            assert_eq!(queue.take(1, |delivery| delivery.alert.key == next).len(), 1);
        }
        assert_eq!(turns, ["S", "F7", "O", "F8"]);
    }

    #[test]
    fn only_what_is_wanted_is_taken() {
        let mut queue = Queue::new(10);
        for delivery in [firing("A", 1), firing("B", 1), firing("C", 1)] {
            queue.push(delivery);
        }
        assert_eq!(words(&queue.take(1, |d| d.alert.key.name != "A")), ["B firing 1001"]);
        assert_eq!(queue.next_in_turn(|d| d.alert.phase == Phase::Firing).unwrap().alert.key.name, "A");
        assert_eq!(all(&mut queue), ["A firing 1001", "C firing 1001"]);
    }
}
