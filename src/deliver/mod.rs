//! Tells alerts to the world: Alertmanager, webhooks, Slack, PagerDuty, mail, the log. One bounded queue for each
//! receiver, emptied by a task of its own, so that none waits for another. Does not know what an alert is about, nor why
//! it changed.

mod alertmanager;
mod board;
mod client;
mod connect;
mod context;
mod email;
mod error;
mod fan_out;
mod humanize;
mod interest;
mod journal;
mod lane;
mod pace;
mod pagerduty;
mod post;
mod queue;
mod retry;
mod send;
mod settings;
mod slack;
mod smtp;
mod tell;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod trial;
mod webhook;
mod wording;

pub use alertmanager::MAX_POST;
pub use client::{Client, Refusal};
pub use connect::Reach;
pub use email::MAX_MAIL_ALERTS;
pub use fan_out::{External, Handle, start};
pub use interest::{MAX_FOLLOWED, Matchers, Wants};
pub use journal::{Journal, MAX_KEPT_ERROR, MAX_NOTIFICATIONS, MAX_UNSAVED, Notification};
pub use lane::MAX_QUEUE;
pub use lettre::message::Mailbox;
pub use pace::Rate;
pub use pagerduty::PAGERDUTY_URL;
pub use post::MAX_ANSWER;
pub use retry::{Backoff, MAX_RETRY_AFTER, Timing};
pub use send::MAX_REFUSALS;
pub use settings::{Config, Kind, Mail, Wording};
pub use slack::MAX_SLACK_POST;
pub use smtp::MAX_REPLY;
pub use tell::MAX_SECRET_FILE;
pub use template::{MAX_TEMPLATE_BYTES, Medium, Template};
pub use time::rfc3339;
pub use trial::{Trial, send_test};
pub use webhook::MAX_WEBHOOK_POST;
