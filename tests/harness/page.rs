//! A `/metrics` page, read as strictly as the strictest reader of the text format 0.0.4 does.

use std::collections::{BTreeMap, BTreeSet};

/// Name and labels: what makes a series this one and no other.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// One line with a value.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// Has it all of these labels?
    pub(crate) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }

    /// The value, if it is a whole number.
    pub(crate) fn whole(&self) -> Option<i64> {
        self.value.to_string().parse().ok()
    }
}

/// A page without a fault.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) samples: Vec<Sample>,
}

impl Page {
    /// Reads a page; each fault is an error: families in pieces, a second HELP or TYPE, a series twice, timestamps.
    pub(crate) fn parse(text: String) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut samples = Vec::new();
        let mut seen: BTreeSet<Series> = BTreeSet::new();
        let mut closed: BTreeSet<String> = BTreeSet::new();
        let mut block = Block::default();
        for line in text.lines() {
            let fault = |what: &str| format!("{what}: {line}");
            if let Some(comment) = line.strip_prefix("# ") {
                let (keyword, rest) = comment.split_once(' ').ok_or_else(|| fault("a comment of one word"))?;
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                if block.name != name {
                    block.close(&mut closed);
                    name.clone_into(&mut block.name);
                    if closed.contains(name) {
                        return Err(fault("a family in pieces"));
                    }
                }
                let slot = match keyword {
                    "HELP" => &mut block.help,
                    "TYPE" => &mut block.kind,
                    _ => return Err(fault("neither HELP nor TYPE")),
                };
                if slot.replace(rest.to_owned()).is_some() || block.samples > 0 {
                    return Err(fault("HELP or TYPE twice or late"));
                }
                continue;
            }
            let sample = parse_sample(line).map_err(|what| fault(&what))?;
            if !block.owns(&sample.name) {
                block.close(&mut closed);
                block.name.clone_from(&sample.name);
                if closed.contains(&sample.name) {
                    return Err(fault("a family in pieces"));
                }
            }
            block.samples += 1;
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(fault("a series twice"));
            }
            samples.push(sample);
        }
        Ok(Self { text, samples })
    }

    /// Samples of that name with all of these labels.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.name == name && sample.has(labels)).collect()
    }

    /// The value of the one sample of that name with all of these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.all(name, labels);
        assert!(found.len() <= 1, "{name}{labels:?} is not one series: {found:?}");
        found.first().map(|sample| sample.value)
    }

    /// The sum over all samples of that name with all of these labels; 0 without any.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).iter().map(|sample| sample.value).sum()
    }

    /// Is there a sample of that name with all of these labels?
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        !self.all(name, labels).is_empty()
    }

    /// `Ok` when the one sample has that value, else what it has.
    pub(crate) fn expect(&self, name: &str, labels: &[(&str, &str)], want: f64) -> Result<(), String> {
        match self.value(name, labels) {
            #[expect(clippy::float_cmp, reason = "small whole numbers")]
            Some(value) if value == want => Ok(()),
            other => Err(format!("{name}{labels:?} is {other:?}, not {want}")),
        }
    }

    /// All series, for comparison with another page.
    pub(crate) fn series(&self) -> BTreeSet<Series> {
        self.samples.iter().map(|sample| (sample.name.clone(), sample.labels.clone())).collect()
    }
}

/// The series of a page as the JMX exporter writes it (trailing commas), without a look at its order.
pub(crate) fn series_of(text: &str) -> BTreeMap<Series, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| parse_sample(line).unwrap_or_else(|what| panic!("{what}: {line}")))
        .map(|sample| ((sample.name, sample.labels), sample.value))
        .collect()
}

#[derive(Default)]
struct Block {
    name: String,
    help: Option<String>,
    kind: Option<String>,
    samples: usize,
}

impl Block {
    fn close(&mut self, closed: &mut BTreeSet<String>) {
        closed.insert(std::mem::take(self).name);
    }

    fn owns(&self, sample: &str) -> bool {
        let suffixes: &[&str] = match self.kind.as_deref() {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            Some("summary") => &["", "_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().any(|suffix| sample.strip_suffix(suffix) == Some(&self.name))
    }
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let name_end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(name_end);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
        return Err("a bad name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, value) = rest.split_once("=\"").ok_or("a bad label")?;
            let (value, after) = quoted(value)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err("a label twice".to_owned());
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    let value = match value {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().map_err(|_| "a bad value, or a timestamp")?,
    };
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok((value, chars.as_str())),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('\\' | '"')) => value.push(c),
                _ => return Err("a bad escape".to_owned()),
            },
            c => value.push(c),
        }
    }
    Err("a quote without end".to_owned())
}
