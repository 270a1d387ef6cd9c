//! What versions of a rule would have said of a recording, side by side. Pure but for the rules themselves: the same
//! recording and modules give the same words.

use super::{
    check::{own_labels, title},
    play::{Played, Step},
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::Timestamp,
    pipeline::{Book, RuleSettings, Transition, Verdict},
    recording::{self, ReadError, Reader, RecordedRule},
    rules::{Limits, Loaded, Offline, OfflineRule, Overlay},
    snapshot::Snapshot,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
    sync::Arc,
    time::Duration,
};

#[cfg(test)]
mod tests;

/// Modules that are played side by side.
pub const MAX_CANDIDATES: usize = 9;
/// Lines about what happened; more are counted.
pub const MAX_LINES: u64 = 100_000;
/// Bytes of one cell of the table, and of a module's name above it.
const MAX_CELL: usize = 22;
/// Bytes of a rule's own words in a line.
const MAX_WORDS: usize = 200;

/// Why there is no replay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording.
    #[error("the recording: {text}", text = crate::model::with_causes(.0))]
    Read(#[from] ReadError),
    /// It is not clear which of its rules is meant.
    #[error("which rule of the recording is it? There are {0}; say --as NAME")]
    Which(String),
    /// A module refuses the configuration that it would have had.
    #[error("{module} refuses the configuration: {text}")]
    Config {
        /// The module.
        module: String,
        /// Its words.
        text: String,
    },
    /// Values in the recorded state that are none.
    #[error("the recording: the state of rule {0} cannot be read")]
    State(String),
    /// Nobody takes the words.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

/// A version of a rule.
pub struct Candidate {
    /// What people call it: its file.
    pub module: String,
    /// The name that the rule would have by it.
    pub name: String,
    /// Its code.
    pub code: Loaded,
    /// The YAML beside it, which goes before what was recorded.
    pub beside: Overlay,
}

/// A line of the sums.
type Sum = (&'static str, fn(&Sums) -> u64);

/// What one candidate did in all.
#[derive(Default)]
struct Sums {
    evaluations: u64,
    unavailable: u64,
    failed: u64,
    fired: u64,
    resolved: u64,
    actions: u64,
}

struct Player {
    played: Played,
    sums: Sums,
    /// How its last evaluation ended, for people; a line for each change.
    ended: String,
}

/// The rule that candidates stand for, by name: the one that was asked for; else one of them is live in the recording;
/// else the only one there; else the one of a candidate's name.
fn name_of(rules: &[RecordedRule], candidates: &[Candidate], asked: Option<&str>) -> Result<String, ReplayError> {
    let same_code = |rule: &&RecordedRule| candidates.iter().any(|candidate| candidate.code.sha256() == rule.sha256);
    let same_name = |rule: &&RecordedRule| candidates.iter().any(|candidate| candidate.name == rule.name);
    let only = |found: Vec<&RecordedRule>| match found.as_slice() {
        [rule] => Some(rule.name.clone()),
        _ => None,
    };
    asked
        .map(str::to_owned)
        .or_else(|| only(rules.iter().filter(same_code).collect()))
        .or_else(|| only(rules.iter().collect()))
        .or_else(|| only(rules.iter().filter(same_name).collect()))
        .or_else(|| candidates.first().filter(|_| rules.is_empty()).map(|candidate| candidate.name.clone()))
        .ok_or_else(|| ReplayError::Which(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ")))
}

/// Plays `candidates` on a recording and writes what each says to `out`, as it happens.
///
/// # Errors
/// When the recording cannot be read, or a candidate cannot take its rule's place.
pub fn replay<R: BufRead>(
    host: &Offline,
    reader: &mut Reader<R>,
    candidates: &[Candidate],
    asked: Option<&str>,
    out: &mut dyn std::io::Write,
) -> Result<(), ReplayError> {
    let name = name_of(&reader.header.rules, candidates, asked)?;
    let recorded = reader.header.rules.iter().find(|rule| rule.name == name).cloned();
    let alerts: Vec<Alert> =
        recording::alerts(&reader.header).into_iter().filter(|alert| alert.key.rule == name).collect();
    let begun = Timestamp(reader.header.started_ms);
    writeln!(out, "recording of {}, agent {}", date(begun), reader.header.agent)?;
    match &recorded {
        Some(rule) => writeln!(
            out,
            "rule {name}, live as {} ({}), with its state and alerts then",
            rule.module,
            short(&rule.sha256)
        )?,
        None => writeln!(out, "rule {name}, not in the recording: it begins with nothing")?,
    }
    for (letter, candidate) in letters().zip(candidates) {
        writeln!(out, "  {letter} = {} ({})", candidate.module, short(candidate.code.sha256()))?;
    }
    let mut table = Table { out, written: 0, unwritten: 0 };
    table.row("", candidates.len(), &|at| letters().nth(at).map(String::from), "")?;
    let mut players: Vec<Player> = Vec::new();
    let (mut snapshots, mut differing) = (0u64, 0u64);
    let seen = recorded.as_ref().map_or(0, |rule| rule.seen);
    while let Some((snapshot, seed)) = reader.next_snapshot()? {
        let snapshot = Arc::new(snapshot);
        if players.is_empty() {
            for candidate in candidates {
                players.push(player(host, candidate, &name, recorded.as_ref(), &alerts, &snapshot)?);
            }
        }
        if snapshot.number <= seen {
            // It is in the state already.
            continue;
        }
        snapshots = snapshots.saturating_add(1);
        let mut lines = Lines::new();
        for (at, player) in players.iter_mut().enumerate() {
            let step = player.played.step(host, &snapshot, Some(&seed));
            player.take(at, step, &mut lines);
        }
        for (what, cells) in lines {
            table.row(&date(snapshot.at), players.len(), &|at| cells.get(&at).cloned(), &what)?;
        }
        let standing: Vec<_> = players.iter().map(|player| standing(&player.played)).collect();
        differing = differing.saturating_add(u64::from(standing.windows(2).any(|pair| pair.first() != pair.last())));
    }
    table.end(&players, snapshots, differing)?;
    if reader.broke_off() {
        writeln!(table.out, "the recording broke off in the middle of a snapshot")?;
    }
    Ok(())
}

fn player(
    host: &Offline,
    candidate: &Candidate,
    name: &str,
    recorded: Option<&RecordedRule>,
    alerts: &[Alert],
    first: &Arc<Snapshot>,
) -> Result<Player, ReplayError> {
    let default = RecordedRule { config: "{}".into(), ..RecordedRule::default() };
    let base = recorded.unwrap_or(&default);
    let ms = |beside: Option<Duration>, recorded: u64| beside.unwrap_or(Duration::from_millis(recorded));
    let beside = &candidate.beside;
    let settings = RuleSettings {
        name: name.to_owned(),
        interval: beside.interval.or(base.interval_ms.map(Duration::from_millis)),
        pending_for: ms(beside.pending_for, base.for_ms),
        keep_firing_for: ms(beside.keep_firing_for, base.keep_firing_for_ms),
        labels: beside.labels.clone().unwrap_or_else(|| base.labels.clone()),
        annotations: beside.annotations.clone().unwrap_or_else(|| base.annotations.clone()),
        shadow: false,
        actions: BTreeSet::new(),
    };
    let limits = recorded.map_or_else(Limits::default, |rule| Limits {
        time: Duration::from_millis(rule.limit_time_ms),
        memory: rule.limit_memory,
        state: rule.limit_state,
        alerts: rule.limit_alerts,
    });
    let config = beside.config.as_deref().unwrap_or(&base.config);
    let mut rule = OfflineRule::new(&candidate.code, Arc::new(settings), config, limits);
    for (key, value) in base.remembered().ok_or_else(|| ReplayError::State(name.to_owned()))? {
        if !rule.remember(key, &value) {
            return Err(ReplayError::State(name.to_owned()));
        }
    }
    let refused = |text| ReplayError::Config { module: candidate.module.clone(), text };
    host.check_config(&rule, first).map_err(refused)?;
    let played = Played::new(rule, Book::with_alerts(alerts.to_vec()), first.at);
    Ok(Player { played, sums: Sums::default(), ended: "ok".into() })
}

/// What happened at one snapshot: by what it is about, what each candidate says of it.
type Lines = BTreeMap<String, BTreeMap<usize, String>>;

impl Player {
    fn take(&mut self, at: usize, step: Step, lines: &mut Lines) {
        let mut line = |what: String, cell: String| {
            lines.entry(what).or_default().insert(at, cell);
        };
        for transition in &step.transitions {
            let Transition { alert, dropped, .. } = transition;
            let cell = match (dropped, alert.phase, alert.value) {
                (true, ..) => "gone".to_owned(),
                (false, Phase::Resolved, _) => "resolved".to_owned(),
                (false, phase, Some(value)) => format!("{} {value}", phase.text()),
                (false, phase, None) => phase.text().to_owned(),
            };
            let counted = match alert.phase {
                Phase::Firing if !dropped => Some(&mut self.sums.fired),
                Phase::Resolved if !dropped => Some(&mut self.sums.resolved),
                _ => None,
            };
            if let Some(counted) = counted {
                *counted = counted.saturating_add(1);
            }
            line(title(&alert.key.name, &own_labels(alert)), cell);
        }
        for (reason, count) in step.dropped {
            line(format!("alerts not taken: {reason}"), count.to_string());
        }
        let Some(verdict) = step.verdict else { return };
        self.sums.evaluations = self.sums.evaluations.saturating_add(1);
        let (ended, words) = match &verdict {
            Verdict::Outcome(outcome) => {
                for action in &outcome.actions {
                    self.sums.actions = self.sums.actions.saturating_add(1);
                    line(format!("action {} with the key {:?}", action.name, action.key), "asked for".into());
                }
                ("ok".to_owned(), String::new())
            }
            Verdict::Unavailable(text) => {
                self.sums.unavailable = self.sums.unavailable.saturating_add(1);
                ("unavailable".to_owned(), text.clone())
            }
            Verdict::Failed { reason, text } => {
                self.sums.failed = self.sums.failed.saturating_add(1);
                (format!("failed: {reason}"), text.clone())
            }
        };
        if ended != self.ended {
            let words = crate::model::BoundedText(&words, MAX_WORDS).to_string();
            line(if words.is_empty() { "evaluation".into() } else { format!("evaluation: {words}") }, ended.clone());
            self.ended = ended;
        }
    }
}

/// Which alerts stand, and how.
fn standing(played: &Played) -> BTreeSet<(AlertKey, Phase)> {
    let alerts = played.alerts().into_iter().filter(|alert| alert.phase != Phase::Resolved);
    alerts.map(|alert| (alert.key.clone(), alert.phase)).collect()
}

struct Table<'a> {
    out: &'a mut dyn std::io::Write,
    written: u64,
    unwritten: u64,
}

impl Table<'_> {
    fn row(
        &mut self,
        first: &str,
        columns: usize,
        cell: &dyn Fn(usize) -> Option<String>,
        last: &str,
    ) -> std::io::Result<()> {
        if self.written >= MAX_LINES {
            self.unwritten = self.unwritten.saturating_add(1);
            return Ok(());
        }
        self.written = self.written.saturating_add(1);
        let mut text = format!("{first:24}");
        for column in 0..columns {
            let cell = cell(column).unwrap_or_else(|| "·".into());
            let cell = format!("  {:MAX_CELL$}", crate::model::clip(&cell, MAX_CELL));
            text.push_str(&cell);
        }
        text.push_str("  ");
        text.push_str(last);
        writeln!(self.out, "{}", text.trim_end())
    }

    fn end(&mut self, players: &[Player], snapshots: u64, differing: u64) -> std::io::Result<()> {
        if self.unwritten > 0 {
            writeln!(self.out, "and {} lines more", self.unwritten)?;
        }
        (self.written, self.unwritten) = (0, 0);
        writeln!(self.out)?;
        let sums: [Sum; 6] = [
            ("evaluations", |sums| sums.evaluations),
            ("  unavailable", |sums| sums.unavailable),
            ("  failed", |sums| sums.failed),
            ("alerts that fired", |sums| sums.fired),
            ("alerts that resolved", |sums| sums.resolved),
            ("actions asked for", |sums| sums.actions),
        ];
        for (name, sum) in sums {
            self.row(name, players.len(), &|at| players.get(at).map(|player| sum(&player.sums).to_string()), "")?;
        }
        match players.len() {
            0 => writeln!(self.out, "the recording has no snapshot"),
            1 => writeln!(self.out, "{snapshots} snapshots"),
            _ => writeln!(self.out, "alerts differ after {differing} of {snapshots} snapshots"),
        }
    }
}

fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// Enough of a hash to tell it from others.
fn short(sha256: &str) -> &str {
    crate::model::clip(sha256, 12)
}

fn date(at: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(at.0));
    time.map_or_else(|| at.0.to_string(), |time| humantime::format_rfc3339_millis(time).to_string())
}
