//! One process at a time uses a `data_dir`.

use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The file that is locked. It stays when we end; the lock goes with the process, however that ends.
const FILE: &str = "lock";

/// Bytes of that file that are shown: a process id.
const MAX_SHOWN: u64 = 32;

/// Another process uses the folder.
#[derive(Debug, thiserror::Error)]
#[error("{} is in use by another brokerwarden (process {process}): stop it, or give this one a data_dir of its own", folder.display())]
pub struct InUse {
    folder: PathBuf,
    process: String,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum LockError {
    InUse(InUse),
    Io(io::Error),
}

/// Held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(FILE));
        let mut file = options.map_err(LockError::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut process = String::new();
                // Who it is helps; that it is there suffices.
                if (&mut file).take(MAX_SHOWN).read_to_string(&mut process).is_err() || process.trim().is_empty() {
                    process.clear();
                    process.push_str("not known");
                }
                let process = process.trim().to_owned();
                return Err(LockError::InUse(InUse { folder: folder.to_owned(), process }));
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // On a full disk there is a lock all the same, only without a name on it.
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::debug!(%error, "cannot write our process id into the lock");
        }
        Ok(Self { _file: file })
    }
}
