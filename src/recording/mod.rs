//! Recordings of what an agent observed: made while it runs, read to ask what other rules would have said.
//! docs/rules-testing.md describes the format. Does not know where the bytes go to or come from.
//!
//! A recording is a file of gzip members, one for each line: first the [`Header`], then a snapshot in each line, told by
//! what changed since the one before. A member is whole or not there, so a recording that broke off is one that is shorter.

mod delta;
mod frame;
mod header;
#[cfg(test)]
mod tests;

pub use header::{Header, RecordedAlert, RecordedRule, VERSION};

use crate::{alerts::Alert, snapshot::Snapshot};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use frame::{Frame, Known};
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Bytes of a recording as it is written; it ends before it has more.
pub const MAX_RECORDING_BYTES: u64 = 256 << 20;
/// Bytes of one line before it is compressed.
pub const MAX_LINE_BYTES: u64 = 512 << 20;

/// Why there is no more of a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It would be over [`MAX_RECORDING_BYTES`].
    #[error("the recording would be over {MAX_RECORDING_BYTES} bytes")]
    Full,
    /// One snapshot is over [`MAX_LINE_BYTES`].
    #[error("a snapshot is over {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// It could not be written as JSON, or compressed.
    #[error("cannot encode a snapshot")]
    Encode(#[from] io::Error),
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It cannot be read at all, or is not compressed as it should be.
    #[error("line {line}: cannot be read")]
    Io {
        /// Counts from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is over [`MAX_LINE_BYTES`].
    #[error("line {0} is over {MAX_LINE_BYTES} bytes")]
    TooLong(u64),
    /// The first line is no header.
    #[error("it is no recording of brokerwarden")]
    NoRecording,
    /// It is of another version.
    #[error("it has version {0} of the format; this program reads version {VERSION}")]
    Version(u64),
    /// A line is not what it should be.
    #[error("line {line}: {what}")]
    Malformed {
        /// Counts from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// Makes a recording, piece by piece.
#[derive(Debug, Default)]
pub struct Recorder {
    known: Known,
    bytes: u64,
}

impl Recorder {
    /// The first piece. Of `header`, format and version are set here.
    ///
    /// # Errors
    /// When it is too large.
    pub fn begin(&mut self, mut header: Header) -> Result<Vec<u8>, RecordError> {
        header::FORMAT.clone_into(&mut header.format);
        header.version = VERSION;
        self.member(&header)
    }

    /// The piece for a snapshot. `seed`: what the random of rules on it came from.
    ///
    /// # Errors
    /// When the recording would be too large: then it is at its end.
    pub fn snapshot(&mut self, snapshot: &Snapshot, seed: &[u8; 32]) -> Result<Vec<u8>, RecordError> {
        let frame = self.known.tell(snapshot, seed);
        self.member(&frame)
    }

    fn member(&mut self, line: &impl Serialize) -> Result<Vec<u8>, RecordError> {
        let mut counted = Counted { inner: GzEncoder::new(Vec::new(), Compression::default()), left: MAX_LINE_BYTES };
        serde_json::to_writer(&mut counted, line)
            .map_err(io::Error::from)
            .and_then(|()| counted.write_all(b"\n"))
            .map_err(
                |error| if error.kind() == io::ErrorKind::FileTooLarge { RecordError::TooLong } else { error.into() },
            )?;
        let member = counted.inner.finish()?;
        let bytes = self.bytes.saturating_add(u64::try_from(member.len()).unwrap_or(u64::MAX));
        if bytes > MAX_RECORDING_BYTES {
            return Err(RecordError::Full);
        }
        self.bytes = bytes;
        Ok(member)
    }
}

/// Lets so many bytes through.
struct Counted<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads a recording, snapshot by snapshot.
pub struct Reader<R> {
    /// What the recording began with.
    pub header: Header,
    lines: BufReader<MultiGzDecoder<R>>,
    known: Known,
    line: u64,
    broke_off: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is no recording of this version.
    pub fn new(source: R) -> Result<Self, ReadError> {
        let mut lines = BufReader::new(MultiGzDecoder::new(source));
        let first = match line(&mut lines, 1) {
            Ok(Some(first)) => first,
            Err(error @ ReadError::TooLong(_)) => return Err(error),
            Ok(None) | Err(_) => return Err(ReadError::NoRecording),
        };
        let value: serde_json::Value = serde_json::from_slice(&first).map_err(|_| ReadError::NoRecording)?;
        if value.get("format").and_then(serde_json::Value::as_str) != Some(header::FORMAT) {
            return Err(ReadError::NoRecording);
        }
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(ReadError::Version(version.unwrap_or(0))),
        }
        let header = serde_json::from_value(value).map_err(|error| malformed(1, &error))?;
        Ok(Self { header, lines, known: Known::default(), line: 1, broke_off: false })
    }

    /// The next snapshot and its seed; `None` at the end, also where the recording broke off in the middle of one.
    ///
    /// # Errors
    /// When a line is not what it should be.
    pub fn next_snapshot(&mut self) -> Result<Option<(Snapshot, [u8; 32])>, ReadError> {
        self.line = self.line.saturating_add(1);
        let line = match line(&mut self.lines, self.line) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                self.broke_off = true;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let frame: Frame = serde_json::from_slice(&line).map_err(|error| malformed(self.line, &error))?;
        let heard = self.known.hear(frame);
        heard.map(Some).map_err(|what| malformed(self.line, &format_args!("{what} cannot be")))
    }

    /// Did the recording end in the middle of a snapshot?
    pub fn broke_off(&self) -> bool {
        self.broke_off
    }
}

/// The alerts of a header that can be taken up again.
pub fn alerts(header: &Header) -> Vec<Alert> {
    header.alerts.iter().cloned().map(Alert::from).collect()
}

fn malformed(line: u64, what: &dyn std::fmt::Display) -> ReadError {
    ReadError::Malformed { line, what: what.to_string() }
}

/// The next line without its end; `None` where there is none.
fn line(lines: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut line = Vec::new();
    let failed = |source| ReadError::Io { line: number, source };
    lines.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(failed)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if u64::try_from(line.len()).is_ok_and(|length| length.saturating_add(1) >= MAX_LINE_BYTES) => {
            Err(ReadError::TooLong(number))
        }
        Some(_) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
    }
}
