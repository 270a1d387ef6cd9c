//! A connection to a receiver: straight or through a proxy, plain or by TLS. Files of certificates are read for each
//! connection, so that they can be rotated.

use crate::client::{Tls, TlsError};
use hyper::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tower_service::Service;

/// Bytes of a proxy's answer.
const MAX_PROXY_ANSWER: usize = 8 << 10;

/// How a receiver is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The HTTP proxy, if any.
    pub proxy: Option<Uri>,
    /// About TLS.
    pub tls: Tls,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection")]
    Tcp(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the proxy broke off")]
    ProxyBroke(#[source] io::Error),
    #[error("the proxy answered {0}")]
    ProxyRefused(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no TLS connection")]
    Handshake(#[source] io::Error),
}

/// What a connection can do, whatever it is made of.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Opens connections to one receiver.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    reach: Arc<Reach>,
}

impl Connector {
    pub(super) fn new(reach: Reach) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, reach: Arc::new(reach) }
    }

    /// A connection as the URL's scheme asks for it; `http` through a proxy is asked of the proxy itself.
    async fn reach(self, to: Uri) -> Result<Link, ConnectError> {
        let secure = to.scheme_str() == Some("https");
        let proxied = self.reach.proxy.is_some() && !secure;
        let (host, port) = (to.host().unwrap_or_default().to_owned(), to.port_u16());
        let wire: Box<dyn Wire> = match &self.reach.proxy {
            Some(proxy) if proxied => Box::new(self.tcp(proxy.clone()).await?),
            _ => self.open(&host, port.unwrap_or(if secure { 443 } else { 80 })).await?,
        };
        let wire = if secure { self.secure(wire, &host).await? } else { wire };
        Ok(Link { wire: TokioIo::new(wire), proxied })
    }

    /// A plain connection, through the proxy if there is one.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Wire>, ConnectError> {
        let authority = format!("{host}:{port}");
        if let Some(proxy) = &self.reach.proxy {
            let mut wire = self.tcp(proxy.clone()).await?;
            tunnel(&mut wire, &authority).await?;
            return Ok(Box::new(wire));
        }
        let to = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
        Ok(Box::new(self.tcp(to.map_err(|error| ConnectError::Tcp(error.into()))?).await?))
    }

    /// Goes on by TLS.
    pub(super) async fn secure(&self, wire: Box<dyn Wire>, host: &str) -> Result<Box<dyn Wire>, ConnectError> {
        let name = self.reach.tls.name(host)?;
        let connector = tokio_rustls::TlsConnector::from(self.reach.tls.client_config()?);
        Ok(Box::new(connector.connect(name, wire).await.map_err(ConnectError::Handshake)?))
    }

    async fn tcp(&self, to: Uri) -> Result<tokio::net::TcpStream, ConnectError> {
        let mut tcp = self.tcp.clone();
        let wire = tcp.call(to).await.map_err(|error| ConnectError::Tcp(error.into()))?;
        Ok(wire.into_inner())
    }
}

/// Asks a proxy to connect us to `authority`.
async fn tunnel(wire: &mut (impl AsyncRead + AsyncWrite + Unpin), authority: &str) -> Result<(), ConnectError> {
    let ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    wire.write_all(ask.as_bytes()).await.map_err(ConnectError::ProxyBroke)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_PROXY_ANSWER {
            return Err(ConnectError::ProxyRefused("too much".to_owned()));
        }
        // Byte by byte, since what comes after it is not ours to read.
        answer.push(wire.read_u8().await.map_err(ConnectError::ProxyBroke)?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    if status.starts_with('2') && status.len() == 3 {
        return Ok(());
    }
    let first = answer.lines().next().unwrap_or_default();
    Err(ConnectError::ProxyRefused(crate::model::BoundedText(first, MAX_PROXY_WORDS).to_string()))
}

/// Bytes of a proxy's refusal that are shown.
const MAX_PROXY_WORDS: usize = 100;

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().reach(to))
    }
}

/// A connection as hyper wants it.
pub(super) struct Link {
    wire: TokioIo<Box<dyn Wire>>,
    /// The other side is a proxy, which wants whole URLs.
    proxied: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("proxied", &self.proxied).finish_non_exhaustive()
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}
