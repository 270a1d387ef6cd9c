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
    /// Text 0.0.4.
    pub(super) plain: Bytes,
    /// Whole deflate blocks, none of them final, ending at a byte.
    pub(super) deflated: Bytes,
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

    /// Compresses parts. Of `old` those that say the same are taken instead.
    ///
    /// # Errors
    /// None that the library documents for this use.
    pub(super) fn segments(
        &mut self,
        plain: impl IntoIterator<Item = Bytes>,
        mut old: Vec<Segment>,
    ) -> Result<Vec<Segment>, CompressError> {
        let kept = |text: Bytes| match old.iter().position(|segment| segment.plain == text) {
            Some(place) => Ok(old.swap_remove(place)),
            None => self.segment(text),
        };
        plain.into_iter().map(kept).collect()
    }

    /// Compresses a part.
    ///
    /// # Errors
    /// As [`Self::segments`].
    pub(super) fn segment(&mut self, plain: Bytes) -> Result<Segment, CompressError> {
        self.0.reset();
        let mut crc = Crc::new();
        crc.update(&plain);
        let mut deflated = Vec::with_capacity(plain.len() / 8);
        loop {
            let read = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = plain.get(read..).unwrap_or_default();
            deflated.reserve(OUTPUT_STEP);
            let room = deflated.capacity().saturating_sub(deflated.len());
            let before = deflated.len();
            // Everything that it wrote ends at a byte then.
            let status = self.0.compress_vec(rest, &mut deflated, FlushCompress::Full)?;
            let written = deflated.len().saturating_sub(before);
            // Room that was not needed means that the flush is complete.
            if status != Status::Ok || written < room {
                break;
            }
        }
        deflated.shrink_to_fit();
        Ok(Segment { plain, deflated: deflated.into(), crc })
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Joins parts with so many series in all to a page.
pub(super) fn join<'a>(segments: impl IntoIterator<Item = &'a Segment>, series: u64) -> Page {
    let mut page = Page { gzip: vec![Bytes::from_static(GZIP_HEADER)], series, ..Page::default() };
    let mut crc = Crc::new();
    for segment in segments.into_iter().filter(|segment| !segment.plain.is_empty()) {
        crc.combine(&segment.crc);
        page.plain.push(segment.plain.clone());
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
                .map(|part| compressor.segment(Bytes::copy_from_slice(part)).unwrap())
                .collect();
        let page = join(&parts, 10);
        assert_eq!(page.series, 10);
        assert_eq!(decompress(&page), page.plain.concat());
        // The same parts in another order: none leans on what stood before it.
        let page = join(parts.iter().rev(), 10);
        assert_eq!(decompress(&page), page.plain.concat());
        assert!(decompress(&join([], 0)).is_empty());

        let mut gzip = std::process::Command::new("gzip")
            .arg("-t")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("gzip is part of every Debian");
        gzip.stdin.take().unwrap().write_all(&page.gzip.concat()).unwrap();
        assert!(gzip.wait().unwrap().success());
    }

    #[test]
    fn a_part_that_says_the_same_is_not_compressed_again() {
        let mut compressor = Compressor::new();
        let mut parts = |texts: &[&'static str], old| {
            compressor.segments(texts.iter().map(|text| Bytes::from_static(text.as_bytes())), old).unwrap()
        };
        let places = |segments: &[Segment]| segments.iter().map(|one| one.deflated.as_ptr()).collect::<Vec<_>>();
        let first = parts(&["a 1\n", "b 1\n", "c 1\n"], Vec::new());
        let before = places(&first);
        let second = parts(&["b 1\n", "b 1\n", "c 2\n", "a 1\n"], first);
        let after = places(&second);
        assert_eq!((after[0], after[3]), (before[1], before[0]));
        assert!(
            !before.contains(&after[1]) && !before.contains(&after[2]),
            "each is taken once, and only what is the same"
        );
        assert_eq!(decompress(&join(&second, 4)), b"b 1\nb 1\nc 2\na 1\n");
    }
}
