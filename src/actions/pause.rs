//! The switch that holds all actions: a file in data_dir, which anybody may touch who may write there. It is looked at on a
//! thread of its own, since a disk may hang; while it cannot be seen, nothing begins.

use crate::{
    model::Timestamp,
    supervise::{Stop, Tasks},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, UNIX_EPOCH},
};
use tokio::sync::{oneshot, watch};

/// The file's name in data_dir.
pub const PAUSE_FILE: &str = "actions.paused";
/// How often it is looked for while nothing is to be done.
pub const PAUSE_LOOK: Duration = Duration::from_secs(1);
/// How long a look may take; after that, actions count as paused.
pub const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// Looks that may wait; one answer serves all that ask at once.
const MAX_LOOKS: usize = 4;

/// Since when actions are paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// When the file was made or touched, if that is known.
    pub since: Option<Timestamp>,
}

/// Are actions paused? `None` = they are not.
///
/// # Errors
/// When it cannot be seen.
pub fn paused(data_dir: &Path) -> io::Result<Option<Paused>> {
    match fs::symlink_metadata(data_dir.join(PAUSE_FILE)) {
        Ok(file) => {
            let since = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let since = since.and_then(|since| u64::try_from(since.as_millis()).ok()).map(Timestamp);
            Ok(Some(Paused { since }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pauses them; false: they were already.
///
/// # Errors
/// When the file cannot be made.
pub fn pause(data_dir: &Path) -> io::Result<bool> {
    match fs::OpenOptions::new().write(true).create_new(true).open(data_dir.join(PAUSE_FILE)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets them go on; false: they were not paused.
///
/// # Errors
/// When the file cannot be removed.
pub fn resume(data_dir: &Path) -> io::Result<bool> {
    match fs::remove_file(data_dir.join(PAUSE_FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks the thread that looks.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    looks: SyncSender<oneshot::Sender<bool>>,
    seen: watch::Receiver<bool>,
}

impl Switch {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(super) fn start(tasks: &Tasks, data_dir: PathBuf) -> io::Result<Self> {
        let (looks, asked) = sync_channel(MAX_LOOKS);
        let (sender, seen) = watch::channel(false);
        tasks.thread("actions-pause", move |stop| watch_file(&data_dir, &asked, &sender, &stop))?;
        Ok(Self { looks, seen })
    }

    /// Looks now. What cannot be seen in time counts as paused.
    pub(super) async fn is_paused(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        if self.looks.try_send(reply).is_err() {
            return true;
        }
        matches!(tokio::time::timeout(SEEN_WITHIN, answer).await, Err(_) | Ok(Err(_) | Ok(true)))
    }

    /// What was seen last; changes are told.
    pub(super) fn seen(&self) -> watch::Receiver<bool> {
        self.seen.clone()
    }
}

fn watch_file(data_dir: &Path, asked: &Receiver<oneshot::Sender<bool>>, seen: &watch::Sender<bool>, stop: &Stop) {
    let mut last_error: Option<io::ErrorKind> = None;
    while !stop.stopped() {
        let reply = match asked.recv_timeout(PAUSE_LOOK) {
            Ok(reply) => Some(reply),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                stop.sleep(PAUSE_LOOK);
                None
            }
        };
        let found = paused(data_dir);
        let error = found.as_ref().err().map(io::Error::kind);
        if let (Err(error), true) = (&found, error != last_error) {
            tracing::warn!(%error, "cannot see whether actions are paused; none begins");
        }
        last_error = error;
        let now = !matches!(found, Ok(None));
        seen.send_if_modified(|seen| std::mem::replace(seen, now) != now);
        if let Some(reply) = reply {
            reply.send(now).ok(); // whoever asked may have given up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_made_once_and_removed_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(paused(dir.path()).unwrap(), None);
        assert!(!resume(dir.path()).unwrap());
        assert!(pause(dir.path()).unwrap() && !pause(dir.path()).unwrap());
        assert!(paused(dir.path()).unwrap().unwrap().since.is_some());
        assert!(resume(dir.path()).unwrap());
        assert_eq!(paused(dir.path()).unwrap(), None);
        assert_eq!(paused(Path::new("/nowhere")).unwrap(), None);
        assert!(pause(Path::new("/nowhere")).is_err());
        // A link that leads nowhere is a file of that name, too.
        std::os::unix::fs::symlink("/nowhere", dir.path().join(PAUSE_FILE)).unwrap();
        assert!(paused(dir.path()).unwrap().is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_seen_counts_as_paused() {
        let dir = tempfile::tempdir().unwrap();
        let (tasks, _ended) = Tasks::new();
        // A file where the folder should be: not even root sees through it.
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let switch = Switch::start(&tasks, file).unwrap();
        assert!(switch.is_paused().await);
        let other = Switch::start(&tasks, dir.path().to_owned()).unwrap();
        assert!(!other.is_paused().await);
        let mut seen = other.seen();
        pause(dir.path()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), seen.wait_for(|paused| *paused)).await.unwrap().unwrap();
        assert!(other.is_paused().await);
        tasks.shut_down(Duration::from_secs(10)).await;
        assert!(other.is_paused().await, "nobody looks any more");
    }
}
