//! Server-sent events: one for each snapshot, with its number, so that a page knows when to ask again.

use super::deadlines::Heads;
use crate::{snapshot::Snapshot, supervise::Stop};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Streams of events that are open at the same time; one more is answered 503, and its page asks now and then instead.
pub const MAX_EVENT_STREAMS: usize = 64;

/// A stream that has nothing to say says so this often: whoever is gone is found out by that.
pub const EVENT_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events as they are sent.
pub(super) type Events = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The connection that a stream is on.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    /// Each event counts there as an answer of its own, which has to be taken in time like any other.
    pub(super) heads: Heads,
    /// It is to end: the agent stops, or who may ask is decided anew.
    pub(super) over: Stop,
}

/// Places for a server's streams.
#[derive(Clone, Debug)]
pub(super) struct Live(Arc<Semaphore>);

impl Default for Live {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_EVENT_STREAMS)))
    }
}

struct State {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    connection: Connection,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// A stream that begins with the present snapshot; `None` = there are too many.
    pub(super) fn events(
        &self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        connection: &Connection,
    ) -> Option<Events> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        snapshots.mark_changed();
        let state = State { snapshots, connection: connection.clone(), _place: place };
        Some(Box::pin(stream::unfold(state, next)))
    }
}

async fn next(mut state: State) -> Option<(Bytes, State)> {
    let event = tokio::select! {
        () = state.connection.over.wait() => return None,
        changed = state.snapshots.changed() => {
            changed.ok()?;
            let number = state.snapshots.borrow_and_update().number;
            Bytes::from(format!("event: snapshot\nid: {number}\ndata: {{\"number\":{number}}}\n\n"))
        }
        () = tokio::time::sleep(EVENT_KEEP_ALIVE) => Bytes::from_static(b": still here\n\n"),
    };
    state.connection.heads.fetch_add(1, Ordering::Relaxed);
    Some((event, state))
}
