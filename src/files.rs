//! Reads small files that a user names: never blocks on a pipe or device, never takes more than asked for, never a part.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
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

#[cfg(test)]
mod tests {
    use super::*;

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
