//! Writes the text exposition format 0.0.4, byte for byte as Prometheus' Go library does.
//! Knows no families and no snapshots.

use std::io::Write;

/// From here on Go's `strconv.FormatFloat(x, 'g', -1, 64)` writes an exponent.
const EXPONENT_FROM: u64 = 1_000_000;

/// Whole numbers up to here are exact as a float.
const EXACT: u64 = 1 << 53;

/// Longest decimal text of a `u64`.
const DIGITS: usize = 20;

/// Appends a whole number as Go writes the float that equals it.
pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    let magnitude = value.unsigned_abs();
    if magnitude > EXACT {
        return push_scientific_float(out, to_float(value));
    }
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = [0; DIGITS];
    let digits = decimal(magnitude, &mut buffer);
    if magnitude < EXPONENT_FROM {
        out.extend_from_slice(digits);
    } else {
        push_scientific(out, digits, digits.len().saturating_sub(1));
    }
}

/// Appends milliseconds as seconds.
pub fn push_milliseconds(out: &mut Vec<u8>, milliseconds: u64) {
    if !(EXPONENT_FROM.saturating_mul(1000)..EXACT).contains(&milliseconds) {
        return push_float(out, crate::model::Timestamp(milliseconds).seconds());
    }
    let mut buffer = [0; DIGITS];
    let digits = decimal(milliseconds, &mut buffer);
    push_scientific(out, digits, digits.len().saturating_sub(4));
}

/// Appends any float.
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if value == 0.0 {
        return out.push(b'0');
    }
    let magnitude = value.abs();
    if (1e-4..1e6).contains(&magnitude) {
        let _infallible = write!(out, "{value}");
    } else {
        push_scientific_float(out, value);
    }
}

/// Appends a float in Go's 'e' form with the fewest digits, whatever its size.
pub fn push_scientific_float(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return push_float(out, value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let _infallible = write!(out, "{mantissa}e{sign}{exponent:0>2}");
}

/// Appends `"…"` with the escapes of a label value.
pub fn push_label_value(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    push_escaped(out, value, true);
    out.push(b'"');
}

/// Appends `# HELP` and `# TYPE`.
pub fn push_header(out: &mut Vec<u8>, name: &str, help: &str, kind: &str) {
    for part in ["# HELP ", name, " "] {
        out.extend_from_slice(part.as_bytes());
    }
    push_escaped(out, help, false);
    for part in ["\n# TYPE ", name, " ", kind, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends `{a="…",b="…"}`, or nothing where there are no labels.
pub fn push_labels(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    let mut before = b'{';
    for (name, value) in labels {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        push_label_value(out, value);
        before = b',';
    }
    if before == b',' {
        out.push(b'}');
    }
}

/// Is this a label name that any Prometheus reads, and not one that it keeps for itself?
pub fn is_label_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| letters(c) && !c.is_ascii_digit())
        && name.chars().all(letters)
        && !name.starts_with("__")
}

/// NUL ends the input for some parsers, so it becomes U+FFFD.
fn push_escaped(out: &mut Vec<u8>, text: &str, quoted: bool) {
    let special = |byte: u8| matches!(byte, b'\\' | b'\n' | 0) || (quoted && byte == b'"');
    if !text.bytes().any(special) {
        return out.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quoted => out.extend_from_slice(b"\\\""),
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// `d.ddde+XX` out of decimal digits without a leading zero.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: usize) {
    let trailing = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let digits = digits.get(..digits.len().saturating_sub(trailing)).unwrap_or_default();
    let (first, rest) = digits.split_at_checked(1).unwrap_or((b"0", b""));
    out.extend_from_slice(first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(b"e+");
    if exponent < 10 {
        out.push(b'0');
    }
    let mut buffer = [0; DIGITS];
    out.extend_from_slice(decimal(u64::try_from(exponent).unwrap_or(u64::MAX), &mut buffer));
}

fn decimal(value: u64, buffer: &mut [u8; DIGITS]) -> &[u8] {
    let mut rest = value;
    let mut from = DIGITS;
    for slot in buffer.iter_mut().rev() {
        *slot = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        from = from.saturating_sub(1);
        if rest == 0 {
            break;
        }
    }
    buffer.get(from..).unwrap_or_default()
}

/// The float nearest to a whole number.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "Prometheus knows floats only")]
pub fn to_float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    // What Go's strconv.FormatFloat(x, 'g', -1, 64) prints.
    #[test]
    fn floats_are_go_s() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.5, "0.5"),
            (100.0, "100"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_000_001.0, "1.000001e+06"),
            (204_952_001.0, "2.04952001e+08"),
            (-204_952_001.5, "-2.049520015e+08"),
            (123_456.789, "123456.789"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (0.000_123_4, "0.0001234"),
            (1.5e-7, "1.5e-07"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(|out| push_float(out, value)), want);
        }
    }

    #[test]
    fn integers_and_milliseconds_are_the_same_as_their_floats() {
        let edges = [0, 1, 7, 10, 999_999, 1_000_000, 1_234_567, 204_952_001, 1 << 53, (1 << 53) + 1, i64::MAX];
        for value in edges.iter().flat_map(|value| [*value, -*value]).chain([i64::MIN]) {
            assert_eq!(text(|out| push_integer(out, value)), text(|out| push_float(out, to_float(value))), "{value}");
        }
        for value in [0, 1, 1000, 999_999_999, 1_000_000_000, 1_763_888_400_000, 1_763_888_400_123, 1 << 53, u64::MAX] {
            let seconds = crate::model::Timestamp(value).seconds();
            assert_eq!(text(|out| push_milliseconds(out, value)), text(|out| push_float(out, seconds)), "{value}");
        }
        assert_eq!(text(|out| push_milliseconds(out, 1_763_888_400_120)), "1.76388840012e+09");
        assert_eq!(text(|out| push_scientific_float(out, 100.0)), "1e+02");
        assert_eq!(text(|out| push_scientific_float(out, 0.0)), "0e+00");
        assert_eq!(text(|out| push_scientific_float(out, f64::NAN)), "NaN");
    }

    #[test]
    fn names_cannot_break_out_of_their_quotes() {
        let labels = [("a", "x\"y\\z\nw"), ("b", "ä\0")];
        assert_eq!(text(|out| push_labels(out, &labels)), "{a=\"x\\\"y\\\\z\\nw\",b=\"ä\u{fffd}\"}");
        assert_eq!(text(|out| push_labels(out, &[])), "");
        assert_eq!(
            text(|out| push_header(out, "f", "a \"b\"\n\\", "gauge")),
            "# HELP f a \"b\"\\n\\\\\n# TYPE f gauge\n"
        );
        for (name, fine) in
            [("a_1", true), ("_x", true), ("1a", false), ("__name__", false), ("a-b", false), ("", false)]
        {
            assert_eq!(is_label_name(name), fine, "{name}");
        }
    }
}
