//! The thread that has the file. Commits that wait are made one, since each costs a wait for the disk.

use super::{Change, OpenError, Row, Table, file::Opened};
use crate::{
    events::SelfMetrics,
    model::families,
    supervise::{Stop, Tasks},
};
use rusqlite::{Connection, Statement, TransactionBehavior, params};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Requests that wait for the thread; one more is refused.
pub const REQUEST_CAPACITY: usize = 64;
/// Commits that are made one.
pub const MAX_GROUPED: usize = 64;
/// How often the thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Why something was not committed. It may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Too much waits already.
    #[error("the store does not keep up: {REQUEST_CAPACITY} requests wait")]
    Busy,
    /// SQLite says so.
    #[error("the store cannot write: {0}")]
    Failed(String),
    /// The thread is gone.
    #[error("the store is closed")]
    Closed,
}

/// Why nothing was loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not in time.
    #[error("the store does not answer within {0:?}")]
    Late(Duration),
    /// SQLite says so.
    #[error("the store cannot read: {0}")]
    Failed(String),
}

/// What becomes of a commit.
pub type Reply = oneshot::Receiver<Result<(), CommitError>>;

type Answer = oneshot::Sender<Result<(), CommitError>>;

/// What the thread is asked for.
pub(super) enum Request {
    Commit(Vec<Change>, Answer),
    Load(Table, Option<String>, SyncSender<Result<Vec<Row>, String>>),
}

/// The store, as others reach it. Never waits for the disk, but where it says so.
#[derive(Clone, Debug)]
pub struct Store {
    requests: SyncSender<Request>,
}

impl Store {
    /// Has changes written, all or none, so that they survive a loss of power. The reply comes when they are, or are not.
    pub fn commit(&self, changes: Vec<Change>) -> Reply {
        let (reply, receiver) = oneshot::channel();
        let (refused, error) = match self.requests.try_send(Request::Commit(changes, reply)) {
            Ok(()) => return receiver,
            Err(TrySendError::Full(request)) => (request, CommitError::Busy),
            Err(TrySendError::Disconnected(request)) => (request, CommitError::Closed),
        };
        if let Request::Commit(_, reply) = refused {
            reply.send(Err(error)).ok(); // its receiver is ours
        }
        receiver
    }

    /// The rows of a table, or of one scope of it, sorted by scope and key. Waits for that long; for threads.
    ///
    /// # Errors
    /// When they do not come in time, or cannot be read.
    pub fn load(&self, table: Table, scope: Option<&str>, limit: Duration) -> Result<Vec<Row>, LoadError> {
        let (reply, receiver) = sync_channel(1);
        let request = Request::Load(table, scope.map(str::to_owned), reply);
        match self.requests.try_send(request) {
            Ok(()) => match receiver.recv_timeout(limit) {
                Ok(rows) => rows.map_err(LoadError::Failed),
                Err(_) => Err(LoadError::Late(limit)),
            },
            Err(TrySendError::Full(_)) => Err(LoadError::Failed(CommitError::Busy.to_string())),
            Err(TrySendError::Disconnected(_)) => Err(LoadError::Failed(CommitError::Closed.to_string())),
        }
    }

    /// A store whose thread never answers, as with a disk that hangs.
    #[cfg(test)]
    pub(crate) fn hanging() -> (Self, impl Sized) {
        let (requests, receiver) = sync_channel(REQUEST_CAPACITY);
        (Self { requests }, receiver)
    }

    /// A store that takes nothing, as with a full disk.
    #[cfg(test)]
    pub(crate) fn failing() -> Self {
        Self::hanging().0
    }
}

pub(super) fn start(tasks: &Tasks, opened: Opened, metrics: Arc<SelfMetrics>) -> Result<Store, OpenError> {
    let (requests, receiver) = sync_channel(REQUEST_CAPACITY);
    let path = opened.path.clone();
    let started = tasks.thread("store", move |stop| {
        let mut writer = Writer { opened, metrics };
        writer.tell_size();
        writer.run(&receiver, &stop);
        // Closed here, and not wherever the last handle is dropped: moves the log into the file.
        let Opened { connection, lock, .. } = writer.opened;
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the store was not closed well; the next start mends that");
        }
        drop(lock);
    });
    started.map_err(|error| OpenError::Unusable { path, text: format!("no thread: {error}") })?;
    Ok(Store { requests })
}

struct Writer {
    opened: Opened,
    metrics: Arc<SelfMetrics>,
}

impl Writer {
    /// Serves until told to stop, and then what waits.
    fn run(&mut self, requests: &Receiver<Request>, stop: &Stop) {
        let mut next = None;
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => match requests.recv_timeout(LOOK) {
                    Ok(request) => request,
                    Err(RecvTimeoutError::Timeout) if stop.stopped() => return,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => {
                        // Nobody can ask any more: the agent is ending.
                        while !stop.sleep(LOOK) {}
                        return;
                    }
                },
            };
            match request {
                Request::Commit(changes, reply) => {
                    let mut group = vec![(changes, reply)];
                    while group.len() < MAX_GROUPED {
                        match requests.try_recv() {
                            Ok(Request::Commit(changes, reply)) => group.push((changes, reply)),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                        }
                    }
                    self.commit(group);
                }
                Request::Load(table, scope, reply) => {
                    let rows = load(&self.opened.connection, table, scope.as_deref());
                    reply.send(rows.map_err(|error| error.to_string())).ok(); // whoever asked may have given up
                }
            }
        }
    }

    fn commit(&mut self, group: Vec<(Vec<Change>, Answer)>) {
        let (all, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let started = Instant::now();
        let written = write(&mut self.opened.connection, all.iter().flatten());
        self.metrics.observe(&families::STORE_COMMIT_SECONDS, &[], started.elapsed().as_secs_f64());
        let outcome = if written.is_ok() { "ok" } else { "failed" };
        self.metrics.count(&families::STORE_COMMITS, &[outcome]);
        self.tell_size();
        let result = written.map_err(|error| CommitError::Failed(error.to_string()));
        for reply in replies {
            reply.send(result.clone()).ok(); // whoever asked may have given up
        }
    }

    fn tell_size(&self) {
        if let Some(bytes) = size(&self.opened.path) {
            #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a metric's value is a double")]
            self.metrics.set(&families::STORE_BYTES, &[], bytes as f64);
        }
    }
}

/// Bytes of the file and its log.
pub(super) fn size(path: &Path) -> Option<u64> {
    let file = std::fs::metadata(path).ok()?.len();
    let log = std::fs::metadata(log_of(path)).map_or(0, |log| log.len());
    Some(file.saturating_add(log))
}

/// The log of a file.
pub(super) fn log_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Writes changes in one transaction.
pub(super) fn write<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statements = Statements { connection: &transaction, prepared: BTreeMap::new() };
        for change in changes {
            match change {
                Change::Put(table, Row { scope, key, value }) => {
                    statements.of(*table, Verb::Put)?.execute(params![scope, key, value])?
                }
                Change::Remove { table, scope, key } => {
                    statements.of(*table, Verb::Remove)?.execute(params![scope, key])?
                }
                Change::RemoveScope { table, scope } => {
                    statements.of(*table, Verb::RemoveScope)?.execute(params![scope])?
                }
            };
        }
    }
    transaction.commit()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Put,
    Remove,
    RemoveScope,
}

/// Each statement is prepared once in a transaction.
struct Statements<'a> {
    connection: &'a Connection,
    prepared: BTreeMap<(Table, Verb), Statement<'a>>,
}

impl<'a> Statements<'a> {
    fn of(&mut self, table: Table, verb: Verb) -> rusqlite::Result<&mut Statement<'a>> {
        match self.prepared.entry((table, verb)) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                let name = table.name();
                let text = match verb {
                    Verb::Put => format!("INSERT OR REPLACE INTO {name} (scope, key, value) VALUES (?1, ?2, ?3)"),
                    Verb::Remove => format!("DELETE FROM {name} WHERE scope = ?1 AND key = ?2"),
                    Verb::RemoveScope => format!("DELETE FROM {name} WHERE scope = ?1"),
                };
                Ok(new.insert(self.connection.prepare(&text)?))
            }
        }
    }
}

/// Reads rows, sorted by scope and key.
pub(super) fn load(connection: &Connection, table: Table, scope: Option<&str>) -> rusqlite::Result<Vec<Row>> {
    let name = table.name();
    let of_scope = if scope.is_some() { "WHERE scope = ?1" } else { "" };
    let text = format!("SELECT scope, key, value FROM {name} {of_scope} ORDER BY scope, key");
    let mut statement = connection.prepare(&text)?;
    let rows = statement.query_map(rusqlite::params_from_iter(scope), row)?;
    rows.collect()
}

/// A row of any of our tables.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row { scope: row.get(0)?, key: row.get(1)?, value: row.get(2)? })
}
