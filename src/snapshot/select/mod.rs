//! Prometheus instant vector selectors over samples: `name{a="b",c=~"d.*"}`. No ranges, no offsets, no arithmetic.
//!
//! Differences from Prometheus: regular expressions are those of the crate `regex` (RE2's, nearly), names are the
//! classic ones, never quoted.

mod parse;
#[cfg(test)]
mod tests;

use crate::{
    model::Labels,
    snapshot::{Exposition, ObservedPage, exposition::Sample},
};
use regex::Regex;
use std::borrow::Cow;

/// Longest selector, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 4096;
/// Matchers in one selector.
pub const MAX_MATCHERS: usize = 32;
/// Largest compiled regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;
/// Deepest nesting in a regular expression.
pub const MAX_REGEX_NESTING: u32 = 50;

/// The label that stands for the metric's name.
const NAME: &str = "__name__";

/// A selector that cannot be understood, or asks for too much.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Not the grammar of a selector.
    #[error("at byte {at} of the selector: {what}")]
    Syntax {
        /// Counts from 0.
        at: usize,
        /// What was expected or is wrong.
        what: &'static str,
    },
    /// A regular expression that does not compile or is too large.
    #[error("at byte {at} of the selector: bad regular expression")]
    Regex {
        /// Where its string starts; counts from 0.
        at: usize,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// It would select everything.
    #[error("the selector needs at least one matcher that does not match the empty string")]
    MatchesEverything,
    /// Longer than [`MAX_SELECTOR_BYTES`].
    #[error("the selector is longer than {MAX_SELECTOR_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_MATCHERS`].
    #[error("the selector has more than {MAX_MATCHERS} matchers")]
    TooManyMatchers,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

impl Test {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(unwanted) => value != unwanted,
            Self::Regex(wanted) => wanted.is_match(value),
            Self::NotRegex(unwanted) => !unwanted.is_match(value),
        }
    }
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    test: Test,
}

/// A parsed selector.
#[derive(Clone, Debug)]
pub struct Selector {
    /// Tests of the metric's name.
    names: Vec<Test>,
    /// Tests of labels.
    labels: Vec<Matcher>,
}

impl Selector {
    /// Parses a selector as PromQL writes it.
    ///
    /// # Errors
    /// With the place in `text` where it stops being one.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        parse::selector(text)
    }

    /// Parses matchers of labels alone, as Alertmanager's routes have them: `a="b", c=~"d"`. Braces around them may be
    /// there; a selector of everything is one here.
    ///
    /// # Errors
    /// With the place in `text` where it stops being one.
    pub fn parse_matchers(text: &str) -> Result<Self, SelectError> {
        parse::bare_matchers(text)
    }

    /// The metric's name, when it is given outright.
    pub fn name(&self) -> Option<&str> {
        self.names.iter().find_map(|test| match test {
            Test::Equal(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Could a metric of this name be selected?
    pub fn matches_name(&self, name: &str) -> bool {
        self.names.iter().all(|test| test.accepts(name))
    }

    /// Is the series with this name and these labels selected? `label` gives a label's value by its name; a label that
    /// is missing counts as empty.
    pub fn matches<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.matches_name(name) && self.matches_labels(label)
    }

    fn matches_labels<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.labels.iter().all(|matcher| matcher.test.accepts(label(&matcher.label).unwrap_or_default()))
    }
}

/// A sample that a selector chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected<'a> {
    /// Metric name.
    pub name: &'a str,
    /// All labels but the name, without escapes, in the page's order; then those that the page adds.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value.
    pub value: f64,
}

impl Exposition {
    /// The samples that `selector` chooses, sorted by name, in the page's order within a name.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = Selected<'a>> {
        const NONE: &Labels = &Labels::new();
        select(self, NONE, selector)
    }
}

impl ObservedPage {
    /// As [`Exposition::select`], with the page's own labels on every sample that does not have them.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = Selected<'a>> {
        select(&self.page, &self.labels, selector)
    }
}

fn select<'a>(
    page: &'a Exposition,
    added: &'a Labels,
    selector: &'a Selector,
) -> impl Iterator<Item = Selected<'a>> + use<'a> {
    let named = selector.name().into_iter().flat_map(|name| page.samples_named(name));
    let others = selector.name().is_none().then(|| page.names()).into_iter().flatten();
    let others = others.filter(|(name, _)| selector.matches_name(name)).flat_map(|(_, samples)| samples);
    named.filter(|sample| selector.matches_name(sample.name)).chain(others).filter_map(|sample| {
        let labels = labels(&sample, added);
        let find = |name: &str| labels.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_ref());
        let chosen = selector.matches_labels(find);
        chosen.then_some(Selected { name: sample.name, labels, value: sample.value })
    })
}

fn labels<'a>(sample: &Sample<'a>, added: &'a Labels) -> Vec<(&'a str, Cow<'a, str>)> {
    let mut labels: Vec<_> = sample.labels().collect();
    for (name, value) in added {
        if !labels.iter().any(|(found, _)| found == name) {
            labels.push((name, Cow::Borrowed(value)));
        }
    }
    labels
}
