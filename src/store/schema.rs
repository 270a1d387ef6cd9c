//! The tables, version by version. A version that was released is never changed: a change is one more step.

use super::Table;
use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as ours ("BWAR"), at byte 68 of its header.
pub(super) const APPLICATION: i64 = 0x4257_4152;

/// What makes version N + 1 of version N; the first makes version 1 of an empty file.
pub(super) const STEPS: &[&str] = &[
    // Rows stand sorted by scope and key; a scope is read and removed as a whole.
    "CREATE TABLE meta (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE offsets_positions (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE offsets_groups (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE alerts (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE rule_state (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;",
    // What waits to be told or done, and what became of it.
    "CREATE TABLE outbox (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE outbox_told (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE action_keys (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE action_log (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
     CREATE TABLE notification_log (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;",
];

/// The version that a file has; 0 = no tables yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Is there nothing in the file?
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Is the file marked as ours?
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0)).map(|id: i64| id == APPLICATION)
}

/// Brings a file to the newest version, in one transaction: it has the old one or the new one, whatever happens.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let from = version(connection)?;
    if from >= steps.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in steps.iter().skip(from) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

/// How many rows a table has.
pub(super) fn count(connection: &Connection, table: Table) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {}", table.name()), [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
