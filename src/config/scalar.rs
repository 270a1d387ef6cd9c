//! Durations, sizes, names and regexes as people write them, and back. Pure; knows no YAML.

use regex::{Regex, RegexBuilder};
use std::time::Duration;

/// Longest regex, in bytes.
pub const MAX_REGEX_BYTES: usize = 4096;
/// Largest compiled regex, in bytes.
pub const MAX_REGEX_COMPILED_BYTES: usize = 1 << 20;
/// Longest name of a rule, a page or a notifier, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `500ms`, `5s`, `1h30m`: whole numbers with units, the largest unit first, each at most once.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_digits(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*milliseconds)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// What [`duration`] reads.
pub(super) fn duration_text(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        let (count, rest) = (left.checked_div(milliseconds).unwrap_or(0), left.checked_rem(milliseconds).unwrap_or(0));
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
        left = rest;
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// `64MiB`, `4KiB`, `100B` or plain bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_digits(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// What [`size`] reads.
pub(super) fn size_text(bytes: u64) -> String {
    let whole = |unit: u64| bytes > 0 && bytes.checked_rem(unit) == Some(0);
    let (unit, factor) = SIZES.iter().copied().find(|(_, factor)| whole(*factor)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes.checked_div(factor).unwrap_or(bytes))
}

fn split_digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// A name that is safe in labels, paths and logs.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || b".-".contains(&byte))
}

/// A label name as Prometheus takes it; those that begin with `__` are its own.
pub(super) fn is_label_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with("__")
}

/// Compiles `text` so that it must match a whole name. The error never quotes it.
pub(super) fn anchored(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_REGEX_BYTES {
        return Err(format!("longer than {MAX_REGEX_BYTES} bytes"));
    }
    // A name of Kafka's may hold a line feed, and `.*` must mean all of them.
    let build = |pattern: &str| {
        RegexBuilder::new(pattern).size_limit(MAX_REGEX_COMPILED_BYTES).dot_matches_new_line(true).build()
    };
    // Alone first: `a)|(?:b` is only valid inside the anchors, and would escape from them.
    build(text).and_then(|_| build(&format!("^(?:{text})$"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("larger than {limit} bytes when compiled"),
        error => {
            let whole = error.to_string();
            whole.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("not a regex").to_owned()
        }
    })
}

/// What [`anchored`] was given.
pub(super) fn unanchored(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, milliseconds) in [("500ms", 500), ("5s", 5000), ("1m", 60_000), ("1h30m", 5_400_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(duration("90s").map(duration_text).as_deref(), Some("1m30s"));
        for text in
            ["", "5", "s", "1.5s", "-1s", "1m1h", "1s1s", "1 s", "1y", "1M", "99999999999999999999s", "5sx", "1é"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_or_plain_bytes() {
        for (text, bytes) in [("64MiB", 64 << 20), ("4KiB", 4096), ("1GiB", 1 << 30), ("1001B", 1001), ("0B", 0)] {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(size("1234"), Some(1234));
        for text in ["", "MiB", "1MB", "1.5MiB", "-1", "99999999999GiB", "1 MiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn regexes_match_whole_names_and_cannot_leave_their_anchors() {
        let regex = anchored("a|b.*").expect("valid");
        assert!(regex.is_match("a") && regex.is_match("b\nc") && !regex.is_match("xa") && !regex.is_match("ab"));
        assert_eq!(unanchored(&regex), "a|b.*");
        assert_eq!(anchored("a)|(?:b").expect_err("escape"), "unopened group");
        assert_eq!(anchored("(secret").expect_err("open"), "unclosed group");
        assert!(anchored("(?x)a # b").is_err());
        assert!(anchored(r"(\pL{100}){100}").expect_err("bomb").contains("when compiled"));
        assert!(anchored(&"a".repeat(MAX_REGEX_BYTES + 1)).expect_err("long").contains("longer than"));
    }

    #[test]
    fn names_and_label_names() {
        assert!(is_name("a.b-c_9") && is_name(&"n".repeat(64)) && !is_name(&"n".repeat(65)));
        assert!(
            !is_name("") && !is_name("..") && !is_name("-a") && !is_name("a b") && !is_name("ä") && !is_name("a/b")
        );
        assert!(is_label_name("team") && !is_label_name("__name__") && !is_label_name("9a") && !is_label_name("a-b"));
        assert!(!is_label_name(""));
    }
}
