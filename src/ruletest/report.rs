//! What people read of a case that failed. Pure.

use super::{
    check::time,
    differ::{Difference, Fault},
};
use std::{fmt::Write as _, time::Duration};

/// Faults of one case that are shown; more are counted.
pub const MAX_SHOWN_FAULTS: usize = 50;

/// What stands around what was expected, and what was not: nothing, or a terminal's colours.
#[derive(Clone, Copy, Debug)]
pub struct Styles {
    good: (&'static str, &'static str),
    bad: (&'static str, &'static str),
}

impl Styles {
    /// No colours.
    pub const PLAIN: Self = Self { good: ("", ""), bad: ("", "") };
    /// Green and red.
    pub const COLOURED: Self = Self { good: ("\u{1b}[32m", "\u{1b}[0m"), bad: ("\u{1b}[31m", "\u{1b}[0m") };

    /// Text that tells of something good.
    pub fn good(&self, text: &str) -> String {
        format!("{}{text}{}", self.good.0, self.good.1)
    }

    /// Text that tells of something bad.
    pub fn bad(&self, text: &str) -> String {
        format!("{}{text}{}", self.bad.0, self.bad.1)
    }
}

/// The faults of a case, each with what was expected and what came, by moment.
pub fn report(faults: &[Fault], styles: &Styles) -> String {
    let mut text = String::new();
    let mut last: Option<Option<Duration>> = None;
    for fault in faults.iter().take(MAX_SHOWN_FAULTS) {
        let at = match fault {
            Fault::Differs { at, .. } | Fault::Missing { at, .. } | Fault::Unexpected { at, .. } => Some(*at),
            Fault::Other { at, .. } => *at,
        };
        if last != Some(at)
            && let Some(at) = at
        {
            line(&mut text, 1, &format!("at {}:", time(at)));
        }
        last = Some(at);
        match fault {
            Fault::Differs { what, fields, .. } => {
                line(&mut text, 2, &format!("{what} is another than expected:"));
                for field in fields {
                    difference(&mut text, field, styles);
                }
            }
            Fault::Missing { what, .. } => line(&mut text, 2, &format!("missing:    {}", styles.good(what))),
            Fault::Unexpected { what, .. } => line(&mut text, 2, &format!("unexpected: {}", styles.bad(what))),
            Fault::Other { text: said, .. } => line(&mut text, 2, &styles.bad(said)),
        }
    }
    let more = faults.len().saturating_sub(MAX_SHOWN_FAULTS);
    if more > 0 {
        line(&mut text, 1, &format!("and {more} more"));
    }
    text
}

fn difference(text: &mut String, field: &Difference, styles: &Styles) {
    let Difference { field, expected, got } = field;
    line(text, 3, field);
    line(text, 4, &format!("expected {}", styles.good(expected)));
    line(text, 4, &format!("got      {}", styles.bad(got)));
}

fn line(text: &mut String, depth: usize, content: &str) {
    writeln!(text, "{:indent$}{content}", "", indent = depth.saturating_mul(2)).ok(); // a String takes all
}
