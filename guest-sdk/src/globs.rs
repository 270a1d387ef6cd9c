//! Names by pattern, as a `config:` block gives them, and matched as the agent matches them.

use crate::snapshot::Pattern;
use serde::Deserialize;

/// Patterns in which `*` is any text and `?` one (ASCII) character. Without any in the configuration: all names.
///
/// ```
/// use brokerwarden_rule::Globs;
/// let globs = Globs::from_iter(["orders-*", "audit"]);
/// assert!(globs.matches("orders-eu") && globs.matches("audit"));
/// assert!(!globs.matches("auditor"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Globs(Vec<String>);

impl Default for Globs {
    fn default() -> Self {
        Self::from_iter(["*"])
    }
}

impl<T: Into<String>> FromIterator<T> for Globs {
    fn from_iter<I: IntoIterator<Item = T>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }
}

impl Globs {
    /// Does one of them match the whole name?
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob_matches(glob.as_bytes(), name.as_bytes()))
    }

    /// For a filter of the agent's.
    pub fn patterns(&self) -> Vec<Pattern> {
        self.0.iter().cloned().map(Pattern::Glob).collect()
    }

    /// Refuses an empty list, which the agent would take for "all", and empty patterns, which match nothing. `key` is
    /// where they stand in `config:`.
    ///
    /// # Errors
    /// A sentence for the person who wrote the YAML.
    pub fn check(&self, key: &str) -> Result<(), String> {
        if self.0.is_empty() || self.0.iter().any(String::is_empty) {
            return Err(format!("config.{key}: has no pattern, or an empty one; leave {key} out to look at all"));
        }
        Ok(())
    }
}

/// As the agent does it; only the last `*` is ever tried again.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0usize, 0usize);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(from) {
        match glob.get(at) {
            Some(b'*') => {
                retry = Some((at, from));
                at = at.saturating_add(1);
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at = at.saturating_add(1);
                from = from.saturating_add(1);
            }
            _ => {
                let Some((star, taken)) = retry else { return false };
                retry = Some((star, taken.saturating_add(1)));
                at = star.saturating_add(1);
                from = taken.saturating_add(1);
            }
        }
    }
    glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &str, name: &str, want: bool) {
        assert_eq!(Globs::from_iter([glob]).matches(name), want, "{glob} {name}");
    }

    #[test]
    fn whole_names_match() {
        check("*", "", true);
        check("a*", "a", true);
        check("a*c?", "abcxcd", true);
        check("a*c?", "abc", false);
        check("", "x", false);
        check("a.b", "axb", false);
        check("*a*a*a*a*b", &"a".repeat(200), false);
    }

    #[test]
    fn nothing_given_is_all_and_nothing_in_a_list_is_refused() {
        assert!(Globs::default().matches("anything"));
        assert_eq!(Globs::default().check("groups"), Ok(()));
        let refused = Err("config.groups: has no pattern, or an empty one; leave groups out to look at all".to_owned());
        assert_eq!(Globs::from_iter([""; 0]).check("groups"), refused);
        assert_eq!(Globs::from_iter(["a", ""]).check("groups"), refused);
    }
}
