//! Serves `/metrics`, health, the API and a page for people. Reads finished pages and views only.

mod answers;
mod api;
mod assets;
mod auth;
mod body;
mod deadlines;
mod live;
mod logins;
mod routes;
mod security;
mod server;
mod throttle;
mod tls;
mod web_config;

pub use answers::{ANSWER_TIMEOUT, QUESTION_CAPACITY};
pub use api::{
    DEFAULT_LIST_ROWS, MAX_DETAIL_ALERTS, MAX_DETAIL_MEASUREMENTS, MAX_GROUP_TOPICS, MAX_LIST_ROWS, MAX_STATUS_TEXT,
    MAX_TOPIC_GROUPS, MAX_TREND_POINTS, TREND_REACH,
};
pub use deadlines::{RESPONSE_TIMEOUT, WRITE_STALL_TIMEOUT};
pub use live::{EVENT_KEEP_ALIVE, MAX_EVENT_STREAMS};
pub use logins::{LOGIN_TIMEOUT, MAX_LOGINS_WAITING};
pub use routes::{MAX_QUERY_BYTES, MAX_REASON, MAX_RELOAD_ERROR, QUERY_TIMEOUT, RELOAD_TIMEOUT};
pub use security::{Guard, MAX_WEB_CONFIG_FILE, SecurityError, WEB_LOOK_INTERVAL};
pub use server::{
    ACCEPT_PAUSE, BindError, DRAIN_TIME, HEADER_TIMEOUT, IDLE_TIMEOUT, Listener, MAX_CONNECTIONS, MAX_HEADER_BYTES,
    MAX_HEADERS, bind, serve,
};
pub use throttle::{FAILED_LOGIN_INTERVAL, FAILED_LOGINS, MAX_ADDRESSES};
pub use tls::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, MAX_SERVER_PEM_FILE, TlsError};
pub use web_config::{
    CIPHER_SUITES, CURVES, ClientAuth, MAX_BCRYPT_COST, PasswordHash, ReadWebConfig, TlsConfig, WebConfig,
};

use crate::{
    alerts::AlertsView,
    deliver::Journal,
    history::History,
    page::Page,
    pipeline::{ActionsView, NotifiersView, RulesView},
    snapshot::Snapshot,
};
use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};

/// The server's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS, log-in and headers, by exporter-toolkit's keys; `None` = none of them.
    pub web_config_file: Option<PathBuf>,
}

/// Is the agent ready, and if not, why?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Empty = ready.
    pub reasons: Vec<String>,
}

/// What is to be said of a configuration that was taken, once that is known: what became of its rules, in words for people.
pub type Outcome = Pin<Box<dyn Future<Output = String> + Send>>;

/// A wish to load the configuration again.
pub struct ReloadRequest {
    /// Takes the outcome; the error says what is wrong with the new configuration, in words for people.
    pub reply: oneshot::Sender<Result<Outcome, String>>,
}

/// All that is served. Each channel holds the newest value only; none is waited for.
#[derive(Clone, Debug)]
pub struct Views {
    /// The `/metrics` page.
    pub page: watch::Receiver<Arc<Page>>,
    /// Alerts and measurements.
    pub alerts: watch::Receiver<Arc<AlertsView>>,
    /// Actions.
    pub actions: watch::Receiver<Arc<ActionsView>>,
    /// Who was told of what.
    pub journal: Arc<Journal>,
    /// Rules.
    pub rules: watch::Receiver<Arc<RulesView>>,
    /// Is the agent ready?
    pub readiness: watch::Receiver<Arc<Readiness>>,
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The past of all groups.
    pub history: watch::Receiver<Arc<History>>,
    /// What receivers answered.
    pub notifiers: watch::Receiver<Arc<NotifiersView>>,
    /// Asks the app to reload; when it is full, the request waits for its turn until [`RELOAD_TIMEOUT`].
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// The newest value, without holding the channel.
fn newest<T>(channel: &watch::Receiver<Arc<T>>) -> Arc<T> {
    Arc::clone(&channel.borrow())
}

#[cfg(test)]
mod tests;
