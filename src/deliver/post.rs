//! One HTTP POST, bounded in time and in what is read of the answer. Knows nothing of alerts, and puts no URL into an
//! error: they hold tokens.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{io, sync::OnceLock, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Bytes read of an answer.
pub const MAX_ANSWER: usize = 64 << 10;

/// Connections to one receiver that are kept open between posts.
const MAX_KEPT_CONNECTIONS: usize = 1;

/// Our `User-Agent`.
const USER_AGENT: &str = concat!("brokerwarden/", env!("CARGO_PKG_VERSION"));

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the request failed")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the receiver answered {status}")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
        /// The start of the answer; not in the text, since it may repeat what was sent.
        answer: String,
    },
    #[error("cannot read the url's file")]
    Secret(#[source] io::Error),
    #[error("the url is not one of http or https")]
    Url,
    #[error("cannot load the certificates that this system trusts")]
    Roots(#[source] io::Error),
    #[error("cannot make the request")]
    Request(#[source] hyper::http::Error),
    #[error("cannot encode the alerts")]
    Encode(#[source] serde_json::Error),
}

impl PostError {
    /// Does the receiver find fault with what we sent, so that less of it may pass?
    pub(super) fn blames_content(&self) -> bool {
        matches!(self, Self::Status { status, .. } if [400, 413, 422].contains(&status.as_u16()))
            || matches!(self, Self::Encode(_))
    }

    /// Is it of no use to send the same again?
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Status { status, .. } => !status.is_server_error() && ![408, 429].contains(&status.as_u16()),
            Self::Encode(_) => true,
            _ => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error and its causes in one line.
    pub(super) fn chain(&self) -> String {
        crate::model::with_causes(self)
    }
}

/// Sends; connections are kept and shared by all who send through the same one.
#[derive(Debug)]
pub(super) struct Sender {
    timeout: Duration,
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made at first use: a host without certificates can still tell by plain HTTP.
    secure: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl Sender {
    pub(super) fn new(timeout: Duration) -> Self {
        let plain = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(MAX_KEPT_CONNECTIONS)
            .build(HttpConnector::new());
        Self { timeout, plain, secure: OnceLock::new() }
    }

    /// Posts JSON. Any 2xx is success, whatever becomes of the rest of the answer.
    pub(super) async fn post(&self, uri: &Uri, body: Vec<u8>) -> Result<(), PostError> {
        let deadline = Instant::now() + self.timeout;
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(Bytes::from(body)))
            .map_err(PostError::Request)?;
        let answer = match uri.scheme_str() {
            Some("http") => self.plain.request(request),
            Some("https") => self.secure()?.request(request),
            _ => return Err(PostError::Url),
        };
        let answer = timeout_at(deadline, answer).await.map_err(|_| PostError::Timeout(self.timeout))?;
        let answer = answer.map_err(PostError::Exchange)?;
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        // Read to its end where it is short, so that the connection can be used again.
        let text = match timeout_at(deadline, Limited::new(answer.into_body(), MAX_ANSWER).collect()).await {
            Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            _ => String::new(),
        };
        if status.is_success() { Ok(()) } else { Err(PostError::Status { status, retry_after, answer: text }) }
    }

    fn secure(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, PostError> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let builder = HttpsConnectorBuilder::new().with_native_roots().map_err(PostError::Roots)?;
        let connector = builder.https_only().enable_http1().build();
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(MAX_KEPT_CONNECTIONS).build(connector);
        Ok(self.secure.get_or_init(|| client))
    }
}

/// The form in seconds; the other one, a date, is about a clock that is not ours.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
