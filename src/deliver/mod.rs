//! Tells alerts to the world: Alertmanager, webhooks, the log. One bounded queue for each notifier.

use crate::model::Secret;

/// Where and how a notifier tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Alertmanager's API v2, every URL gets everything.
    Alertmanager {
        /// Base URLs.
        urls: Vec<hyper::Uri>,
    },
    /// Alertmanager's webhook body, version 4.
    Webhook {
        /// The URL; a secret, since it often holds a token.
        url: Secret,
    },
    /// Our own log.
    Log,
}

/// One notifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// How it tells.
    pub kind: Kind,
}
