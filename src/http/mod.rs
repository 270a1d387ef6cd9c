//! Serves `/metrics`, health, the API and a page for people. Reads finished pages and views only.

mod api;
mod body;
mod deadlines;
mod index;
mod routes;
mod server;

pub use deadlines::{RESPONSE_TIMEOUT, WRITE_STALL_TIMEOUT};
pub use index::{MAX_INDEX_ROWS, MAX_INDEX_TEXT};
pub use routes::{MAX_QUERY_BYTES, MAX_RELOAD_ERROR, QUERY_TIMEOUT, RELOAD_TIMEOUT};
pub use server::{
    ACCEPT_PAUSE, BindError, DRAIN_TIME, HEADER_TIMEOUT, IDLE_TIMEOUT, Listener, MAX_CONNECTIONS, MAX_HEADER_BYTES,
    MAX_HEADERS, bind, serve,
};

use crate::{alerts::AlertsView, page::Page, pipeline::RulesView, snapshot::Snapshot};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};

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

/// A wish to load the configuration again.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Takes the outcome; the error says what is wrong with the new configuration, in words for people.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// All that is served. Each channel holds the newest value only; none is waited for.
#[derive(Clone, Debug)]
pub struct Views {
    /// The `/metrics` page.
    pub page: watch::Receiver<Arc<Page>>,
    /// Alerts and measurements.
    pub alerts: watch::Receiver<Arc<AlertsView>>,
    /// Rules.
    pub rules: watch::Receiver<Arc<RulesView>>,
    /// Is the agent ready?
    pub readiness: watch::Receiver<Arc<Readiness>>,
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Asks the app to reload; when it is full, the request waits for its turn until [`RELOAD_TIMEOUT`].
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// The newest value, without holding the channel.
fn newest<T>(channel: &watch::Receiver<Arc<T>>) -> Arc<T> {
    Arc::clone(&channel.borrow())
}

#[cfg(test)]
mod tests;
