//! Compares what should be with what is, thing by thing: an alert, an action, a measurement. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It is there, and is another.
    Differs {
        /// When.
        at: Duration,
        /// What it is.
        what: String,
        /// How it differs.
        fields: Vec<Difference>,
    },
    /// It is not there.
    Missing {
        /// When.
        at: Duration,
        /// What it is.
        what: String,
    },
    /// It is there, and should not be.
    Unexpected {
        /// When.
        at: Duration,
        /// What it is.
        what: String,
    },
    /// Anything else, in a sentence.
    Other {
        /// When; `None` = before anything was evaluated.
        at: Option<Duration>,
        /// What.
        text: String,
    },
}

/// One part of a thing that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which: `value`, `label topic`, `annotation summary`.
    pub field: String,
    /// What it should be; `none` where it should not be there.
    pub expected: String,
    /// What it is; `none` where it is not there.
    pub got: String,
}

/// Parts of a thing: their kind (`label`), their name (`topic`; empty where there is one of a kind), and how they are shown.
pub type Parts = BTreeMap<(&'static str, String), String>;

/// Something that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// How it is called in what people read.
    pub title: String,
    /// Things of other names are never taken for each other.
    pub name: String,
    /// What it consists of.
    pub parts: Parts,
}

/// What a thing should be: parts of kinds that are not in `compared` may be anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The thing.
    pub thing: Thing,
    /// Kinds of parts that count.
    pub compared: BTreeSet<&'static str>,
}

impl Wanted {
    fn differences(&self, got: &Thing) -> Vec<Difference> {
        let keys: BTreeSet<_> = self.thing.parts.keys().chain(got.parts.keys()).collect();
        let shown = |parts: &Parts, key| parts.get(key).cloned().unwrap_or_else(|| "none".into());
        keys.into_iter()
            .filter(|key| self.compared.contains(key.0) && self.thing.parts.get(key) != got.parts.get(key))
            .map(|key| Difference {
                field: if key.1.is_empty() { key.0.to_owned() } else { format!("{} {}", key.0, key.1) },
                expected: shown(&self.thing.parts, key),
                got: shown(&got.parts, key),
            })
            .collect()
    }
}

/// Compares all things of one sort, whatever their order: those that are equal first, then each with the one that is
/// most like it, if they have anything in common. `noun` stands before their titles.
pub fn compare(at: Duration, noun: &str, wanted: &[Wanted], got: &[Thing]) -> Vec<Fault> {
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (left, want) in wanted.iter().enumerate() {
        for (right, thing) in got.iter().enumerate().filter(|(_, thing)| thing.name == want.thing.name) {
            let differences = want.differences(thing).len();
            let compared = want.thing.parts.keys().filter(|key| want.compared.contains(key.0)).count();
            let alone = wanted.len() == 1 && got.len() == 1;
            if differences == 0 || differences < compared || alone {
                pairs.push((differences, left, right));
            }
        }
    }
    pairs.sort_unstable();
    let (mut left_done, mut right_done) = (BTreeSet::new(), BTreeSet::new());
    let mut differing: BTreeMap<usize, usize> = BTreeMap::new();
    for (differences, left, right) in pairs {
        if left_done.contains(&left) || right_done.contains(&right) {
            continue;
        }
        left_done.insert(left);
        right_done.insert(right);
        if differences > 0 {
            differing.insert(left, right);
        }
    }
    let mut faults = Vec::new();
    for (left, want) in wanted.iter().enumerate() {
        let what = format!("{noun}{}", want.thing.title);
        if let Some(thing) = differing.get(&left).and_then(|right| got.get(*right)) {
            faults.push(Fault::Differs { at, what, fields: want.differences(thing) });
        } else if !left_done.contains(&left) {
            faults.push(Fault::Missing { at, what });
        }
    }
    let unexpected = got.iter().enumerate().filter(|(right, _)| !right_done.contains(right));
    faults.extend(unexpected.map(|(_, thing)| Fault::Unexpected { at, what: format!("{noun}{}", thing.title) }));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(name: &str, parts: &[(&'static str, &str, &str)]) -> Thing {
        let parts = parts.iter().map(|(kind, name, value)| ((*kind, (*name).to_owned()), (*value).to_owned()));
        Thing { title: format!("{name}!"), name: name.into(), parts: parts.collect() }
    }

    fn wanted(name: &str, parts: &[(&'static str, &str, &str)]) -> Wanted {
        Wanted { thing: thing(name, parts), compared: BTreeSet::from(["label", "value"]) }
    }

    #[track_caller]
    fn check(wanted: &[Wanted], got: &[Thing], want: &[&str]) {
        let faults = compare(Duration::ZERO, "", wanted, got).into_iter().map(|fault| match fault {
            Fault::Differs { what, fields, .. } => {
                let fields = fields.iter().map(|d| format!("{}: {} {}", d.field, d.expected, d.got));
                format!("{what} {}", fields.collect::<Vec<_>>().join(", "))
            }
            Fault::Missing { what, .. } => format!("-{what}"),
            Fault::Unexpected { what, .. } => format!("+{what}"),
            Fault::Other { text, .. } => text,
        });
        assert_eq!(faults.collect::<Vec<_>>(), want);
    }

    #[test]
    fn each_is_compared_with_the_one_most_like_it() {
        let (a, b) = ([("label", "g", "a"), ("value", "", "1")], [("label", "g", "b"), ("value", "", "2")]);
        check(&[wanted("A", &a), wanted("A", &b)], &[thing("A", &b), thing("A", &a)], &[]);
        let other = [("label", "g", "b"), ("value", "", "3")];
        check(&[wanted("A", &a), wanted("A", &b)], &[thing("A", &other), thing("A", &a)], &["A! value: 2 3"]);
        check(&[wanted("A", &a)], &[thing("A", &b), thing("A", &other)], &["-A!", "+A!", "+A!"]);
        check(&[wanted("A", &a)], &[thing("A", &b)], &["A! label g: a b, value: 1 2"]);
        check(&[wanted("A", &a)], &[thing("B", &a)], &["-A!", "+B!"]);
    }

    #[test]
    fn what_is_not_compared_may_be_anything_and_what_is_must_be_whole() {
        let more = [("label", "g", "a"), ("label", "x", "y"), ("note", "", "n")];
        check(&[wanted("A", &[("label", "g", "a")])], &[thing("A", &more)], &["A! label x: none y"]);
        check(&[wanted("A", &more[..2])], &[thing("A", &more)], &[]);
        check(&[wanted("A", &[]), wanted("A", &[])], &[thing("A", &[])], &["-A!"]);
    }
}
