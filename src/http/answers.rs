//! The thread that makes the answers which take time, so that they hold up no other: what people look at, with its past.

use super::{Views, api, newest, routes};
use crate::{clock, events::SelfMetrics, supervise::Tasks};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// Questions that wait for the thread; one more is answered 503.
pub const QUESTION_CAPACITY: usize = 64;

/// Longest wait for an answer of the thread; then 503.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers of fewer bytes are not compressed.
const LEAST_COMPRESSED: usize = 1024;

/// What is asked, and who waits for the answer.
struct Question {
    ask: api::Ask,
    query: String,
    gzip: bool,
    reply: oneshot::Sender<Outcome>,
}

/// An answer.
pub(super) struct Answer {
    /// JSON.
    pub(super) body: Bytes,
    /// Is it compressed?
    pub(super) gzip: bool,
}

/// An answer, or why there is none.
pub(super) type Outcome = Result<Answer, api::Refused>;

/// Asks the thread. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct Answers(SyncSender<Question>);

impl Answers {
    /// Starts the thread. It ends when nobody can ask any more.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(tasks: &Tasks, views: Views, metrics: Arc<SelfMetrics>) -> io::Result<Self> {
        let (questions, asked) = sync_channel(QUESTION_CAPACITY);
        tasks.thread("answers", move |_| work(&asked, &views, &metrics))?;
        Ok(Self(questions))
    }

    /// The answer to a question. Cancel-safe.
    pub(super) async fn ask(&self, ask: api::Ask, query: &str, gzip: bool) -> Outcome {
        let busy = |why: &str| api::Refused::Busy(why.to_owned());
        let (reply, answer) = oneshot::channel();
        let question = Question { ask, query: query.to_owned(), gzip, reply };
        self.0.try_send(question).map_err(|_| busy("too many ask at the same time; try again"))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(busy("the agent is stopping")),
            Err(_) => Err(busy("no answer in time; try again")),
        }
    }
}

fn work(asked: &Receiver<Question>, views: &Views, metrics: &SelfMetrics) {
    let mut known = api::Known::default();
    while let Ok(Question { ask, query, gzip, reply }) = asked.recv() {
        // Whoever asked may have gone, or waited for too long.
        if !reply.is_closed() {
            let seen = api::Seen {
                now: clock::now(),
                snapshot: newest(&views.snapshot),
                alerts: newest(&views.alerts),
                rules: newest(&views.rules),
                readiness: newest(&views.readiness),
                history: newest(&views.history),
                notifiers: newest(&views.notifiers),
                metrics,
                paths: routes::READ,
            };
            let outcome = known.answer(ask, &query, &seen).map(|json| packed(json, gzip));
            drop(reply.send(outcome));
        }
    }
}

fn packed(json: String, gzip: bool) -> Answer {
    if gzip
        && json.len() >= LEAST_COMPRESSED
        && let Ok(body) = compress(json.as_bytes(), Compression::fast())
    {
        return Answer { body, gzip: true };
    }
    Answer { body: json.into(), gzip: false }
}

/// One gzip member.
///
/// # Errors
/// None that the library documents for writing to memory.
pub(super) fn compress(plain: &[u8], level: Compression) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}
