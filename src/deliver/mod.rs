//! Tells alerts to the world: Alertmanager, webhooks, the log. One bounded queue for each receiver, emptied by a task
//! of its own, so that none waits for another. Does not know what an alert is about, nor why it changed.

mod alertmanager;
mod fan_out;
mod lane;
mod post;
mod queue;
mod retry;
#[cfg(test)]
mod tests;
mod time;
mod webhook;

pub use alertmanager::{MAX_POST, MAX_REFUSALS};
pub use fan_out::{External, Handle, start};
pub use lane::{MAX_QUEUE, MAX_URL_FILE};
pub use post::MAX_ANSWER;
pub use retry::{MAX_RETRY_AFTER, Timing};
pub use webhook::MAX_WEBHOOK_POST;

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
