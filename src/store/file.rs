//! Opens the file, and refuses what is not ours or not whole.

use super::{
    lock::{InUse, Lock, LockError},
    schema,
};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The store's name in `data_dir`.
pub const FILE: &str = "store.db";

/// Pages of the write-ahead log after which they are moved to the file, of 4 KiB each.
const WAL_PAGES: u32 = 1000;
/// Bytes that the write-ahead log keeps of the disk after a large transaction.
const WAL_KEPT_BYTES: u32 = 8 << 20;
/// How long somebody else's lock is waited for: of a tool that just looks.
const BUSY: Duration = Duration::from_millis(500);

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// Some other file has its name.
    #[error("{} is no store of brokerwarden's: move it away, or set another data_dir", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// A later brokerwarden wrote it.
    #[error(
        "{} was written by a later brokerwarden (version {found} of the store; this one knows {known}): run that one, or \
         move the file away and begin without alert and rule state", path.display()
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// Another program than this has it open.
    #[error("{} is open in another program, such as sqlite3: close it", path.display())]
    Held {
        /// Where.
        path: PathBuf,
    },
    /// It is damaged.
    #[error(
        "{} is damaged ({text}): `brokerwarden store check` says more, `brokerwarden store repair` saves what can be read and \
         keeps the damaged file", path.display()
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What SQLite says.
        text: String,
    },
    /// The system does not let us: no right, no room, a read-only disk.
    #[error("cannot use {} as a store: {text}", path.display())]
    Unusable {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

impl OpenError {
    /// Is nothing wrong with what is there, so that an agent may run without it?
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }
}

/// An open store.
#[derive(Debug)]
pub(super) struct Opened {
    // Closed before the lock goes.
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) lock: Lock,
}

/// Opens the store, made anew where there is none, at the newest version.
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    let lock = lock(folder)?;
    let path = folder.join(FILE);
    let mut connection = connect(&path)?;
    let wrong = |error: rusqlite::Error| judge(&path, &error);
    let empty = schema::is_empty(&connection).map_err(wrong)?;
    if !empty && !schema::is_ours(&connection).map_err(wrong)? {
        return Err(OpenError::Foreign { path });
    }
    let (found, known) = (schema::version(&connection).map_err(wrong)?, schema::STEPS.len());
    if found > known {
        return Err(OpenError::Newer { path, found, known });
    }
    if let Some(text) = problems(&connection, "quick_check", 1).map_err(wrong)?.into_iter().next() {
        return Err(OpenError::Damaged { path, text });
    }
    schema::migrate(&mut connection, schema::STEPS).map_err(wrong)?;
    // After the mark is in the file itself: what is only in the log would be lost with it.
    log_ahead(&connection).map_err(wrong)?;
    Ok(Opened { connection, path, lock })
}

/// Opens the file as it is, for tools.
pub(super) fn open_as_it_is(folder: &Path) -> Result<Opened, OpenError> {
    let lock = lock(folder)?;
    let path = folder.join(FILE);
    fs::metadata(&path).map_err(|error| unusable(&path, &error))?;
    let connection = connect(&path)?;
    let wrong = |error: rusqlite::Error| judge(&path, &error);
    if !schema::is_ours(&connection).map_err(wrong)? {
        return Err(OpenError::Foreign { path });
    }
    let (found, known) = (schema::version(&connection).map_err(wrong)?, schema::STEPS.len());
    if found > known {
        return Err(OpenError::Newer { path, found, known });
    }
    Ok(Opened { connection, path, lock })
}

fn lock(folder: &Path) -> Result<Lock, OpenError> {
    Lock::take(folder).map_err(|error| match error {
        LockError::InUse(in_use) => in_use.into(),
        LockError::Io(error) => unusable(folder, &error),
    })
}

fn unusable(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Unusable { path: path.to_owned(), text: error.to_string() }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| judge(path, &error))?;
    let set = || {
        connection.busy_timeout(BUSY)?;
        // Exclusive: without shared memory, which a log ahead needs otherwise, and which not every file system has.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)
    };
    set().map_err(|error| judge(path, &error))?;
    Ok(connection)
}

fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    // The mode comes back as a row; where it is another one (no log there), that one is as safe, and slower.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(mode, "the store has no write-ahead log: commits are slower");
    }
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))
}

/// What a check of SQLite's finds wrong, at most so much of it.
pub(super) fn problems(connection: &Connection, check: &str, most: u32) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {check}({most})"))?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let all: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
    Ok(if all == ["ok"] { Vec::new() } else { all })
}

/// What an error of SQLite's says of the file.
pub(super) fn judge(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, text) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Held { path },
        // A table that lacks what it should have is no work of SQLite's.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => OpenError::Damaged { path, text },
        _ => OpenError::Unusable { path, text },
    }
}
