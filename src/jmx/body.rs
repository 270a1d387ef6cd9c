//! Takes the pieces of an answer's body, unpacks them as they come, and refuses to hold more than a cap.

use flate2::write::GzDecoder;
use std::io::{self, Write};

/// Why a piece was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Packed or unpacked.
    #[error("the page is larger than {0} bytes")]
    TooLarge(u64),
    /// Not gzip, cut short, or followed by more.
    #[error("the compressed page cannot be unpacked")]
    Gzip(#[source] io::Error),
}

/// Bytes up to a cap.
struct Capped {
    bytes: Vec<u8>,
    max: u64,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len().saturating_add(piece.len());
        if u64::try_from(length).unwrap_or(u64::MAX) > self.max {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Unpacked {
    Plain(Capped),
    Gzip(Box<GzDecoder<Capped>>),
}

/// A body as it arrives.
pub(super) struct Body {
    unpacked: Unpacked,
    received: u64,
    max: u64,
}

impl Body {
    /// Holds at most `max` bytes, packed and unpacked.
    pub(super) fn new(gzip: bool, max: u64) -> Self {
        let capped = Capped { bytes: Vec::new(), max, full: false };
        let unpacked = if gzip { Unpacked::Gzip(Box::new(GzDecoder::new(capped))) } else { Unpacked::Plain(capped) };
        Self { unpacked, received: 0, max }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.received = self.received.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.received > self.max {
            return Err(BodyError::TooLarge(self.max));
        }
        match &mut self.unpacked {
            Unpacked::Plain(capped) => capped.write_all(piece).map_err(|_| BodyError::TooLarge(self.max)),
            Unpacked::Gzip(decoder) => decoder.write_all(piece).map_err(|error| failure(decoder, self.max, error)),
        }
    }

    /// The whole body, once there are no more pieces.
    pub(super) fn finish(self) -> Result<Vec<u8>, BodyError> {
        match self.unpacked {
            Unpacked::Plain(capped) => Ok(capped.bytes),
            Unpacked::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|error| failure(&decoder, self.max, error))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

fn failure(decoder: &GzDecoder<Capped>, max: u64, error: io::Error) -> BodyError {
    if decoder.get_ref().full { BodyError::TooLarge(max) } else { BodyError::Gzip(error) }
}
