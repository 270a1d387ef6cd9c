//! Text from outside, cut to a length and freed of control characters before it reaches a log, a page or an error.

use std::fmt;

/// Cuts `text` at a character boundary so that it has at most `max` bytes.
pub fn clip(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while end > 0 && !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Displays foreign text with control characters escaped and its length capped, so that it cannot forge log lines or
/// drive a terminal.
pub struct BoundedText<'a>(pub &'a str, pub usize);

impl fmt::Display for BoundedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = clip(self.0, self.1);
        for c in cut.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if cut.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_and_escaped() {
        assert_eq!(BoundedText("a\n\u{1b}[2J", 100).to_string(), "a\\n\\u{1b}[2J");
        assert_eq!(BoundedText("äöü", 3).to_string(), "ä…");
    }
}
