//! What can be configured about a notifier.

use super::{connect::Reach, interest::Wants, pace::Rate, template::Template};
use crate::{client::Login, model::Secret};
use lettre::message::Mailbox;
use std::time::Duration;

/// Slack takes one message a second from a webhook.
pub const SLACK_RATE: Rate = Rate { messages: 1, per: Duration::from_secs(1) };
/// PagerDuty takes 120 events a minute by one key.
pub const PAGERDUTY_RATE: Rate = Rate { messages: 120, per: Duration::from_mins(1) };
/// What a mailbox can bear.
pub const EMAIL_RATE: Rate = Rate { messages: 20, per: Duration::from_mins(1) };

/// What a message says; `None` = our own words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wording {
    /// Its title, summary or subject.
    pub title: Option<Template>,
    /// Its text.
    pub text: Option<Template>,
}

/// A notifier by mail.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// Host and port of the mail server. TLS begins with the connection on port 465, by STARTTLS otherwise.
    pub smarthost: (String, u16),
    /// The sender.
    pub from: Mailbox,
    /// Each gets a mail of its own, so that one that is refused is nobody else's loss.
    pub to: Vec<Mailbox>,
    /// How we name ourselves to the mail server.
    pub hello: String,
    /// User and password; told over TLS only.
    pub login: Option<(String, Secret)>,
    /// No mail without TLS.
    pub require_tls: bool,
    /// Subject and text.
    pub wording: Wording,
    /// The text as HTML; `None` = our own words.
    pub html: Option<Template>,
}

/// Where and how a notifier tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Alertmanager's API v2, every URL gets everything.
    Alertmanager {
        /// Base URLs.
        urls: Vec<hyper::Uri>,
    },
    /// Alertmanager's webhook body, version 4, or one of its own.
    Webhook {
        /// The URL; a secret, since it often holds a token.
        url: Secret,
        /// Writes the body.
        payload: Option<Template>,
    },
    /// Slack's incoming webhooks.
    Slack {
        /// The URL, which is a secret.
        webhook_url: Secret,
        /// Title and text.
        wording: Wording,
    },
    /// PagerDuty's events API, version 2.
    PagerDuty {
        /// The integration's key.
        routing_key: Secret,
        /// Where events go.
        url: hyper::Uri,
        /// Summary, and a text among the details.
        wording: Wording,
    },
    /// Mail.
    Email(Box<Mail>),
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
    /// Of what, and how often.
    pub wants: Wants,
    /// How fast, for each of its receivers; `None` = as fast as it takes it.
    pub rate: Option<Rate>,
    /// How its receivers are reached.
    pub reach: Reach,
    /// Who we are to them.
    pub login: Option<Login>,
}

impl Config {
    /// A notifier of all alerts, with nothing out of the ordinary.
    pub fn new(name: String, kind: Kind) -> Self {
        let rate = kind.default_rate();
        Self { name, kind, wants: Wants::default(), rate, reach: Reach::default(), login: None }
    }

    /// How many receivers it tells.
    pub(super) fn receivers(&self) -> usize {
        match &self.kind {
            Kind::Alertmanager { urls } => urls.len(),
            Kind::Email(mail) => mail.to.len(),
            Kind::Webhook { .. } | Kind::Slack { .. } | Kind::PagerDuty { .. } => 1,
            Kind::Log => 0,
        }
    }
}

impl Kind {
    /// As the configuration spells it.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Alertmanager { .. } => "alertmanager",
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Email(_) => "email",
            Self::Log => "log",
        }
    }

    /// The rate where none is configured.
    pub fn default_rate(&self) -> Option<Rate> {
        match self {
            Self::Slack { .. } => Some(SLACK_RATE),
            Self::PagerDuty { .. } => Some(PAGERDUTY_RATE),
            Self::Email(_) => Some(EMAIL_RATE),
            Self::Alertmanager { .. } | Self::Webhook { .. } | Self::Log => None,
        }
    }
}
