//! One walk: asks for a page once and reads the answer whole, or says what was wrong with it.
//!
//! The connection is made anew each time and driven by the caller's own task: when the walk is given up, it is closed.

use super::{
    Config,
    body::{Body, BodyError},
};
use crate::{
    client::{Login, LoginError, TlsError},
    snapshot::exposition::{Exposition, ParseError, Parser, Problem},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::yield_now,
};
use tokio_rustls::TlsConnector;

/// Longest status line and headers of an answer, in bytes.
pub const MAX_HEADER_BYTES: usize = 64 << 10;

/// The one format that all versions of the exporter speak; when more are named, some answer in another than the first.
const ACCEPT: &str = "text/plain;version=0.0.4";

/// Bytes parsed before other tasks get their turn: about half a millisecond's work.
const PARSE_STEP: usize = 256 << 10;

/// Bytes unpacked at once: gzip makes at most 1,032 times as many of them.
const UNPACK_STEP: usize = 4 << 10;

/// Why a walk failed. Foreign text is in none of them but the parser's bounded excerpt.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("no host in the URL")]
    Url,
    #[error("no connection to {0}")]
    Connect(String, #[source] io::Error),
    #[error("tls_config cannot be used")]
    Tls(#[from] TlsError),
    #[error("no TLS connection to {0}")]
    Handshake(String, #[source] io::Error),
    #[error("cannot log in")]
    Login(#[from] LoginError),
    #[error("not read within {0:?}")]
    Timeout(Duration),
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    #[error("answered with status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("answered with something else than text/plain")]
    ContentType,
    #[error("answered in an encoding that was not asked for")]
    Encoding,
    #[error("the answer broke off")]
    Incomplete(#[source] hyper::Error),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the page is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    #[error("the page cannot be read")]
    Parse(#[from] ParseError),
    #[error("the page is empty")]
    Empty,
    #[error("the exporter says that it could not read all MBeans (jmx_scrape_error)")]
    ScrapeError,
}

impl WalkError {
    /// A short word for it: the label `reason`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Connect(_, source) if source.kind() == io::ErrorKind::ConnectionRefused => "refused",
            Self::Connect(..) => "connect",
            Self::Tls(_) | Self::Handshake(..) => "tls",
            Self::Login(_) => "login",
            Self::Timeout(_) => "timeout",
            Self::Http(_) => "http",
            Self::Status(_) => "status",
            Self::ContentType => "content_type",
            Self::Encoding | Self::Body(BodyError::Gzip(_)) => "encoding",
            Self::Incomplete(_) => "incomplete",
            Self::Body(BodyError::TooLarge(_)) => "too_large",
            Self::Utf8(_) => "utf8",
            Self::Parse(ParseError { problem: Problem::Limit(..), .. }) => "limit",
            Self::Parse(_) => "parse",
            Self::Empty => "empty",
            Self::ScrapeError => "scrape_error",
        }
    }
}

/// Asks for the page and reads it; at most `timeout` long.
pub(super) async fn fetch(config: &Config) -> Result<Vec<u8>, WalkError> {
    let fetch = Box::pin(exchange(config));
    tokio::time::timeout(config.timeout, fetch).await.unwrap_or(Err(WalkError::Timeout(config.timeout)))
}

/// Parses a page in steps: 64 MiB take 100 ms, too long for the threads that all tasks share, not long enough to be worth
/// a thread of their own.
pub(super) async fn parse(body: Vec<u8>) -> Result<Exposition, WalkError> {
    let mut text = String::from_utf8(body).map_err(|error| WalkError::Utf8(error.utf8_error()))?;
    text.shrink_to_fit();
    let mut parser = Parser::new(&text)?;
    while !parser.advance(PARSE_STEP)? {
        yield_now().await;
    }
    let parsed = parser.finish();
    let page = parsed.with(text);
    if page.sample_count() == 0 {
        return Err(WalkError::Empty);
    }
    if page.samples_named("jmx_scrape_error").any(|sample| sample.value != 0.0) {
        return Err(WalkError::ScrapeError);
    }
    Ok(page)
}

async fn exchange(config: &Config) -> Result<Vec<u8>, WalkError> {
    let authority = config.url.authority().ok_or(WalkError::Url)?;
    // Without user and password, should there be any.
    let address = authority.as_str().rsplit('@').next().unwrap_or_default();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let secure = config.url.scheme_str() == Some("https");
    // Before the connection: it is not opened for what cannot be sent.
    let authorization = config.login.as_ref().map(Login::authorization).transpose()?;
    let tls = if secure { Some((config.tls.client_config()?, config.tls.name(host)?)) } else { None };
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|source| WalkError::Connect(address.to_owned(), source))?;
    let mut request = Request::get(config.url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, address)
        .header(header::ACCEPT, ACCEPT)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("brokerwarden/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| WalkError::Url)?;
    request.headers_mut().extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    let Some((tls, name)) = tls else { return ask(stream, request, config.max_size).await };
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|source| WalkError::Handshake(address.to_owned(), source))?;
    ask(stream, request, config.max_size).await
}

/// Sends the request and reads the answer.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    request: Request<Empty<Bytes>>,
    max: u64,
) -> Result<Vec<u8>, WalkError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(WalkError::Http)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(WalkError::Http)?;
        receive(response, max).await
    };
    let drive = async {
        // Its errors reach the answer as well; its end may come before the last piece was taken.
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        body = answer => body,
        never = drive => never,
    }
}

async fn receive(response: Response<Incoming>, max: u64) -> Result<Vec<u8>, WalkError> {
    if response.status() != StatusCode::OK {
        return Err(WalkError::Status(response.status()));
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("text/plain")) {
        return Err(WalkError::ContentType);
    }
    let gzip = match response.headers().get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Err(WalkError::Encoding),
    };
    let mut incoming = response.into_body();
    if incoming.size_hint().lower() > max {
        return Err(BodyError::TooLarge(max).into());
    }
    let mut body = Body::new(gzip, max);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(WalkError::Incomplete)?.into_data() else { continue };
        for piece in data.chunks(UNPACK_STEP) {
            body.push(piece)?;
            if gzip {
                yield_now().await;
            }
        }
    }
    Ok(body.finish()?)
}
