//! Numbers as people read them: the functions of Prometheus' templates, under their names. Pure.
//! Source: prometheus/prometheus template/template.go, prometheus/common helpers/templates.

use super::time::rfc3339;
use crate::model::Timestamp;
use minijinja::{Environment, Error, ErrorKind, Value};

const SECONDS_PER_DAY: i64 = 86_400;

/// Makes the filters known.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("humanize", |value: &Value| number(value).map(humanize));
    environment.add_filter("humanize1024", |value: &Value| number(value).map(humanize_1024));
    environment.add_filter("humanizeDuration", |value: &Value| number(value).map(humanize_duration));
    environment.add_filter("humanizePercentage", |value: &Value| {
        number(value).map(|value| format!("{}%", general(value * 100.0)))
    });
    environment.add_filter("humanizeTimestamp", |value: &Value| number(value).map(humanize_timestamp));
}

/// Numbers, and text that is one, as annotations are.
fn number(value: &Value) -> Result<f64, Error> {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    number.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "not a number"))
}

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return general(value);
    }
    if value.abs() >= 1.0 {
        return scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E", "Z", "Y"]);
    }
    small(value, "")
}

fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return general(value);
    }
    scaled(value, 1024.0, &["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
}

#[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "saturates, as far as anyone can read")]
fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return general(value);
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        return small(value, "s");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let part = |size: i64, of: i64| whole.checked_div(size).and_then(|n| n.checked_rem(of)).unwrap_or(0);
    let (days, hours, minutes, seconds) = (part(SECONDS_PER_DAY, i64::MAX), part(3600, 24), part(60, 60), part(1, 60));
    match (days, hours, minutes) {
        (1.., _, _) => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
        (_, 1.., _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        (_, _, 1..) => format!("{sign}{minutes}m {seconds}s"),
        _ => format!("{}s", general(value)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "saturates: before 1970 is 1970"
)]
fn humanize_timestamp(seconds: f64) -> String {
    if seconds.is_finite() { rfc3339(Timestamp((seconds * 1000.0) as u64)) } else { general(seconds) }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = "";
    for next in units {
        unit = next;
        if value.abs() < step {
            break;
        }
        if units.last() != Some(next) {
            value /= step;
        }
    }
    format!("{}{unit}", general(value))
}

fn small(mut value: f64, of: &str) -> String {
    let mut unit = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        unit = next;
        value *= 1000.0;
    }
    format!("{}{unit}{of}", general(value))
}

/// `%.4g`: four digits that matter.
fn general(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "NaN".into() } else { format!("{}Inf", if value > 0.0 { "+" } else { "-" }) };
    }
    let text = format!("{value:.3e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if (-4..4).contains(&exponent) {
        let places = usize::try_from(3 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        // Prometheus' own cases: template/template_test.go.
        let cases =
            [(0.0, "0"), (1.0, "1"), (1_234_567.0, "1.235M"), (0.12, "120m"), (-0.000_5, "-500u"), (999.9, "999.9")];
        for (value, text) in cases {
            assert_eq!(humanize(value), text, "{value}");
        }
        for (value, text) in [(0.0, "0"), (1.0, "1"), (1_048_576.0, "1Mi"), (0.12, "0.12"), (1023.0, "1023")] {
            assert_eq!(humanize_1024(value), text, "{value}");
        }
        let durations = [
            (0.0, "0s"),
            (1.0, "1s"),
            (60.0, "1m 0s"),
            (3600.0, "1h 0m 0s"),
            (86_400.0, "1d 0h 0m 0s"),
            (86_400.0 + 3600.0, "1d 1h 0m 0s"),
            (-(86_400.0 * 2.0 + 3600.0 * 3.0 + 60.0 * 4.0 + 5.0), "-2d 3h 4m 5s"),
            (0.1, "100ms"),
            (0.0001, "100us"),
            (1.5, "1.5s"),
        ];
        for (value, text) in durations {
            assert_eq!(humanize_duration(value), text, "{value}");
        }
        assert_eq!((general(0.000_012_34), general(123_456.0)), ("1.234e-05".into(), "1.235e+05".into()));
        assert_eq!((humanize(f64::INFINITY), humanize_duration(f64::NAN)), ("+Inf".into(), "NaN".into()));
        assert_eq!(humanize_timestamp(1_795_345_401.5), "2026-11-22T11:03:21.500Z");
    }
}
