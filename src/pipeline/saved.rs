//! The alert book as rows of the store, and back. Pure.

mod outbox;

pub(super) use outbox::{OutboxRows, deed_changes, delivery_change, key_change, restore as restore_outbox};
pub use outbox::{row_key, told_change, told_changes};

use super::{
    Restored,
    book::{Book, Held, Told},
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    model::{BrokerId, Labels, RuleState, StateEntries, Subject, Timestamp},
    store::{Change, Row, Table},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Keys of [`Table::Meta`].
const ALIVE: &str = "alive";
const IDENTITY: &str = "identity";

/// An alert as it is saved. Fields are only ever added, each with a default.
#[derive(Debug, Serialize, Deserialize)]
struct SavedAlert {
    subject: SavedSubject,
    annotations: Labels,
    /// Not a number, or infinite: as if there were none.
    value: Option<f64>,
    phase: SavedPhase,
    active_at: u64,
    fired_at: Option<u64>,
    resolved_at: Option<u64>,
    keep_firing_since: Option<u64>,
    last_sent: Option<u64>,
    spoken: bool,
    told: Option<SavedTold>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedSubject {
    Group(String),
    Topic(String),
    Broker,
    Agent,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedPhase {
    Pending,
    Firing,
    Resolved,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedTold {
    phase: SavedPhase,
    by_us: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedIdentity {
    cluster: String,
    broker: Option<i32>,
    others: bool,
    #[serde(default)]
    shadow: BTreeSet<String>,
}

impl From<Subject> for SavedSubject {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Group(group) => Self::Group(group),
            Subject::Topic(topic) => Self::Topic(topic),
            Subject::Broker => Self::Broker,
            Subject::Agent => Self::Agent,
        }
    }
}

impl From<SavedSubject> for Subject {
    fn from(subject: SavedSubject) -> Self {
        match subject {
            SavedSubject::Group(group) => Self::Group(group),
            SavedSubject::Topic(topic) => Self::Topic(topic),
            SavedSubject::Broker => Self::Broker,
            SavedSubject::Agent => Self::Agent,
        }
    }
}

impl From<Phase> for SavedPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Firing => Self::Firing,
            Phase::Resolved => Self::Resolved,
        }
    }
}

impl From<SavedPhase> for Phase {
    fn from(phase: SavedPhase) -> Self {
        match phase {
            SavedPhase::Pending => Self::Pending,
            SavedPhase::Firing => Self::Firing,
            SavedPhase::Resolved => Self::Resolved,
        }
    }
}

/// What brings an alert's row in line with the book.
pub(super) fn alert_change(book: &Book, key: &AlertKey) -> Change {
    let scope = key.rule.clone();
    // Sorted, since labels are: the same alert has the same key.
    let row_key = serde_json::json!([key.name, key.labels]).to_string();
    let value = book.alerts.get(key).and_then(|held| {
        let row = saved_alert(&held.alert, held.spoken, held.told);
        serde_json::to_vec(&row).ok()
    });
    match value {
        Some(value) => Change::Put(Table::Alerts, Row { scope, key: row_key, value }),
        None => Change::Remove { table: Table::Alerts, scope, key: row_key },
    }
}

/// Before the keys of a rule's state: what the present version wrote.
const PRESENT: char = '=';
/// What an earlier version left.
const EARLIER: char = '<';
/// Key of the numbers of both versions.
const VERSIONS: &str = "versions";

/// What a rule remembers as rows, by key.
pub(super) fn state_rows(state: &RuleState) -> BTreeMap<String, Arc<[u8]>> {
    let of = |sign: char, entries: &StateEntries| -> Vec<(String, Arc<[u8]>)> {
        entries.iter().map(|(key, value)| (format!("{sign}{key}"), Arc::clone(value))).collect()
    };
    let mut rows: BTreeMap<_, _> = of(PRESENT, &state.entries).into_iter().collect();
    if let Some((_, entries)) = &state.earlier {
        rows.extend(of(EARLIER, entries));
    }
    let earlier = state.earlier.as_ref().map(|(version, _)| *version);
    let versions = serde_json::json!([state.version, earlier]).to_string().into_bytes();
    rows.insert(VERSIONS.to_owned(), versions.into());
    rows
}

/// What each rule remembers, from its rows. Where it is not known which version wrote them, another one must not take them
/// for its own: that rule is left out and begins anew. Also how many of these there are.
pub(super) fn restore_states(rows: Vec<Row>) -> (BTreeMap<String, RuleState>, usize) {
    #[derive(Default)]
    struct Read {
        present: BTreeMap<String, Arc<[u8]>>,
        earlier: BTreeMap<String, Arc<[u8]>>,
        versions: Option<(Option<u32>, Option<u32>)>,
    }
    let mut rules: BTreeMap<String, Read> = BTreeMap::new();
    for Row { scope, key, value } in rows {
        let read = rules.entry(scope).or_default();
        if let Some(key) = key.strip_prefix(PRESENT) {
            read.present.insert(key.to_owned(), value.into());
        } else if let Some(key) = key.strip_prefix(EARLIER) {
            read.earlier.insert(key.to_owned(), value.into());
        } else if key == VERSIONS {
            read.versions = serde_json::from_slice(&value).ok();
        }
    }
    let state = |read: Read| {
        let (version, earlier) = read.versions?;
        let earlier = earlier.map(|version| (version, Arc::new(read.earlier)));
        Some(RuleState { version, entries: Arc::new(read.present), earlier })
    };
    let all = rules.len();
    let states: BTreeMap<_, _> = rules.into_iter().filter_map(|(rule, read)| Some((rule, state(read)?))).collect();
    let unreadable = all.saturating_sub(states.len());
    (states, unreadable)
}

/// When we were last alive, and who we are.
pub(super) fn meta_changes(book: &Book, now: Timestamp) -> [Change; 2] {
    let identity = SavedIdentity {
        cluster: book.cluster.as_ref().to_owned(),
        broker: book.broker.map(|broker| broker.0),
        others: book.others,
        shadow: book.shadow(),
    };
    let put = |key: &str, value: serde_json::Value| {
        let value = value.to_string().into_bytes();
        Change::Put(Table::Meta, Row { scope: String::new(), key: key.to_owned(), value })
    };
    [put(ALIVE, now.0.into()), put(IDENTITY, serde_json::json!(identity))]
}

fn saved_alert(alert: &Alert, spoken: bool, told: Option<Told>) -> SavedAlert {
    let Alert {
        key: _,
        subject,
        annotations,
        value,
        phase,
        active_at,
        fired_at,
        resolved_at,
        keep_firing_since,
        last_sent,
    } = alert.clone();
    let milliseconds = |at: Option<Timestamp>| at.map(|at| at.0);
    SavedAlert {
        subject: subject.into(),
        annotations,
        value: value.filter(|value| value.is_finite()),
        phase: phase.into(),
        active_at: active_at.0,
        fired_at: milliseconds(fired_at),
        resolved_at: milliseconds(resolved_at),
        keep_firing_since: milliseconds(keep_firing_since),
        last_sent: milliseconds(last_sent),
        spoken,
        told: told.map(|told| SavedTold { phase: told.phase.into(), by_us: told.by_us }),
    }
}

fn alert_of(key: AlertKey, saved: SavedAlert) -> Alert {
    Alert {
        key,
        subject: saved.subject.into(),
        annotations: saved.annotations,
        value: saved.value,
        phase: saved.phase.into(),
        active_at: Timestamp(saved.active_at),
        fired_at: saved.fired_at.map(Timestamp),
        resolved_at: saved.resolved_at.map(Timestamp),
        keep_firing_since: saved.keep_firing_since.map(Timestamp),
        last_sent: saved.last_sent.map(Timestamp),
    }
}

/// The book as it was when we were last alive, for an agent that starts at `now`. The time in between counts neither as one
/// in which a condition held nor as one in which it did not: clocks stood still.
pub(super) fn restore(alerts: Vec<Row>, meta: Vec<Row>, now: Timestamp) -> Restored {
    let mut restored = Restored::default();
    let meta: BTreeMap<String, Vec<u8>> = meta.into_iter().map(|row| (row.key, row.value)).collect();
    if let Some(Ok(identity)) = meta.get(IDENTITY).map(|value| serde_json::from_slice::<SavedIdentity>(value)) {
        restored.book.cluster = identity.cluster.into();
        restored.book.broker = identity.broker.map(BrokerId);
        restored.book.others = identity.others;
        restored.book.shadowed = identity.shadow;
    }
    let alive = meta.get(ALIVE).and_then(|value| serde_json::from_slice::<u64>(value).ok()).map_or(now, Timestamp);
    let down = now.since(alive);
    for row in alerts {
        let key = serde_json::from_str::<(String, Labels)>(&row.key);
        let parts = key.and_then(|key| Ok((key, serde_json::from_slice::<SavedAlert>(&row.value)?)));
        let Ok(((name, labels), saved)) = parts else {
            restored.unreadable = restored.unreadable.saturating_add(1);
            continue;
        };
        let key = AlertKey { rule: row.scope, name, labels };
        let spoken = saved.spoken;
        let told = saved.told.as_ref().map(|told| Told { phase: told.phase.into(), by_us: told.by_us });
        let mut alert = alert_of(key.clone(), saved);
        let clock = alert.phase == Phase::Pending || alert.keep_firing_since.is_some();
        if clock && !down.is_zero() {
            restored.touched.alerts.insert(key.clone());
        }
        if alert.phase == Phase::Pending {
            alert.active_at = alert.active_at.plus(down);
        }
        alert.keep_firing_since = alert.keep_firing_since.map(|since| since.plus(down));
        let held = Held { alert: Arc::new(alert), spoken, told, restored: true };
        restored.book.alerts.insert(key, held);
    }
    restored
}
