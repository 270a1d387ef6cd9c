//! All rules as they stand: what is live, when each is due, what it remembers, how it fared. Decides who goes next; runs
//! nothing itself.

use super::{
    Limits,
    evaluate::{Code, Finished, Job},
    limits,
    memory::Memory,
    rates::Rates,
    report::RuleReport,
    start::LiveRule,
    state::State,
};
use crate::{
    history::History,
    model::{RuleState, Timestamp},
    pipeline::{EvaluationReport, LimitsReport, RuleSettings, RuleView, RulesView, Settled, StateReport, Verdict},
    snapshot::Snapshot,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A version of a rule that may go live.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) code: Arc<Code>,
    pub(super) settings: Arc<RuleSettings>,
    pub(super) config: Arc<str>,
    pub(super) limits: Limits,
    /// For people.
    pub(super) module: String,
    /// Which version of its state it writes.
    pub(super) writes_as: u32,
    /// Later versions have higher numbers, whatever rule they are of.
    pub(super) generation: u64,
}

/// One rule.
pub(super) struct Entry {
    settings: Arc<RuleSettings>,
    module: String,
    pub(super) live: Option<Version>,
    pub(super) load_error: Option<String>,
    /// Somebody evaluates or replaces it.
    pub(super) busy: bool,
    state: State,
    rates: Rates,
    /// Generation and snapshot of the last evaluation that the pipeline was told of.
    told: Option<(u64, u64)>,
    seen: u64,
    seen_at: Option<Timestamp>,
    /// CPU time that it used lately, as of the snapshot of that number.
    used: (Duration, u64),
    /// What an evaluation of it may cost: the dearest one of late.
    dearest: Duration,
    failures: u32,
    paused_until: Option<Instant>,
    last_error: Option<String>,
    evaluation_time: Duration,
    /// The newest last.
    evaluations: Arc<[EvaluationReport]>,
}

/// All rules, and what they look at.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) rules: BTreeMap<String, Entry>,
    pub(super) latest: Option<Arc<Snapshot>>,
    /// What the pipeline made of what it was told.
    settled: Arc<Settled>,
    /// What rules remembered before the agent was started, until they are there.
    pub(super) restored: BTreeMap<String, RuleState>,
    /// The past up to `latest`.
    history: History,
    pub(super) rules_dir_error: Option<String>,
}

/// Which rules a thread evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// All.
    Any,
    /// Only those that have been cheap: an evaluation cannot be put aside for another, so that with nothing but lanes for
    /// all the cheap ones would wait for the dear ones.
    Cheap,
}

/// What changed by an evaluation, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing to tell.
    None,
    /// It fails, and did not before, or fails otherwise.
    Fails,
    /// It works again.
    Works,
}

impl Entry {
    fn new(settings: Arc<RuleSettings>, module: String, state: State) -> Self {
        Self {
            settings,
            module,
            live: None,
            load_error: None,
            busy: false,
            state,
            rates: Rates::default(),
            told: None,
            seen: 0,
            seen_at: None,
            used: (Duration::ZERO, 0),
            dearest: Duration::ZERO,
            failures: 0,
            paused_until: None,
            last_error: None,
            evaluation_time: Duration::ZERO,
            evaluations: Arc::default(),
        }
    }

    /// Would it be evaluated on `snapshot` if a thread were free?
    /// `settled`: has the pipeline taken what it said last? Its own alerts are not as it left them before.
    fn due(&self, snapshot: &Snapshot, settled: bool, now: Instant) -> bool {
        self.live.is_some()
            && snapshot.number > self.seen
            && settled
            && self.paused_until.is_none_or(|until| now >= until)
            && waited(self.settings.interval, self.seen_at, snapshot)
    }

    /// CPU time that it used lately: what it ever used, halved for each [`limits::CPU_HALF_LIFE`] snapshots since.
    fn used(&self, snapshot: u64) -> Duration {
        let (used, at) = self.used;
        let passed = u32::try_from(snapshot.saturating_sub(at)).unwrap_or(u32::MAX);
        used.mul_f64(0.5f64.powf(f64::from(passed) / f64::from(limits::CPU_HALF_LIFE)))
    }

    /// Takes what an evaluation on the snapshot of that number cost.
    fn charge(&mut self, cpu: Duration, snapshot: u64) {
        self.used = (self.used(snapshot).saturating_add(cpu), snapshot);
        // Forgotten slowly: who is dear now and then is not cheap in between.
        self.dearest = cpu.max(self.dearest.saturating_sub(self.dearest / limits::DEAR_EVALUATIONS));
    }

    fn pause(&self) -> Option<Duration> {
        let over = self.failures.checked_sub(limits::FAILURES_BEFORE_PAUSE)?;
        let factor = 2u32.saturating_pow(over);
        Some(limits::FIRST_PAUSE.saturating_mul(factor).min(limits::LONGEST_PAUSE))
    }

    /// What went wrong in the last evaluation.
    pub(super) fn error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// All of it for its next evaluation, which sees what the pipeline `settled`.
    fn memory(&self, settled: &Settled, history: &History) -> Memory {
        let name = &self.settings.name;
        Memory {
            state: self.state.clone(),
            rates: self.rates.clone(),
            alerts: settled.alerts_of(name),
            actions: settled.actions_of(name),
            history: history.clone(),
        }
    }

    /// What this rule remembers now.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Keeps how its last evaluation went, for people.
    fn note(&mut self, verdict: &Verdict, (cpu, wall): (Duration, Duration), memory: u64) {
        let outcome = match verdict {
            Verdict::Outcome(said) => format!(
                "{} alerts, {} measurements, {} actions",
                said.alerts.len(),
                said.measurements.len(),
                said.actions.len()
            ),
            Verdict::Unavailable(text) => format!("unavailable: {text}"),
            Verdict::Failed { reason, text } => format!("failed ({reason}): {text}"),
        };
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let newest = EvaluationReport {
            snapshot: self.seen,
            at_ms: self.seen_at.unwrap_or_default().0,
            outcome,
            cpu_us: microseconds(cpu),
            wall_us: microseconds(wall),
            memory,
        };
        let over = self.evaluations.len().saturating_add(1).saturating_sub(limits::LAST_EVALUATIONS);
        self.evaluations = self.evaluations.iter().skip(over).cloned().chain([newest]).collect();
    }

    fn limits_report(&self) -> LimitsReport {
        self.live.as_ref().map_or_else(LimitsReport::default, |live| live.limits.report())
    }

    fn state_report(&self) -> StateReport {
        let kept = self.state.kept();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        StateReport {
            version: kept.version,
            keys: count(kept.entries.len()),
            bytes: count(self.state.bytes()),
            earlier: kept.earlier.as_ref().map(|(version, _)| *version),
        }
    }

    /// All of it, for people.
    pub(super) fn report(&self) -> RuleReport {
        RuleReport {
            name: self.settings.name.clone(),
            module: self.module.clone(),
            sha256: self.live.as_ref().map(|live| live.code.sha256.clone()).unwrap_or_default(),
            live: self.live.is_some(),
            generation: self.live.as_ref().map(|live| live.generation),
            shadow: self.settings.shadow,
            load_error: self.load_error.clone(),
            last_error: self.last_error.clone(),
            interfaces: self.live.as_ref().map(|live| live.code.interfaces.clone()).unwrap_or_default(),
            interval_ms: self.settings.interval.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            limits: self.limits_report(),
            state: self.state_report(),
            evaluations: self.evaluations.to_vec(),
        }
    }
}

/// Is it time for a rule of that `interval`, last evaluated on what was seen at `seen_at`?
pub(super) fn waited(interval: Option<Duration>, seen_at: Option<Timestamp>, snapshot: &Snapshot) -> bool {
    interval.zip(seen_at).is_none_or(|(interval, at)| {
        // Half a snapshot early rather than a whole one late: snapshots do not come to the millisecond. A clock that was set
        // back says nothing of how long ago that was.
        snapshot.at < at || snapshot.at.since(at).saturating_add(snapshot.interval / 2) >= interval
    })
}

impl Registry {
    /// No rules; what each remembered before is here for when it comes.
    pub(super) fn restoring(restored: BTreeMap<String, RuleState>) -> Self {
        Self { restored, ..Self::default() }
    }

    /// Takes a new snapshot. Returns the rules that were due on the one before, and have not got to it or are at it.
    pub(super) fn observe(&mut self, snapshot: Arc<Snapshot>, now: Instant) -> Vec<String> {
        let before = self.latest.replace(snapshot);
        let Some(before) = before else { return Vec::new() };
        let late = self
            .rules
            .iter()
            .filter(|(_, entry)| entry.live.is_some() && (entry.busy || entry.due(&before, true, now)));
        late.map(|(name, _)| name.clone()).collect()
    }

    /// Takes the next rule to evaluate: the one that used the least CPU time lately. So cheap ones go first, dear ones
    /// take turns, and whoever waits comes nearer. It is busy until [`Self::done`].
    pub(super) fn next(&mut self, lane: Lane, now: Instant) -> Option<(Job, u64)> {
        let snapshot = self.latest.clone()?;
        let settled = &self.settled;
        let waiting = self.rules.iter_mut().filter(|(name, entry)| {
            let fits = lane == Lane::Any || entry.dearest <= limits::CHEAP_EVALUATION;
            fits && !entry.busy
                && entry.due(&snapshot, entry.told.is_none() || settled.taken.get(*name) == entry.told.as_ref(), now)
        });
        let (_, entry) = waiting.min_by_key(|(_, entry)| entry.used(snapshot.number))?;
        let version = entry.live.clone()?;
        entry.busy = true;
        entry.seen = snapshot.number;
        entry.seen_at = Some(snapshot.at);
        let memory = entry.memory(settled, &self.history);
        Some((version.job(snapshot, memory), version.generation))
    }

    /// What the pipeline has taken up to now.
    pub(super) fn settle(&mut self, settled: Arc<Settled>) {
        self.settled = settled;
    }

    /// The pipeline was told of an evaluation; the next one of that rule waits until it has taken it.
    pub(super) fn told(&mut self, rule: &str, generation: u64, snapshot: u64) {
        if let Some(entry) = self.rules.get_mut(rule) {
            entry.told = Some((generation, snapshot));
        }
    }

    /// What is kept for a rule, for a dry run of its next version.
    pub(super) fn memory_of(&self, rule: &str) -> Memory {
        match self.rules.get(rule) {
            Some(entry) => entry.memory(&self.settled, &self.history),
            None => Memory {
                state: self.restored(rule),
                rates: Rates::default(),
                alerts: self.settled.alerts_of(rule),
                actions: self.settled.actions_of(rule),
                history: self.history.clone(),
            },
        }
    }

    /// Of a rule that is not there yet.
    fn restored(&self, rule: &str) -> State {
        self.restored.get(rule).cloned().unwrap_or_default().into()
    }

    /// Puts another state in the place of what a rule remembers. The rule must be there, and claimed.
    pub(super) fn replace_state(&mut self, rule: &str, state: State) {
        if let Some(entry) = self.rules.get_mut(rule) {
            entry.state = state;
        }
    }

    /// The past up to the newest snapshot.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Takes the past up to the snapshot that comes next.
    pub(super) fn set_history(&mut self, history: History) {
        self.history = history;
    }

    /// How many failures in a row there are with this verdict.
    pub(super) fn failures_with(&self, rule: &str, verdict: &Verdict) -> u32 {
        let before = self.rules.get(rule).map_or(0, |entry| entry.failures);
        match verdict {
            Verdict::Outcome(_) => 0,
            Verdict::Unavailable(_) => before,
            Verdict::Failed { .. } => before.saturating_add(1),
        }
    }

    /// Takes what came of an evaluation, and lets go of the rule. State counts only if the version is still the one that
    /// was evaluated and if there is an outcome.
    pub(super) fn done(&mut self, rule: &str, generation: u64, finished: Finished, now: Instant) -> Change {
        let failures = self.failures_with(rule, &finished.verdict);
        let Some(entry) = self.rules.get_mut(rule) else { return Change::None };
        entry.busy = false;
        entry.rates = finished.rates;
        entry.charge(finished.cpu, entry.seen);
        if entry.live.as_ref().is_none_or(|live| live.generation != generation) {
            return Change::None;
        }
        entry.evaluation_time = finished.wall;
        entry.failures = failures;
        entry.note(&finished.verdict, (finished.cpu, finished.wall), finished.memory_used);
        let (error, change) = match finished.verdict {
            Verdict::Outcome(_) => {
                entry.state = finished.state;
                entry.paused_until = None;
                (None, if entry.last_error.is_some() { Change::Works } else { Change::None })
            }
            Verdict::Unavailable(text) => (Some(format!("unavailable: {text}")), Change::None),
            Verdict::Failed { reason, text } => {
                let error = format!("{reason}: {text}");
                entry.paused_until = entry.pause().and_then(|pause| now.checked_add(pause));
                let new = entry.last_error.as_ref() != Some(&error);
                (Some(error), if new { Change::Fails } else { Change::None })
            }
        };
        entry.last_error = error;
        change
    }

    /// Puts a version in the place of the one before. False: a later one is there already.
    pub(super) fn install(&mut self, version: Version) -> bool {
        let name = version.settings.name.clone();
        let state = self.restored.remove(&name).unwrap_or_default().into();
        let entry = self
            .rules
            .entry(name)
            .or_insert_with(|| Entry::new(Arc::clone(&version.settings), version.module.clone(), state));
        if entry.live.as_ref().is_some_and(|live| live.generation >= version.generation) {
            return false;
        }
        entry.settings = Arc::clone(&version.settings);
        entry.module.clone_from(&version.module);
        entry.load_error = None;
        entry.last_error = None;
        entry.failures = 0;
        entry.paused_until = None;
        // The new version speaks on the present snapshot, too.
        entry.seen = 0;
        entry.seen_at = None;
        entry.live = Some(version);
        true
    }

    /// Keeps why a version did not go live; what is live stays. True if that is news.
    pub(super) fn refuse(&mut self, settings: &Arc<RuleSettings>, module: &str, error: String) -> bool {
        let state = self.restored.remove(&settings.name).unwrap_or_default().into();
        let entry = self
            .rules
            .entry(settings.name.clone())
            .or_insert_with(|| Entry::new(Arc::clone(settings), module.to_owned(), state));
        let new = entry.load_error.as_ref() != Some(&error);
        entry.load_error = Some(error);
        new
    }

    /// All live rules with what they remember.
    pub(super) fn live(&self) -> Vec<LiveRule> {
        let live = self.rules.values().filter_map(|entry| Some((entry, entry.live.as_ref()?)));
        live.map(|(entry, version)| LiveRule {
            settings: Arc::clone(&version.settings),
            module: version.module.clone(),
            sha256: version.code.sha256.clone(),
            config: Arc::clone(&version.config),
            limits: version.limits.clone(),
            state: entry.state.entries().map(|(key, value)| (key.to_owned(), value.to_vec())).collect(),
            // What is being evaluated is not in the state yet.
            seen: if entry.busy { entry.seen.saturating_sub(1) } else { entry.seen },
        })
        .collect()
    }

    /// All rules for people.
    pub(super) fn view(&self) -> RulesView {
        let rules = self.rules.values().map(|entry| RuleView {
            settings: Arc::clone(&entry.settings),
            module: entry.module.clone(),
            sha256: entry.live.as_ref().map(|live| live.code.sha256.clone()).unwrap_or_default(),
            live: entry.live.is_some(),
            load_error: entry.load_error.clone(),
            last_error: entry.last_error.clone(),
            last_evaluation: entry.seen_at,
            evaluation_time: entry.evaluation_time,
            limits: entry.limits_report(),
            state: entry.state_report(),
            evaluations: Arc::clone(&entry.evaluations),
        });
        RulesView { rules: rules.collect(), rules_dir_error: self.rules_dir_error.clone() }
    }
}

impl Version {
    /// An evaluation of this version.
    pub(super) fn job(&self, snapshot: Arc<Snapshot>, memory: Memory) -> Job {
        Job {
            code: Arc::clone(&self.code),
            settings: Arc::clone(&self.settings),
            config: Arc::clone(&self.config),
            limits: self.limits.clone(),
            snapshot,
            memory,
        }
    }
}
