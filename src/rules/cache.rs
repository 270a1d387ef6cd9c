//! Keeps compiled code on disk, so that a restart does not compile again. Machine code is trusted blindly once loaded, so
//! the folder is private, each file carries a keyed checksum, and what is used is the copy that was checked.

use super::limits;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Length of key and checksum.
const HASH: usize = 32;
/// Ends the names of our files.
const SUFFIX: &str = ".cwasm";

/// Compiled code by the hash of its module; empty and forgetful when there is no folder for it.
#[derive(Debug)]
pub(super) struct Cache(Option<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    key: [u8; HASH],
    engine: String,
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("cannot use {path} as a private folder")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} belongs to somebody else, or is open to others")]
    NotPrivate(PathBuf),
}

impl Cache {
    /// Opens or makes the folder. Without one all goes on, only slower at each start; that is said once.
    pub(super) fn open(path: &Path, engine: &str) -> Self {
        match Folder::open(path, engine) {
            Ok(folder) => Self(Some(folder)),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "compiled rules are not kept; each start compiles them again");
                Self(None)
            }
        }
    }

    /// Keeps nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The code of that module, if it was kept and is still what we wrote.
    pub(super) fn get(&self, sha256: &str) -> Option<Vec<u8>> {
        let folder = self.0.as_ref()?;
        let bytes = match folder.read(sha256) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "cannot read a compiled rule; compiling it again");
                return None;
            }
        };
        let (checksum, code) = bytes.split_at_checked(HASH)?;
        if folder.checksum(sha256, code) != *checksum {
            tracing::warn!(sha256, "a compiled rule is not what was written; compiling it again");
            return None;
        }
        Some(code.to_vec())
    }

    /// Keeps code. Failing is no failure: it is compiled again.
    pub(super) fn put(&self, sha256: &str, code: &[u8]) {
        let Some(folder) = &self.0 else { return };
        if let Err(error) = folder.write(sha256, code).and_then(|()| folder.thin()) {
            tracing::warn!(%error, folder = %folder.path.display(), "cannot keep a compiled rule");
        }
    }
}

impl Folder {
    fn open(path: &Path, engine: &str) -> Result<Self, CacheError> {
        let failed = |source: io::Error| CacheError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(CacheError::NotPrivate(path.to_owned()));
        }
        let key = key(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), key, engine: engine.to_owned() })
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.path.join(format!("{}-{sha256}{SUFFIX}", self.engine))
    }

    fn read(&self, sha256: &str) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(self.file(sha256), flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(limits::MAX_COMPILED_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, sha256: &str, code: &[u8]) -> io::Result<()> {
        let target = self.file(sha256);
        write_whole(&target, &[&self.checksum(sha256, code), code])
    }

    /// HMAC-SHA256 over what the code is of, and the code.
    fn checksum(&self, sha256: &str, code: &[u8]) -> [u8; HASH] {
        let pad = |byte: u8| {
            let mut block = [byte; 64];
            block.iter_mut().zip(self.key).for_each(|(block, key)| *block ^= key);
            block
        };
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(&self.engine)
            .chain_update(sha256)
            .chain_update(code)
            .finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
    }

    /// Removes the oldest files above the caps.
    fn thin(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                let found = entry.metadata()?;
                files.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), found.len()));
            }
        }
        files.sort();
        let (mut count, mut bytes) = (files.len(), files.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        for (_, path, size) in files {
            if count <= limits::MAX_CACHED && bytes <= limits::MAX_CACHED_BYTES {
                break;
            }
            fs::remove_file(path)?;
            (count, bytes) = (count.saturating_sub(1), bytes.saturating_sub(size));
        }
        Ok(())
    }
}

/// The folder's key, made at first use.
fn key(folder: &Path) -> io::Result<[u8; HASH]> {
    let path = folder.join("key");
    let mut key = [0; HASH];
    match File::open(&path).and_then(|mut file| file.read_exact(&mut key)) {
        Ok(()) => return Ok(key),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {}
        Err(error) => return Err(error),
    }
    let key = secret()?;
    write_whole(&path, &[&key])?;
    Ok(key)
}

/// Random bytes that nobody can guess.
pub(super) fn secret() -> io::Result<[u8; HASH]> {
    let mut secret = [0; HASH];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}

/// Writes beside the target, then renames: others see all of it or nothing.
fn write_whole(target: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let beside = target.with_extension("new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&beside, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn code_is_found_again_and_a_changed_file_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/compiled");
        let cache = Cache::open(&path, "e1");
        cache.put("aa", b"code");
        assert_eq!(Cache::open(&path, "e1").get("aa").as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get("bb"), None);
        assert_eq!(Cache::open(&path, "e2").get("aa"), None);
        // A file of another module or another engine, renamed.
        fs::copy(path.join("e1-aa.cwasm"), path.join("e1-bb.cwasm")).unwrap();
        assert_eq!(cache.get("bb"), None);
        let mut bytes = fs::read(path.join("e1-aa.cwasm")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path.join("e1-aa.cwasm"), &bytes).unwrap();
        assert_eq!(cache.get("aa"), None);
        fs::write(path.join("e1-aa.cwasm"), b"short").unwrap();
        assert_eq!(cache.get("aa"), None);
    }

    #[test]
    fn a_folder_open_to_others_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("compiled");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let cache = Cache::open(&path, "e1");
        cache.put("aa", b"code");
        assert_eq!(cache.get("aa"), None);
        assert!(fs::read_dir(&path).unwrap().next().is_none());
    }

    #[test]
    fn the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("compiled");
        let cache = Cache::open(&path, "e");
        for n in 0..=limits::MAX_CACHED {
            let name = path.join(format!("e-{n:04}.cwasm"));
            fs::write(&name, b"x").unwrap();
            let when = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(n).unwrap());
            File::options().write(true).open(&name).unwrap().set_modified(when).unwrap();
        }
        cache.put("new", b"code");
        assert!(!path.join("e-0000.cwasm").exists() && !path.join("e-0001.cwasm").exists());
        assert!(path.join("e-0002.cwasm").exists() && cache.get("new").is_some());
        // A few large ones count as much as many small ones.
        let large = File::options().write(true).open(path.join("e-0150.cwasm")).unwrap();
        let when = large.metadata().unwrap().modified().unwrap();
        large.set_len(limits::MAX_CACHED_BYTES - 1_000).unwrap();
        large.set_modified(when).unwrap();
        cache.put("newer", &[0; 2_000]);
        assert!(!path.join("e-0150.cwasm").exists() && path.join("e-0151.cwasm").exists());
    }
}
