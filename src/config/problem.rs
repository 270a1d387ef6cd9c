//! What is wrong with a configuration: all of it at once, each with its YAML path. Never shows a secret.

use crate::model::BoundedText;
use std::{fmt, io, path::PathBuf};
use thiserror::Error;

/// More problems than this are counted, not printed.
pub const MAX_PROBLEMS_SHOWN: usize = 100;
/// Longest part of a path or a found value that is shown, in bytes.
pub const MAX_SHOWN_BYTES: usize = 80;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `jmx[0].timeout`, or the file itself.
    pub path: String,
    /// What was found, what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "top level" } else { &self.path };
        write!(f, "{path}: {}", self.text)
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was read, and this is wrong with it; never empty.
    #[error("{}", Listing(.0))]
    Problems(Vec<Problem>),
}

struct Listing<'a>(&'a [Problem]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return write!(f, "{only}");
        }
        write!(f, "{} problems in the configuration:", self.0.len())?;
        for problem in self.0.iter().take(MAX_PROBLEMS_SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len().checked_sub(MAX_PROBLEMS_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  and {more} more"),
        }
    }
}

/// All problems on one line, for logs and pages that have no more room.
pub(super) fn sentence(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().take(MAX_PROBLEMS_SHOWN).map(ToString::to_string).collect();
    let text = shown.join("; ");
    match problems.len().checked_sub(MAX_PROBLEMS_SHOWN) {
        None | Some(0) => text,
        Some(more) => format!("{text}; and {more} more"),
    }
}

/// The path of `key` inside the mapping at `path`.
pub(crate) fn key_path(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let key = BoundedText(key, MAX_SHOWN_BYTES);
    match (plain, path.is_empty()) {
        (true, true) => key.to_string(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[\"{key}\"]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_quote_what_is_not_plain() {
        assert_eq!(key_path("", "kafka"), "kafka");
        assert_eq!(key_path("kafka", "interval"), "kafka.interval");
        assert_eq!(key_path("kafka.properties", "sasl.password"), "kafka.properties[\"sasl.password\"]");
    }

    #[test]
    fn one_problem_is_one_sentence_and_many_are_capped() {
        let problem = |number: usize| Problem { path: format!("a[{number}]"), text: "wrong".into() };
        assert_eq!(LoadError::Problems(vec![problem(0)]).to_string(), "a[0]: wrong");
        let many = LoadError::Problems((0..MAX_PROBLEMS_SHOWN + 3).map(problem).collect()).to_string();
        assert!(many.starts_with("103 problems in the configuration:\n  a[0]: wrong\n"), "{many}");
        assert!(many.ends_with("\n  a[99]: wrong\n  and 3 more"), "{many}");
    }
}
