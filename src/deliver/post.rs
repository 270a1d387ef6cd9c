//! One HTTP POST, bounded in time and in what is read of the answer. Knows nothing of alerts, follows no redirect, and
//! puts no URL into an error: they hold tokens.

use super::{
    connect::{Connector, Reach},
    error::TellError,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, Uri,
    body::Incoming,
    header::{self, HeaderValue},
    http::request::Builder,
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
        let authorization = authorization.map(|value| (header::AUTHORIZATION, value));
        self.post_with(uri, authorization.into_iter().collect(), body).await
    }

    /// As [`Sender::post`], with these headers.
    pub(super) async fn post_with(&self, uri: &Uri, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, TellError> {
        let deadline = Instant::now() + self.timeout;
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/json");
        let answer = self.ask(request, headers, body, deadline).await?;
        let status = answer.status().to_string();
        Ok(Answer { status, text: start_of(answer, deadline).await })
    }

    /// Gets all of an answer, which has at most `most` bytes.
    pub(super) async fn get(&self, uri: &Uri, headers: HeaderMap, most: usize) -> Result<Bytes, TellError> {
        let deadline = Instant::now() + self.timeout;
        let answer = self.ask(Request::get(uri), headers, Vec::new(), deadline).await?;
        let body = timeout_at(deadline, Limited::new(answer.into_body(), most).collect()).await;
        let body = body.map_err(|_| TellError::Timeout(self.timeout))?;
        Ok(body.map_err(|_| TellError::Answer(most))?.to_bytes())
    }

    /// The answer, if it is one of success.
    async fn ask(
        &self,
        request: Builder,
        headers: HeaderMap,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, TellError> {
        let mut request = request
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(Bytes::from(body)))
            .map_err(TellError::Request)?;
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(TellError::Url);
        }
        request.headers_mut().extend(headers);
        let answer = timeout_at(deadline, self.client.request(request)).await;
        let answer = answer.map_err(|_| TellError::Timeout(self.timeout))?.map_err(TellError::Exchange)?;
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        if status.is_success() {
            return Ok(answer);
        }
        Err(TellError::Status { status, retry_after, answer: start_of(answer, deadline).await })
    }
}

/// What was answered, read to its end where it is short, so that the connection can be used again; nothing where it is long.
async fn start_of(answer: Response<Incoming>, deadline: Instant) -> String {
    match timeout_at(deadline, Limited::new(answer.into_body(), MAX_ANSWER).collect()).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        _ => String::new(),
    }
}

/// The form in seconds; the other one, a date, is about a clock that is not ours.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
