//! Lines in the agent's log, under the rule's name. What is logged too much in one evaluation is cut.

use crate::imports;

pub use crate::bindings::brokerwarden::rule::logging::Level;

/// Logs a line.
pub fn log(level: Level, message: &str) {
    imports::logging::log(level, message);
}

/// Logs a line that somebody should look at.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}
