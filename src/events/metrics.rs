//! Figures about ourselves: counters, gauges and histograms by family and labels.

use crate::model::families::Family;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Label sets kept for one family; more are not kept (an error of ours or a flood of names from outside).
pub const MAX_LABEL_SETS: usize = 10_000;

/// Upper bounds of the buckets of every histogram of ours, in seconds.
pub const BUCKETS: &[f64] = &[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

/// Counts per bucket (not cumulative; the last one is +Inf), their sum and number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// One more than [`BUCKETS`].
    pub counts: [u64; 7],
    /// Sum of all observations.
    pub sum: f64,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A counter or gauge.
    Number(f64),
    /// A histogram.
    Histogram(Histogram),
}

/// Label values in the order of the family's label names.
type LabelValues = Vec<String>;
type Figures = BTreeMap<&'static str, (&'static Family, BTreeMap<LabelValues, Figure>)>;

/// All figures about this agent. Methods take the label values in the order of [`Family::labels`].
#[derive(Debug, Default)]
pub struct SelfMetrics {
    figures: Mutex<Figures>,
}

impl SelfMetrics {
    /// Adds to a counter, which starts at 0.
    pub fn add(&self, family: &'static Family, labels: &[&str], by: f64) {
        self.with(family, labels, Figure::Number(0.0), |figure| {
            if let Figure::Number(value) = figure {
                *value += by;
            }
        });
    }

    /// Adds 1 to a counter.
    pub fn count(&self, family: &'static Family, labels: &[&str]) {
        self.add(family, labels, 1.0);
    }

    /// Sets a gauge (or a counter that is counted elsewhere).
    pub fn set(&self, family: &'static Family, labels: &[&str], to: f64) {
        self.with(family, labels, Figure::Number(to), |figure| *figure = Figure::Number(to));
    }

    /// Adds an observation to a histogram.
    pub fn observe(&self, family: &'static Family, labels: &[&str], seconds: f64) {
        self.with(family, labels, Figure::Histogram(Histogram::default()), |figure| {
            if let Figure::Histogram(histogram) = figure {
                let bucket = BUCKETS.iter().position(|le| seconds <= *le).unwrap_or(BUCKETS.len());
                if let Some(count) = histogram.counts.get_mut(bucket) {
                    *count = count.saturating_add(1);
                }
                histogram.sum += seconds;
            }
        });
    }

    /// Forgets all figures of a family for which `gone` says so of their label values.
    pub fn forget(&self, family: &'static Family, gone: impl Fn(&[String]) -> bool) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sets)) = figures.get_mut(family.name) {
            sets.retain(|labels, _| !gone(labels));
        }
    }

    /// The present value of a counter or gauge.
    pub fn value(&self, family: &'static Family, labels: &[&str]) -> Option<f64> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let labels: LabelValues = labels.iter().map(|label| (*label).to_owned()).collect();
        match figures.get(family.name)?.1.get(&labels)? {
            Figure::Number(value) => Some(*value),
            Figure::Histogram(_) => None,
        }
    }

    /// A copy of all figures, sorted by family name and label values.
    pub fn figures(&self) -> Vec<(&'static Family, Vec<(LabelValues, Figure)>)> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = |sets: &BTreeMap<LabelValues, Figure>| sets.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        figures.values().map(|(family, sets)| (*family, copy(sets))).collect()
    }

    fn with(&self, family: &'static Family, labels: &[&str], new: Figure, change: impl FnOnce(&mut Figure)) {
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        let labels: LabelValues = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, sets) = figures.entry(family.name).or_insert_with(|| (family, BTreeMap::new()));
        if let Some(figure) = sets.get_mut(&labels) {
            change(figure);
        } else if sets.len() < MAX_LABEL_SETS {
            change(sets.entry(labels).or_insert(new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::families;

    #[test]
    fn counts_sets_observes_and_forgets() {
        let metrics = SelfMetrics::default();
        metrics.count(&families::TARGET_ERRORS, &["refused", "kafka"]);
        metrics.count(&families::TARGET_ERRORS, &["refused", "kafka"]);
        metrics.set(&families::TARGET_UP, &["kafka"], 1.0);
        metrics.observe(&families::RULE_EVALUATION_SECONDS, &["r"], 0.05);
        assert_eq!(metrics.value(&families::TARGET_ERRORS, &["refused", "kafka"]), Some(2.0));
        metrics.forget(&families::TARGET_UP, |labels| labels == ["kafka"]);
        assert_eq!(metrics.value(&families::TARGET_UP, &["kafka"]), None);
        let figures = metrics.figures();
        let (_, sets) = figures.iter().find(|(f, _)| f.name == "brokerwarden_rule_evaluation_seconds").unwrap();
        assert_eq!(sets[0].1, Figure::Histogram(Histogram { counts: [0, 0, 0, 1, 0, 0, 0], sum: 0.05 }));
    }
}
