//! Deadlines on a connection that hyper has not: for a head that comes in slowly, for a write that stalls, and for a
//! response as a whole. Without them a slow reader would pin an old page for ever.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A client that takes nothing of a response for this long is cut off.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A response that is not taken whole after this long is cut off.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest waits for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// From the first byte of a head (of the first head: from the connection's start) to its end.
    pub(super) head: Duration,
    /// Between two bytes taken of a response.
    pub(super) stall: Duration,
    /// For a response.
    pub(super) response: Duration,
}

/// How many heads were received whole on a connection; told by the service, read by the stream below it.
pub(super) type Heads = Arc<AtomicU64>;

/// A stream on which a slow client costs it the connection.
pub(super) struct Timed<S> {
    inner: S,
    deadlines: Deadlines,
    heads: Heads,
    heads_seen: u64,
    head_until: Option<Instant>,
    stall_until: Option<Instant>,
    response_until: Option<Instant>,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// Watches a connection that begins now.
    pub(super) fn new(inner: S, deadlines: Deadlines, heads: Heads) -> Self {
        Self {
            inner,
            deadlines,
            heads,
            heads_seen: 0,
            head_until: Some(Instant::now() + deadlines.head),
            stall_until: None,
            response_until: None,
            read_timer: None,
            write_timer: None,
        }
    }

    /// Looks whether a head was completed since the last look: then the next response begins.
    fn see_heads(&mut self) {
        let heads = self.heads.load(Ordering::Relaxed);
        if heads != self.heads_seen {
            self.heads_seen = heads;
            (self.head_until, self.stall_until, self.response_until) = (None, None, None);
        }
    }

    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let response_until = *self.response_until.get_or_insert(now + self.deadlines.response);
        if result.is_ready() && now >= response_until {
            return Poll::Ready(Err(not_taken()));
        }
        self.waited(cx, result)
    }

    /// The stream is waited for, to take or to pass on what was written: TLS keeps some of it.
    fn waited<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall_until = None;
            return result;
        }
        let now = Instant::now();
        let stall_until = *self.stall_until.get_or_insert(now + self.deadlines.stall);
        let response_until = self.response_until.unwrap_or(stall_until);
        ready!(passed(&mut self.write_timer, stall_until.min(response_until), cx));
        Poll::Ready(Err(not_taken()))
    }
}

fn not_taken() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the response was not taken in time")
}

/// Is a moment over? If not, wakes the task then.
fn passed(timer: &mut Option<Pin<Box<Sleep>>>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if timer.deadline() != until {
        timer.as_mut().reset(until);
    }
    timer.as_mut().poll(cx)
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.see_heads();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let head = this.deadlines.head;
            this.head_until.get_or_insert_with(|| Instant::now() + head);
        }
        if let (Poll::Pending, Some(until)) = (&result, this.head_until) {
            ready!(passed(&mut this.read_timer, until, cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head did not come in time")));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.see_heads();
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.see_heads();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces);
        this.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.waited(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.waited(cx, result)
    }
}
