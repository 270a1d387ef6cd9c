//! Reads text format 0.0.4 as exporters really write it. Lenient as to style: trailing commas, blanks, CRLF, timestamps,
//! exemplars, repeated or missing HELP and TYPE, interleaved families. Strict as to outcome: a page is read whole or refused.
//!
//! A page must end in a newline, as the format demands: that is how a page cut in the middle of a number shows.

use super::{Declared, Entry, Exposition, Kind, Named, Span};
use crate::model::BoundedText;
use memchr::{memchr, memchr2};
use std::collections::HashMap;

/// Longest page in bytes, whatever is configured.
pub const MAX_PAGE_BYTES: usize = 1 << 30;
/// Samples on one page.
pub const MAX_SAMPLES: usize = 2_000_000;
/// Families that a page names by HELP or TYPE, and as many names of samples.
pub const MAX_FAMILIES: usize = 100_000;
/// Labels of one sample.
pub const MAX_LABELS: usize = 64;
/// Longest name of a metric or label, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest label value as it stands on the page, in bytes: a client id of 32 KiB, the longest that Kafka takes, each of
/// whose characters was escaped by JMX and again by the exporter.
pub const MAX_LABEL_VALUE_BYTES: usize = 128 << 10;
/// Longest help text as it stands on the page, in bytes.
pub const MAX_HELP_BYTES: usize = 64 << 10;
/// Longest value as it stands on the page, in bytes: the largest double takes 309 digits.
pub const MAX_VALUE_BYTES: usize = 400;

/// How much of a malformed line its error shows, in bytes.
const EXCERPT: usize = 80;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The last line has no newline.
    #[error("the page ends in the middle of a line")]
    CutShort,
    /// Not `[a-zA-Z_:][a-zA-Z0-9_:]*`, or nothing after it.
    #[error("malformed metric name")]
    Name,
    /// Not `{name="value",…}`.
    #[error("malformed labels")]
    Labels,
    /// Not `\\`, `\"` or `\n`.
    #[error("unknown escape in a label value")]
    Escape,
    /// No number, or none that a double can hold.
    #[error("malformed value")]
    Value,
    /// More after the value than a timestamp.
    #[error("malformed timestamp")]
    Timestamp,
    /// Not `# TYPE name type` with a known type.
    #[error("malformed TYPE")]
    Type,
    /// Not `# HELP name text`.
    #[error("malformed HELP")]
    Help,
    /// More of something than its cap.
    #[error("more {0} than {1}")]
    Limit(&'static str, usize),
}

/// A page that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: {excerpt}")]
pub struct ParseError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
    /// The beginning of the line, fit for logs.
    pub excerpt: String,
}

/// Reads a page in steps, so that a huge one does not hold up others on the same thread.
#[derive(Debug)]
pub struct Parser<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    names: Names<'a>,
    entries: Vec<(u32, Entry)>,
    families: Names<'a>,
    declared: Vec<Declared>,
    label_names: Vec<&'a str>,
    dropped: u64,
}

/// All that [`Parser`] found; becomes an [`Exposition`] with the text it was made from.
#[derive(Debug)]
pub struct Parsed(Exposition);

impl Parsed {
    /// Joins it with its text.
    pub fn with(self, text: String) -> Exposition {
        Exposition { text, ..self.0 }
    }
}

impl<'a> Parser<'a> {
    /// Starts at the page's beginning.
    ///
    /// # Errors
    /// When the page is too long or does not end in a newline.
    pub fn new(text: &'a str) -> Result<Self, ParseError> {
        let new = Self {
            text,
            at: 0,
            line: 1,
            names: Names::default(),
            entries: Vec::new(),
            families: Names::default(),
            declared: Vec::new(),
            label_names: Vec::new(),
            dropped: 0,
        };
        if text.len() > MAX_PAGE_BYTES {
            return Err(new.error(Problem::Limit("bytes", MAX_PAGE_BYTES), ""));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let line = text.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
            let last = text.rsplit('\n').next().unwrap_or_default();
            return Err(Self { line, ..new }.error(Problem::CutShort, last));
        }
        Ok(new)
    }

    /// Reads lines until at least `bytes` are read. True = the end is reached.
    ///
    /// # Errors
    /// With the first malformed line.
    pub fn advance(&mut self, bytes: usize) -> Result<bool, ParseError> {
        let stop = self.at.saturating_add(bytes);
        while self.at < stop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(length) = memchr(b'\n', rest) else { return Ok(true) };
            let end = self.at.saturating_add(length);
            let line = self.text.get(self.at..end).unwrap_or_default();
            let line = line.strip_suffix('\r').unwrap_or(line);
            self.read(line).map_err(|problem| self.error(problem, line))?;
            self.at = end.saturating_add(1);
            self.line = self.line.saturating_add(1);
        }
        Ok(self.at >= self.text.len())
    }

    /// Sorts what was found.
    pub fn finish(self) -> Parsed {
        let Self { text, names, mut entries, mut declared, dropped, .. } = self;
        let mut order: Vec<(Span, u32)> = names.spans.iter().copied().zip(0_u32..).collect();
        order.sort_unstable_by_key(|(span, _)| span.of(text));
        let mut ranks = vec![0_u32; order.len()];
        for ((_, id), rank) in order.iter().zip(0_u32..) {
            if let Some(slot) = ranks.get_mut(index(*id)) {
                *slot = rank;
            }
        }
        for (id, _) in &mut entries {
            *id = ranks.get(index(*id)).copied().unwrap_or_default();
        }
        entries.sort_by_key(|(rank, _)| *rank);
        let mut first = 0_usize;
        let mut named = Vec::with_capacity(order.len());
        for (group, (name, _)) in entries.chunk_by(|a, b| a.0 == b.0).zip(order) {
            let end = first.saturating_add(group.len());
            named.push(Named { name, first, end });
            first = end;
        }
        declared.sort_unstable_by_key(|family| family.name.of(text));
        let entries = entries.iter().map(|(_, entry)| *entry).collect();
        Parsed(Exposition { text: String::new(), names: named, entries, families: declared, dropped })
    }

    fn error(&self, problem: Problem, line: &str) -> ParseError {
        ParseError { line: self.line, problem, excerpt: BoundedText(line, EXCERPT).to_string() }
    }

    fn read(&mut self, line: &'a str) -> Result<(), Problem> {
        let mut cursor = Cursor { line, base: self.at, at: 0 };
        cursor.blanks();
        match cursor.peek() {
            None => Ok(()),
            Some(b'#') => self.comment(cursor),
            Some(_) => self.sample(cursor),
        }
    }

    fn comment(&mut self, mut cursor: Cursor<'a>) -> Result<(), Problem> {
        cursor.skip();
        cursor.blanks();
        let (keyword, _) = cursor.token();
        let problem = match keyword {
            "HELP" => Problem::Help,
            "TYPE" => Problem::Type,
            _ => return Ok(()),
        };
        cursor.blanks();
        let (name, span) = cursor.name(is_metric_start, is_metric_part)?.ok_or_else(|| problem.clone())?;
        if !matches!(cursor.peek(), None | Some(b' ' | b'\t')) {
            return Err(problem);
        }
        let id = self.families.id(name, span, "families")?;
        if index(id) == self.declared.len() {
            self.declared.push(Declared { name: span, help: None, kind: None });
        }
        let Some(family) = self.declared.get_mut(index(id)) else { return Ok(()) };
        cursor.skip();
        if problem == Problem::Help {
            let (help, span) = cursor.rest();
            limit("bytes in a help text", help.len(), MAX_HELP_BYTES)?;
            family.help.get_or_insert(span);
            return Ok(());
        }
        cursor.blanks();
        let (kind, _) = cursor.token();
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "summary" => Kind::Summary,
            "untyped" | "unknown" | "info" | "stateset" | "gaugehistogram" => Kind::Untyped,
            _ => return Err(Problem::Type),
        };
        family.kind = Some(if family.kind.is_none_or(|before| before == kind) { kind } else { Kind::Untyped });
        cursor.blanks();
        if cursor.peek().is_none() { Ok(()) } else { Err(Problem::Type) }
    }

    fn sample(&mut self, mut cursor: Cursor<'a>) -> Result<(), Problem> {
        let (name, name_span) = cursor.name(is_metric_start, is_metric_part)?.ok_or(Problem::Name)?;
        if !matches!(cursor.peek(), Some(b' ' | b'\t' | b'{')) {
            return Err(Problem::Name);
        }
        cursor.blanks();
        self.label_names.clear();
        let labels = if cursor.peek() == Some(b'{') { self.labels(&mut cursor)? } else { Span::default() };
        cursor.blanks();
        let (text, value_text) = cursor.token();
        let value = number(text)?;
        cursor.blanks();
        if !matches!(cursor.peek(), None | Some(b'#')) {
            let (timestamp, _) = cursor.token();
            timestamp.parse::<f64>().map_err(|_| Problem::Timestamp)?;
            cursor.blanks();
        }
        if !matches!(cursor.peek(), None | Some(b'#')) {
            return Err(Problem::Timestamp);
        }
        let twice = |(at, name): (usize, &&str)| self.label_names.iter().take(at).any(|other| other == name);
        if self.label_names.iter().enumerate().any(twice) {
            self.dropped = self.dropped.saturating_add(1);
            return Ok(());
        }
        limit("samples", self.entries.len().saturating_add(1), MAX_SAMPLES)?;
        let id = self.names.id(name, name_span, "names of samples")?;
        self.entries.push((id, Entry { labels, value_text, value }));
        Ok(())
    }

    /// Reads `{…}`. What is returned reaches from the first name to the last closing quote.
    fn labels(&mut self, cursor: &mut Cursor<'a>) -> Result<Span, Problem> {
        cursor.skip();
        cursor.blanks();
        let mut all = Span { start: cursor.position(), end: cursor.position() };
        while cursor.peek() != Some(b'}') {
            let (name, _) = cursor.name(is_label_start, is_label_part)?.ok_or(Problem::Labels)?;
            self.label_names.push(name);
            limit("labels in a sample", self.label_names.len(), MAX_LABELS)?;
            cursor.blanks();
            cursor.expect(b'=')?;
            cursor.blanks();
            cursor.expect(b'"')?;
            cursor.label_value()?;
            all.end = cursor.position();
            cursor.blanks();
            match cursor.peek() {
                Some(b',') => cursor.skip(),
                Some(b'}') => {}
                _ => return Err(Problem::Labels),
            }
            cursor.blanks();
        }
        cursor.skip();
        Ok(all)
    }
}

/// Distinct names in order of appearance; pages mostly repeat the name of the line before.
#[derive(Debug, Default)]
struct Names<'a> {
    ids: HashMap<&'a str, u32>,
    spans: Vec<Span>,
    last: Option<(&'a str, u32)>,
}

impl<'a> Names<'a> {
    fn id(&mut self, name: &'a str, span: Span, what: &'static str) -> Result<u32, Problem> {
        if let Some((last, id)) = self.last
            && last == name
        {
            return Ok(id);
        }
        let new = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        let id = *self.ids.entry(name).or_insert(new);
        if id == new {
            limit(what, self.spans.len().saturating_add(1), MAX_FAMILIES)?;
            self.spans.push(span);
        }
        self.last = Some((name, id));
        Ok(id)
    }
}

/// A place in one line.
struct Cursor<'a> {
    line: &'a str,
    /// Where on the page the line starts.
    base: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.skip();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Problem> {
        if self.peek() == Some(byte) {
            self.skip();
            return Ok(());
        }
        Err(Problem::Labels)
    }

    /// The present place on the page.
    fn position(&self) -> u32 {
        u32::try_from(self.base.saturating_add(self.at)).unwrap_or(u32::MAX)
    }

    /// From `start` of this line to here.
    fn since(&self, start: usize) -> (&'a str, Span) {
        let from = u32::try_from(self.base.saturating_add(start)).unwrap_or(u32::MAX);
        (self.line.get(start..self.at).unwrap_or_default(), Span { start: from, end: self.position() })
    }

    /// Everything up to the next blank.
    fn token(&mut self) -> (&'a str, Span) {
        let start = self.at;
        while !matches!(self.peek(), None | Some(b' ' | b'\t')) {
            self.skip();
        }
        self.since(start)
    }

    /// Everything up to the end of the line.
    fn rest(&mut self) -> (&'a str, Span) {
        let start = self.at;
        self.at = self.line.len().max(start);
        self.since(start)
    }

    fn name(
        &mut self,
        start: impl Fn(u8) -> bool,
        part: impl Fn(u8) -> bool,
    ) -> Result<Option<(&'a str, Span)>, Problem> {
        let from = self.at;
        if !self.peek().is_some_and(start) {
            return Ok(None);
        }
        while self.peek().is_some_and(&part) {
            self.skip();
        }
        let (name, span) = self.since(from);
        limit("bytes in a name", name.len(), MAX_NAME_BYTES)?;
        Ok(Some((name, span)))
    }

    /// From behind the opening quote to behind the closing one.
    fn label_value(&mut self) -> Result<(), Problem> {
        let start = self.at;
        loop {
            let rest = self.line.as_bytes().get(self.at..).unwrap_or_default();
            let found = memchr2(b'"', b'\\', rest).ok_or(Problem::Labels)?;
            self.at = self.at.saturating_add(found);
            if self.peek() == Some(b'"') {
                limit("bytes in a label value", self.at.saturating_sub(start), MAX_LABEL_VALUE_BYTES)?;
                self.skip();
                return Ok(());
            }
            self.skip();
            if !matches!(self.peek(), Some(b'\\' | b'"' | b'n')) {
                return Err(Problem::Escape);
            }
            self.skip();
        }
    }
}

/// Rust reads what Go reads, but for hexadecimal numbers and underscores, which are not wanted, and for numbers that are
/// too large, which Go refuses.
fn number(text: &str) -> Result<f64, Problem> {
    limit("bytes in a value", text.len(), MAX_VALUE_BYTES)?;
    let value: f64 = text.parse().map_err(|_| Problem::Value)?;
    if value.is_infinite() && !text.contains(['i', 'I']) {
        return Err(Problem::Value);
    }
    Ok(value)
}

fn limit(what: &'static str, number: usize, cap: usize) -> Result<(), Problem> {
    if number > cap { Err(Problem::Limit(what, cap)) } else { Ok(()) }
}

fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

fn is_metric_start(byte: u8) -> bool {
    is_label_start(byte) || byte == b':'
}

fn is_metric_part(byte: u8) -> bool {
    is_label_part(byte) || byte == b':'
}

fn is_label_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_label_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
