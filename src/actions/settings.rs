//! What can be configured about an action.

use super::argument::Argument;
use crate::{client::Login, deliver::Reach, model::Secret, pipeline::ActionPolicy};
use hyper::Uri;
use std::{collections::BTreeMap, time::Duration};

/// A program, started without a shell.
#[derive(Clone, Debug, PartialEq)]
pub struct Exec {
    /// Its absolute path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// All of its environment, but for what we add.
    pub environment: BTreeMap<String, Secret>,
}

/// A receiver by HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The URL; a secret, since it often holds a token.
    pub url: Secret,
    /// How it is reached.
    pub reach: Reach,
    /// Who we are to it.
    pub login: Option<Login>,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Starts a program.
    Exec(Exec),
    /// Posts JSON.
    Webhook(Box<Webhook>),
    /// Writes a record to a topic of Kafka.
    Produce {
        /// The topic.
        topic: String,
    },
}

impl Kind {
    /// As the configuration spells it.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
            Self::Produce { .. } => "produce",
        }
    }
}

/// The Alertmanager that is asked whether an alert is silenced.
#[derive(Clone, Debug, PartialEq)]
pub struct Silencer {
    /// The name of its notifier.
    pub name: String,
    /// Base URLs.
    pub urls: Vec<Uri>,
    /// How it is reached.
    pub reach: Reach,
    /// Who we are to it.
    pub login: Option<Login>,
}

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// What rules may ask of it.
    pub policy: ActionPolicy,
    /// Longest time of one attempt.
    pub timeout: Duration,
    /// Only log what would be done.
    pub dry_run: bool,
    /// How many at once, at least 1; of one key only one.
    pub concurrency: usize,
    /// Not while its alerts are silenced there.
    pub unless_silenced: Option<Silencer>,
}
