//! The patterns, paging and limits of a rule's questions.

use super::{
    bindings::{
        snapshot::{LagFilter, Pattern},
        types::Error,
    },
    deadline::Deadline,
    limits,
};
use regex::{Regex, RegexBuilder};

/// Names that a rule wants: all of them when it gave no pattern. After the rule's deadline none matches any more, so that
/// whoever asks comes to an end and sees that it is over.
pub(super) struct Names {
    matchers: Vec<Matcher>,
    deadline: Deadline,
}

enum Matcher {
    Exact(String),
    Glob(String),
    Regex(Regex),
}

impl Names {
    /// Checks and prepares patterns.
    pub(super) fn new(patterns: Vec<Pattern>, deadline: Deadline) -> Result<Self, Error> {
        if patterns.len() > limits::MAX_PATTERNS {
            return Err(Error::LimitExceeded(format!("more than {} patterns", limits::MAX_PATTERNS)));
        }
        let regexes = patterns.iter().filter(|pattern| matches!(pattern, Pattern::Regex(_))).count();
        if regexes > limits::MAX_REGEXES {
            return Err(Error::LimitExceeded(format!(
                "more than {} regular expressions in one list: join them by |, or use globs",
                limits::MAX_REGEXES
            )));
        }
        let matchers = patterns.into_iter().map(Matcher::new).collect::<Result<_, _>>()?;
        Ok(Self { matchers, deadline })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.matchers.is_empty()
            || self.matchers.iter().take_while(|_| self.deadline.check().is_ok()).any(|matcher| match matcher {
                Matcher::Exact(wanted) => wanted == name,
                Matcher::Glob(glob) => glob_matches(glob.as_bytes(), name.as_bytes()),
                Matcher::Regex(regex) => regex.is_match(name),
            })
    }
}

impl Matcher {
    fn new(pattern: Pattern) -> Result<Self, Error> {
        let (Pattern::Exact(text) | Pattern::Glob(text) | Pattern::Regex(text)) = &pattern;
        if text.len() > limits::MAX_PATTERN_BYTES {
            return Err(Error::LimitExceeded(format!("a pattern over {} bytes", limits::MAX_PATTERN_BYTES)));
        }
        Ok(match pattern {
            Pattern::Exact(text) => Self::Exact(text),
            Pattern::Glob(text) => Self::Glob(text),
            Pattern::Regex(text) => Self::Regex(
                RegexBuilder::new(&format!("^(?:{text})$"))
                    .size_limit(limits::MAX_REGEX_BYTES)
                    .dfa_size_limit(limits::MAX_REGEX_BYTES)
                    .build()
                    .map_err(|error| Error::InvalidArgument(format!("regular expression: {error}")))?,
            ),
        })
    }
}

/// `*` stands for any bytes, `?` for one. Linear in practice: only the last `*` is ever tried again.
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

/// A lag filter, ready for use.
pub(super) struct Wanted {
    pub(super) groups: Names,
    pub(super) topics: Names,
    pub(super) min_lag: Option<i64>,
    offset: u32,
    limit: u32,
}

impl Wanted {
    pub(super) fn new(filter: LagFilter, deadline: Deadline) -> Result<Self, Error> {
        let LagFilter { groups, topics, min_lag, offset, limit } = filter;
        let (groups, topics) = (Names::new(groups, deadline)?, Names::new(topics, deadline)?);
        Ok(Self { groups, topics, min_lag, offset, limit })
    }

    /// Every row there is, on one page.
    pub(super) fn is_all(&self) -> bool {
        let names = [&self.groups, &self.topics];
        names.iter().all(|names| names.matchers.is_empty())
            && self.min_lag.is_none()
            && (self.offset, self.limit) == (0, 0)
    }

    /// The asked-for page of `rows`, or an error where the host's limit would cut it.
    pub(super) fn page<T>(&self, rows: impl Iterator<Item = T>, most: u32) -> Result<Vec<T>, Error> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let wanted = if self.limit == 0 { usize::MAX } else { usize::try_from(self.limit).unwrap_or(usize::MAX) };
        take(rows.skip(offset).take(wanted), most)
    }
}

/// All of `rows`, or an error if they are more than `most`: an answer is never cut.
pub(super) fn take<T>(rows: impl Iterator<Item = T>, most: u32) -> Result<Vec<T>, Error> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut taken = Vec::new();
    for row in rows {
        if taken.len() >= most {
            return Err(too_many(most));
        }
        taken.push(row);
    }
    Ok(taken)
}

/// The answer would have more rows than are left to the rule.
pub(super) fn too_many(most: usize) -> Error {
    Error::LimitExceeded(format!(
        "the answer has more than {most} rows (of {} in one answer, {} in one evaluation): narrow the filter, or page",
        limits::MAX_ROWS_PER_CALL,
        limits::MAX_ROWS
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_time() -> Deadline {
        Deadline::start(std::time::Duration::from_mins(1))
    }

    #[test]
    fn after_the_deadline_nothing_is_looked_at() {
        let late = Deadline::start(std::time::Duration::ZERO);
        let many = vec![Pattern::Glob(format!("{}b", "*a".repeat(1_000))); limits::MAX_PATTERNS];
        let names = Names::new(many, late).unwrap();
        while late.check().is_ok() {}
        let start = std::time::Instant::now();
        assert!((0..500).all(|_| !names.matches(&"a".repeat(200))));
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[track_caller]
    fn check(pattern: Pattern, name: &str, want: bool) {
        assert_eq!(Names::new(vec![pattern], in_time()).unwrap().matches(name), want, "{name}");
    }

    #[test]
    fn patterns_match_whole_names() {
        check(Pattern::Exact("a.b".into()), "a.b", true);
        check(Pattern::Exact("a*".into()), "ab", false);
        check(Pattern::Glob("a*".into()), "a", true);
        check(Pattern::Glob("a*c?".into()), "abcxcd", true);
        check(Pattern::Glob("a*c?".into()), "abc", false);
        check(Pattern::Glob(String::new()), "x", false);
        check(Pattern::Glob("*a*a*a*a*b".into()), &"a".repeat(200), false);
        check(Pattern::Regex("a|b".into()), "ab", false);
        check(Pattern::Regex("a|b".into()), "b", true);
        assert!(Names::new(vec![], in_time()).unwrap().matches("anything"));
    }

    #[test]
    fn bad_and_big_patterns_are_refused() {
        let refused = |pattern| Names::new(vec![pattern], in_time()).err().unwrap();
        assert!(matches!(refused(Pattern::Regex("(".into())), Error::InvalidArgument(_)));
        assert!(matches!(refused(Pattern::Regex("(\\w{100}){100}".into())), Error::InvalidArgument(_)));
        assert!(matches!(refused(Pattern::Exact("x".repeat(5_000))), Error::LimitExceeded(_)));
        let many = |count| Names::new(vec![Pattern::Regex("a".into()); count], in_time()).err();
        assert!(many(limits::MAX_REGEXES).is_none());
        assert!(matches!(many(limits::MAX_REGEXES + 1), Some(Error::LimitExceeded(_))));
    }

    #[test]
    fn pages_are_whole_or_refused() {
        let wanted = |offset, limit| {
            Wanted::new(LagFilter { groups: vec![], topics: vec![], min_lag: None, offset, limit }, in_time()).unwrap()
        };
        assert_eq!(wanted(0, 0).page(0..10, 10).unwrap().len(), 10);
        assert!(matches!(wanted(0, 0).page(0..11, 10), Err(Error::LimitExceeded(_))));
        assert_eq!(wanted(1, 0).page(0..11, 10).unwrap(), (1..11).collect::<Vec<_>>());
        assert_eq!(wanted(3, 2).page(0..11, 10).unwrap(), [3, 4]);
        assert_eq!(wanted(10, 5).page(0..11, 10).unwrap(), [10]);
        assert!(matches!(wanted(0, 11).page(0..20, 10), Err(Error::LimitExceeded(_))));
    }
}
