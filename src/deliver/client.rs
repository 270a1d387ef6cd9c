//! A receiver by HTTP that is told something else than alerts, or asked: by the same connections, with the same bounds, and
//! by the same rules of what may be shown.

use super::{
    connect::Reach,
    error::TellError,
    post::{Answer, Sender},
    tell::{authorization, redacted, secret_url},
};
use crate::{
    client::Login,
    model::{BoundedText, Secret},
};
use bytes::Bytes;
use hyper::{
    HeaderMap, Uri,
    header::{HeaderName, HeaderValue},
};
use std::time::Duration;

/// Bytes of what a receiver said that stand in an error or a result.
const MAX_SAID: usize = 500;

/// Why a receiver did not do what it was asked. Shows no URL and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// May it help to ask again?
    pub temporary: bool,
    /// Not before this time is over, if the receiver said so.
    pub retry_after: Option<Duration>,
    /// For people.
    pub text: String,
}

impl From<TellError> for Refusal {
    fn from(error: TellError) -> Self {
        let text = with_answer(error.chain(), error.answer());
        Self { temporary: !error.is_final() && !error.blames_content(), retry_after: error.retry_after(), text }
    }
}

fn with_answer(text: String, answer: &str) -> String {
    match answer.trim() {
        "" => text,
        answer => format!("{text}: {}", BoundedText(answer, MAX_SAID)),
    }
}

/// Speaks with one receiver; a connection is kept.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    login: Option<Login>,
}

impl Client {
    /// `timeout`: longest time for one request and its whole answer.
    pub fn new(timeout: Duration, reach: Reach, login: Option<Login>) -> Self {
        Self { sender: Sender::new(timeout, reach), login }
    }

    /// Posts JSON, with one header more; returns what was answered, for people.
    ///
    /// # Errors
    /// When no success was answered in time.
    pub async fn post(&self, url: &Secret, header: (HeaderName, &str), body: Vec<u8>) -> Result<String, Refusal> {
        let mut secrets = Vec::new();
        let said = async {
            let mut headers = self.headers(&mut secrets)?;
            headers.insert(header.0, HeaderValue::try_from(header.1).map_err(|_| TellError::Header)?);
            let url = secret_url(url, &mut secrets)?;
            self.sender.post_with(&url, headers, body).await
        }
        .await;
        match said {
            Ok(Answer { status, text }) => Ok(with_answer(status, &redacted(text, &secrets))),
            Err(TellError::Status { status, retry_after, answer }) => {
                Err(TellError::Status { status, retry_after, answer: redacted(answer, &secrets) }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for `path` below `base`; returns the whole answer, of at most `most` bytes.
    ///
    /// # Errors
    /// When no success was answered in time, or more than that.
    pub async fn get(&self, base: &Uri, path: &str, most: usize) -> Result<Bytes, Refusal> {
        let url = super::alertmanager::below(base, path)?;
        let headers = self.headers(&mut Vec::new())?;
        Ok(self.sender.get(&url, headers, most).await?)
    }

    fn headers(&self, secrets: &mut Vec<String>) -> Result<HeaderMap, TellError> {
        let mut headers = HeaderMap::new();
        if let Some(login) = &self.login {
            headers.insert(hyper::header::AUTHORIZATION, authorization(login, secrets)?);
        }
        Ok(headers)
    }
}
