//! Text for annotations.

use std::fmt::Display;

/// The first `most` of them, and how many more there are: `0, 3, 7 and 12 more`.
///
/// ```
/// use brokerwarden_rule::text;
/// assert_eq!(text::list([3, 5, 8], 2), "3, 5 and 1 more");
/// assert_eq!(text::list([3, 5], 2), "3, 5");
/// ```
pub fn list<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(most).map(|item| item.to_string()).collect();
    let more = items.count();
    let shown = shown.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A number with at most `digits` digits after the point, and none that say nothing.
///
/// ```
/// use brokerwarden_rule::text;
/// assert_eq!(text::number(12.0, 2), "12");
/// assert_eq!(text::number(0.3456, 2), "0.35");
/// ```
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
