//! Series as a page writes them, and selectors that find them. Reads what tests write, and fails them over the rest.

use crate::{Error, Label, Sample};

/// The labels of `name{label="value",…}`, its name among them as `__name__`, sorted as the agent hands them over: the name
/// first, then as written.
#[expect(clippy::panic, reason = "a test that is written wrong can only fail")]
pub(super) fn parse(series: &str) -> Vec<Label> {
    match parse_series(series.trim()) {
        Some((labels, "")) => labels,
        _ => panic!("{series:?} is no series: write name{{label=\"value\"}}"),
    }
}

/// All samples of a page; comments and time stamps are passed over.
#[expect(clippy::panic, reason = "a test that is written wrong can only fail")]
pub(super) fn parse_page(text: &str) -> Vec<Sample> {
    let sample = |line: &str| {
        let (labels, rest) = parse_series(line)?;
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Sample { labels, value })
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("{line:?} is no line of a page"))).collect()
}

/// Labels, and what stands after the series.
fn parse_series(text: &str) -> Option<(Vec<Label>, &str)> {
    let end = text.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let mut labels = vec![Label::new("__name__", name)];
    let Some(mut rest) = rest.strip_prefix('{') else { return Some((labels, rest)) };
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = parse_string(after)?;
        labels.push(Label::new(name.trim(), value));
        rest = after;
    }
}

/// Text up to the next `"`, escapes resolved, and what stands after it.
fn parse_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at.checked_add(1)?..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => value.push(c),
        }
    }
    None
}

/// A Prometheus instant vector selector.
pub(super) struct Selector(Vec<Matcher>);

struct Matcher {
    label: String,
    wants_match: bool,
    wanted: Wanted,
}

enum Wanted {
    Text(String),
    Regex(regex_lite::Regex),
}

impl Selector {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = || Error::InvalidArgument(format!("{text:?} is no selector"));
        let text_after = text.trim();
        let end = text_after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let (name, mut rest) = text_after.split_at_checked(end.unwrap_or(text_after.len())).ok_or_else(refuse)?;
        let mut matchers = Vec::new();
        if !name.is_empty() {
            let wanted = Wanted::Text(name.to_owned());
            matchers.push(Matcher { label: "__name__".to_owned(), wants_match: true, wanted });
        }
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                rest = rest.trim_start_matches([',', ' ']);
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                let (matcher, after) = parse_matcher(rest).ok_or_else(refuse)?;
                matchers.push(matcher);
                rest = after;
            }
        }
        if rest.trim().is_empty() && !matchers.is_empty() { Ok(Self(matchers)) } else { Err(refuse()) }
    }

    /// The name, if it asks for one in plain text.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.iter().find_map(|matcher| match &matcher.wanted {
            Wanted::Text(text) if matcher.label == "__name__" && matcher.wants_match => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn finds(&self, sample: &Sample) -> bool {
        self.0.iter().all(|matcher| {
            let value = super::label(&sample.labels, &matcher.label);
            let matches = match &matcher.wanted {
                Wanted::Text(text) => text == value,
                Wanted::Regex(regex) => regex.is_match(value),
            };
            matches == matcher.wants_match
        })
    }
}

fn parse_matcher(text: &str) -> Option<(Matcher, &str)> {
    let end = text.find(['=', '!'])?;
    let (label, rest) = text.split_at_checked(end)?;
    let operators = [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)];
    let (operator, wants_match, regex) = operators.into_iter().find(|(operator, ..)| rest.starts_with(operator))?;
    let (value, after) = parse_string(rest.strip_prefix(operator)?.trim_start().strip_prefix('"')?)?;
    let wanted = if regex {
        Wanted::Regex(regex_lite::Regex::new(&format!("^(?:{value})$")).ok()?)
    } else {
        Wanted::Text(value)
    };
    Some((Matcher { label: label.trim().to_owned(), wants_match, wanted }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# HELP x y\nup 1\nheap{area=\"heap\",pool=\"G1 \\\"Old\\\" Gen\",} 1.6E9 1700000000\n\nodd NaN\n";

    #[track_caller]
    fn check(selector: &str, want: &[f64]) {
        let selector = Selector::parse(selector).unwrap();
        let found = parse_page(PAGE).into_iter().filter(|sample| selector.finds(sample) && !sample.value.is_nan());
        assert_eq!(found.map(|sample| sample.value).collect::<Vec<_>>(), want);
    }

    #[test]
    fn selectors_find_what_a_page_has() {
        check("up", &[1.0]);
        check(r#"heap{pool="G1 \"Old\" Gen"}"#, &[1.6e9]);
        check(r#"heap{pool=~".*Old.*",area!="nonheap"}"#, &[1.6e9]);
        check(r#"heap{pool!~".*Old.*"}"#, &[]);
        check(r#"{__name__=~"up|heap", area=""}"#, &[1.0]);
        for bad in ["", "rate(x[5m])", "x{a=~\"(\"}", "x{a}"] {
            assert!(matches!(Selector::parse(bad), Err(Error::InvalidArgument(_))), "{bad}");
        }
    }
}
