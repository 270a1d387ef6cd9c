//! The pure step of the whole: what rules said, and the time, make the next book, its transitions and what is to be
//! told. Reads no clock, knows no channel, and gives the same answer to the same question.

mod deeds;
mod over_time;

use super::{
    Deed, DeedKey, Delivery, Evaluation, Input, RuleSettings, Stored, Touched, Transition, Verdict,
    book::{Book, Held, Installed, MAX_ALERTS, MAX_ALERTS_PER_RULE, Told, is_active},
    own::{ALERTS_DROPPED, OWN_RULE, alerts_dropped, is_reserved, rule_failing, store_failing},
};
use crate::{
    alerts::{self, Alert, AlertKey, Durations, Phase, Raised},
    model::{Labels, Outcome, RaisedAlert, Subject, Timestamp},
    snapshot::{KAFKA_TARGET, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// A firing or resolved alert is told again this long after it was last told.
pub const RESEND_DELAY: Duration = Duration::from_mins(1);

/// An alert that is not told again ends by itself after this many [`RESEND_DELAY`]s.
pub const RESENDS_UNTIL_END: u32 = 4;

/// An alert that we spoke for and may have lost to another agent ends by itself after this long, unless that one says
/// something else.
pub const HOLD: Duration = Duration::from_hours(1);

/// What another agent should have told less than this long before its share became ours is told again: that agent may
/// have died with its broker, and Kafka takes its time to notice.
pub const DOUBT: Duration = Duration::from_mins(1);

/// A resolved alert is told again for this long.
pub const RESOLVED_RETENTION: Duration = Duration::from_mins(15);

/// Failures in a row after which the agent raises [`super::RULE_FAILING`] about a rule.
pub const FAILURES_UNTIL_ALERT: u32 = 3;

/// What one tick made.
#[derive(Clone, Debug, Default)]
pub struct Ticked {
    /// The state after it.
    pub book: Book,
    /// Changes in order, for the log.
    pub transitions: Vec<Transition>,
    /// What is to be told, in order: of one alert, the older word first.
    pub deliveries: Vec<Delivery>,
    /// Alerts that were raised and not taken, by reason and rule.
    pub dropped: BTreeMap<(&'static str, String), u64>,
    /// Does the view of the book differ from the one before?
    pub changed: bool,
    /// What is not as it was.
    pub touched: Touched,
    /// What is to be done, in order.
    pub deeds: Vec<Arc<Deed>>,
    /// Requests that were refused, by rule, action and reason.
    pub refused: BTreeMap<(String, String, &'static str), u64>,
}

/// Takes `inputs` in order, then tells again what is due at `now`.
pub fn tick(book: Book, inputs: Vec<Input>, now: Timestamp) -> Ticked {
    let active_of =
        |spoken| book.alerts.values().filter(|held| is_active(&held.alert) && held.spoken == spoken).count();
    let active = Active { spoken: active_of(true), silent: active_of(false) };
    let mut tick = Tick { done: Ticked { book, ..Ticked::default() }, active, now };
    tick.rewind();
    for input in inputs {
        match input {
            Input::Seen(snapshot) => tick.see(&snapshot),
            Input::Installed { settings, generation } => tick.install(settings, generation),
            Input::Evaluated(evaluation) => tick.evaluated(evaluation),
            Input::Remembers { .. } => {}
            Input::Removed { rule, generation } => tick.remove(&rule, generation),
            Input::Known(rules) => tick.end_others(&rules),
            Input::Store(failing) => tick.store(failing.as_deref()),
            Input::Policies(policies) => tick.done.book.deeds.policies = policies,
            Input::Ended(result) => tick.ended(result),
        }
    }
    tick.forget();
    tick.forget_deeds();
    tick.tell_again();
    tick.done
}

/// Who speaks about a subject now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// We do.
    Ours,
    /// Another agent, and we know what it knows.
    Followed,
    /// Another agent.
    Elsewhere,
    /// Not known: nobody, for all that we can say.
    Unknown,
    /// Not known, but there is nobody else who could: as before.
    AsBefore,
}

/// Which alerts of a rule an outcome speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// The rule: all but what the agent says.
    Rule,
    /// The agent: what [`super::own`] has.
    Agent,
}

/// Pending and firing alerts in the book. Those that we follow in silence have the same caps as those that we speak for,
/// and take no place from them.
#[derive(Clone, Copy)]
struct Active {
    spoken: usize,
    silent: usize,
}

impl Active {
    fn of(&mut self, spoken: bool) -> &mut usize {
        if spoken { &mut self.spoken } else { &mut self.silent }
    }
}

struct Tick {
    done: Ticked,
    active: Active,
    now: Timestamp,
}

impl Tick {
    fn rewind(&mut self) {
        let now = self.now;
        for (key, held) in &mut self.done.book.alerts {
            if let Some(back) = alerts::rewind(&held.alert, now) {
                held.alert = Arc::new(back);
                self.done.changed = true;
                self.done.touched.alerts.insert(key.clone());
            }
        }
    }

    fn install(&mut self, settings: Arc<RuleSettings>, generation: u64) {
        let name = settings.name.clone();
        let shadow = self.done.book.is_shadow(&name);
        match self.done.book.rules.get_mut(&name) {
            Some(installed) if installed.generation > generation => {}
            Some(installed) => {
                installed.generation = generation;
                installed.settings = settings;
            }
            None => {
                let installed = Installed { settings: Arc::clone(&settings), generation, measurements: Vec::new() };
                self.done.book.rules.insert(name.clone(), installed);
            }
        }
        self.done.changed |= self.done.book.is_shadow(&name) != shadow;
    }

    fn remove(&mut self, rule: &str, generation: u64) {
        let installed = self.done.book.rules.get(rule);
        if rule == OWN_RULE || installed.is_some_and(|installed| installed.generation > generation) {
            return;
        }
        self.done.book.rules.remove(rule);
        self.done.changed = true;
        self.end(rule);
    }

    /// Alerts from before our start whose rules are gone.
    fn end_others(&mut self, rules: &BTreeSet<String>) {
        let book = &self.done.book;
        let active = book.alerts.iter().filter(|(_, held)| is_active(&held.alert)).map(|(key, _)| &key.rule);
        let others: BTreeSet<String> = active
            .filter(|rule| !rules.contains(*rule) && !book.rules.contains_key(*rule) && *rule != OWN_RULE)
            .cloned()
            .collect();
        for rule in &others {
            self.end(rule);
        }
    }

    /// Resolves all alerts of a rule that is gone.
    fn end(&mut self, rule: &str) {
        let alerts: Vec<_> = self.done.book.of_rule(rule).map(|(_, held)| Arc::clone(&held.alert)).collect();
        for alert in alerts {
            // `keep_firing_for` bridges gaps in what a rule says; a rule that is gone says nothing more.
            let after = alerts::absent(Alert::clone(&alert), Durations::default(), self.now);
            self.put(Some(&alert), after);
        }
    }

    /// Says that the store fails, or that it does not any more.
    fn store(&mut self, failing: Option<&str>) {
        let Some(snapshot) = self.done.book.latest.clone() else { return };
        let settings = RuleSettings { name: OWN_RULE.to_owned(), ..RuleSettings::default() };
        let said = failing.map(store_failing).into_iter().collect();
        self.apply(&settings, &snapshot, said, Speaker::Agent);
    }

    fn evaluated(&mut self, evaluation: Evaluation) {
        let Evaluation { settings, generation, snapshot, verdict, failures_in_a_row, state: _ } = evaluation;
        let Some(installed) = self.done.book.rules.get_mut(&settings.name) else { return };
        if installed.generation > generation {
            return;
        }
        installed.generation = generation;
        installed.settings = Arc::clone(&settings);
        // What the last evaluation did not measure is not known now.
        let forgotten = !std::mem::take(&mut installed.measurements).is_empty();
        self.done.changed |= forgotten;
        self.see(&snapshot);
        match verdict {
            Verdict::Outcome(Outcome { alerts, measurements, actions }) => {
                let ours: Vec<_> = measurements.into_iter().filter(|m| snapshot.answers_for(&m.subject)).collect();
                self.done.changed |= !ours.is_empty();
                if let Some(installed) = self.done.book.rules.get_mut(&settings.name) {
                    installed.measurements = ours;
                }
                let lost = self.over_limit(&settings.name);
                self.apply(&settings, &snapshot, alerts, Speaker::Rule);
                let lost = self.over_limit(&settings.name).saturating_sub(lost);
                let about = (lost > 0).then(|| alerts_dropped(&settings.name, lost));
                self.apply(&settings, &snapshot, about.into_iter().collect(), Speaker::Agent);
                self.ask(&settings, &snapshot, actions);
            }
            Verdict::Failed { reason, text } if failures_in_a_row >= FAILURES_UNTIL_ALERT => {
                // Of how many alerts it would raise now nothing is known.
                let said = [rule_failing(&settings.name, reason, &text)]
                    .into_iter()
                    .chain(self.dropped_before(&settings.name));
                self.apply(&settings, &snapshot, said.collect(), Speaker::Agent);
            }
            Verdict::Unavailable(_) | Verdict::Failed { .. } => {}
        }
    }

    /// Learns from a snapshot who we are and what we answer for. An alert of another agent's share is followed in silence
    /// where we know as much as that one; elsewhere it lapses untold. What we spoke for and may have lost is told once
    /// more, to hold for long enough to find out: two agents that tell different things would make it flap.
    fn see(&mut self, snapshot: &Arc<Snapshot>) {
        let book = &mut self.done.book;
        if book.latest.as_ref().is_some_and(|latest| snapshot.number <= latest.number) {
            return;
        }
        if !snapshot.cluster.is_empty() {
            book.cluster = Arc::clone(&snapshot.cluster);
        }
        if let Some(kafka) = &snapshot.kafka {
            book.broker = if kafka.whole_cluster { None } else { kafka.broker_id.or(book.broker) };
            // Also while they are down: they may be back before we hear of it.
            book.others = !kafka.whole_cluster && (book.others || kafka.brokers.len() > 1);
        }
        book.latest = Some(Arc::clone(snapshot));
        let all = self.done.book.alerts.values().map(|held| (held, self.voice(&held.alert.subject)));
        // Most are ours as before, and told: with many alerts there is no time to look at each whenever something is seen.
        let others = all.filter(|(held, voice)| {
            let is_told = match held.alert.phase {
                Phase::Pending => held.told.is_none(),
                phase => held.told == Some(Told { phase, by_us: true }),
            };
            !(*voice == Voice::Ours && held.speaks() && is_told)
        });
        let others: Vec<_> = others.map(|(held, voice)| (held.clone(), voice)).collect();
        for (held, voice) in others {
            if held.restored && self.is_open(voice) {
                continue;
            }
            let told = held.spoken && !self.done.book.is_shadow(&held.alert.key.rule);
            if voice == Voice::Unknown && told && held.alert.phase == Phase::Firing {
                let ends_at = self.now.plus(HOLD);
                let alert = Arc::clone(&held.alert);
                self.done.deliveries.push(Delivery { alert, ends_at, transition: false, stored: None });
            }
            let after = (voice != Voice::Elsewhere).then(|| Alert::clone(&held.alert));
            self.put(Some(&held.alert), after);
        }
        self.release();
    }

    /// Who speaks about `subject`, by the newest snapshot.
    fn voice(&self, subject: &Subject) -> Voice {
        let book = &self.done.book;
        let unknown = if book.others { Voice::Unknown } else { Voice::AsBefore };
        let kafka = || book.latest.as_ref().and_then(|snapshot| snapshot.kafka.as_ref());
        match subject {
            Subject::Broker | Subject::Agent => Voice::Ours,
            Subject::Group(group) => kafka().map_or(unknown, |kafka| match kafka.owns_group(group) {
                Some(true) => Voice::Ours,
                Some(false) if kafka.follows_group(group) => Voice::Followed,
                Some(false) => Voice::Elsewhere,
                None => unknown,
            }),
            // A topic that is gone is nobody's.
            Subject::Topic(topic) => kafka().map_or(unknown, |kafka| match kafka.topic(topic) {
                Some(topic) if topic.ours => Voice::Ours,
                Some(_) => Voice::Elsewhere,
                None => Voice::AsBefore,
            }),
        }
    }

    /// Is it not known yet who answers for what is from before our start?
    fn is_open(&self, voice: Voice) -> bool {
        let latest = self.done.book.latest.as_ref();
        let waits = latest.is_none_or(|latest| {
            latest.kafka.is_none() && latest.targets.iter().any(|target| &*target.name == KAFKA_TARGET)
        });
        voice == Voice::Unknown || (voice == Voice::AsBefore && waits)
    }

    /// Takes all that `speaker` says of one rule's alerts in one snapshot.
    fn apply(&mut self, settings: &RuleSettings, snapshot: &Snapshot, said: Vec<RaisedAlert>, speaker: Speaker) {
        let durations = match speaker {
            Speaker::Rule => Durations { pending_for: settings.pending_for, keep_firing_for: settings.keep_firing_for },
            Speaker::Agent => Durations::default(),
        };
        // The snapshot's time, not ours: `for` is about what was observed, and ours jitters with the load.
        let at = snapshot.at.min(self.now);
        let mut active_of_rule = Active { spoken: 0, silent: 0 };
        // What the agent says of it takes no place of the rule's.
        let its_own = |(key, held): &(&AlertKey, &Held)| is_active(&held.alert) && !is_reserved(&key.name);
        for (_, held) in self.done.book.of_rule(&settings.name).filter(its_own) {
            let count = active_of_rule.of(held.spoken);
            *count = count.saturating_add(1);
        }
        let mut holding: BTreeSet<AlertKey> = BTreeSet::new();
        for raised in said {
            if speaker == Speaker::Rule && is_reserved(&raised.name) {
                self.drop_one("reserved_name", &settings.name);
                continue;
            }
            let voice = self.voice(&raised.subject);
            if voice == Voice::Elsewhere {
                continue;
            }
            let key = self.known_as(self.key(settings, &raised, speaker), &raised.subject);
            if holding.contains(&key) {
                self.drop_one("duplicate", &settings.name);
                continue;
            }
            // Also one that we may not speak of now: it was not found absent.
            holding.insert(key.clone());
            if !matches!(voice, Voice::Ours | Voice::Followed) {
                continue;
            }
            let before = self.done.book.alerts.get(&key).map(|held| Arc::clone(&held.alert));
            if before.as_ref().is_none_or(|before| !is_active(before)) && speaker == Speaker::Rule {
                let of_rule = active_of_rule.of(voice == Voice::Ours);
                if *of_rule >= MAX_ALERTS_PER_RULE {
                    self.drop_one("rule_limit", &settings.name);
                    continue;
                }
                // Not more than is left to others: so there is always a place for a rule that has few.
                if *of_rule >= MAX_ALERTS.saturating_sub(*self.active.of(voice == Voice::Ours)) {
                    self.drop_one("limit", &settings.name);
                    continue;
                }
                *of_rule = of_rule.saturating_add(1);
            }
            let annotations = match speaker {
                Speaker::Rule => overlaid(raised.annotations, &settings.annotations),
                Speaker::Agent => raised.annotations,
            };
            let raised = Raised { subject: raised.subject, annotations, value: raised.value };
            let after = alerts::raised(before.as_deref().cloned(), &key, raised, durations, at);
            self.put(before.as_deref(), Some(after));
        }
        let of_speaker = |key: &AlertKey| is_reserved(&key.name) == (speaker == Speaker::Agent);
        let absent: Vec<_> = self
            .done
            .book
            .of_rule(&settings.name)
            .filter(|(key, _)| of_speaker(key) && !holding.contains(*key))
            .map(|(_, held)| Arc::clone(&held.alert))
            .collect();
        for alert in absent {
            if is_active(&alert) && (speaker == Speaker::Agent || snapshot.observed(&alert.subject)) {
                let after = alerts::absent(Alert::clone(&alert), durations, at);
                self.put(Some(&alert), after);
            }
        }
    }

    fn key(&self, settings: &RuleSettings, raised: &RaisedAlert, speaker: Speaker) -> AlertKey {
        let mut labels = overlaid(raised.labels.clone(), &settings.labels);
        if speaker == Speaker::Agent {
            // How bad it is that a rule fails is not what the rule's own severity says.
            labels.extend(raised.labels.clone());
        }
        let book = &self.done.book;
        labels.insert("alertname".into(), raised.name.clone());
        labels.insert("rule".into(), settings.name.clone());
        if !book.cluster.is_empty() {
            labels.insert("cluster".into(), book.cluster.as_ref().to_owned());
        }
        // Brokers have alerts of equal labels, which would resolve each other in Alertmanager.
        if let (Subject::Broker | Subject::Agent, Some(broker)) = (&raised.subject, book.broker) {
            labels.insert("broker".into(), broker.to_string());
        }
        AlertKey { rule: settings.name.clone(), name: raised.name.clone(), labels }
    }

    /// An alert that was told before it was known which cluster or broker this is keeps its identity until it ends:
    /// receivers would take a change of labels for an end and a new alert. One that is only pending was told to nobody
    /// and moves, its clock with it.
    fn known_as(&mut self, key: AlertKey, subject: &Subject) -> AlertKey {
        let book = &mut self.done.book;
        if book.alerts.get(&key).is_some_and(|held| is_active(&held.alert)) {
            return key;
        }
        // Labels of ours only: a rule may set others of these names.
        let cluster = !book.cluster.is_empty();
        let broker = matches!(subject, Subject::Broker | Subject::Agent) && book.broker.is_some();
        for (without_broker, without_cluster) in [(broker, false), (false, cluster), (broker, cluster)] {
            let mut before = key.clone();
            if without_broker {
                before.labels.remove("broker");
            }
            if without_cluster {
                before.labels.remove("cluster");
            }
            let same = |held: &&Held| before != key && held.alert.subject == *subject;
            match book.alerts.get(&before).filter(same).map(|held| held.alert.phase) {
                Some(Phase::Firing) => return before,
                Some(Phase::Pending) => {
                    if let Some(held) = book.alerts.remove(&before) {
                        let moved = Alert { key: key.clone(), ..Alert::clone(&held.alert) };
                        self.done.touched.alerts.extend([before, key.clone()]);
                        book.alerts.insert(key.clone(), Held { alert: Arc::new(moved), ..held });
                        self.done.changed = true;
                    }
                    return key;
                }
                Some(Phase::Resolved) | None => {}
            }
        }
        key
    }

    /// What is said already of a rule's alerts that had no place.
    fn dropped_before(&self, rule: &str) -> Option<RaisedAlert> {
        let is_it = |(key, held): &(&AlertKey, &Held)| key.name == ALERTS_DROPPED && is_active(&held.alert);
        let (_, held) = self.done.book.of_rule(rule).find(is_it)?;
        let annotations = held.alert.annotations.clone();
        Some(RaisedAlert { annotations, ..alerts_dropped(rule, 0) })
    }

    /// Alerts of a rule that had no place.
    fn over_limit(&self, rule: &str) -> u64 {
        let of = |reason| self.done.dropped.get(&(reason, rule.to_owned())).copied().unwrap_or(0);
        of("limit").saturating_add(of("rule_limit"))
    }

    fn drop_one(&mut self, reason: &'static str, rule: &str) {
        let count = self.done.dropped.entry((reason, rule.to_owned())).or_default();
        *count = count.saturating_add(1);
    }

    /// Puts an alert into the book as it is now, or out of it, and notes what that means to others.
    fn put(&mut self, before: Option<&Alert>, after: Option<Alert>) {
        let held = before.and_then(|before| self.done.book.alerts.get(&before.key)).cloned();
        let Some(mut after) = after else {
            if let Some(held) = held {
                self.take_out(&held);
            }
            return;
        };
        let voice = self.voice(&after.subject);
        let restored = held.as_ref().is_some_and(|held| held.restored) && self.is_open(voice);
        let spoken = match voice {
            Voice::Ours => true,
            Voice::Followed | Voice::Elsewhere => false,
            Voice::Unknown if !restored => false,
            Voice::Unknown | Voice::AsBefore => held.as_ref().is_some_and(|held| held.spoken),
        };
        let from = held.as_ref().map(|held| held.alert.phase);
        // What was told of an earlier life says nothing of this one.
        let heard = held
            .as_ref()
            .and_then(|held| held.told)
            .filter(|told| from.is_some_and(|from| from <= after.phase) && told.phase <= after.phase);
        let is_known = heard.is_some_and(|told| told.phase == after.phase);
        // Whoever spoke for it may have died before that was noticed.
        let began = after.resolved_at.or(after.fired_at);
        let in_doubt =
            heard.is_some_and(|told| !told.by_us) && began.is_some_and(|began| self.now.since(began) < DOUBT);
        // An end is owed for what was told before the rule went into the shadow.
        let ends =
            after.phase == Phase::Resolved && heard.is_some_and(|told| told.by_us && told.phase == Phase::Firing);
        let may_tell = spoken && !restored && (ends || !self.done.book.is_shadow(&after.key.rule));
        let tells = after.phase != Phase::Pending && may_tell && (!is_known || in_doubt);
        let told = match after.phase {
            Phase::Firing | Phase::Resolved if tells => Some(Told { phase: after.phase, by_us: true }),
            Phase::Firing | Phase::Resolved if voice == Voice::Followed && !is_known => {
                Some(Told { phase: after.phase, by_us: false })
            }
            _ => heard,
        };
        if tells && heard.is_none() && after.phase == Phase::Resolved {
            // It began and ended while nobody spoke.
            if let Some(held) = held {
                self.take_out(&held);
            }
            return;
        }
        if tells {
            after.last_sent = Some(self.now);
        }
        let now = Held { alert: Arc::new(after), spoken, told, restored };
        if held.as_ref() == Some(&now) {
            return;
        }
        self.done.changed = true;
        if let Some(held) = held.as_ref().filter(|held| is_active(&held.alert)) {
            let count = self.active.of(held.spoken);
            *count = count.saturating_sub(1);
        }
        if is_active(&now.alert) {
            let count = self.active.of(spoken);
            *count = count.saturating_add(1);
        }
        let alert = Arc::clone(&now.alert);
        if spoken && !restored && (from != Some(alert.phase) || tells) {
            self.done.transitions.push(Transition { alert: Arc::clone(&alert), from, dropped: false });
        }
        self.done.touched.alerts.insert(alert.key.clone());
        self.done.book.alerts.insert(alert.key.clone(), now);
        if tells {
            self.tell(alert, true);
        }
    }

    fn take_out(&mut self, held: &Held) {
        self.done.book.alerts.remove(&held.alert.key);
        self.done.touched.alerts.insert(held.alert.key.clone());
        self.done.changed = true;
        if is_active(&held.alert) {
            let count = self.active.of(held.spoken);
            *count = count.saturating_sub(1);
            if held.speaks() {
                let (alert, from) = (Arc::clone(&held.alert), Some(held.alert.phase));
                self.done.transitions.push(Transition { alert, from, dropped: true });
            }
        }
    }

    fn tell(&mut self, alert: Arc<Alert>, transition: bool) {
        let ends_at =
            alert.resolved_at.unwrap_or_else(|| self.now.plus(RESEND_DELAY.saturating_mul(RESENDS_UNTIL_END)));
        let stored = transition.then(|| Stored { sequence: self.done.book.place(), told: Arc::default() });
        self.done.deliveries.push(Delivery { alert, ends_at, transition, stored });
    }
}

/// `over` goes first; an empty value is no label, as everywhere in Prometheus' world.
fn overlaid(mut labels: Labels, over: &Labels) -> Labels {
    labels.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
    labels.retain(|_, value| !value.is_empty());
    labels
}
