//! Who may ask for anything, and who may ask for a change. Passwords are those of a web configuration file.

use super::{
    body::Pieces,
    logins::Logins,
    routes,
    throttle::Throttle,
    web_config::{PasswordHash, WebConfig},
};
use crate::{events::SelfMetrics, model::families};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    http::request::Parts,
};
use rustls::crypto::{GetRandomFailed, ring};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// What is told to try again with, where there is too much to do.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// User and password, hashed with a key that nobody knows but this process: quick to compare, and no password.
type Known = [u8; 32];

/// On a request: whoever asks has logged in, or shown a certificate that we trust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authenticated;

/// Who may log in; empty = nobody has to.
pub(super) struct Users {
    users: BTreeMap<String, User>,
    key: [u8; 32],
}

struct User {
    hash: PasswordHash,
    /// The password that was last found right, so that scrapes do not cost what log-ins do.
    known: OnceLock<Known>,
}

impl Users {
    /// Those of a web configuration file.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(config: &WebConfig) -> Result<Self, GetRandomFailed> {
        let mut key = [0; 32];
        ring::default_provider().secure_random.fill(&mut key)?;
        let user = |hash: &PasswordHash| User { hash: hash.clone(), known: OnceLock::new() };
        Ok(Self { users: config.users.iter().map(|(name, hash)| (name.clone(), user(hash))).collect(), key })
    }

    pub(super) fn count(&self) -> usize {
        self.users.len()
    }

    fn hashed(&self, name: &[u8], password: &[u8]) -> Known {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes();
        let parts = [self.key.as_slice(), &length, name, password];
        parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
    }
}

/// What one connection has said: one that logged in is not held up by what others at its address do.
#[derive(Default)]
pub(super) struct Session(Mutex<Option<Known>>);

/// Lets requests pass or not.
pub(super) struct Gate {
    throttle: Mutex<Throttle>,
    logins: Option<Logins>,
    metrics: Arc<SelfMetrics>,
}

impl Gate {
    /// Without `logins` nobody can log in.
    pub(super) fn new(logins: Option<Logins>, metrics: Arc<SelfMetrics>) -> Self {
        Self { throttle: Mutex::default(), logins, metrics }
    }

    /// Has whoever sends these headers logged in? Nobody has to where there are no users.
    ///
    /// # Errors
    /// What is answered instead.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        users: &Users,
        session: &Session,
    ) -> Result<(), Box<Response<Pieces>>> {
        if users.users.is_empty() {
            return Ok(());
        }
        let Some((name, password)) = basic(headers) else { return Err(challenge()) };
        let known = users.hashed(&name, &password);
        if *locked(&session.0) == Some(known) {
            return Ok(());
        }
        let attempt = locked(&self.throttle).attempt(peer, Instant::now());
        if let Err(wait) = attempt {
            self.metrics.count(&families::HTTP_LOGINS_REFUSED, &["throttled"]);
            return Err(later(StatusCode::TOO_MANY_REQUESTS, "too many failed log-ins from this address\n", wait));
        }
        let user = str::from_utf8(&name).ok().and_then(|name| users.users.get(name));
        let right = match user {
            Some(user) if user.known.get() == Some(&known) => Some(true),
            Some(user) => self.ask(&user.hash, password).await,
            // As long as it takes for one who is there, so that this tells nobody who is.
            None => match users.users.values().next() {
                Some(other) => self.ask(&other.hash, password).await.map(|_| false),
                None => Some(false),
            },
        };
        match right {
            Some(true) => {
                locked(&self.throttle).succeeded(peer, Instant::now());
                *locked(&session.0) = Some(known);
                // Two passwords of the same first 72 bytes are one to bcrypt; the second costs its time again.
                if let Some(user) = user {
                    user.known.set(known).ok();
                }
                Ok(())
            }
            Some(false) => {
                self.metrics.count(&families::HTTP_LOGINS_REFUSED, &["wrong"]);
                tracing::debug!(%peer, "a log-in failed");
                Err(challenge())
            }
            None => {
                self.metrics.count(&families::HTTP_LOGINS_REFUSED, &["busy"]);
                let why = "too many log-ins at the same time\n";
                Err(later(StatusCode::SERVICE_UNAVAILABLE, why, BUSY_RETRY))
            }
        }
    }

    async fn ask(&self, hash: &PasswordHash, password: Vec<u8>) -> Option<bool> {
        self.logins.as_ref()?.ask(hash.clone(), password).await
    }
}

/// May whoever asks change anything? From this host, or logged in; and not sent by a page of somebody else's.
///
/// # Errors
/// Why not.
pub(super) fn may_change(head: &Parts, peer: IpAddr) -> Result<(), &'static str> {
    if head.extensions.get::<Authenticated>().is_none() && !peer.to_canonical().is_loopback() {
        return Err("this can be asked for on this host, or logged in, only\n");
    }
    // Browsers say where the page is from that has them ask, and log in by themselves where they once did.
    let Some(origin) = head.headers.get(header::ORIGIN) else { return Ok(()) };
    let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let ours = |origin: &str| origin.split_once("://").is_some_and(|(_, place)| Some(place.as_bytes()) == host);
    if origin.to_str().is_ok_and(ours) { Ok(()) } else { Err("not from a page of another site\n") }
}

/// User and password of `Authorization: Basic …`.
fn basic(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = STANDARD.decode(encoded.trim()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon).into_iter().skip(1).collect();
    Some((name, password))
}

fn challenge() -> Box<Response<Pieces>> {
    let mut response = routes::text(StatusCode::UNAUTHORIZED, "log in\n");
    let basic = HeaderValue::from_static("Basic realm=\"brokerwarden\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    Box::new(response)
}

fn later(status: StatusCode, why: &str, wait: Duration) -> Box<Response<Pieces>> {
    let mut response = routes::text(status, why);
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Box::new(response)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
