//! Tests of the store as a file: what survives, what is refused, what a full disk does.

use super::*;
use crate::model::Timestamp;
use rusqlite::Connection;
use std::{fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(10);

fn put(table: Table, scope: &str, key: &str, value: &str) -> Change {
    Change::Put(table, row(scope, key, value))
}

fn row(scope: &str, key: &str, value: &str) -> Row {
    Row { scope: scope.into(), key: key.into(), value: value.into() }
}

/// A store with its thread, in a folder.
struct Running {
    store: Store,
    tasks: Tasks,
    metrics: Arc<SelfMetrics>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let ((tasks, _), metrics) = (Tasks::new(), Arc::new(SelfMetrics::default()));
        let store = start(&tasks, folder, Arc::clone(&metrics)).unwrap();
        Self { store, tasks, metrics }
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.store.commit(changes).blocking_recv().unwrap()
    }

    fn rows(&self, table: Table, scope: Option<&str>) -> Vec<Row> {
        self.store.load(table, scope, LIMIT).unwrap()
    }

    fn stop(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(self.tasks.shut_down(LIMIT)).is_empty());
    }
}

fn refused(folder: &Path) -> OpenError {
    start(&Tasks::new().0, folder, Arc::default()).unwrap_err()
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_scopes_go_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running
        .commit(vec![
            put(Table::Alerts, "b", "1", "{}"),
            put(Table::Alerts, "a", "2", "{}"),
            put(Table::RuleState, "a", "k", "\u{0}"),
        ])
        .unwrap();
    running.commit(vec![put(Table::Alerts, "a", "2", "new"), put(Table::Alerts, "a", "3", "{}")]).unwrap();
    let (table, scope, key) = (Table::Alerts, "a".to_owned(), "3".to_owned());
    running.commit(vec![Change::Remove { table, scope: scope.clone(), key }]).unwrap();
    running.stop();
    let running = Running::start(folder.path());
    assert_eq!(running.rows(Table::Alerts, None), [row("a", "2", "new"), row("b", "1", "{}")]);
    assert_eq!(running.rows(Table::RuleState, Some("a")), [row("a", "k", "\u{0}")]);
    running.commit(vec![Change::RemoveScope { table, scope }]).unwrap();
    assert_eq!(running.rows(Table::Alerts, None), [row("b", "1", "{}")]);
    assert!(running.metrics.value(&crate::model::families::STORE_BYTES, &[]).unwrap() > 0.0);
    running.stop();
}

#[test]
fn a_second_agent_is_refused_until_the_first_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::InUse(_)) && error.to_string().contains(&std::process::id().to_string()));
    assert!(matches!(check(folder.path()), Err(ToolError::Open(OpenError::InUse(_)))));
    running.stop();
    Running::start(folder.path()).stop();
}

#[test]
fn a_full_disk_loses_nothing_that_was_committed_and_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = file::open(folder.path()).unwrap();
    let pages: i64 = opened.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |opened: &file::Opened, pages: i64| {
        opened.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    writer::write(&mut opened.connection, [put(Table::Alerts, "a", "1", "kept")].iter()).unwrap();
    limit(&opened, pages);
    let much: Vec<_> = (0..1000).map(|n| put(Table::Alerts, "a", &n.to_string(), &"x".repeat(1000))).collect();
    let error = writer::write(&mut opened.connection, much.iter()).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    assert_eq!(writer::load(&opened.connection, Table::Alerts, None).unwrap(), [row("a", "1", "kept")]);
    limit(&opened, 100_000);
    writer::write(&mut opened.connection, much.iter()).unwrap();
    assert_eq!(writer::load(&opened.connection, Table::Alerts, None).unwrap().len(), 1000);
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(&path, "no database at all, but long enough to have a header of a hundred bytes ".repeat(50)).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(refused(folder.path()), OpenError::Foreign { .. }));
    assert!(matches!(check(folder.path()), Err(ToolError::Open(OpenError::Foreign { .. }))));
    assert!(matches!(repair(folder.path(), Timestamp(0)), Err(ToolError::Open(OpenError::Foreign { .. }))));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE somebody_elses (x); INSERT INTO somebody_elses VALUES (1)").unwrap();
    drop(other);
    assert!(matches!(refused(folder.path()), OpenError::Foreign { .. }));
    let other = Connection::open(&path).unwrap();
    assert_eq!(other.query_row("SELECT x FROM somebody_elses", [], |row| row.get::<_, i64>(0)), Ok(1));
    // A file of no bytes is what a crash at the first start leaves.
    drop(other);
    fs::write(&path, "").unwrap();
    Running::start(folder.path()).stop();
}

/// Writes over pages in the middle of the file.
fn damage(path: &Path, from: usize) {
    let mut bytes = fs::read(path).unwrap();
    let to = bytes.len().min(from + 4096 * 4);
    bytes[from..to].fill(0x5a);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_store_is_refused_and_repaired_without_a_word_of_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let alerts = (0..3000).map(|n| put(Table::Alerts, "rule", &format!("{n:04}"), &"x".repeat(100)));
    running.commit(alerts.collect()).unwrap();
    running
        .commit(vec![put(Table::OffsetsPositions, "cluster", "0", "{}"), put(Table::RuleState, "r", "k", "v")])
        .unwrap();
    running.stop();
    let path = folder.path().join(FILE);
    assert!(check(folder.path()).unwrap().problems.is_empty());
    damage(&path, 4096 * 30);
    let before = fs::read(&path).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }) && error.to_string().contains("store repair"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before, "left as it is");
    assert!(!check(folder.path()).unwrap().problems.is_empty());
    let report = repair(folder.path(), Timestamp(1_700_000_000_000)).unwrap();
    assert!(report.kept_as.ends_with("store.db.damaged-1700000000") && report.kept_as.exists());
    let running = Running::start(folder.path());
    let saved = running.rows(Table::Alerts, None);
    assert!((1000..3000).contains(&saved.len()), "{}", saved.len());
    assert!(saved.iter().all(|row| row.value == b"x".repeat(100)));
    assert_eq!(report.saved[1].1, saved.len());
    assert_eq!(running.rows(Table::RuleState, None), [row("r", "k", "v")]);
    assert!(running.rows(Table::OffsetsPositions, None).is_empty());
    running.stop();
    let mut out = Vec::new();
    export(folder.path(), &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    assert_eq!(lines.lines().count(), saved.len() + 1);
    assert!(lines.ends_with("{\"key\":\"k\",\"scope\":\"r\",\"table\":\"rule_state\",\"value\":\"v\"}\n"), "{lines}");
}

/// As version 1 was released: what it wrote must be readable for ever.
const VERSION_1: &str = "
    CREATE TABLE meta (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
    CREATE TABLE offsets_positions (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
    CREATE TABLE offsets_groups (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
    CREATE TABLE alerts (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
    CREATE TABLE rule_state (scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (scope, key)) WITHOUT ROWID;
    PRAGMA application_id = 1113014610;
    PRAGMA user_version = 1;
    INSERT INTO alerts VALUES ('rule', 'key', x'7b7d');";

#[test]
fn older_versions_are_migrated_whole_or_not_at_all_and_later_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    drop(old);
    let running = Running::start(folder.path());
    assert_eq!(running.rows(Table::Alerts, None), [row("rule", "key", "{}")]);
    running.stop();

    let mut connection = Connection::open(&path).unwrap();
    let next = |step: &'static str| [schema::STEPS, &[step]].concat();
    let bad = next("ALTER TABLE alerts ADD COLUMN more TEXT; CREATE TABLE alerts (x)");
    schema::migrate(&mut connection, &bad).unwrap_err();
    assert_eq!(schema::version(&connection), Ok(schema::STEPS.len()));
    assert!(connection.prepare("SELECT more FROM alerts").is_err(), "half a step");
    schema::migrate(&mut connection, &next("ALTER TABLE alerts ADD COLUMN more TEXT DEFAULT 'm'")).unwrap();
    let more: String = connection.query_row("SELECT more FROM alerts WHERE key = 'key'", [], |row| row.get(0)).unwrap();
    assert_eq!((more.as_str(), schema::version(&connection)), ("m", Ok(schema::STEPS.len() + 1)));
    drop(connection);
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Newer { .. }) && error.to_string().contains("later brokerwarden"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_no_reason_not_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file.join("data"));
    assert!(error.is_unusable(), "{error}");
}

#[test]
fn many_commits_at_once_are_few_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let replies: Vec<_> =
        (0..40).map(|n| running.store.commit(vec![put(Table::Alerts, "a", &n.to_string(), "{}")])).collect();
    for reply in replies {
        reply.blocking_recv().unwrap().unwrap();
    }
    let transactions = running.metrics.value(&crate::model::families::STORE_COMMITS, &["ok"]).unwrap();
    assert!(transactions < 40.0, "{transactions}");
    assert_eq!(running.rows(Table::Alerts, None).len(), 40);
    running.stop();
}

#[test]
fn a_store_that_hangs_holds_up_nobody() {
    let (store, _thread) = Store::hanging();
    let mut replies: Vec<_> = (0..=REQUEST_CAPACITY).map(|_| store.commit(Vec::new())).collect();
    assert_eq!(replies.pop().unwrap().blocking_recv().unwrap(), Err(CommitError::Busy));
    assert!(replies.iter_mut().all(|reply| reply.try_recv().is_err()));
    assert!(store.load(Table::Meta, None, Duration::from_millis(10)).is_err());
}
