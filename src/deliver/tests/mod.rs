//! Receivers that behave as receivers do, and notifiers that run as in the agent. Tests are in the children.

#![expect(clippy::float_cmp, reason = "counters hold whole numbers")]

mod forms;
mod hostile;
mod in_trouble;
mod in_turn;
mod load;
mod mail;

use super::*;
use crate::{
    alerts::{Alert, AlertKey, Phase},
    clock,
    events::SelfMetrics,
    model::{Labels, Secret, Subject, Timestamp, families},
    pipeline::{Delivery, RESOLVED_RETENTION},
    supervise::Tasks,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};

/// An alert that began to fire at `fired`, told as ending a second later.
pub(super) fn firing(name: &str, fired: u64) -> Delivery {
    let fired = Timestamp(fired);
    let labels = [("alertname", name), ("rule", "r")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let alert = Alert {
        key: AlertKey { rule: "r".into(), name: name.into(), labels: Labels::from(labels) },
        subject: Subject::Agent,
        annotations: Labels::from([("summary".to_owned(), format!("{name} is bad"))]),
        value: Some(1.5),
        phase: Phase::Firing,
        active_at: fired,
        fired_at: Some(fired),
        resolved_at: None,
        keep_firing_since: None,
        last_sent: Some(fired),
    };
    Delivery { alert: Arc::new(alert), ends_at: Timestamp(fired.0 + 1000), transition: true, stored: None }
}

/// The same life, said again.
pub(super) fn repeat(delivery: &Delivery, ends_at: u64) -> Delivery {
    Delivery { ends_at: Timestamp(ends_at), transition: false, ..delivery.clone() }
}

pub(super) fn resolved(name: &str, fired: u64, resolved: u64) -> Delivery {
    let resolved = Timestamp(resolved);
    let alert = Alert::clone(&firing(name, fired).alert);
    let alert = Alert { phase: Phase::Resolved, resolved_at: Some(resolved), ..alert };
    Delivery { alert: Arc::new(alert), ends_at: resolved, transition: true, stored: None }
}

/// Fires now and for long enough to be told.
fn fires(name: &str) -> Delivery {
    let now = clock::now();
    Delivery { ends_at: now.plus(Duration::from_mins(4)), ..firing(name, now.0) }
}

pub(super) fn with_label(delivery: &Delivery, name: &str, value: &str) -> Delivery {
    let mut alert = Alert::clone(&delivery.alert);
    alert.key.labels.insert(name.into(), value.into());
    Delivery { alert: Arc::new(alert), ..delivery.clone() }
}

enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    Never,
    /// A status, and then nothing.
    Unfinished(u16),
    /// A status, and then no end.
    Endless(u16),
}

struct Heard {
    path: String,
    content_type: String,
    user_agent: String,
    authorization: String,
    body: Value,
}

impl Heard {
    /// `alertname`s of Alertmanager's body.
    fn names(&self) -> Vec<String> {
        let alerts = self.body.as_array().or_else(|| self.body["alerts"].as_array()).unwrap();
        alerts.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

struct Listener {
    address: SocketAddr,
    heard: mpsc::Receiver<Heard>,
}

impl Listener {
    /// Answers each request as `answer` says, given how many came before it.
    async fn start(tasks: &Tasks, answer: impl Fn(usize, &Heard) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = mpsc::channel(10_000);
        let (answer, count) = (Arc::new(answer), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let connections = tasks.group();
        tasks.task("listener", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, answer, count) = (sender.clone(), Arc::clone(&answer), Arc::clone(&count));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (sender, answer, count) = (sender.clone(), Arc::clone(&answer), Arc::clone(&count));
                    async move {
                        let heard = hear(request).await;
                        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let answer = answer(number, &heard);
                        sender.send(heard).await.unwrap();
                        Ok::<_, Infallible>(respond(answer).await)
                    }
                });
                let stop = connections.stop();
                connections.task("connection", async move {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A caller that gives up is an error here, and what some tests are about.
                    let _ = connection.await;
                    stop.wait().await;
                });
            }
        });
        Self { address, heard }
    }

    fn alertmanager(&self) -> Kind {
        Kind::Alertmanager { urls: vec![format!("http://{}/am/", self.address).parse().unwrap()] }
    }

    fn webhook(&self) -> Kind {
        let url = Secret::Inline(format!("http://{}/hook?token=s3cret", self.address));
        Kind::Webhook { url, payload: None }
    }

    fn slack(&self) -> Kind {
        let webhook_url = Secret::Inline(format!("http://{}/services/T0/B0/s3cret", self.address));
        Kind::Slack { webhook_url, wording: Wording::default() }
    }

    fn pagerduty(&self) -> Kind {
        let url = format!("http://{}/v2/enqueue", self.address).parse().unwrap();
        Kind::PagerDuty { routing_key: Secret::Inline("R0UT1NG".into()), url, wording: Wording::default() }
    }

    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(Duration::from_secs(10), self.heard.recv()).await;
        heard.expect("nothing was heard").unwrap()
    }
}

async fn hear(request: Request<Incoming>) -> Heard {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let (content_type, user_agent) = (header("content-type"), header("user-agent"));
    let authorization = header("authorization");
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Heard { path, content_type, user_agent, authorization, body: serde_json::from_slice(&body).unwrap() }
}

/// A body that gives `frame` again and again, or nothing and no end.
struct Endless(Option<Bytes>);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.clone().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(Frame::data(frame)))))
    }
}

async fn respond(answer: Answer) -> Response<BoxBody<Bytes, Infallible>> {
    let (status, after, body) = match answer {
        Answer::Status(status) => (status, None, Full::new(Bytes::from_static(b"because")).boxed()),
        Answer::RetryAfter(status, after) => (status, Some(after), Full::new(Bytes::new()).boxed()),
        Answer::Unfinished(status) => (status, None, Endless(None).boxed()),
        Answer::Endless(status) => (status, None, Endless(Some(Bytes::from(vec![b'x'; 1 << 16]))).boxed()),
        Answer::Never => std::future::pending().await,
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(after) = after {
        response.headers_mut().insert("retry-after", after.parse().unwrap());
    }
    response
}

/// Notifiers as the agent runs them, but with short delays.
struct World {
    tasks: Tasks,
    listeners: Tasks,
    metrics: Arc<SelfMetrics>,
}

fn timing() -> Timing {
    Timing {
        timeout: Duration::from_secs(20),
        first_retry: Duration::from_millis(2),
        longest_retry: Duration::from_millis(20),
        max_age: Duration::from_mins(5),
        last_words: Duration::from_millis(20),
        flush: Duration::from_secs(10),
    }
}

impl World {
    fn new() -> Self {
        let (tasks, _ended) = Tasks::new();
        let listeners = tasks.group();
        Self { tasks, listeners, metrics: Arc::default() }
    }

    fn start(&self, notifiers: &[(&str, Kind)], timing: Timing) -> (Handle, mpsc::Sender<Vec<Delivery>>) {
        self.start_all(configs(notifiers), timing)
    }

    fn start_all(&self, configs: Vec<Config>, timing: Timing) -> (Handle, mpsc::Sender<Vec<Delivery>>) {
        let (sender, receiver) = mpsc::channel(16);
        let external = External { url: "http://warden:9308".into(), timing };
        let journal = Arc::new(Journal::open(None, Duration::ZERO).unwrap());
        let handle = start(&self.tasks, configs, external, receiver, journal, Arc::clone(&self.metrics));
        (handle, sender)
    }

    fn told(&self, notifier: &str, outcome: &str) -> f64 {
        self.metrics.value(&families::NOTIFICATIONS, &[notifier, outcome]).unwrap_or(-1.0)
    }

    fn waiting(&self, notifier: &str) -> Option<f64> {
        self.metrics.value(&families::OUTBOX_ENTRIES, &[notifier])
    }

    /// Waits until that many alerts came to that.
    async fn until(&self, notifier: &str, outcome: &str, count: f64) {
        self.settled(|| self.told(notifier, outcome) >= count).await;
        assert_eq!(self.told(notifier, outcome), count, "{notifier} {outcome}");
    }

    async fn settled(&self, done: impl Fn() -> bool) {
        let poll = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), poll).await.is_ok(), "{:?}", self.metrics.figures());
    }

    async fn stop(self) {
        assert_eq!(self.tasks.shut_down(Duration::from_secs(10)).await, Vec::<String>::new());
        self.listeners.shut_down(Duration::ZERO).await;
    }
}

fn configs(notifiers: &[(&str, Kind)]) -> Vec<Config> {
    notifiers.iter().map(|(name, kind)| Config::new((*name).to_owned(), kind.clone())).collect()
}
