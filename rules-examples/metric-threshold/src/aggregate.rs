//! Puts series together by labels, as Prometheus' aggregations do.

use crate::config::{Aggregation, Config};
use brokerwarden_rule::Sample;
use std::collections::BTreeMap;

/// One series, or several put together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// Without the name.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Every series by itself, or put together as the configuration says.
pub(crate) fn groups(samples: &[Sample], config: &Config) -> Vec<Group> {
    let labels = |sample: &Sample| -> BTreeMap<String, String> {
        let kept = sample.labels.iter().filter(|label| label.name != "__name__" && config.keeps(&label.name));
        kept.map(|label| (label.name.clone(), label.value.clone())).collect()
    };
    let Some(aggregation) = config.aggregate else {
        return samples.iter().map(|sample| Group { labels: labels(sample), value: sample.value }).collect();
    };
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        groups.entry(labels(sample)).or_default().push(sample.value);
    }
    groups.into_iter().map(|(labels, values)| Group { labels, value: together(aggregation, &values) }).collect()
}

fn together(aggregation: Aggregation, values: &[f64]) -> f64 {
    // Fewer than 2^53.
    let count = values.iter().map(|_| 1.0).sum::<f64>();
    match aggregation {
        Aggregation::Count => count,
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Avg => values.iter().sum::<f64>() / count,
        Aggregation::Min => values.iter().copied().fold(f64::NAN, f64::min),
        Aggregation::Max => values.iter().copied().fold(f64::NAN, f64::max),
    }
}
