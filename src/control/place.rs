//! Where the socket is: in a folder of its own below `data_dir`, which only its owner can enter. Its path may be longer than the
//! system takes for a socket, so it is named by way of the open folder.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// The folder below `data_dir`.
const FOLDER: &str = "control";
/// The socket in it.
const SOCKET: &str = "agent.sock";

/// Why there is no place for the socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The system refuses.
    #[error("cannot use {path}")]
    Io {
        /// What was tried with.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// Others could answer in our name, or ask.
    #[error("{0} belongs to somebody else, or is open to others: remove it, or `chmod 700` it")]
    NotPrivate(PathBuf),
    /// Somebody answers there.
    #[error("another agent runs with this data_dir: it answers at {0}")]
    Taken(PathBuf),
}

/// The open folder.
pub(super) struct Place {
    folder: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// For the agent: makes the folder where there is none, and sees to it that it is private.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, PlaceError> {
        let path = data_dir.join(FOLDER);
        let failed = |source: io::Error| PlaceError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(PlaceError::NotPrivate(path));
        }
        Self::find(data_dir).map_err(|source| PlaceError::Io { path, source })
    }

    /// For the command line.
    pub(super) fn find(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FOLDER);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { folder: rustix::fs::open(&path, flags, Mode::empty())?, path })
    }

    /// The socket's name for calls of this process, while this value lives.
    pub(super) fn socket(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(SOCKET)
    }

    /// The socket's name for people.
    pub(super) fn shown(&self) -> PathBuf {
        self.path.join(SOCKET)
    }
}
