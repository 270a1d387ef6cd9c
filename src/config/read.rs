//! Reads nodes as what they should be, with their paths, and gathers all problems instead of stopping at the first.
//! Knows no key of agent.yaml.

use super::{
    problem::{MAX_SHOWN_BYTES, Problem, key_path},
    scalar,
    yaml::Node,
};
use crate::model::{BoundedText, clip};
use regex::Regex;
use std::{
    collections::BTreeSet,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// Most bytes that `${NAME}` may bring in, all together.
pub const MAX_EXPANDED_BYTES: usize = 1 << 20;
/// Longest list (of rules, pages, regexes, …).
pub const MAX_LIST: usize = 1000;

/// Where values of `${NAME}` come from.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that was found wrong so far, and what reading needs.
pub(crate) struct Reader<'a> {
    /// `None`: `${NAME}` means nothing here.
    environment: Option<Environment<'a>>,
    folder: &'a Path,
    expanded: usize,
    problems: Vec<Problem>,
}

/// A value that is there and not null, with its path.
pub(crate) struct Field {
    /// Where it is.
    pub path: String,
    /// What it is.
    pub node: Node,
    /// May be told by its kind only, never shown.
    pub secret: bool,
}

/// A mapping whose keys are taken one by one; what is left over is unknown.
pub(crate) struct Section {
    /// Where it is.
    pub path: String,
    secret: bool,
    entries: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// `folder`: what relative paths are relative to.
    pub(crate) fn new(environment: Option<Environment<'a>>, folder: &'a Path) -> Self {
        Self { environment, folder, expanded: 0, problems: Vec::new() }
    }

    /// A variable of the environment, if it is there and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.and_then(|environment| environment(name)).filter(|value| !value.is_empty())
    }

    /// All problems, in the order in which they were found.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Something is wrong at `path`.
    pub(crate) fn problem(&mut self, path: &str, text: impl Display) {
        self.problems.push(Problem { path: path.to_owned(), text: text.to_string() });
    }

    /// `field` is not what it should be.
    pub(crate) fn refuse(&mut self, field: &Field, allowed: impl Display) {
        self.problem(&field.path, format_args!("found {}; allowed: {allowed}", field.shown()));
    }

    /// The value of a key that must be there.
    pub(crate) fn required(&mut self, section: &mut Section, key: &'static str, allowed: &str) -> Option<Field> {
        let field = section.take(key);
        if field.is_none() {
            self.problem(&key_path(&section.path, key), format_args!("missing; allowed: {allowed}"));
        }
        field
    }

    /// `field` names a `what` that is not among those under the key `place`.
    pub(super) fn unknown(&mut self, field: &Field, what: &str, place: &str, name: &str, known: &[&str]) {
        let near = suggestion(name, known).filter(|_| !field.written_with_variable());
        let hint = match (near, known) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("there is none under `{place}:`"),
            (None, known) => format!("there are: {}", known.join(", ")),
        };
        self.problem(&field.path, format_args!("{} is no {what}; {hint}", field.shown()));
    }

    /// A mapping.
    pub(crate) fn section(&mut self, field: Field) -> Option<Section> {
        let Node::Map(nodes) = field.node else {
            self.refuse(&field, "a mapping (`key: value`)");
            return None;
        };
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for (key, value) in nodes {
            let Node::Text(key) = key else {
                self.problem(&field.path, format_args!("found {} as a key; allowed: text (quote it)", key.kind()));
                continue;
            };
            if seen.insert(key.clone()) {
                entries.push((key, value));
            } else {
                self.problem(&key_path(&field.path, &key), "the key is there twice");
            }
        }
        Some(Section { path: field.path, secret: field.secret, entries, known: Vec::new() })
    }

    /// A list.
    pub(crate) fn list(&mut self, field: Field) -> Option<Vec<Field>> {
        match field.node {
            Node::List(nodes) if nodes.len() <= MAX_LIST => {
                let item =
                    |(index, node)| Field { path: format!("{}[{index}]", field.path), node, secret: field.secret };
                Some(nodes.into_iter().enumerate().map(item).collect())
            }
            Node::List(nodes) => {
                let text = format!("found a list of {}; allowed: at most {MAX_LIST}", nodes.len());
                self.problem(&field.path, text);
                None
            }
            _ => {
                self.refuse(&field, "a list (`[a, b]`, or lines that begin with `- `)");
                None
            }
        }
    }

    /// Reports each key of `section` that nobody asked for.
    pub(crate) fn finish(&mut self, section: Section) {
        for (key, _) in section.entries {
            let path = key_path(&section.path, &key);
            match suggestion(&key, &section.known) {
                Some(near) => self.problem(&path, format_args!("unknown key; did you mean `{near}`?")),
                None => self.problem(&path, format_args!("unknown key; allowed: {}", section.known.join(", "))),
            }
        }
    }

    /// Text with `${NAME}` expanded.
    pub(crate) fn text(&mut self, field: &Field, allowed: &str) -> Option<String> {
        match &field.node {
            Node::Text(text) => self.expand(&field.path, text),
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) => {
                let hint = if allowed.starts_with("text") { " (quote it)" } else { "" };
                self.refuse(field, format_args!("{allowed}{hint}"));
                None
            }
            _ => {
                self.refuse(field, allowed);
                None
            }
        }
    }

    /// Text that `parse` accepts.
    pub(crate) fn parsed<T>(
        &mut self,
        field: &Field,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(field, allowed)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(field, allowed);
        }
        value
    }

    /// A whole number; text that came from `${NAME}` may be one too.
    pub(crate) fn boolean(&mut self, field: &Field) -> Option<bool> {
        if let Node::Bool(value) = field.node {
            return Some(value);
        }
        self.refuse(field, "true or false");
        None
    }

    pub(crate) fn integer(&mut self, field: &Field, range: RangeInclusive<u64>, also: &str) -> Option<u64> {
        let allowed = format!("a whole number from {} to {}{also}", range.start(), range.end());
        let value = match &field.node {
            Node::Integer(value) => u64::try_from(*value).ok(),
            Node::Text(text) if text.contains("${") => self.expand(&field.path, text)?.parse().ok(),
            _ => None,
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.refuse(field, allowed);
        }
        value
    }

    /// A duration within `range`.
    pub(crate) fn duration(&mut self, field: &Field, range: RangeInclusive<Duration>) -> Option<Duration> {
        let (least, most) = (scalar::duration_text(*range.start()), scalar::duration_text(*range.end()));
        let allowed = format!("a duration from {least} to {most}, such as 500ms, 5s or 1h30m");
        self.parsed(field, &allowed, |text| scalar::duration(text).filter(|value| range.contains(value)))
    }

    /// A size in bytes within `range`.
    pub(crate) fn size(&mut self, field: &Field, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (scalar::size_text(*range.start()), scalar::size_text(*range.end()));
        let allowed = format!("a size from {least} to {most}, such as 64KiB, 4MiB or plain bytes");
        if let Node::Integer(bytes) = &field.node {
            let value = u64::try_from(*bytes).ok().filter(|value| range.contains(value));
            if value.is_none() {
                self.refuse(field, allowed);
            }
            return value;
        }
        self.parsed(field, &allowed, |text| scalar::size(text).filter(|value| range.contains(value)))
    }

    /// One of the words in `built`; those in `later` are known, and refused as not supported yet.
    pub(crate) fn choice(&mut self, field: &Field, built: &[&'static str], later: &[&str]) -> Option<&'static str> {
        let allowed = built.join(", ");
        let text = self.text(field, &allowed)?;
        let found = built.iter().copied().find(|word| *word == text);
        if found.is_none() && later.contains(&text.as_str()) {
            self.problem(&field.path, format_args!("`{text}` is not supported yet; allowed: {allowed}"));
        } else if found.is_none() {
            match suggestion(&text, built).filter(|_| !field.written_with_variable()) {
                Some(near) => self.refuse(field, format_args!("{allowed}; did you mean `{near}`?")),
                None => self.refuse(field, allowed),
            }
        }
        found
    }

    /// A list of regexes, each compiled so that it must match a whole name.
    pub(crate) fn regexes(&mut self, field: Field) -> Vec<Regex> {
        let items = self.list(field).unwrap_or_default();
        items.iter().filter_map(|item| self.regex(item)).collect()
    }

    /// A regex, compiled so that it must match a whole name.
    pub(super) fn regex(&mut self, field: &Field) -> Option<Regex> {
        let text = self.text(field, "a regex")?;
        match scalar::anchored(&text) {
            Ok(regex) => Some(regex),
            Err(reason) => {
                self.refuse(field, format_args!("a regex ({reason})"));
                None
            }
        }
    }

    /// A path; a relative one is relative to the configuration file's folder.
    pub(crate) fn path(&mut self, field: &Field) -> Option<PathBuf> {
        let text =
            self.parsed(field, "a path", |text| (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned()))?;
        Some(self.joined(Path::new(&text)))
    }

    /// `path` as seen from the configuration file's folder.
    pub(crate) fn joined(&self, path: &Path) -> PathBuf {
        // Going by components drops the `.` of `./data`.
        self.folder.join(path).components().collect()
    }

    fn expand(&mut self, path: &str, text: &str) -> Option<String> {
        let Some(environment) = self.environment else { return Some(text.to_owned()) };
        let mut out = String::new();
        let mut rest = text;
        let mut good = true;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_variable(name)) else {
                self.problem(path, "found `${` that begins no variable; allowed: ${NAME}, or $${ for `${` itself");
                return None;
            };
            rest = after;
            let Some(value) = environment(name) else {
                self.problem(path, format_args!("environment variable {name} is not set"));
                good = false;
                continue;
            };
            self.expanded = self.expanded.saturating_add(value.len());
            if self.expanded > MAX_EXPANDED_BYTES {
                self.problem(path, format_args!("variables bring in more than {MAX_EXPANDED_BYTES} bytes"));
                return None;
            }
            out.push_str(&value);
        }
        out.push_str(rest);
        good.then_some(out)
    }
}

impl Field {
    /// What was found, as far as it may be shown: as written, so never the value of a variable.
    fn shown(&self) -> String {
        match &self.node {
            _ if self.secret => format!("{} (not shown)", self.node.kind()),
            Node::Bool(value) => format!("`{value}`"),
            Node::Integer(value) => format!("the number {value}"),
            Node::Float(value) => format!("the number {value}"),
            Node::Text(text) => format!("\"{}\"", BoundedText(text, MAX_SHOWN_BYTES)),
            node => node.kind().into(),
        }
    }

    /// Does it bring in `${NAME}`, so that it may not be shown but as written?
    pub(super) fn written_with_variable(&self) -> bool {
        matches!(&self.node, Node::Text(text) if text.contains("${"))
    }
}

impl Section {
    /// The value of `key`, if it is there and not null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field> {
        self.known.push(key);
        let node = self.remove(key)?;
        let field = Field { path: key_path(&self.path, key), node, secret: self.secret };
        (!matches!(field.node, Node::Null)).then_some(field)
    }

    /// Is `key` there with nothing in it?
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, node)| name == key && matches!(node, Node::Null))
    }

    /// Is `key` there with something in it?
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, node)| name == key && !matches!(node, Node::Null))
    }

    /// The keys of the mapping under `key`, without taking it.
    pub(super) fn keys_below(&self, key: &str) -> BTreeSet<String> {
        let below = self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node);
        let Some(Node::Map(entries)) = below else { return BTreeSet::new() };
        let text = |(key, _): &(Node, Node)| if let Node::Text(key) = key { Some(key.clone()) } else { None };
        entries.iter().filter_map(text).collect()
    }

    /// Everything not taken yet, nulls too, for mappings whose keys are the user's own.
    pub(crate) fn take_rest(&mut self) -> Vec<(String, Field)> {
        let field = |(key, node): (String, Node)| {
            let path = key_path(&self.path, &key);
            (key, Field { path, node, secret: self.secret })
        };
        std::mem::take(&mut self.entries).into_iter().map(field).collect()
    }

    /// Takes `key` without making it known.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(index).1)
    }
}

impl Node {
    /// Its kind, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "`true` or `false`",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The nearest of `known`, if it is near enough to be meant.
pub(crate) fn suggestion<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let found = clip(found, MAX_SHOWN_BYTES).to_ascii_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&found, word);
    let near = known.iter().copied().min_by_key(|word| distance(word))?;
    let limit = near.len().checked_div(3).unwrap_or(0).max(1);
    (distance(near) <= limit).then_some(near)
}
