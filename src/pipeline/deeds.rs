//! What rules asked to be done: which of it is taken, what waits, what came of it. Pure, as the alert book is; a request is
//! decided on once, and the rate counts from then, whatever becomes of the deed.

use super::action::{ActionPolicies, ActionPolicy, Deed, DeedResult, MAX_DEED_ALERTS, RefusedAction};
use crate::model::{BoundedText, BrokerId, Labels, RequestedAction, Timestamp, hex};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Deeds that wait or are under way; more are refused.
pub const MAX_DEEDS: usize = 1000;

/// Keys of one action that are remembered; more are refused until the oldest may be done again.
pub const MAX_KEYS: usize = 10_000;

/// Ended deeds that are kept for people and rules.
pub const MAX_ENDED: usize = 1000;

/// Ended deeds of one rule among them.
pub const MAX_ENDED_PER_RULE: usize = 100;

/// Refusals that are kept for people: the last of each rule, action and reason.
pub const MAX_REFUSED: usize = 200;

/// Bytes of a parameter in the text of a refusal.
const MAX_SHOWN_PARAMETER: usize = 100;

/// Hex digits of an idempotency key.
const IDEMPOTENCY_DIGITS: usize = 32;

/// The same deed: the action, the rule, the key that it gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeedKey {
    pub(super) action: String,
    pub(super) rule: String,
    pub(super) key: String,
}

/// A request that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) at: Timestamp,
    /// By us, not by an agent that we follow.
    pub(super) by_us: bool,
    pub(super) idempotency_key: String,
}

/// A deed that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) deed: Arc<Deed>,
    /// From before our start, and it is not known yet whether its subject is still ours.
    pub(super) restored: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct DeedBook {
    pub(super) policies: Arc<ActionPolicies>,
    /// Of each key, oldest first, for as long as its rate looks back.
    pub(super) taken: BTreeMap<DeedKey, Vec<Taken>>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// Newest last.
    pub(super) ended: VecDeque<(Arc<Deed>, DeedResult)>,
    pub(super) refused: BTreeMap<(String, String, &'static str), RefusedAction>,
}

/// Who asks, and when.
pub(super) struct Asker<'a> {
    pub(super) rule: &'a str,
    pub(super) may: &'a BTreeSet<String>,
    /// Another agent answers for the subject; we only remember what it should have done.
    pub(super) followed: bool,
    pub(super) at: Timestamp,
    pub(super) cluster: &'a str,
    pub(super) broker: Option<BrokerId>,
    /// Of the rule's firing alerts about the subject.
    pub(super) alerts: Vec<Labels>,
    /// What a deed that was taken by another agent less than this long ago is done again.
    pub(super) doubt: Duration,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It is to be done.
    Deed(Arc<Deed>),
    /// It was done lately, or another agent does it.
    Nothing,
    /// It is not taken.
    Refused(&'static str),
}

impl DeedBook {
    /// Decides on a request. `sequence`: the place in the outbox that a deed takes.
    pub(super) fn ask(&mut self, request: RequestedAction, asker: Asker<'_>, sequence: u64) -> Answer {
        let policies = Arc::clone(&self.policies);
        let policy = match check(&policies, &request, &asker) {
            Ok(policy) => policy,
            Err(_) if asker.followed => return Answer::Nothing,
            Err((reason, text)) => return self.refuse(&request, &asker, reason, text),
        };
        let id = DeedKey { action: request.name.clone(), rule: asker.rule.to_owned(), key: request.key.clone() };
        let lately = self.lately(&id, policy, asker.at);
        if lately >= policy.per_key.count {
            let Some(last) = self.taken.get_mut(&id).and_then(|taken| taken.last_mut()) else { return Answer::Nothing };
            if asker.followed || last.by_us || asker.at.since(last.at) >= asker.doubt {
                return Answer::Nothing;
            }
            // Whose it was may have died before it was done.
            last.by_us = true;
            let idempotency_key = last.idempotency_key.clone();
            return Answer::Deed(self.take(request, asker, sequence, idempotency_key));
        }
        if !asker.followed {
            if self.waiting.len() >= MAX_DEEDS {
                let text = format!("{MAX_DEEDS} actions wait already");
                return self.refuse(&request, &asker, "full", text);
            }
            let in_all = self.in_all(&request.name, policy, asker.at);
            if in_all >= u64::from(policy.total.count) {
                let text =
                    format!("{} in {:?} are as many as its `rate.total` allows", policy.total.count, policy.total.per);
                return self.refuse(&request, &asker, "rate", text);
            }
        }
        if !self.taken.contains_key(&id) && self.keys_of(&request.name) >= MAX_KEYS {
            if asker.followed {
                return Answer::Nothing;
            }
            let text =
                format!("{MAX_KEYS} keys of it were done lately; they are not forgotten before their rate allows");
            return self.refuse(&request, &asker, "full", text);
        }
        let idempotency_key = idempotency_key(&asker, &request, policy, lately);
        let taken = Taken { at: asker.at, by_us: !asker.followed, idempotency_key: idempotency_key.clone() };
        self.taken.entry(id).or_default().push(taken);
        if asker.followed {
            return Answer::Nothing;
        }
        Answer::Deed(self.take(request, asker, sequence, idempotency_key))
    }

    fn take(
        &mut self,
        request: RequestedAction,
        asker: Asker<'_>,
        sequence: u64,
        idempotency_key: String,
    ) -> Arc<Deed> {
        let mut alerts = asker.alerts;
        alerts.truncate(MAX_DEED_ALERTS);
        let deed = Arc::new(Deed {
            sequence,
            rule: asker.rule.to_owned(),
            action: request.name,
            subject: request.subject,
            params: request.params,
            key: request.key,
            idempotency_key,
            cluster: asker.cluster.to_owned(),
            broker: asker.broker,
            requested_at: asker.at,
            alerts,
        });
        self.waiting.insert(sequence, Waiting { deed: Arc::clone(&deed), restored: false });
        deed
    }

    fn refuse(&mut self, request: &RequestedAction, asker: &Asker<'_>, reason: &'static str, text: String) -> Answer {
        // What a rule makes up as a name is not kept: there is no end to that.
        let action = if self.policies.contains_key(&request.name) { request.name.clone() } else { String::new() };
        let id = (asker.rule.to_owned(), action.clone(), reason);
        if self.refused.len() >= MAX_REFUSED && !self.refused.contains_key(&id) {
            let oldest = self.refused.iter().min_by_key(|(_, refused)| refused.at).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.refused.remove(&oldest));
        }
        let refused = RefusedAction { rule: asker.rule.to_owned(), action, reason, text, at: asker.at };
        self.refused.insert(id, refused);
        Answer::Refused(reason)
    }

    /// How often this key was taken within its rate's time.
    fn lately(&self, id: &DeedKey, policy: &ActionPolicy, at: Timestamp) -> u32 {
        let taken = self.taken.get(id).map(Vec::as_slice).unwrap_or_default();
        let lately = taken.iter().filter(|taken| at.since(taken.at) < policy.per_key.per).count();
        u32::try_from(lately).unwrap_or(u32::MAX)
    }

    /// How many of this action we took within the time of `rate.total`.
    fn in_all(&self, action: &str, policy: &ActionPolicy, at: Timestamp) -> u64 {
        let of_action = self.of_action(action).flat_map(|(_, taken)| taken);
        let ours = of_action.filter(|taken| taken.by_us && at.since(taken.at) < policy.total.per);
        u64::try_from(ours.count()).unwrap_or(u64::MAX)
    }

    fn keys_of(&self, action: &str) -> usize {
        self.of_action(action).count()
    }

    fn of_action<'a>(&'a self, action: &'a str) -> impl Iterator<Item = (&'a DeedKey, &'a Vec<Taken>)> {
        let first = DeedKey { action: action.to_owned(), rule: String::new(), key: String::new() };
        self.taken.range(first..).take_while(move |(id, _)| id.action == action)
    }

    /// Notes how a deed ended. False: it is none of those that wait.
    pub(super) fn end(&mut self, result: DeedResult) -> Option<Arc<Deed>> {
        let Waiting { deed, .. } = self.waiting.remove(&result.sequence)?;
        self.ended.push_back((Arc::clone(&deed), result));
        Some(deed)
    }

    /// Ended deeds that are too many, of one rule or in all.
    pub(super) fn excess(&mut self) -> Vec<u64> {
        let mut of_rule: BTreeMap<&str, usize> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for (deed, result) in self.ended.iter().rev() {
            let count = of_rule.entry(&deed.rule).or_default();
            *count = count.saturating_add(1);
            if *count > MAX_ENDED_PER_RULE {
                gone.insert(result.sequence);
            }
        }
        let kept = self.ended.len().saturating_sub(gone.len());
        let oldest = self.ended.iter().map(|(_, result)| result.sequence).filter(|sequence| !gone.contains(sequence));
        let oldest: Vec<_> = oldest.take(kept.saturating_sub(MAX_ENDED)).collect();
        gone.extend(oldest);
        if !gone.is_empty() {
            self.ended.retain(|(_, result)| !gone.contains(&result.sequence));
        }
        gone.into_iter().collect()
    }

    /// Forgets what no rate looks back to, and brings back what lies in the future (a clock was set back). Returns the
    /// keys that are not as they were.
    pub(super) fn forget(&mut self, now: Timestamp) -> BTreeSet<DeedKey> {
        let mut touched = BTreeSet::new();
        let policies = &self.policies;
        self.taken.retain(|id, taken| {
            // Of an action that agent.yaml does not have now: it may have it again.
            let back = policies.get(&id.action).map(|policy| policy.per_key.per.max(policy.total.per));
            let before = taken.len();
            for one in taken.iter_mut().filter(|one| one.at > now) {
                one.at = now;
                touched.insert(id.clone());
            }
            taken.retain(|one| now.since(one.at) < back.unwrap_or(UNKNOWN_POLICY));
            if taken.len() != before {
                touched.insert(id.clone());
            }
            !taken.is_empty()
        });
        touched
    }
}

/// How long what was done of an action is remembered that agent.yaml does not have.
pub const UNKNOWN_POLICY: Duration = Duration::from_hours(1);

fn check<'a>(
    policies: &'a ActionPolicies,
    request: &RequestedAction,
    asker: &Asker<'_>,
) -> Result<&'a ActionPolicy, (&'static str, String)> {
    let name = BoundedText(&request.name, MAX_SHOWN_PARAMETER);
    if !asker.may.contains(&request.name) {
        return Err(("not_granted", format!("the rule was not granted `{name}` (agent.yaml: `actions` of the rule)")));
    }
    let Some(policy) = policies.get(&request.name) else {
        return Err(("unknown_action", format!("agent.yaml has no action `{name}`")));
    };
    if let Some(name) = request.params.keys().find(|name| !policy.params.contains_key(*name)) {
        let name = BoundedText(name, MAX_SHOWN_PARAMETER);
        return Err(("parameter", format!("it has no parameter `{name}`")));
    }
    for (name, parameter) in &policy.params {
        let Some(value) = request.params.get(name) else {
            return Err(("parameter", format!("the parameter `{name}` is missing")));
        };
        let shown = BoundedText(value, MAX_SHOWN_PARAMETER);
        if !parameter.pattern.is_match(value) {
            return Err(("parameter", format!("{name}: `{shown}` does not match its pattern")));
        }
        if value.starts_with('-') && !parameter.dash {
            return Err(("parameter", format!("{name}: `{shown}` begins with `-`, which its pattern does not")));
        }
        if value.contains('\0') {
            return Err(("parameter", format!("{name}: `{shown}` has a zero byte")));
        }
    }
    Ok(policy)
}

/// A hash of the cluster, the rule, the action, the key and the window of its rate, so that each agent that may come to do
/// this deed gives the same. `nth`: of those in one window.
fn idempotency_key(asker: &Asker<'_>, request: &RequestedAction, policy: &ActionPolicy, nth: u32) -> String {
    let per = u64::try_from(policy.per_key.per.as_millis()).unwrap_or(u64::MAX).max(1);
    let window = asker.at.0.checked_div(per).unwrap_or(0).to_string();
    let nth = nth.to_string();
    let mut hash = Sha256::new();
    for part in [asker.cluster, asker.rule, &request.name, &request.key, &window, &nth] {
        // With lengths: "a" and "bc" is not "ab" and "c".
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::of(&hash.finalize()).chars().take(IDEMPOTENCY_DIGITS).collect()
}
