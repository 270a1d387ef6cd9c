//! Accepts connections on a thread and event loop of its own, so that nothing else in the agent holds up an answer.
//! Does not know what is answered.

use super::{
    Views,
    answers::Answers,
    auth::{Authenticated, Gate, Session},
    body::Pieces,
    deadlines::{Deadlines, RESPONSE_TIMEOUT, Timed, WRITE_STALL_TIMEOUT},
    live::{Connection, Live},
    logins::Logins,
    routes::{self, Served},
    security::{Guard, Security},
    tls::{self, HANDSHAKE_TIMEOUT, MAX_HANDSHAKES},
};
use crate::{
    events::SelfMetrics,
    model::families,
    supervise::{Children, Stop, Tasks},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Semaphore, watch},
};

/// Connections at a time; more are closed at once.
pub const MAX_CONNECTIONS: usize = 256;

/// Largest head of a request, in bytes; a larger one is answered 431.
pub const MAX_HEADER_BYTES: usize = 16 << 10;

/// Most headers of a request; more are answered 431.
pub const MAX_HEADERS: usize = 64;

/// Longest time for the head of a request to come in.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A kept-alive connection without a request is closed after this long: more than most scrape intervals.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// When the agent stops, responses under way get this long.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Wait after the system refused to hand over a connection, normally for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({})", advice(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// Does something listen there, or on an address that overlaps?
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// What to do about an address that cannot be had.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there, which `ss -ltnp` names, or choose another address or port"
        }
        io::ErrorKind::AddrNotAvailable => "choose an address of this host, or 0.0.0.0 for all of them",
        io::ErrorKind::PermissionDenied => "choose a port above 1023, or give the agent CAP_NET_BIND_SERVICE",
        _ => "choose another address",
    }
}

/// A bound address, on which connections wait until [`serve`] takes them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Where it listens; has the real port where port 0 was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// The same again, for a server that takes the place of another one.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address })
    }
}

/// What [`serve`] promises with its constants; tests promise less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) idle: Duration,
    pub(super) handshake: Duration,
    pub(super) deadlines: Deadlines,
}

impl Default for Limits {
    fn default() -> Self {
        let deadlines = Deadlines { head: HEADER_TIMEOUT, stall: WRITE_STALL_TIMEOUT, response: RESPONSE_TIMEOUT };
        Self { connections: MAX_CONNECTIONS, idle: IDLE_TIMEOUT, handshake: HANDSHAKE_TIMEOUT, deadlines }
    }
}

/// Takes an address.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let taken = TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(Listener { address: socket.local_addr()?, socket })
    });
    taken.map_err(|source| BindError { address, source })
}

/// Starts the server's thread, and those that look after log-ins and files of certificates, where there are any.
///
/// # Errors
/// When the system refuses a thread or its event loop.
pub fn serve(
    tasks: &Tasks,
    listener: Listener,
    guard: Guard,
    views: Views,
    metrics: Arc<SelfMetrics>,
) -> io::Result<()> {
    serve_with(tasks, listener, guard, views, metrics, Limits::default())
}

pub(super) fn serve_with(
    tasks: &Tasks,
    listener: Listener,
    mut guard: Guard,
    views: Views,
    metrics: Arc<SelfMetrics>,
    limits: Limits,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let socket = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener.socket)?
    };
    let answers = Answers::start(tasks, views.clone(), Arc::clone(&metrics))?;
    let logins = if guard.watch(tasks, &metrics)? { Some(Logins::start(tasks)?) } else { None };
    let gate = Gate::new(logins, Arc::clone(&metrics));
    tasks.thread("http", move |stop| {
        let served = Served { views, answers, live: Live::default() };
        let shared = Arc::new(Shared { served, gate, handshakes: Semaphore::new(MAX_HANDSHAKES) });
        let server = Server { shared, metrics, current: guard.current, limits, stop };
        runtime.block_on(server.accept(socket));
    })
}

/// What all connections share.
struct Shared {
    served: Served,
    gate: Gate,
    /// Places for handshakes.
    handshakes: Semaphore,
}

struct Server {
    shared: Arc<Shared>,
    metrics: Arc<SelfMetrics>,
    current: watch::Receiver<Arc<Security>>,
    limits: Limits,
    stop: Stop,
}

impl Server {
    async fn accept(&self, socket: tokio::net::TcpListener) {
        let mut connections = Children::default();
        let mut refused_before = false;
        loop {
            self.metrics.set(&families::HTTP_CONNECTIONS, &[], float(connections.running()));
            tokio::select! {
                () = self.stop.wait() => break,
                () = connections.next_ended() => {}
                accepted = socket.accept() => match accepted {
                    Ok(_) if connections.running() >= self.limits.connections => {
                        self.metrics.count(&families::HTTP_REJECTED, &["too_many"]);
                    }
                    Ok((stream, peer)) => {
                        refused_before = false;
                        connections.spawn(self.connection(stream, peer));
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        if !refused_before {
                            tracing::error!(%error, "cannot accept connections");
                        }
                        refused_before = true;
                        self.metrics.count(&families::HTTP_REJECTED, &["accept"]);
                        tokio::select! {
                            () = self.stop.wait() => break,
                            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        }
                    }
                },
            }
        }
        drop(socket);
        let cut = connections.shut_down(DRAIN_TIME).await;
        if cut > 0 {
            tracing::warn!(cut, "responses were cut off to stop in time");
        }
    }

    /// Serves one connection until it ends.
    fn connection(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let (shared, metrics) = (Arc::clone(&self.shared), Arc::clone(&self.metrics));
        let (stop, limits, mut current) = (self.stop.clone(), self.limits, self.current.clone());
        async move {
            // Only a matter of latency.
            let _refused = stream.set_nodelay(true);
            let security = Arc::clone(&current.borrow_and_update());
            let client = Client { address: peer.ip(), authenticated: false, security, shared };
            let outcome = match client.security.tls.clone() {
                None => Box::pin(client.serve(stream, &limits, current, &stop)).await,
                Some(tls) => {
                    let handshake = tls::shake_hands(stream, tls, &client.shared.handshakes, limits.handshake);
                    let shaken = tokio::select! { () = stop.wait() => return, shaken = handshake => shaken };
                    match shaken {
                        Ok(stream) => {
                            // Those that are shown are verified, or there is no connection.
                            let certificates = stream.get_ref().1.peer_certificates();
                            let authenticated = certificates.is_some_and(|certificates| !certificates.is_empty());
                            Box::pin(Client { authenticated, ..client }.serve(stream, &limits, current, &stop)).await
                        }
                        Err(reason) => Err(reason),
                    }
                }
            };
            if let Err(reason) = outcome {
                metrics.count(&families::HTTP_REJECTED, &[reason]);
            }
        }
    }
}

/// Who is at the other end of a connection.
struct Client {
    address: IpAddr,
    /// Has it shown a good certificate?
    authenticated: bool,
    /// What held when it came. It has to come again when that changes.
    security: Arc<Security>,
    shared: Arc<Shared>,
}

impl Client {
    /// Answers its requests; the error is why it was cut off by us.
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        limits: &Limits,
        mut current: watch::Receiver<Arc<Security>>,
        stop: &Stop,
    ) -> Result<(), &'static str> {
        let ours = Connection::default();
        let over = ours.over.clone();
        let stream = TokioIo::new(Timed::new(stream, limits.deadlines, Arc::clone(&ours.heads)));
        let (client, session) = (Arc::new(self), Arc::new(Session::default()));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            ours.heads.fetch_add(1, Ordering::Relaxed);
            let (client, session, ours) = (Arc::clone(&client), Arc::clone(&session), ours.clone());
            async move { Ok::<_, Infallible>(client.answer(request, &session, &ours).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let changed = async {
            // Nobody is left who could change anything.
            if current.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = async { tokio::select! { () = stop.wait() => {} () = changed => {} } } => {
                over.stop();
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        outcome.map_or_else(|error| reason(&error).map_or(Ok(()), Err), Ok)
    }

    async fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
        session: &Session,
        connection: &Connection,
    ) -> hyper::Response<Pieces> {
        let Self { address, security, shared, .. } = self;
        let admitted = shared.gate.admit(request.headers(), *address, &security.users, session).await;
        let mut response = match admitted {
            Ok(()) => {
                if self.authenticated || security.users.count() > 0 {
                    request.extensions_mut().insert(Authenticated);
                }
                routes::respond(request, *address, &shared.served, connection).await
            }
            Err(refusal) => *refusal,
        };
        security.adorn(&mut response);
        response
    }
}

/// Why a connection was cut off by us; `None` = it was not.
fn reason(error: &hyper::Error) -> Option<&'static str> {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let too_late = causes
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut));
    if too_late {
        Some("too_slow")
    } else if error.is_parse_too_large() {
        Some("too_large")
    } else if error.is_parse() {
        Some("malformed")
    } else {
        None
    }
}

/// Did just this connection fail before it was taken?
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn float(count: usize) -> f64 {
    crate::page::encode::to_float(i64::try_from(count).unwrap_or(i64::MAX))
}
