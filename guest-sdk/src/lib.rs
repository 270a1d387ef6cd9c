//! Write alert rules for brokerwarden in Rust.
