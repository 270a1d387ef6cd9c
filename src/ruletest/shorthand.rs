//! promtool's shorthand for the values of a series over time: `0+10x20`, `1-2x3`, `7x4`, `_`, `_x5`, `stale`, `1 2 3`.
//! Pure; knows no time, only positions.

use crate::model::BoundedText;

/// Values of one series; they are not written out, so a short text may mean this many.
pub const MAX_VALUES: u64 = 1_000_000;
/// Bytes of a bad item in what is said about it.
const MAX_SHOWN_ITEM: usize = 40;

/// What a series says at one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number; NaN and infinities too.
    Number(f64),
    /// `_`: not known there.
    Missing,
    /// `stale`: gone there.
    Stale,
}

/// Some values in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Numbers { start: f64, step: f64, count: u64 },
    Missing { count: u64 },
    Stale { count: u64 },
}

impl Item {
    fn count(self) -> u64 {
        match self {
            Self::Numbers { count, .. } | Self::Missing { count } | Self::Stale { count } => count,
        }
    }

    fn at(self, position: u64) -> Value {
        match self {
            #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "at most MAX_VALUES")]
            Self::Numbers { start, step, .. } => Value::Number(start + step * position as f64),
            Self::Missing { .. } => Value::Missing,
            Self::Stale { .. } => Value::Stale,
        }
    }
}

/// The values of a series by position, counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    items: Vec<Item>,
    /// One number for all positions, rather than a series.
    constant: Option<f64>,
}

impl Values {
    /// The same number for ever.
    pub fn constant(value: f64) -> Self {
        Self { items: Vec::new(), constant: Some(value) }
    }

    /// Reads the shorthand. The error is a sentence about the item that is none.
    ///
    /// # Errors
    /// With the first item that is not understood, or when there are more than [`MAX_VALUES`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("{{") {
            return Err("native histograms are not supported; allowed: numbers, _, stale".into());
        }
        let items = text.split_whitespace().map(item).collect::<Result<Vec<_>, _>>()?;
        let values = Self { items, constant: None };
        match values.length() {
            Some(0) => Err("has no value; allowed: numbers such as `0+10x20` or `1 2 3`, _, stale".into()),
            Some(length) if length > MAX_VALUES => Err(format!("has {length} values; allowed: at most {MAX_VALUES}")),
            _ => Ok(values),
        }
    }

    /// How many values there are; `None` = one for each position.
    pub fn length(&self) -> Option<u64> {
        let add = |sum: u64, item: &Item| sum.saturating_add(item.count());
        self.constant.is_none().then(|| self.items.iter().fold(0, add))
    }

    /// What it says at a position; beyond its end it is missing.
    pub fn at(&self, position: u64) -> Value {
        if let Some(value) = self.constant {
            return Value::Number(value);
        }
        let mut left = position;
        for item in &self.items {
            match left.checked_sub(item.count()) {
                Some(rest) => left = rest,
                None => return item.at(left),
            }
        }
        Value::Missing
    }

    /// Every number that it may say lies between these two (its least and its largest, and none is NaN); `None` where one
    /// is not finite.
    pub fn range(&self) -> Option<(f64, f64)> {
        let ends = self.items.iter().filter_map(|item| match *item {
            Item::Numbers { count, .. } => Some([item.at(0), item.at(count.saturating_sub(1))]),
            Item::Missing { .. } | Item::Stale { .. } => None,
        });
        let numbers = ends.flatten().filter_map(|value| match value {
            Value::Number(number) => Some(number),
            Value::Missing | Value::Stale => None,
        });
        let mut range: Option<(f64, f64)> = None;
        for number in numbers.chain(self.constant) {
            if !number.is_finite() {
                return None;
            }
            range = Some(range.map_or((number, number), |(low, high)| (low.min(number), high.max(number))));
        }
        Some(range.unwrap_or_default())
    }

    /// Does it only ever say whole numbers?
    pub fn is_whole(&self) -> bool {
        let whole = |number: f64| number.is_finite() && number.fract() == 0.0;
        self.constant.is_none_or(whole)
            && self.items.iter().all(|item| match *item {
                Item::Numbers { start, step, .. } => whole(start) && whole(step),
                Item::Missing { .. } | Item::Stale { .. } => true,
            })
    }
}

/// One item of the shorthand. `axn` and `a+bxn` are n + 1 values, `_xn` is n, as in promtool.
fn item(text: &str) -> Result<Item, String> {
    let refuse = || {
        let shown = BoundedText(text, MAX_SHOWN_ITEM);
        format!("found \"{shown}\"; allowed: a number, `1+2x3`, `1-2x3`, `1x3`, `_`, `_x3`, `stale`")
    };
    let (value, times) = match text.rsplit_once('x') {
        Some((value, times)) => {
            let digits = !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit());
            let times = digits.then(|| times.parse::<u64>().ok()).flatten().filter(|times| *times <= MAX_VALUES);
            (value, Some(times.ok_or_else(refuse)?))
        }
        None => (text, None),
    };
    let count = times.unwrap_or(0).saturating_add(1);
    match value {
        "_" => return Ok(Item::Missing { count: times.unwrap_or(1) }),
        "stale" => return Ok(Item::Stale { count }),
        _ => {}
    }
    if let Some(start) = number(value) {
        return Ok(Item::Numbers { start, step: 0.0, count });
    }
    // The sign of the step is the last one that is neither the first character nor an exponent's.
    let is_exponent = |before: &str| {
        let mantissa = before.strip_suffix(['e', 'E']);
        mantissa.is_some_and(|mantissa| mantissa.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
    };
    let signs = value
        .char_indices()
        .skip(1)
        .filter(|(at, sign)| matches!(sign, '+' | '-') && !is_exponent(value.get(..*at).unwrap_or_default()));
    let at = signs.last().map(|(at, _)| at).filter(|_| times.is_some()).ok_or_else(refuse)?;
    let (start, step) = value.split_at_checked(at).ok_or_else(refuse)?;
    match (number(start), number(step)) {
        (Some(start), Some(step)) if start.is_finite() && step.is_finite() => Ok(Item::Numbers { start, step, count }),
        _ => Err(refuse()),
    }
}

/// A number as PromQL writes it, in decimal.
fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned.to_ascii_lowercase().as_str() {
        "nan" => return Some(f64::NAN),
        "inf" | "infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    // Rust takes more words for numbers than PromQL.
    let plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (starts && unsigned.bytes().all(plain)).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_out(text: &str) -> String {
        let values = Values::parse(text).unwrap();
        let show = |at| match values.at(at) {
            Value::Number(number) => number.to_string(),
            Value::Missing => "_".into(),
            Value::Stale => "stale".into(),
        };
        (0..values.length().unwrap()).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_shorthand_means_what_promtool_says() {
        for (text, want) in [
            ("1 2 3", "1 2 3"),
            ("0+10x3", "0 10 20 30"),
            ("1-2x3", "1 -1 -3 -5"),
            ("-2+4x2", "-2 2 6"),
            ("7x2", "7 7 7"),
            ("1x0", "1"),
            ("_ _x3 1", "_ _ _ _ 1"),
            ("1 stale 2", "1 stale 2"),
            ("stalex1", "stale stale"),
            ("NaN -Inf +inf", "NaN -inf inf"),
            ("1e3 1.5e-3+1e-3x1", "1000 0.0015 0.0025"),
            ("1e+2-1e+1x2", "100 90 80"),
            (".5 -.5", "0.5 -0.5"),
        ] {
            assert_eq!(written_out(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_shorthand_is_named() {
        for text in [
            "",
            "a",
            "1+2",
            "1x",
            "1x-3",
            "1+x3",
            "1xx3",
            "1+2x1.5",
            "{{schema:1}}",
            "1+NaNx3",
            "infinite",
            "0x1F",
            "5x2000000",
        ] {
            assert!(Values::parse(text).is_err(), "{text}");
        }
        let error = Values::parse("1 2 3+ 4").unwrap_err();
        assert!(error.starts_with("found \"3+\"; allowed: a number"), "{error}");
        let error = Values::parse(&"1x1000000 ".repeat(2)).unwrap_err();
        assert_eq!(error, "has 2000002 values; allowed: at most 1000000");
    }

    #[test]
    fn beyond_its_end_a_series_is_missing_and_a_constant_has_no_end() {
        let values = Values::parse("1 2").unwrap();
        assert_eq!((values.at(1), values.at(2)), (Value::Number(2.0), Value::Missing));
        let constant = Values::constant(4.0);
        assert_eq!((constant.at(u64::MAX), constant.length()), (Value::Number(4.0), None));
    }

    #[test]
    fn range_and_wholeness_are_of_all_values() {
        let range = |text: &str| Values::parse(text).unwrap().range();
        assert_eq!(range("5 1-2x3 _ stale"), Some((-5.0, 5.0)));
        assert_eq!((range("_"), range("1 NaN")), (Some((0.0, 0.0)), None));
        assert!(Values::parse("1+2x3 _").unwrap().is_whole() && !Values::parse("1+0.5x3").unwrap().is_whole());
        assert!(!Values::constant(f64::NAN).is_whole() && Values::constant(-3.0).is_whole());
    }
}
