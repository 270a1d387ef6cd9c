//! What waits to be told or done, and what was done, as rows of the store, and back. Pure.

use super::{
    super::deeds::{DeedKey, Taken, Waiting},
    SavedAlert, SavedSubject, alert_of, saved_alert,
};
use crate::{
    alerts::AlertKey,
    model::{BrokerId, Labels, Timestamp},
    pipeline::{Book, Deed, DeedEnd, DeedResult, Delivery, Stored},
    store::{Change, Row, Table},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Scopes of [`Table::Outbox`].
const ALERT: &str = "alert";
const ACTION: &str = "action";

/// Digits of a place in the outbox, so that rows are sorted by it.
const DIGITS: usize = 20;

#[derive(Debug, Serialize, Deserialize)]
struct SavedDelivery {
    rule: String,
    name: String,
    labels: Labels,
    alert: SavedAlert,
    ends_at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedDeed {
    rule: String,
    action: String,
    subject: SavedSubject,
    params: Labels,
    key: String,
    idempotency_key: String,
    cluster: String,
    broker: Option<i32>,
    requested_at: u64,
    alerts: Vec<Labels>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedEnd {
    deed: SavedDeed,
    end: String,
    at: u64,
    attempts: u32,
    text: String,
}

/// When, by us or not, under which idempotency key.
type SavedTaken = (u64, bool, String);

/// A place in the outbox as a key of a row.
pub fn row_key(sequence: u64) -> String {
    format!("{sequence:0DIGITS$}")
}

fn remove(table: Table, scope: &str, key: String) -> Change {
    Change::Remove { table, scope: scope.to_owned(), key }
}

/// What makes a delivery wait in the store, if it has a place there and is not from before our start.
pub(in super::super) fn delivery_change(delivery: &Delivery) -> Option<Change> {
    let sequence = delivery.stored.as_ref().filter(|stored| stored.told.is_empty())?.sequence;
    let alert = &delivery.alert;
    let AlertKey { rule, name, labels } = alert.key.clone();
    let saved =
        SavedDelivery { rule, name, labels, alert: saved_alert(alert, true, None), ends_at: delivery.ends_at.0 };
    put(Table::Outbox, ALERT, row_key(sequence), &saved)
}

/// What takes a delivery out of the outbox: it is told, or nobody is to hear of it.
pub fn told_changes(sequence: u64) -> [Change; 2] {
    let key = row_key(sequence);
    [remove(Table::Outbox, ALERT, key.clone()), Change::RemoveScope { table: Table::OutboxTold, scope: key }]
}

/// What notes that one of several receivers was told.
pub fn told_change(sequence: u64, receiver: &str) -> Change {
    let (scope, key, value) = (row_key(sequence), receiver.to_owned(), Vec::new());
    Change::Put(Table::OutboxTold, Row { scope, key, value })
}

/// What brings the rows of a deed in line with the book: it waits, it has ended, or it is forgotten.
pub(in super::super) fn deed_changes(book: &Book, sequence: u64) -> [Change; 2] {
    let key = || row_key(sequence);
    let waiting = book.deeds.waiting.get(&sequence);
    let waits = waiting.and_then(|waiting| put(Table::Outbox, ACTION, key(), &saved_deed(&waiting.deed)));
    let ended = book.deeds.ended.iter().find(|(_, result)| result.sequence == sequence);
    let logged = ended.and_then(|(deed, result)| {
        let DeedResult { sequence: _, end, at, attempts, text } = result.clone();
        let saved = SavedEnd { deed: saved_deed(deed), end: end.text().to_owned(), at: at.0, attempts, text };
        put(Table::ActionLog, "", key(), &saved)
    });
    [
        waits.unwrap_or_else(|| remove(Table::Outbox, ACTION, key())),
        logged.unwrap_or_else(|| remove(Table::ActionLog, "", key())),
    ]
}

/// What brings the row of a key in line with the book.
pub(in super::super) fn key_change(book: &Book, id: &DeedKey) -> Change {
    let key = serde_json::json!([id.rule, id.key]).to_string();
    let taken = book.deeds.taken.get(id).and_then(|taken| {
        let saved: Vec<SavedTaken> =
            taken.iter().map(|one| (one.at.0, one.by_us, one.idempotency_key.clone())).collect();
        put(Table::ActionKeys, &id.action, key.clone(), &saved)
    });
    taken.unwrap_or_else(|| remove(Table::ActionKeys, &id.action, key))
}

fn put(table: Table, scope: &str, key: String, value: &impl Serialize) -> Option<Change> {
    let value = serde_json::to_vec(value).ok()?;
    Some(Change::Put(table, Row { scope: scope.to_owned(), key, value }))
}

fn saved_deed(deed: &Deed) -> SavedDeed {
    let Deed {
        sequence: _,
        rule,
        action,
        subject,
        params,
        key,
        idempotency_key,
        cluster,
        broker,
        requested_at,
        alerts,
    } = deed.clone();
    SavedDeed {
        rule,
        action,
        subject: subject.into(),
        params,
        key,
        idempotency_key,
        cluster,
        broker: broker.map(|broker| broker.0),
        requested_at: requested_at.0,
        alerts,
    }
}

fn deed_of(sequence: u64, saved: SavedDeed) -> Arc<Deed> {
    let SavedDeed { rule, action, subject, params, key, idempotency_key, cluster, broker, requested_at, alerts } =
        saved;
    Arc::new(Deed {
        sequence,
        rule,
        action,
        subject: subject.into(),
        params,
        key,
        idempotency_key,
        cluster,
        broker: broker.map(BrokerId),
        requested_at: Timestamp(requested_at),
        alerts,
    })
}

/// The rows that [`restore`] reads.
#[derive(Debug, Default)]
pub(in super::super) struct OutboxRows {
    pub(in super::super) outbox: Vec<Row>,
    pub(in super::super) told: Vec<Row>,
    pub(in super::super) keys: Vec<Row>,
    pub(in super::super) log: Vec<Row>,
}

/// Puts what waited and what was done into a book. Returns how many rows cannot be read, and places whose rows belong to
/// nothing.
pub(in super::super) fn restore(book: &mut Book, rows: OutboxRows) -> (usize, BTreeSet<u64>) {
    let mut unreadable = 0usize;
    let mut last = 0u64;
    let mut told: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for row in rows.told {
        if let Ok(sequence) = row.scope.parse() {
            told.entry(sequence).or_default().insert(row.key);
        }
    }
    for row in rows.outbox {
        let sequence = row.key.parse().ok();
        last = last.max(sequence.unwrap_or(0));
        let read = sequence.and_then(|sequence| match row.scope.as_str() {
            ALERT => {
                let saved: SavedDelivery = serde_json::from_slice(&row.value).ok()?;
                let key = AlertKey { rule: saved.rule, name: saved.name, labels: saved.labels };
                let stored = Stored { sequence, told: Arc::new(told.remove(&sequence).unwrap_or_default()) };
                let (alert, ends_at) = (Arc::new(alert_of(key, saved.alert)), Timestamp(saved.ends_at));
                let delivery = Delivery { alert, ends_at, transition: true, stored: Some(stored) };
                book.untold.insert(sequence, delivery);
                Some(())
            }
            ACTION => {
                let deed = deed_of(sequence, serde_json::from_slice(&row.value).ok()?);
                book.deeds.waiting.insert(sequence, Waiting { deed, restored: true });
                Some(())
            }
            _ => None,
        });
        if read.is_none() {
            unreadable = unreadable.saturating_add(1);
        }
    }
    for row in rows.keys {
        let id = serde_json::from_str::<(String, String)>(&row.key);
        let Ok((rule, key)) = id else {
            unreadable = unreadable.saturating_add(1);
            continue;
        };
        let Ok(taken) = serde_json::from_slice::<Vec<SavedTaken>>(&row.value) else {
            unreadable = unreadable.saturating_add(1);
            continue;
        };
        let one = |(at, by_us, idempotency_key)| Taken { at: Timestamp(at), by_us, idempotency_key };
        let id = DeedKey { action: row.scope, rule, key };
        book.deeds.taken.insert(id, taken.into_iter().map(one).collect());
    }
    for row in rows.log {
        let read = row.key.parse().ok().and_then(|sequence: u64| {
            last = last.max(sequence);
            let saved: SavedEnd = serde_json::from_slice(&row.value).ok()?;
            let end = DeedEnd::ALL.into_iter().find(|end| end.text() == saved.end)?;
            let SavedEnd { deed, end: _, at, attempts, text } = saved;
            Some((deed_of(sequence, deed), DeedResult { sequence, end, at: Timestamp(at), attempts, text }))
        });
        match read {
            Some(ended) => book.deeds.ended.push_back(ended),
            None => unreadable = unreadable.saturating_add(1),
        }
    }
    // Rows are sorted by when they were asked for; these by when they ended.
    book.deeds.ended.make_contiguous().sort_by_key(|(_, result)| (result.at, result.sequence));
    last = last.max(told.keys().next_back().copied().unwrap_or(0));
    book.next_sequence = last.saturating_add(1);
    (unreadable, told.into_keys().collect())
}
