//! Entry point of the page for benches/micro.rs: compressing a part of it.

use super::segments::Compressor;
use bytes::Bytes;
use flate2::CompressError;

/// Compresses parts, one after the other.
#[derive(Debug, Default)]
pub struct Gzip(Compressor);

impl Gzip {
    /// Compresses a part; its size then.
    ///
    /// # Errors
    /// None that the library documents for this use.
    pub fn compress(&mut self, part: &[Bytes]) -> Result<usize, CompressError> {
        let segments = self.0.segments(part.iter().cloned(), Vec::new())?;
        Ok(segments.iter().map(|segment| segment.deflated.len()).sum())
    }
}
