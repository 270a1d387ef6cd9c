//! A foreign metrics page, parsed: its text and where in it each family and sample is.

/// A parsed page.
#[derive(Clone, Debug, Default)]
pub struct Exposition {}
