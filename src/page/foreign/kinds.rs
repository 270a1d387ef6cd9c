//! Decides which family each sample belongs to and what its HELP and TYPE are, over all pages.
//!
//! In the text format `x_count` belongs to `x` when `x` is a histogram or a summary. A page may say that and also have
//! a family `x_count` of its own; a strict reader then takes its TYPE for a second one of `x` and refuses the page. So
//! whenever a name is claimed both ways, both families are written as untyped, each by itself: nothing is lost but a type.

use super::ForeignPage;
use crate::snapshot::{
    Exposition,
    exposition::{Family, Kind},
};
use std::collections::HashMap;

/// All families that the pages declare.
pub(super) struct Kinds<'a>(HashMap<&'a str, Family<'a>>);

impl<'a> Kinds<'a> {
    /// The first HELP wins; types that contradict each other become untyped.
    pub(super) fn new(pages: &[ForeignPage<'a>], own: impl Fn(&str) -> bool) -> Self {
        let pages = pages.iter().filter(|page| !page.keep.is_empty());
        let pages: Vec<&'a Exposition> = pages.map(|page| &*page.observed.page).collect();
        let mut all: HashMap<&'a str, Family<'a>> = HashMap::new();
        for family in pages.iter().flat_map(|page| page.families()).filter(|family| !own(family.name)) {
            let known = all.entry(family.name).or_insert(family);
            known.help = known.help.or(family.help);
            known.kind = match (known.kind, family.kind) {
                (Some(a), Some(b)) if a != b => Some(Kind::Untyped),
                (a, b) => a.or(b),
            };
        }
        let mut untyped = Vec::new();
        for family in all.values() {
            let suffixes = family.kind.unwrap_or(Kind::Untyped).suffixes();
            let names = suffixes.iter().map(|suffix| [family.name, suffix].concat());
            let clashes: Vec<&str> = names
                .filter_map(|name| {
                    all.get_key_value(&*name).map(|(name, _)| *name).or(own(&name).then_some(family.name))
                })
                .collect();
            if !clashes.is_empty() || !bounds_are_numbers(&pages, family) {
                untyped.push(family.name);
                untyped.extend(clashes);
            }
        }
        for name in untyped {
            if let Some(family) = all.get_mut(name) {
                family.kind = Some(Kind::Untyped);
            }
        }
        Self(all)
    }

    /// What to write about a family.
    pub(super) fn family(&self, name: &'a str) -> Family<'a> {
        self.0.get(name).copied().unwrap_or(Family { name, help: None, kind: None })
    }

    /// The family of a sample by its name.
    pub(super) fn family_of(&self, sample: &'a str) -> &'a str {
        if self.0.contains_key(sample) {
            return sample;
        }
        let parent = sample.rsplit_once('_').and_then(|(parent, _)| self.0.get(parent)).filter(|family| {
            let suffixes = family.kind.unwrap_or(Kind::Untyped).suffixes();
            suffixes.iter().any(|suffix| sample.strip_suffix(suffix) == Some(family.name))
        });
        parent.map_or(sample, |family| family.name)
    }
}

/// Is every `le` of a histogram and every `quantile` of a summary a number? Strict readers refuse the page otherwise.
fn bounds_are_numbers(pages: &[&Exposition], family: &Family<'_>) -> bool {
    let kind = family.kind.unwrap_or(Kind::Untyped);
    let label = match kind {
        Kind::Histogram => "le",
        Kind::Summary => "quantile",
        Kind::Counter | Kind::Gauge | Kind::Untyped => return true,
    };
    let is_number =
        |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite) || matches!(text, "+Inf" | "Inf" | "-Inf" | "NaN");
    let names = kind.suffixes().iter().map(|suffix| [family.name, suffix].concat()).chain([family.name.to_owned()]);
    names.into_iter().all(|name| {
        let mut samples = pages.iter().flat_map(|page| page.samples_named(&name));
        samples.all(|sample| sample.label(label).is_none_or(|bound| is_number(&bound)))
    })
}
