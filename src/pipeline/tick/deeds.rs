//! The part of the step that is about actions and the outbox.

use super::{
    super::deeds::{Answer, Asker},
    DOUBT, Tick, Voice,
};
use crate::{
    alerts::Phase,
    model::{RequestedAction, Subject},
    pipeline::{DeedEnd, DeedResult, RESEND_DELAY, RESENDS_UNTIL_END, RuleSettings},
    snapshot::Snapshot,
};
use std::sync::Arc;

impl Tick {
    /// Takes what a rule asks to be done, where it may and we answer for the subject. What another agent answers for is
    /// only remembered, so that it is not done again when that becomes ours. Comes after the rule's alerts.
    pub(super) fn ask(&mut self, settings: &RuleSettings, snapshot: &Snapshot, requests: Vec<RequestedAction>) {
        if settings.shadow {
            return;
        }
        for request in requests {
            let followed = match self.voice(&request.subject) {
                Voice::Ours => false,
                Voice::Followed => true,
                Voice::Elsewhere | Voice::Unknown | Voice::AsBefore => continue,
            };
            let book = &mut self.done.book;
            let about = book.of_rule(&settings.name).filter(|(_, held)| {
                held.speaks() && held.alert.phase == Phase::Firing && held.alert.subject == request.subject
            });
            let asker = Asker {
                rule: &settings.name,
                may: &settings.actions,
                followed,
                // As `for` does.
                at: snapshot.at.min(self.now),
                cluster: &Arc::clone(&book.cluster),
                broker: book.broker,
                alerts: about.map(|(key, _)| key.labels.clone()).collect(),
                doubt: DOUBT,
            };
            let (action, key) = (request.name.clone(), request.key.clone());
            let place = book.next_sequence;
            match book.deeds.ask(request, asker, place) {
                Answer::Deed(deed) => {
                    book.place();
                    self.done.touched.deeds.insert(deed.sequence);
                    self.done.deeds.push(deed);
                }
                Answer::Nothing => {}
                Answer::Refused(reason) => {
                    // What a rule makes up as a name is no label of ours.
                    let known = if book.deeds.policies.contains_key(&action) { action.clone() } else { String::new() };
                    let count = self.done.refused.entry((settings.name.clone(), known, reason)).or_default();
                    *count = count.saturating_add(1);
                }
            }
            let key = super::DeedKey { action, rule: settings.name.clone(), key };
            if self.done.book.deeds.taken.contains_key(&key) {
                self.done.touched.keys.insert(key);
            }
        }
    }

    /// Notes what became of a deed.
    pub(super) fn ended(&mut self, result: DeedResult) {
        let sequence = result.sequence;
        if self.done.book.deeds.end(result).is_some() {
            self.done.touched.deeds.insert(sequence);
        }
    }

    /// Forgets what no rate looks back to, and the oldest of what has ended.
    pub(super) fn forget_deeds(&mut self) {
        let keys = self.done.book.deeds.forget(self.now);
        self.done.touched.keys.extend(keys);
        let gone = self.done.book.deeds.excess();
        self.done.touched.deeds.extend(gone);
    }

    /// Do we answer for it? `None`: it is not known yet.
    fn is_ours(&self, subject: &Subject) -> Option<bool> {
        let voice = self.voice(subject);
        (!self.is_open(voice)).then_some(matches!(voice, Voice::Ours | Voice::AsBefore))
    }

    /// What waited from before our start is told and done, as soon as it is known that it is ours to tell and do; or
    /// forgotten: another agent, which followed, does so.
    pub(super) fn release(&mut self) {
        let untold: Vec<_> = self.done.book.untold.iter().map(|(at, delivery)| (*at, delivery.clone())).collect();
        for (sequence, mut delivery) in untold {
            let Some(ours) = self.is_ours(&delivery.alert.subject) else { continue };
            self.done.book.untold.remove(&sequence);
            if ours {
                if delivery.alert.phase == Phase::Firing {
                    delivery.ends_at = self.now.plus(RESEND_DELAY.saturating_mul(RESENDS_UNTIL_END));
                }
                self.done.deliveries.push(delivery);
            } else {
                self.done.touched.lapsed.insert(sequence);
            }
        }
        let restored = self.done.book.deeds.waiting.iter().filter(|(_, waiting)| waiting.restored);
        let restored: Vec<_> = restored.map(|(at, waiting)| (*at, Arc::clone(&waiting.deed))).collect();
        for (sequence, deed) in restored {
            let Some(ours) = self.is_ours(&deed.subject) else { continue };
            if let Some(waiting) = self.done.book.deeds.waiting.get_mut(&sequence) {
                waiting.restored = false;
            }
            if ours {
                self.done.deeds.push(deed);
            } else {
                let text = "another agent answers for it now".to_owned();
                self.ended(DeedResult { sequence, end: DeedEnd::Dropped, at: self.now, attempts: 0, text });
            }
        }
    }
}
