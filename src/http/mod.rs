//! Serves `/metrics`, health, the API and a page for people. Reads finished pages and views only.

use std::net::SocketAddr;

/// The server's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// Is the agent ready, and if not, why?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Empty = ready.
    pub reasons: Vec<String>,
}
