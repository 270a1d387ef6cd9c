//! What people do with a store: check it, save what can be read of a damaged one, print it. None of it while an agent runs.

use super::{
    OpenError, Row, Table,
    file::{self, FILE, Opened},
    schema, writer,
};
use crate::model::hex;
use rusqlite::Connection;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Problems that a check lists.
const MAX_PROBLEMS: u32 = 100;
/// Rows that a repair writes in one transaction.
const REPAIRED_AT_ONCE: usize = 1000;

/// What is kept of a damaged store. Not how far offsets were read: a part of that would be false, and Kafka has it all.
const SAVED: [Table; 3] = [Table::Meta, Table::Alerts, Table::RuleState];

/// Why a tool did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite says no.
    #[error("{}: {text}", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Version of its tables.
    pub version: usize,
    /// Bytes of file and log.
    pub bytes: u64,
    /// Rows by table; `None` = they cannot be counted.
    pub rows: Vec<(&'static str, Option<u64>)>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// What a repair did.
#[derive(Debug, PartialEq, Eq)]
pub struct RepairReport {
    /// Where the file is that was there before.
    pub kept_as: PathBuf,
    /// Rows that were saved, by table, and what stopped reading it, if anything did.
    pub saved: Vec<(&'static str, usize, Option<String>)>,
}

/// Looks at every page of the store.
///
/// # Errors
/// When there is none, an agent has it, or it is not ours.
pub fn check(folder: &Path) -> Result<CheckReport, ToolError> {
    let Opened { connection, path, lock: _lock } = file::open_as_it_is(folder)?;
    let problems = match file::problems(&connection, "integrity_check", MAX_PROBLEMS) {
        Ok(problems) => problems,
        Err(error) => vec![error.to_string()],
    };
    Ok(CheckReport {
        version: schema::version(&connection).map_err(|error| sqlite(&path, &error))?,
        bytes: writer::size(&path).unwrap_or_default(),
        rows: Table::ALL.iter().map(|table| (table.name(), schema::count(&connection, *table).ok())).collect(),
        problems,
    })
}

/// Puts a new store with what can be read of the old one in its place, and keeps the old one beside it.
///
/// # Errors
/// As [`check`], and when a file cannot be written; then the old one is still in its place.
pub fn repair(folder: &Path, now: crate::model::Timestamp) -> Result<RepairReport, ToolError> {
    let Opened { connection, path, lock: _lock } = file::open_as_it_is(folder)?;
    let fresh = folder.join(format!("{FILE}.new"));
    remove_if_there(&fresh)?;
    let wrong = |error: rusqlite::Error| sqlite(&fresh, &error);
    let mut new = Connection::open(&fresh).map_err(wrong)?;
    new.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    schema::migrate(&mut new, schema::STEPS).map_err(wrong)?;
    let mut saved = Vec::new();
    for table in SAVED {
        let (rows, trouble) = salvage(&connection, table);
        for some in rows.chunks(REPAIRED_AT_ONCE) {
            let changes: Vec<_> = some.iter().map(|row| super::Change::Put(table, row.clone())).collect();
            writer::write(&mut new, changes.iter()).map_err(wrong)?;
        }
        saved.push((table.name(), rows.len(), trouble));
    }
    new.close().map_err(|(_, error)| wrong(error))?;
    // What does not close well stays as it is: it is kept beside the new one.
    drop(connection);
    let kept_as = folder.join(format!("{FILE}.damaged-{}", now.0 / 1000));
    let (log, kept_log) = (writer::log_of(&path), writer::log_of(&kept_as));
    // The new file takes the place of the old one at once; the old log must not be there then: it would be taken for its.
    link(&path, &kept_as)?;
    if log.exists() {
        link(&log, &kept_log)?;
        remove_if_there(&log)?;
    }
    fs::rename(&fresh, &path).map_err(|source| ToolError::Write { path: path.clone(), source })?;
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| ToolError::Write { path: folder.to_owned(), source })?;
    Ok(RepairReport { kept_as, saved })
}

/// Writes all rows, one JSON object a line.
///
/// # Errors
/// As [`check`], and when `out` does not take them.
pub fn export(folder: &Path, out: &mut dyn Write) -> Result<(), ToolError> {
    let Opened { connection, path, lock: _lock } = file::open_as_it_is(folder)?;
    for table in Table::ALL {
        let rows = writer::load(&connection, table, None).map_err(|error| sqlite(&path, &error))?;
        for Row { scope, key, value } in rows {
            let mut line = serde_json::Map::new();
            line.insert("table".to_owned(), table.name().into());
            line.insert("scope".to_owned(), scope.into());
            line.insert("key".to_owned(), key.into());
            match (table, String::from_utf8(value)) {
                (Table::RuleState, Ok(text)) => line.insert("value".to_owned(), text.into()),
                (_, Ok(text)) => line
                    .insert("value".to_owned(), serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))),
                (_, Err(bytes)) => line.insert("value_hex".to_owned(), hex::of(bytes.as_bytes()).into()),
            };
            writeln!(out, "{}", serde_json::Value::Object(line))
                .map_err(|source| ToolError::Write { path: "standard output".into(), source })?;
        }
    }
    Ok(())
}

/// The rows of a table from both ends, up to where it cannot be read.
fn salvage(connection: &Connection, table: Table) -> (Vec<Row>, Option<String>) {
    let (mut rows, trouble) = up_to_trouble(connection, table, "ASC");
    if trouble.is_some() {
        let (behind, _) = up_to_trouble(connection, table, "DESC");
        rows.extend(behind);
        rows.sort_unstable_by(|a, b| (&a.scope, &a.key).cmp(&(&b.scope, &b.key)));
        rows.dedup_by(|a, b| (&a.scope, &a.key) == (&b.scope, &b.key));
    }
    (rows, trouble)
}

fn up_to_trouble(connection: &Connection, table: Table, order: &str) -> (Vec<Row>, Option<String>) {
    let name = table.name();
    let text = format!("SELECT scope, key, value FROM {name} ORDER BY scope {order}, key {order}");
    let mut rows = Vec::new();
    let read = connection.prepare(&text).and_then(|mut statement| {
        for row in statement.query_map([], writer::row)? {
            rows.push(row?);
        }
        Ok(())
    });
    (rows, read.err().map(|error| error.to_string()))
}

fn sqlite(path: &Path, error: &rusqlite::Error) -> ToolError {
    ToolError::Sqlite { path: path.to_owned(), text: error.to_string() }
}

fn remove_if_there(path: &Path) -> Result<(), ToolError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ToolError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn link(from: &Path, to: &Path) -> Result<(), ToolError> {
    fs::hard_link(from, to).map_err(|source| ToolError::Write { path: to.to_owned(), source })
}
