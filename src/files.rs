//! Reads small files that a user names: never blocks on a pipe or device, never takes more than asked for, never a part.
//! And tells when some of them changed.

use sha2::{Digest, Sha256};
use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The bytes of a regular file of at most `most` bytes.
///
/// # Errors
/// When it cannot be read, is no regular file (reading a named pipe would wait for a writer), or is larger.
pub fn read_short(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        let text = format!("the file is too large; allowed: at most {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// A secret in a file: UTF-8 text, without the white space around it.
///
/// # Errors
/// As [`read_short`], and when it is not UTF-8. The error never shows what is in the file.
pub fn read_secret(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read_short(path, most)?;
    let text = str::from_utf8(&bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))?;
    Ok(text.trim().to_owned())
}

/// What is in each of some files, as hashes; `None`: it cannot be read (or is a folder, as CAs may be).
pub type Contents = Vec<Option<[u8; 32]>>;

/// What is in `files`, each of at most so many bytes. Read whole each time: they are short, and a time stamp says less.
pub fn contents(files: &[(PathBuf, u64)]) -> Contents {
    files.iter().map(|(path, most)| Some(Sha256::digest(read_short(path, *most).ok()?).into())).collect()
}

/// Whether files changed since they were last used.
#[derive(Debug)]
pub struct Changes {
    used: Contents,
    seen: Contents,
    refused: Option<Contents>,
}

impl Changes {
    /// Files with these contents are in use.
    pub fn new(used: Contents) -> Self {
        Self { seen: used.clone(), used, refused: None }
    }

    /// Takes in a look; is it time to use what is there? Not while files are being written: two looks must see the same.
    pub fn see(&mut self, now: Contents) -> bool {
        let still = self.seen == now;
        self.seen = now;
        still && self.seen != self.used
    }

    /// Did the last look miss one that is in use?
    pub fn lost(&self) -> bool {
        self.used.iter().zip(&self.seen).any(|(used, seen)| used.is_some() && seen.is_none())
    }

    /// What was seen last is in use.
    pub fn used(&mut self) {
        self.used.clone_from(&self.seen);
        self.refused = None;
    }

    /// What was seen last cannot be used. Is that news?
    pub fn refused(&mut self) -> bool {
        let news = self.refused.as_ref() != Some(&self.seen);
        self.refused = Some(self.seen.clone());
        news
    }

    /// Was something refused, and is all now as it was before? True once.
    pub fn back(&mut self) -> bool {
        self.seen == self.used && self.refused.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_when_it_stands_still() {
        let [a, b, c] = [1, 2, 3].map(|byte| Some([byte; 32]));
        let mut changes = Changes::new(vec![a, a]);
        assert!(!changes.see(vec![a, a]) && !changes.see(vec![a, a]));
        assert!(!changes.see(vec![b, a]), "perhaps not all is written");
        assert!(!changes.see(vec![b, b]), "so it was");
        assert!(changes.see(vec![b, b]));
        changes.used();
        assert!(!changes.see(vec![b, b]));
        // Gone, and back as it was.
        assert!(!changes.see(vec![None, b]) && changes.see(vec![None, b]) && changes.lost());
        assert!(!changes.see(vec![b, b]) && !changes.lost());
        assert!(!changes.see(vec![b, b]) && !changes.back());
        // Refused: told once for each content, tried at each look.
        assert!(!changes.see(vec![c, b]) && changes.see(vec![c, b]) && changes.refused());
        assert!(changes.see(vec![c, b]) && !changes.refused());
        assert!(!changes.see(vec![a, b]) && changes.see(vec![a, b]) && changes.refused());
        assert!(!changes.back() && !changes.see(vec![b, b]) && changes.back() && !changes.back());
    }

    #[test]
    fn only_short_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("secret"), dir.path().join("pipe"));
        std::fs::write(&file, " s3cr3t\n").unwrap();
        assert_eq!(read_secret(&file, 8).unwrap(), "s3cr3t");
        assert!(read_secret(&file, 7).unwrap_err().to_string().contains("at most 7 bytes"));
        std::fs::write(&file, b"s3cr3t\xff").unwrap();
        assert_eq!(read_secret(&file, 8).unwrap_err().to_string(), "not UTF-8");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        for path in [&pipe, dir.path(), Path::new("/dev/zero")] {
            assert_eq!(read_short(path, 8).unwrap_err().to_string(), "not a regular file", "{}", path.display());
        }
    }
}
