//! Foreign text for people: nothing in it can forge a line, drive a terminal, reorder what is read, or run on for ever.
//! Pure.

use crate::model::clip;

/// The text without control characters, cut to `max` bytes. Line feeds and tabs stay.
pub(super) fn visible(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut after_return = false;
    for c in text.chars() {
        // Line ends of other systems are line ends; that of the network's protocols is one, not two.
        let shown = match c {
            '\n' if after_return => None,
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\t' => Some('\t'),
            c if c.is_control() || reorders(c) => Some(char::REPLACEMENT_CHARACTER),
            c => Some(c),
        };
        after_return = c == '\r';
        out.extend(shown);
        if out.len() > max {
            return cut(&out, max);
        }
    }
    out
}

/// As [`visible`], and in one line.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let text: Vec<_> = visible(text, max).split_whitespace().map(str::to_owned).collect();
    text.join(" ")
}

/// `text` cut to `max` bytes, which an ellipsis shows.
pub(super) fn cut(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}{ELLIPSIS}", clip(text, max.saturating_sub(ELLIPSIS.len())))
}

/// As [`cut`], for text in which `&…;` stands for a character: none is cut in two.
pub(super) fn cut_escaped(text: &str, max: usize) -> String {
    let short = cut(text, max);
    match short.rsplit_once('&') {
        Some((before, entity)) if short.len() < text.len() && !entity.contains(';') => format!("{before}…"),
        _ => short,
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    bytes.into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Marks that change the direction of what is read.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_or_a_reader_could_be_fooled_by_is_replaced() {
        assert_eq!(visible("a\r\nb\rc\nd\te", 100), "a\nb\nc\nd\te");
        assert_eq!(visible("\u{1b}[2J\0\u{7f}\u{202e}x\u{2028}y", 100), "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x\ny");
        assert_eq!(one_line("a\r\nBcc: b\n\n c", 100), "a Bcc: b c");
        assert_eq!(visible(&"ä".repeat(1 << 20), 10), "äää…");
    }

    #[test]
    fn a_cut_leaves_whole_characters_and_whole_entities() {
        assert_eq!(hex(&[0x00, 0x9f, 0xa0]), "009fa0");
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöüx", 6), "ä…");
        assert_eq!(cut_escaped("ab &amp; cd &lt; ef", 15), "ab &amp; cd …");
        assert_eq!(cut_escaped("ab &amp; cd", 100), "ab &amp; cd");
    }
}
