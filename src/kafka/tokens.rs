//! Tokens for OAUTHBEARER: fetched once for all handles, and in time, on a thread that nothing of the cycle waits for.

use super::{
    Config,
    client::{self, ClientError, Context, Handle},
    ffi,
    oauth::{self, AnswerError, Token, TokenRequest},
    tls::{self, TrustError},
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{Timestamp, families},
    snapshot::KAFKA_TARGET,
    supervise::Stop,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    header::{self, HeaderValue},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use rdkafka::{client::Client, consumer::Consumer};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Longest wait for a token, from the look-up of the endpoint's name to the end of its answer.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read of an answer.
pub const MAX_ANSWER: usize = 256 << 10;
/// Wait after the first failure; doubled after each further one.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest such wait.
pub const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A token is not fetched anew earlier than this after the one before it, however short its life.
pub const LEAST_DISTANCE: Duration = Duration::from_secs(1);

/// Why there is no new token. Says nothing of what was sent, or of what was answered.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Property(#[from] ClientError),
    #[error("the token endpoint's certificate cannot be judged: mend https.ca.location in kafka.properties")]
    Trust(#[from] TrustError),
    #[error("no event loop for the token endpoint")]
    Runtime(#[source] io::Error),
    #[error("the request to the token endpoint cannot be made: mend {url} in kafka.properties", url = oauth::URL)]
    Request(#[source] hyper::http::Error),
    #[error("no answer from the token endpoint within {FETCH_TIMEOUT:?}: mend {url} in kafka.properties", url = oauth::URL)]
    Timeout,
    #[error("the token endpoint cannot be reached: mend {url} in kafka.properties", url = oauth::URL)]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the answer of the token endpoint broke off, or has more than {MAX_ANSWER} bytes")]
    Body,
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("stopping")]
    Stopped,
}

impl FetchError {
    /// With its causes, in one line.
    fn chain(&self) -> String {
        crate::model::with_causes(self)
    }
}

/// Keeps handles in tokens.
#[derive(Default)]
pub struct Keeper {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    handles: Vec<Weak<Handle>>,
    /// Why the last try brought none.
    problem: Option<String>,
    failures: u32,
    /// Not before.
    next: Option<Instant>,
}

impl Keeper {
    /// Gives this handle tokens from now on, and the present one at once.
    pub fn adopt(&self, handle: &Arc<Handle>) {
        let mut state = self.lock();
        state.handles.retain(|known| known.strong_count() > 0);
        state.handles.push(Arc::downgrade(handle));
        // Under the lock: an older token must not follow a newer one.
        if let Some(token) = &state.token {
            give(handle.client(), token);
        }
    }

    /// The present token, for a client that is none of [`Keeper::adopt`]'s.
    pub fn token(&self) -> Option<Token> {
        self.lock().token.clone()
    }

    /// Why no broker lets us in, if that is for want of a token.
    pub fn missing(&self) -> Option<String> {
        let state = self.lock();
        let valid = state.token.as_ref().is_some_and(|token| token.expires() > clock::now());
        let why = || state.problem.clone().unwrap_or_else(|| "waiting for the token endpoint's answer".to_owned());
        (!valid).then(|| format!("no token to log in with: {}", why()))
    }

    /// Why there will soon be none, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.lock().problem.as_ref().map(|problem| format!("the token to log in with cannot be renewed: {problem}"))
    }

    /// Fetches a token if it is time to. Returns how long until it is time again.
    pub fn turn(&self, config: &Config, metrics: &SelfMetrics, stop: &Stop) -> Duration {
        let wait = self.lock().wait(Instant::now(), clock::now());
        if !wait.is_zero() {
            return wait;
        }
        let fetched = fetch(config, stop);
        // Dropped after the lock is free: the last one to let go of a handle closes it.
        let mut handles = Vec::new();
        let mut state = self.lock();
        match fetched {
            Err(FetchError::Stopped) => return Duration::ZERO,
            Ok(token) => {
                metrics.count(&families::KAFKA_TOKENS, &["fetched"]);
                if state.token.is_none() || state.failures > 0 {
                    tracing::info!(again_in = ?token.refresh_at().since(clock::now()), "a token for Kafka was fetched");
                }
                handles.extend(state.handles.iter().filter_map(Weak::upgrade));
                for handle in &handles {
                    give(handle.client(), &token);
                }
                (state.token, state.problem, state.failures) = (Some(token), None, 0);
                state.next = Some(Instant::now() + LEAST_DISTANCE);
            }
            Err(error) => {
                metrics.count(&families::KAFKA_TOKENS, &["failed"]);
                metrics.count(&families::TARGET_ERRORS, &["token", KAFKA_TARGET]);
                let problem = error.chain();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::warn!(error = %problem, "no token for Kafka");
                }
                state.problem = Some(problem);
                state.next = Some(Instant::now() + retry_after(state.failures));
                state.failures = state.failures.saturating_add(1);
            }
        }
        state.wait(Instant::now(), clock::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long until the next try. A token's age goes by the clock on the wall, as the issuer's does: a host may sleep.
    fn wait(&self, now: Instant, wall: Timestamp) -> Duration {
        let due = match &self.token {
            Some(token) if self.failures == 0 => token.refresh_at().since(wall),
            _ => Duration::ZERO,
        };
        due.max(self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)))
    }
}

fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_RETRY)
}

/// Gives a client the token that it logs in with from now on.
pub fn give(client: &Client<Context>, token: &Token) {
    let expires = i64::try_from(token.expires().0).unwrap_or(i64::MAX);
    if let Err(fault) = ffi::set_token(client, token, expires) {
        tracing::warn!(error = %fault.text, "a token for Kafka cannot be used");
    }
}

/// Reads all that is needed anew, so that a secret in a file can be rotated, and asks once.
fn fetch(config: &Config, stop: &Stop) -> Result<Token, FetchError> {
    let request = TokenRequest::read(|name| client::property(config, name))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(FetchError::Runtime)?;
    let answer = runtime.block_on(async {
        let exchange = Box::pin(exchange(&request));
        tokio::select! {
            () = stop.wait() => Err(FetchError::Stopped),
            answer = tokio::time::timeout(FETCH_TIMEOUT, exchange) => answer.unwrap_or(Err(FetchError::Timeout)),
        }
    });
    // A look-up of a name may hang, and nobody waits for it.
    runtime.shutdown_background();
    let (status, body) = answer?;
    Ok(request.token(status, &body, clock::now())?)
}

async fn exchange(request: &TokenRequest) -> Result<(u16, Bytes), FetchError> {
    if request.url.scheme_str() == Some("http") {
        return post(HttpConnector::new(), request).await;
    }
    let config = tls::client_config(&request.trust)?;
    post(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build(), request).await
}

/// Follows no redirect: the secret is for this endpoint.
async fn post<C: Connect + Clone + Send + Sync + 'static>(
    connector: C,
    request: &TokenRequest,
) -> Result<(u16, Bytes), FetchError> {
    let client: HttpClient<C, Full<Bytes>> =
        HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let authorization = HeaderValue::try_from(request.authorization());
    let mut authorization = authorization.map_err(|error| FetchError::Request(error.into()))?;
    authorization.set_sensitive(true);
    let post = Request::post(&request.url)
        .header(header::AUTHORIZATION, authorization)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::USER_AGENT, concat!("brokerwarden/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(request.body())))
        .map_err(FetchError::Request)?;
    let answer = client.request(post).await.map_err(FetchError::Exchange)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|_| FetchError::Body)?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests;
