//! A secret: given inline or by the file that holds it; neither Display nor Debug shows it.

use std::{fmt, path::PathBuf};

/// Where a secret comes from. A file is read at each use (by the module that uses it), so it can be rotated.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration (or taken from the environment by `${NAME}`).
    Inline(String),
    /// Read at each use, white space at its ends removed.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("***"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}
