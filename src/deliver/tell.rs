//! One message to one receiver, in that receiver's own form.

use super::{
    alertmanager::{self, MAX_POST},
    context,
    email::{self, MAX_MAIL_ALERTS},
    error::TellError,
    pagerduty,
    post::{Answer, Sender},
    settings::{Config, Kind},
    slack::{self, MAX_SLACK_POST},
    smtp,
    webhook::{self, MAX_WEBHOOK_POST},
};
use crate::{client::Login, clock, files, model::Secret, pipeline::Delivery};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{Uri, header::HeaderValue};
use lettre::message::Mailbox;
use std::sync::Arc;
use tokio::time::timeout;

/// Bytes of a file that holds a URL, a key or a password.
pub const MAX_SECRET_FILE: u64 = 4096;

/// Parts of a secret shorter than this are not looked for in answers.
const SHORT_SECRET: usize = 6;

/// One receiver of a notifier.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) config: Arc<Config>,
    /// Which of its receivers, from 0.
    pub(super) index: usize,
    pub(super) sender: Arc<Sender>,
    /// Where people reach us, as a URL; empty if that is not known.
    pub(super) external_url: Arc<str>,
}

impl Target {
    /// Does it take all in one message, or one group of alerts in each?
    pub(super) fn groups(&self) -> bool {
        !matches!(self.config.kind, Kind::Alertmanager { .. })
    }

    /// Most alerts in one message.
    pub(super) fn most(&self) -> usize {
        match self.config.kind {
            Kind::Alertmanager { .. } => MAX_POST,
            Kind::Webhook { .. } => MAX_WEBHOOK_POST,
            Kind::Slack { .. } => MAX_SLACK_POST,
            Kind::PagerDuty { .. } => 1,
            Kind::Email(_) => MAX_MAIL_ALERTS,
            Kind::Log => usize::MAX,
        }
    }

    /// Tells these alerts in one message. What the receiver says comes back without our secrets.
    pub(super) async fn tell(&self, batch: &[Delivery]) -> Result<Answer, TellError> {
        let mut secrets = Vec::new();
        match self.message(batch, &mut secrets).await {
            Ok(answer) => Ok(Answer { text: redacted(answer.text, &secrets), ..answer }),
            Err(TellError::Status { status, retry_after, answer }) => {
                Err(TellError::Status { status, retry_after, answer: redacted(answer, &secrets) })
            }
            Err(TellError::Refused { code, step, answer }) => {
                Err(TellError::Refused { code, step, answer: redacted(answer, &secrets) })
            }
            Err(error) => Err(error),
        }
    }

    async fn message(&self, batch: &[Delivery], secrets: &mut Vec<String>) -> Result<Answer, TellError> {
        let Config { name, kind, login, .. } = &*self.config;
        let authorization = login.as_ref().map(|login| authorization(login, secrets)).transpose()?;
        let context = || context::of(batch, name, &self.external_url);
        match kind {
            Kind::Alertmanager { urls } => {
                let base = urls.get(self.index).ok_or(TellError::Url)?;
                let body = alertmanager::body(batch, &self.external_url)?;
                self.sender.post(&alertmanager::endpoint(base)?, authorization, body).await
            }
            Kind::Webhook { url, payload } => {
                let url = secret_url(url, secrets)?;
                let written = payload.as_ref().map(|payload| payload.render(&context()));
                let body = match written {
                    Some(Ok(text)) => text.into_bytes(),
                    Some(Err(error)) => {
                        self.template_failed(Some(error));
                        webhook::body(batch, name, &self.external_url)?
                    }
                    None => webhook::body(batch, name, &self.external_url)?,
                };
                self.sender.post(&url, authorization, body).await
            }
            Kind::Slack { webhook_url, wording } => {
                let url = secret_url(webhook_url, secrets)?;
                let (body, error) = slack::body(&context(), wording.title.as_ref(), wording.text.as_ref())?;
                self.template_failed(error);
                self.sender.post(&url, None, body).await
            }
            Kind::PagerDuty { routing_key, url, wording } => {
                let key = secret(routing_key, secrets)?;
                let Some(delivery) = batch.first() else {
                    return Ok(Answer { status: "nothing to tell".to_owned(), text: String::new() });
                };
                let (title, text) = (wording.title.as_ref(), wording.text.as_ref());
                let (body, error) = pagerduty::body(&delivery.alert, &context(), &key, title, text)?;
                self.template_failed(error);
                self.sender.post(url, None, body).await
            }
            Kind::Email(mail) => {
                let to: &Mailbox = mail.to.get(self.index).ok_or(TellError::Url)?;
                let password = mail.login.as_ref().map(|(_, password)| secret(password, secrets)).transpose()?;
                if let (Some((user, _)), Some(password)) = (&mail.login, &password) {
                    // As it is sent, and as some servers say it back.
                    secrets.extend([STANDARD.encode(password), STANDARD.encode(format!("\0{user}\0{password}"))]);
                }
                let (message, error) = email::message(mail, to, batch, &context(), clock::now())?;
                self.template_failed(error);
                let limit = self.sender.timeout();
                let sent = smtp::send(self.sender.connector(), mail, password.as_deref(), to, &message);
                timeout(limit, sent).await.unwrap_or(Err(TellError::Timeout(limit)))
            }
            Kind::Log => Ok(Answer { status: "logged".to_owned(), text: String::new() }),
        }
    }

    fn template_failed(&self, error: Option<String>) {
        if let Some(error) = error {
            let notifier = &self.config.name;
            tracing::warn!(notifier, error, "a template failed with these alerts; they are told in our own words");
        }
    }
}

/// Read at each use, so that it can be rotated.
fn secret(secret: &Secret, secrets: &mut Vec<String>) -> Result<String, TellError> {
    let text = match secret {
        Secret::Inline(text) => text.clone(),
        Secret::File(path) => files::read_secret(path, MAX_SECRET_FILE).map_err(TellError::Secret)?,
    };
    secrets.push(text.clone());
    Ok(text)
}

/// The URL in a secret; its parts are secrets, too.
pub(super) fn secret_url(url: &Secret, secrets: &mut Vec<String>) -> Result<Uri, TellError> {
    let text = secret(url, secrets)?;
    let uri: Uri = text.trim().parse().map_err(|_| TellError::Url)?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(TellError::Url);
    }
    if let Some(path) = uri.path_and_query() {
        secrets.extend(path.as_str().split(['/', '?', '&', '=']).map(str::to_owned));
    }
    Ok(uri)
}

/// The header of a login.
pub(super) fn authorization(login: &Login, secrets: &mut Vec<String>) -> Result<HeaderValue, TellError> {
    let text = match login {
        Login::Basic { username, password } => {
            let encoded = STANDARD.encode(format!("{username}:{}", secret(password, secrets)?));
            secrets.push(encoded.clone());
            format!("Basic {encoded}")
        }
        Login::Header { scheme, credentials } => format!("{scheme} {}", secret(credentials, secrets)?),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| TellError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a receiver said, which may repeat what it was sent.
pub(super) fn redacted(mut text: String, secrets: &[String]) -> String {
    let mut secrets: Vec<_> = secrets.iter().filter(|secret| secret.len() >= SHORT_SECRET).collect();
    // The longest first, since one may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_repeats_a_secret_is_shown_without_it() {
        let mut secrets = Vec::new();
        let url = Secret::Inline("https://hooks.example/services/T00000000/B0/t0k3nt0k3n?key=abcdefgh".into());
        secret_url(&url, &mut secrets).unwrap();
        authorization(&Login::Basic { username: "u".into(), password: Secret::Inline("hunter2".into()) }, &mut secrets)
            .unwrap();
        let said = "no such path /services/T00000000/B0/t0k3nt0k3n?key=abcdefgh for u:hunter2 (dTpodW50ZXIy)";
        assert_eq!(redacted(said.into(), &secrets), "no such path /***/***/B0/***?key=*** for u:*** (***)");
        for bad in ["", "/path", "no url"] {
            assert!(secret_url(&Secret::Inline(bad.into()), &mut secrets).is_err(), "{bad}");
        }
    }
}
