//! Writes the samples of foreign pages as one strict page: one block per family over all pages, sorted by name, HELP and
//! TYPE once and first, each series once, no timestamps. Does not know which names are ours, nor when to encode.

mod kinds;
mod series;
#[cfg(test)]
mod tests;

use crate::snapshot::{
    ObservedPage,
    exposition::{Family, Sample},
};
use kinds::Kinds;
use regex::Regex;
use series::{PageLabels, Seen};
use std::{collections::BTreeMap, sync::Arc};

/// Why a sample is dropped: the same series was there before, on this page or on an earlier one.
pub const DUPLICATE: &str = "duplicate";
/// Why a sample is dropped: its name is one of ours.
pub const OWN_NAME: &str = "own_name";

/// A page and what of it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct ForeignPage<'a> {
    /// The page and the labels to add to it.
    pub observed: &'a ObservedPage,
    /// Names of samples to write; anchored; empty = none.
    pub keep: &'a [Regex],
    /// Of those, names not to write.
    pub drop: &'a [Regex],
}

impl ForeignPage<'_> {
    fn wants(&self, name: &str) -> bool {
        self.keep.iter().any(|regex| regex.is_match(name)) && !self.drop.iter().any(|regex| regex.is_match(name))
    }
}

/// Samples of one page that were not written, although they were wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The page's target.
    pub target: Arc<str>,
    /// [`DUPLICATE`] or [`OWN_NAME`].
    pub reason: &'static str,
    /// How many.
    pub samples: u64,
}

/// Foreign samples, written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPart {
    /// Text 0.0.4.
    pub text: String,
    /// Samples in it.
    pub series: u64,
    /// What was left out, in the order of the pages; only where something was.
    pub dropped: Vec<Dropped>,
}

/// The samples of one name on one page.
struct Block<'a, S> {
    family: &'a str,
    page: usize,
    samples: S,
}

/// Writes what is wanted of `pages`. `own` tells which names are written elsewhere: they are dropped here.
///
/// The labels of a page (their names must be valid) are added to each of its samples that has no label of that name: what
/// the exporter said stays. Of equal series the first counts, by the order of `pages`; an empty label counts as none.
pub fn encode(pages: &[ForeignPage<'_>], own: impl Fn(&str) -> bool) -> ForeignPart {
    let kinds = Kinds::new(pages, &own);
    let added: Vec<_> = pages.iter().map(|page| PageLabels::new(&page.observed.labels)).collect();
    let mut dropped: BTreeMap<(usize, &'static str), u64> = BTreeMap::new();
    let mut drop = |page: usize, reason, samples: u64| {
        let count = dropped.entry((page, reason)).or_default();
        *count = count.saturating_add(samples);
    };
    let mut blocks = Vec::new();
    for (index, page) in pages.iter().enumerate() {
        for (name, samples) in page.observed.page.names() {
            if !page.wants(name) {
                continue;
            }
            if own(name) {
                drop(index, OWN_NAME, u64::try_from(samples.len()).unwrap_or(u64::MAX));
                continue;
            }
            blocks.push(Block { family: kinds.family_of(name), page: index, samples });
        }
    }
    blocks.sort_by_key(|block| (block.family, block.page));
    let mut part = ForeignPart::default();
    let mut seen = Seen::default();
    for family in blocks.chunk_by(|a, b| a.family == b.family) {
        let Some(first) = family.first() else { continue };
        write_head(&mut part.text, &kinds.family(first.family));
        seen.clear();
        for page in family.chunk_by(|a, b| a.page == b.page) {
            let Some(Block { page: index, .. }) = page.first() else { continue };
            let Some(added) = added.get(*index) else { continue };
            let mut samples: Vec<_> = page.iter().flat_map(|block| block.samples.clone()).collect();
            if page.len() > 1 {
                // The lines of one histogram belong together, though their names differ.
                samples.sort_by_key(|sample| sample.position);
            }
            for sample in &samples {
                if seen.insert(*sample, added) {
                    write_sample(&mut part.text, sample, added);
                    part.series = part.series.saturating_add(1);
                } else {
                    drop(*index, DUPLICATE, 1);
                }
            }
        }
    }
    part.dropped = dropped
        .into_iter()
        .filter_map(|((index, reason), samples)| {
            pages.get(index).map(|page| Dropped { target: Arc::clone(&page.observed.target), reason, samples })
        })
        .collect();
    part
}

fn write_head(text: &mut String, family: &Family<'_>) {
    if let Some(help) = family.help {
        push(text, &["# HELP ", family.name, " "]);
        write_help(text, help);
        text.push('\n');
    }
    let kind = family.kind.map_or("untyped", |kind| kind.text());
    push(text, &["# TYPE ", family.name, " ", kind, "\n"]);
}

/// Help texts are escaped on the page, by some exporters badly: a backslash that starts no escape is escaped here.
fn write_help(text: &mut String, help: &str) {
    let mut rest = help;
    while let Some((before, after)) = rest.split_once('\\') {
        push(text, &[before, "\\"]);
        if after.starts_with(['n', '\\']) {
            let (escaped, behind) = after.split_at_checked(1).unwrap_or((after, ""));
            text.push_str(escaped);
            rest = behind;
        } else {
            text.push('\\');
            rest = after;
        }
    }
    text.push_str(rest);
}

fn write_sample(text: &mut String, sample: &Sample<'_>, added: &PageLabels) {
    text.push_str(sample.name);
    let mut separator = "{";
    if !sample.labels_text.is_empty() {
        push(text, &[separator, sample.labels_text]);
        separator = ",";
    }
    for label in added.missing_in(sample) {
        push(text, &[separator, &label.text]);
        separator = ",";
    }
    let close = if separator == "," { "} " } else { " " };
    push(text, &[close, value_text(sample), "\n"]);
}

/// As it stands on the page; infinities and NaN have more spellings than some readers know.
fn value_text<'a>(sample: &Sample<'a>) -> &'a str {
    if sample.value.is_finite() {
        sample.value_text
    } else if sample.value.is_nan() {
        "NaN"
    } else if sample.value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

fn push(text: &mut String, pieces: &[&str]) {
    for piece in pieces {
        text.push_str(piece);
    }
}
