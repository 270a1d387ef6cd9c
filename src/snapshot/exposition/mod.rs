//! A foreign metrics page, parsed: its text, kept once, and where in it each family and sample is.
//! Does not know where the page came from, nor which of it is re-exported.

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{
    MAX_FAMILIES, MAX_HELP_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_NAME_BYTES, MAX_PAGE_BYTES, MAX_SAMPLES,
    MAX_VALUE_BYTES, ParseError, Parsed, Parser, Problem,
};

use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// A piece of the page's text. Pages are at most [`MAX_PAGE_BYTES`] long, so 32 bits do, at half the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, text: &str) -> &str {
        let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
        text.get(position(self.start)..position(self.end)).unwrap_or_default()
    }
}

/// The `# TYPE` of a foreign family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Any value.
    Gauge,
    /// `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Quantiles, `_sum` and `_count`.
    Summary,
    /// Not known, or of a kind that the text format does not have.
    Untyped,
}

impl Kind {
    /// As the text format writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    /// What a sample's name may have after the name of its family.
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Histogram => &["_bucket", "_count", "_sum"],
            Self::Summary => &["_count", "_sum"],
            Self::Counter | Self::Gauge | Self::Untyped => &[],
        }
    }
}

/// What the page says about a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family<'a> {
    /// The name after `# HELP` or `# TYPE`.
    pub name: &'a str,
    /// The first help text, escaped as on the page.
    pub help: Option<&'a str>,
    /// The type; untyped where the page contradicts itself.
    pub kind: Option<Kind>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Metric name.
    pub name: &'a str,
    /// What stands between the braces, without a comma at its end.
    pub labels_text: &'a str,
    /// The value.
    pub value: f64,
    /// The value as on the page.
    pub value_text: &'a str,
    /// Where on the page; only good for comparing with other samples of it.
    pub position: u32,
}

impl<'a> Sample<'a> {
    /// Label names and values as they stand on the page, escapes and all.
    pub fn raw_labels(&self) -> RawLabels<'a> {
        RawLabels { rest: self.labels_text }
    }

    /// Label names and values.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        self.raw_labels().map(|(name, value)| (name, unescape(value)))
    }

    /// One label's value.
    pub fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        self.labels().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// Walks over the labels of one sample.
#[derive(Clone, Debug)]
pub struct RawLabels<'a> {
    rest: &'a str,
}

impl<'a> Iterator for RawLabels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_start_matches([' ', '\t', ',']);
        let (name, rest) = rest.split_at_checked(memchr(b'=', rest.as_bytes())?)?;
        let (_, rest) = rest.split_at_checked(memchr(b'"', rest.as_bytes())?.checked_add(1)?)?;
        let mut end = 0_usize;
        loop {
            let found = end.checked_add(memchr2(b'"', b'\\', rest.as_bytes().get(end..)?)?)?;
            if rest.as_bytes().get(found) == Some(&b'"') {
                let (value, _) = rest.split_at_checked(found)?;
                self.rest = rest.get(found.checked_add(1)?..)?;
                return Some((name.trim_end_matches([' ', '\t']), value));
            }
            end = found.checked_add(2)?;
        }
    }
}

/// Reads the escapes of a label value: `\\`, `\"` and `\n`; the parser lets no other through.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

/// One sample, but for its name.
#[derive(Clone, Copy, Debug)]
struct Entry {
    labels: Span,
    value_text: Span,
    value: f64,
}

/// The samples of one name.
#[derive(Clone, Copy, Debug)]
struct Named {
    name: Span,
    /// The first of them in `entries`.
    first: usize,
    /// The one after the last.
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Declared {
    name: Span,
    help: Option<Span>,
    kind: Option<Kind>,
}

/// A parsed page. Names and families are sorted; samples of one name keep the page's order.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
    /// Sorted by name.
    names: Vec<Named>,
    entries: Vec<Entry>,
    /// Sorted by name.
    families: Vec<Declared>,
    dropped: u64,
}

impl Exposition {
    /// Parses a whole page of text format 0.0.4, leniently as to style; one malformed line fails the page.
    ///
    /// # Errors
    /// With the number of the line that is malformed or exceeds a cap, and what is wrong there.
    pub fn parse(text: String) -> Result<Self, ParseError> {
        let mut parser = Parser::new(&text)?;
        while !parser.advance(usize::MAX)? {}
        let parsed = parser.finish();
        Ok(parsed.with(text))
    }

    /// The page as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All samples, by name.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.names.iter().flat_map(|named| self.of(named))
    }

    /// The samples of one name, in the page's order.
    pub fn samples_named(&self, name: &str) -> impl Iterator<Item = Sample<'_>> + use<'_> {
        let at = self.names.binary_search_by(|named| named.name.of(&self.text).cmp(name));
        at.ok().and_then(|at| self.names.get(at)).into_iter().flat_map(|named| self.of(named))
    }

    /// The names of all samples, sorted, each with its samples.
    pub fn names(&self) -> impl Iterator<Item = (&str, impl ExactSizeIterator<Item = Sample<'_>> + Clone)> {
        self.names.iter().map(|named| (named.name.of(&self.text), self.of(named)))
    }

    /// What the page says about families, sorted by name. A family may be without samples, and samples without one.
    pub fn families(&self) -> impl Iterator<Item = Family<'_>> {
        let of = |span: Span| span.of(&self.text);
        self.families.iter().map(move |f| Family { name: of(f.name), help: f.help.map(of), kind: f.kind })
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> usize {
        self.entries.len()
    }

    /// How many samples were left out because a label name stood twice in them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn of(&self, named: &Named) -> impl ExactSizeIterator<Item = Sample<'_>> + Clone + use<'_> {
        let name = named.name.of(&self.text);
        self.entries.get(named.first..named.end).unwrap_or_default().iter().map(move |entry| Sample {
            name,
            labels_text: entry.labels.of(&self.text),
            value: entry.value,
            value_text: entry.value_text.of(&self.text),
            position: entry.value_text.start,
        })
    }
}
