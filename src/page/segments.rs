//! Compresses the parts of the page apart from each other and joins them to one gzip member, so that a part that did
//! not change costs nothing. Source of the format: RFC 1951 and 1952.

use super::Page;
use bytes::Bytes;
use flate2::{Compress, CompressError, Compression, Crc, FlushCompress, Status};

/// ID1 ID2, deflate, no flags, no time, "fastest algorithm", unknown system.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A final block of fixed codes that holds nothing.
const EMPTY_FINAL_BLOCK: [u8; 2] = [3, 0];

/// How much room the compressor gets at a time, in bytes.
const OUTPUT_STEP: usize = 64 << 10;

/// A part of the page.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Text 0.0.4, in pieces.
    pub(super) plain: Vec<Bytes>,
    /// Whole deflate blocks, none of them final, ending at a byte.
    pub(super) deflated: Bytes,
    /// Series in it.
    pub(super) series: u64,
    crc: Crc,
}

/// Compresses parts, one after the other, with the same memory.
#[derive(Debug)]
pub(super) struct Compressor(Compress);

impl Compressor {
    /// A fast one: the page is read over the local network and made anew every few seconds.
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }

    /// Compresses a part.
    ///
    /// # Errors
    /// None that the library documents for this use.
    pub(super) fn segment(&mut self, plain: Vec<Bytes>, series: u64) -> Result<Segment, CompressError> {
        self.0.reset();
        let mut crc = Crc::new();
        let length = plain.iter().map(Bytes::len).fold(0, usize::saturating_add);
        let mut deflated = Vec::with_capacity(length / 8);
        for (place, piece) in plain.iter().enumerate() {
            crc.update(piece);
            let last = place.saturating_add(1) == plain.len();
            self.compress(piece, last, &mut deflated)?;
        }
        deflated.shrink_to_fit();
        Ok(Segment { plain, deflated: deflated.into(), series, crc })
    }

    /// Compresses a piece; after the last one all that it wrote ends at a byte.
    fn compress(&mut self, piece: &[u8], last: bool, deflated: &mut Vec<u8>) -> Result<(), CompressError> {
        let flush = if last { FlushCompress::Full } else { FlushCompress::None };
        let begun = self.0.total_in();
        loop {
            let read = usize::try_from(self.0.total_in().saturating_sub(begun)).unwrap_or(usize::MAX);
            let rest = piece.get(read..).unwrap_or_default();
            if rest.is_empty() && !last {
                return Ok(());
            }
            deflated.reserve(OUTPUT_STEP);
            let room = deflated.capacity().saturating_sub(deflated.len());
            let before = deflated.len();
            let status = self.0.compress_vec(rest, deflated, flush)?;
            let written = deflated.len().saturating_sub(before);
            // Room that was not needed means that the flush is complete.
            if status != Status::Ok || (last && written < room) {
                return Ok(());
            }
        }
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Joins parts to a page.
pub(super) fn join(segments: &[&Segment]) -> Page {
    let mut page = Page { gzip: vec![Bytes::from_static(GZIP_HEADER)], ..Page::default() };
    let mut crc = Crc::new();
    for segment in segments.iter().filter(|segment| !segment.plain.is_empty()) {
        crc.combine(&segment.crc);
        page.series = page.series.saturating_add(segment.series);
        page.plain.extend(segment.plain.iter().cloned());
        page.gzip.push(segment.deflated.clone());
    }
    let mut trailer = EMPTY_FINAL_BLOCK.to_vec();
    trailer.extend_from_slice(&crc.sum().to_le_bytes());
    trailer.extend_from_slice(&crc.amount().to_le_bytes());
    page.gzip.push(trailer.into());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn decompress(page: &Page) -> Vec<u8> {
        let mut plain = Vec::new();
        let member = page.gzip.concat();
        let mut decoder = flate2::bufread::GzDecoder::new(member.as_slice());
        decoder.read_to_end(&mut plain).unwrap();
        assert!(decoder.into_inner().is_empty(), "one member and nothing after it");
        plain
    }

    #[test]
    fn joined_parts_are_one_gzip_member() {
        let mut compressor = Compressor::new();
        let noise: Vec<u8> = (0..300_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        let parts: Vec<Segment> =
            [&b"kafka_brokers 1\n"[..], b"", &b"x".repeat(1_000_000), &noise, b"kafka_brokers 1\n"]
                .into_iter()
                .map(|part| compressor.segment(vec![Bytes::copy_from_slice(part)], 2).unwrap())
                .collect();
        let pieces = [&noise[..], b"", b"x", &noise, b""].map(Bytes::copy_from_slice).to_vec();
        let page = join(&[&compressor.segment(pieces, 1).unwrap(), &parts[0]]);
        assert_eq!(decompress(&page), page.plain.concat());
        let page = join(&parts.iter().collect::<Vec<_>>());
        assert_eq!(page.series, 10);
        assert_eq!(decompress(&page), page.plain.concat());
        // The same parts in another order: none leans on what stood before it.
        let page = join(&parts.iter().rev().collect::<Vec<_>>());
        assert_eq!(decompress(&page), page.plain.concat());
        assert!(decompress(&join(&[])).is_empty());

        let mut gzip = std::process::Command::new("gzip")
            .arg("-t")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("gzip is part of every Debian");
        gzip.stdin.take().unwrap().write_all(&page.gzip.concat()).unwrap();
        assert!(gzip.wait().unwrap().success());
    }
}
