//! The part of the step that is about time going by: what is told again, what is forgotten.

use super::{
    super::book::{Held, MAX_RESOLVED},
    RESEND_DELAY, RESOLVED_RETENTION, Tick,
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::{Timestamp, fair},
};
use std::{collections::BTreeMap, sync::Arc};

impl Tick {
    /// By our clock, whether or not any rule spoke: Alertmanager resolves what it hears nothing of.
    pub(super) fn tell_again(&mut self) {
        let now = self.now;
        let due = |alert: &Alert| {
            alert.phase != Phase::Pending && alert.last_sent.is_none_or(|sent| now.since(sent) >= RESEND_DELAY)
        };
        let mut again = Vec::new();
        let shadow = self.done.book.shadow();
        let spoken = |held: &&mut Held| held.speaks() && due(&held.alert) && !shadow.contains(&held.alert.key.rule);
        for held in self.done.book.alerts.values_mut().filter(spoken) {
            held.alert = Arc::new(Alert { last_sent: Some(now), ..Alert::clone(&held.alert) });
            again.push(Arc::clone(&held.alert));
        }
        self.done.changed |= !again.is_empty();
        for alert in again {
            self.tell(alert, false);
        }
    }

    pub(super) fn forget(&mut self) {
        let (book, now) = (&mut self.done.book, self.now);
        let kept = book.alerts.len();
        let kept_for = |held: &Held| held.alert.resolved_at.is_none_or(|at| now.since(at) <= RESOLVED_RETENTION);
        // We told that it fires, and have not been able to tell that it is over.
        let owed = |held: &Held| held.told.is_some_and(|told| told.by_us && told.phase == Phase::Firing);
        let touched = &mut self.done.touched.alerts;
        book.alerts.retain(|key, held| {
            let stays = kept_for(held) || owed(held);
            if !stays {
                touched.insert(key.clone());
            }
            stays
        });
        self.done.changed |= book.alerts.len() < kept;
        let active = self.active.spoken.saturating_add(self.active.silent);
        let excess = book.alerts.len().saturating_sub(active).saturating_sub(MAX_RESOLVED);
        if excess > 0 {
            let mut of_rule: BTreeMap<&str, Vec<(Timestamp, &AlertKey)>> = BTreeMap::new();
            for held in book.alerts.values() {
                if let Some(at) = held.alert.resolved_at {
                    of_rule.entry(&held.alert.key.rule).or_default().push((at, &held.alert.key));
                }
            }
            let each = fair::share(of_rule.values().map(Vec::len), MAX_RESOLVED);
            let mut gone = Vec::new();
            for resolved in of_rule.values_mut() {
                resolved.sort_unstable();
                let excess = resolved.len().saturating_sub(each);
                gone.extend(resolved.iter().take(excess).map(|(_, key)| AlertKey::clone(key)));
            }
            for key in gone {
                book.alerts.remove(&key);
                self.done.touched.alerts.insert(key);
            }
            self.done.changed = true;
        }
    }
}
