//! Tells equal series apart from different ones, whatever the order of their labels, with the labels that a page adds.

use crate::{model::Labels, snapshot::exposition::Sample};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// A label that a page adds to its samples.
#[derive(Debug)]
pub(super) struct AddedLabel {
    name: String,
    /// The value, escaped.
    value: String,
    /// `name="value"`, ready to be written.
    pub(super) text: String,
}

/// All labels that a page adds to its samples.
#[derive(Debug)]
pub(super) struct PageLabels(Vec<AddedLabel>);

impl PageLabels {
    pub(super) fn new(labels: &Labels) -> Self {
        let labels = labels.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            AddedLabel { name: name.clone(), text: format!("{name}=\"{value}\""), value }
        });
        Self(labels.collect())
    }

    /// Those to be added to this sample.
    pub(super) fn missing_in(&self, sample: &Sample<'_>) -> impl Iterator<Item = &AddedLabel> {
        self.0.iter().filter(|added| !sample.raw_labels().any(|(name, _)| name == added.name))
    }
}

/// The series that were written, by a hash of their labels. Its keys are random, so that nobody can name topics that
/// make it slow.
#[derive(Default)]
pub(super) struct Seen<'a> {
    keys: RandomState,
    series: HashMap<u64, (Sample<'a>, &'a PageLabels)>,
}

impl<'a> Seen<'a> {
    pub(super) fn clear(&mut self) {
        self.series.clear();
    }

    /// Is it new? Series with an equal hash are compared in full; should two that differ have one hash, both are new.
    pub(super) fn insert(&mut self, sample: Sample<'a>, added: &'a PageLabels) -> bool {
        let hash = labels(&sample, added)
            .map(|label| self.keys.hash_one(label))
            .fold(self.keys.hash_one(sample.name), u64::wrapping_add);
        let (other, other_added) = *self.series.entry(hash).or_insert((sample, added));
        if std::ptr::eq(added, other_added) && sample.position == other.position {
            return true;
        }
        !same(&sample, added, &other, other_added)
    }
}

fn same(a: &Sample<'_>, a_added: &PageLabels, b: &Sample<'_>, b_added: &PageLabels) -> bool {
    if a.name != b.name {
        return false;
    }
    if std::ptr::eq(a_added, b_added) && a.labels_text == b.labels_text {
        return true;
    }
    let sorted = |sample, added| {
        let mut labels: Vec<_> = labels(sample, added).collect();
        labels.sort_unstable();
        labels
    };
    sorted(a, a_added) == sorted(b, b_added)
}

/// All labels that count: empty ones are as good as absent.
fn labels<'a>(sample: &Sample<'a>, added: &'a PageLabels) -> impl Iterator<Item = (&'a str, &'a str)> {
    let added = added.missing_in(sample).map(|label| (label.name.as_str(), label.value.as_str()));
    sample.raw_labels().filter(|(_, value)| !value.is_empty()).chain(added.collect::<Vec<_>>())
}
