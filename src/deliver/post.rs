//! One HTTP POST, bounded in time and in what is read of the answer. Knows nothing of alerts, follows no redirect, and
//! puts no URL into an error: they hold tokens.

use super::{
    connect::{Connector, Reach},
    error::TellError,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    header::{self, HeaderValue},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes read of an answer.
pub const MAX_ANSWER: usize = 64 << 10;

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// Connections to one receiver that are kept open between posts.
const MAX_KEPT_CONNECTIONS: usize = 1;

/// Our `User-Agent`.
const USER_AGENT: &str = concat!("brokerwarden/", env!("CARGO_PKG_VERSION"));

/// What a receiver that took something said.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status, or code, in words.
    pub(super) status: String,
    /// The start of the answer.
    pub(super) text: String,
}

/// Sends to one receiver; a connection is kept.
#[derive(Debug)]
pub(super) struct Sender {
    timeout: Duration,
    connector: Connector,
    client: Client<Connector, Full<Bytes>>,
}

impl Sender {
    pub(super) fn new(timeout: Duration, reach: Reach) -> Self {
        let connector = Connector::new(reach);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(MAX_KEPT_CONNECTIONS)
            .http1_max_buf_size(MAX_HEAD)
            .build(connector.clone());
        Self { timeout, connector, client }
    }

    /// Longest time for one message and its whole answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What opens connections for other protocols.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Posts JSON. Any 2xx is success, whatever becomes of the rest of the answer.
    pub(super) async fn post(
        &self,
        uri: &Uri,
        authorization: Option<HeaderValue>,
        body: Vec<u8>,
    ) -> Result<Answer, TellError> {
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(TellError::Url);
        }
        let deadline = Instant::now() + self.timeout;
        let mut request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(Bytes::from(body)))
            .map_err(TellError::Request)?;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        let answer = timeout_at(deadline, self.client.request(request)).await;
        let answer = answer.map_err(|_| TellError::Timeout(self.timeout))?.map_err(TellError::Exchange)?;
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        // Read to its end where it is short, so that the connection can be used again.
        let text = match timeout_at(deadline, Limited::new(answer.into_body(), MAX_ANSWER).collect()).await {
            Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            _ => String::new(),
        };
        if status.is_success() {
            Ok(Answer { status: status.to_string(), text })
        } else {
            Err(TellError::Status { status, retry_after, answer: text })
        }
    }
}

/// The form in seconds; the other one, a date, is about a clock that is not ours.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
