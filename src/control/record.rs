//! Recordings of the running agent. Each is made on a thread of its own: it reads snapshots and
//! encodes them, and holds up nobody.

use crate::{
    alerts::AlertsView,
    clock,
    recording::{Header, RecordError, RecordedAlert, RecordedRule, Recorder},
    rules::{LiveRule, RulesHandle},
    snapshot::Snapshot,
    supervise::Tasks,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

#[cfg(test)]
mod tests;

/// Pieces of a recording that may wait for whoever asked for it; the recorder waits when they are more.
const RECORD_CAPACITY: usize = 4;
/// How often the recorder looks for a new snapshot.
const LOOK: Duration = Duration::from_millis(100);

/// What recordings are made of.
#[derive(Clone)]
pub struct Recorded {
    /// Snapshots.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Alerts.
    pub alerts: watch::Receiver<Arc<AlertsView>>,
    /// Rules.
    pub rules: RulesHandle,
    /// The effective configuration as YAML, secrets masked.
    pub configuration: watch::Receiver<Arc<str>>,
}

/// Starts a recording of `limit`. Its pieces come one after the other; put together they are the file. It ends with the
/// agent, when nobody takes the pieces any more, after an error, and when the time is over.
///
/// # Errors
/// When the system refuses a thread.
pub(super) fn start(
    tasks: &Tasks,
    source: Recorded,
    limit: Duration,
) -> io::Result<mpsc::Receiver<Result<Vec<u8>, RecordError>>> {
    let (pieces, receiver) = mpsc::channel(RECORD_CAPACITY);
    let agent = tasks.stop();
    // A group of its own, told to stop by the thread itself at its end: it is no task whose end ends the agent.
    let own = tasks.group();
    let done = own.stop();
    own.thread("recorder", move |stop| {
        let until = Instant::now().checked_add(limit);
        let in_time = || until.is_none_or(|until| Instant::now() < until) && !agent.stopped();
        record(source, &pieces, &mut || in_time() && !stop.sleep(LOOK));
        done.stop();
    })?;
    Ok(receiver)
}

/// Sends the pieces while `go_on` says so.
fn record(mut source: Recorded, pieces: &mpsc::Sender<Result<Vec<u8>, RecordError>>, go_on: &mut dyn FnMut() -> bool) {
    let mut recorder = Recorder::default();
    let send = |piece: Result<Vec<u8>, RecordError>| {
        let more = piece.is_ok();
        pieces.blocking_send(piece).is_ok() && more
    };
    if !send(recorder.begin(header(&source))) {
        return;
    }
    source.snapshots.mark_changed();
    loop {
        match source.snapshots.has_changed() {
            Err(_) => return, // the agent is being stopped
            Ok(true) => {
                let snapshot = Arc::clone(&source.snapshots.borrow_and_update());
                let seed = source.rules.snapshot_seed(&snapshot);
                if snapshot.number > 0 && !send(recorder.snapshot(&snapshot, &seed)) {
                    return;
                }
            }
            Ok(false) => {}
        }
        if pieces.is_closed() || !go_on() {
            return;
        }
    }
}

fn header(source: &Recorded) -> Header {
    // Rules first: alerts of later may stand beside what they knew, and not the other way round.
    let rules = source.rules.live().iter().map(recorded).collect();
    let alerts = Arc::clone(&source.alerts.borrow());
    Header {
        format: String::new(),
        version: 0,
        agent: env!("CARGO_PKG_VERSION").into(),
        started_ms: clock::now().0,
        configuration: source.configuration.borrow().to_string(),
        rules,
        alerts: alerts.alerts.iter().map(|alert| RecordedAlert::from(&**alert)).collect(),
    }
}

fn recorded(rule: &LiveRule) -> RecordedRule {
    let LiveRule { settings, limits, .. } = rule;
    let mut recorded = RecordedRule {
        name: settings.name.clone(),
        module: rule.module.clone(),
        sha256: rule.sha256.clone(),
        config: rule.config.to_string(),
        interval_ms: settings.interval.map(milliseconds),
        for_ms: milliseconds(settings.pending_for),
        keep_firing_for_ms: milliseconds(settings.keep_firing_for),
        labels: settings.labels.clone(),
        annotations: settings.annotations.clone(),
        limit_time_ms: milliseconds(limits.time),
        limit_memory: limits.memory,
        limit_state: limits.state,
        limit_alerts: limits.alerts,
        seen: rule.seen,
        ..RecordedRule::default()
    };
    for (key, value) in &rule.state {
        recorded.remember(key, value);
    }
    recorded
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
