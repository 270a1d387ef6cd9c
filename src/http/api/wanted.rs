//! What somebody wants of a list: which part of it, in which order. Pure.

use super::{Refused, parameters};

/// Rows of a list in one answer, at most.
pub const MAX_LIST_ROWS: usize = 500;

/// Rows of a list in one answer, where nothing is asked for.
pub const DEFAULT_LIST_ROWS: usize = 100;

/// Parameters of a list, as the URL has them.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Wanted {
    /// In lower case.
    pub(super) search: String,
    pub(super) show: String,
    pub(super) state: String,
    pub(super) sort: String,
    pub(super) ascending: Option<bool>,
    pub(super) limit: usize,
    pub(super) offset: usize,
    pub(super) name: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<u32>,
}

impl Wanted {
    /// Reads a URL's query; what it does not know is nobody's business.
    ///
    /// # Errors
    /// When a value is not understood.
    pub(super) fn parse(query: &str) -> Result<Self, Refused> {
        let mut wanted = Self { limit: DEFAULT_LIST_ROWS, ..Self::default() };
        for (name, value) in parameters(query) {
            match name.as_str() {
                "search" => wanted.search = value.to_lowercase(),
                "show" => wanted.show = value,
                "state" => wanted.state = value,
                "sort" => wanted.sort = value,
                "order" => {
                    wanted.ascending = Some(match value.as_str() {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(bad("order", "asc, desc", &value)),
                    });
                }
                "limit" => wanted.limit = number::<usize>("limit", &value)?.clamp(1, MAX_LIST_ROWS),
                "offset" => wanted.offset = number("offset", &value)?,
                "name" => wanted.name = Some(value),
                "topic" => wanted.topic = Some(value),
                "partition" => wanted.partition = Some(number("partition", &value)?),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// One of `words`, which is what the parameter `what` may be; the first where it is not given.
    ///
    /// # Errors
    /// When it is another.
    pub(super) fn one_of<'a>(what: &str, value: &str, words: &[&'a str]) -> Result<&'a str, Refused> {
        if value.is_empty() {
            return Ok(words.first().copied().unwrap_or_default());
        }
        words.iter().copied().find(|word| *word == value).ok_or_else(|| bad(what, &words.join(", "), value))
    }

    /// Is this text among what is searched for?
    pub(super) fn finds(&self, text: &str) -> bool {
        self.search.is_empty() || text.to_lowercase().contains(&self.search)
    }

    /// The name that was asked for.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn named(&self) -> Result<&str, Refused> {
        self.name.as_deref().ok_or_else(|| Refused::BadData("name: missing".to_owned()))
    }

    /// Where the part begins that was asked for, of a list of that length: a page before the end where there is no more.
    pub(super) fn start(&self, total: usize) -> usize {
        if self.offset < total {
            return self.offset;
        }
        total.saturating_sub(1).checked_div(self.limit).unwrap_or(0).saturating_mul(self.limit)
    }

    /// `asc` or `desc`.
    pub(super) fn order(&self, ascending: bool) -> &'static str {
        if self.ascending.unwrap_or(ascending) { "asc" } else { "desc" }
    }

    /// Sorts a list that is in order: by `key`, rising where that is asked for or, if nothing is, where `ascending` is true.
    pub(super) fn sort<T, K: Ord>(&self, list: &mut [T], ascending: bool, key: impl Fn(&T) -> K) {
        // Stable, so that equals stay in the order that they have.
        if self.ascending.unwrap_or(ascending) {
            list.sort_by_cached_key(key);
        } else {
            list.sort_by_cached_key(|one| std::cmp::Reverse(key(one)));
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Refused> {
    value.parse().map_err(|_| bad(name, "a whole number", value))
}

fn bad(name: &str, allowed: &str, value: &str) -> Refused {
    Refused::BadData(format!("{name}: found {value:?}; allowed: {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_bounded_and_judged() {
        let wanted =
            Wanted::parse("search=A%20b&limit=100000&offset=7&order=asc&name=n&topic=t&partition=3&x").unwrap();
        assert_eq!((wanted.search.as_str(), wanted.limit, wanted.offset), ("a b", MAX_LIST_ROWS, 7));
        assert_eq!((wanted.named().unwrap(), wanted.topic.as_deref(), wanted.partition), ("n", Some("t"), Some(3)));
        assert!(wanted.finds("xA Bx") && !wanted.finds("ab"));
        assert_eq!((wanted.order(false), Wanted::default().order(false)), ("asc", "desc"));
        for query in ["limit=-1", "offset=x", "order=up", "partition=1.5"] {
            assert!(matches!(Wanted::parse(query), Err(Refused::BadData(text)) if text.contains("allowed")), "{query}");
        }
        assert!(Wanted::parse("").unwrap().named().is_err());
        assert_eq!(Wanted::one_of("sort", "", &["a", "b"]).unwrap(), "a");
        assert!(Wanted::one_of("sort", "c", &["a", "b"]).is_err());
    }

    #[test]
    fn a_page_beyond_the_end_is_the_last_one() {
        let start = |offset, total| Wanted { offset, limit: 100, ..Wanted::default() }.start(total);
        assert_eq!([start(0, 0), start(100, 101), start(100, 100), start(900, 250)], [0, 100, 0, 200]);
    }

    #[test]
    fn equals_stay_in_order() {
        let mut list = [("a", 1), ("b", 2), ("c", 1)];
        Wanted::default().sort(&mut list, false, |one| one.1);
        assert_eq!(list.map(|one| one.0), ["b", "a", "c"]);
        Wanted { ascending: Some(true), ..Wanted::default() }.sort(&mut list, false, |one| one.1);
        assert_eq!(list.map(|one| one.0), ["a", "c", "b"]);
    }
}
