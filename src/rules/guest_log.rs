//! What a rule logs or prints in one evaluation: bounded, and freed of control characters before it reaches our log.

use super::limits;
use crate::model::{BoundedText, clip};
use std::sync::Arc;

/// How important the rule says a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one evaluation.
#[derive(Debug)]
pub(super) struct GuestLog {
    rule: Arc<str>,
    bytes_left: usize,
    lines_left: u32,
    /// Bytes that were over the limit.
    pub(super) dropped: u64,
    /// What was printed since the last line break.
    unfinished: Vec<u8>,
    /// The last printed line: a panic's message, when the guest traps after it.
    last_printed: String,
}

impl GuestLog {
    pub(super) fn new(rule: Arc<str>) -> Self {
        Self {
            rule,
            bytes_left: limits::MAX_LOG_BYTES,
            lines_left: limits::MAX_LOG_LINES,
            dropped: 0,
            unfinished: Vec::new(),
            last_printed: String::new(),
        }
    }

    /// One message.
    pub(super) fn line(&mut self, level: Level, text: &str) {
        let room = if self.lines_left > 0 { limits::MAX_LOG_LINE.min(self.bytes_left) } else { 0 };
        let kept = clip(text, room);
        self.drop_bytes(text.len().saturating_sub(kept.len()));
        if kept.is_empty() {
            return;
        }
        self.bytes_left = self.bytes_left.saturating_sub(kept.len());
        self.lines_left = self.lines_left.saturating_sub(1);
        let (rule, text) = (&*self.rule, BoundedText(kept, limits::MAX_LOG_LINE));
        match level {
            Level::Debug => tracing::debug!(target: "rule", rule, "{text}"),
            Level::Info => tracing::info!(target: "rule", rule, "{text}"),
            Level::Warn => tracing::warn!(target: "rule", rule, "{text}"),
            Level::Error => tracing::error!(target: "rule", rule, "{text}"),
        }
    }

    /// Bytes printed on standard output or error; each line becomes a message.
    pub(super) fn print(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = limits::MAX_LOG_LINE.saturating_sub(self.unfinished.len());
            let (kept, over) = piece.split_at_checked(room).unwrap_or((piece, &[]));
            self.unfinished.extend_from_slice(kept);
            self.drop_bytes(over.len());
            if piece.ends_with(b"\n") {
                self.finish();
            }
        }
    }

    /// Ends an unfinished line.
    pub(super) fn finish(&mut self) {
        let bytes = std::mem::take(&mut self.unfinished);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if !text.is_empty() {
            self.line(Level::Info, text);
            clip(text, limits::MAX_REASON).clone_into(&mut self.last_printed);
        }
    }

    /// The last line that was printed.
    pub(super) fn last_printed(&self) -> &str {
        &self.last_printed
    }

    fn drop_bytes(&mut self, bytes: usize) {
        self.dropped = self.dropped.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut log = GuestLog::new("r".into());
        let line = "x".repeat(limits::MAX_LOG_LINE + 10);
        for _ in 0..20 {
            log.line(Level::Info, &line);
        }
        assert_eq!(log.bytes_left, 0);
        assert_eq!(log.dropped, u64::try_from(20 * line.len() - limits::MAX_LOG_BYTES).unwrap());
    }

    /// Each line costs our log far more than its bytes.
    #[test]
    fn a_flood_of_short_lines_is_cut_too() {
        let mut log = GuestLog::new("r".into());
        log.print(&b"a\n".repeat(5_000));
        assert_eq!((log.lines_left, log.dropped), (0, 4_000));
        assert_eq!(log.last_printed(), "a");
    }

    #[test]
    fn printed_bytes_become_lines() {
        let mut log = GuestLog::new("r".into());
        log.print(b"one\ntw");
        assert_eq!(log.last_printed(), "one");
        log.print(b"o");
        log.finish();
        assert_eq!((log.last_printed(), log.dropped), ("two", 0));
        log.print(&vec![b'y'; 3 * limits::MAX_LOG_LINE]);
        log.print(b"\nlast \xff\n");
        assert_eq!(log.last_printed(), "last \u{fffd}");
        assert_eq!(log.dropped, u64::try_from(2 * limits::MAX_LOG_LINE).unwrap() + 1);
    }
}
