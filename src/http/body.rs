//! A response body: finished pieces that are shared, not copied, or events as they come.

use super::live::Events;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// The pieces that are still to be sent, or a stream of events.
#[derive(Default)]
pub(super) struct Pieces {
    ready: VecDeque<Bytes>,
    events: Option<Events>,
}

impl Pieces {
    pub(super) fn new(pieces: &[Bytes]) -> Self {
        Self { ready: pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect(), events: None }
    }

    /// A body that goes on for as long as the events do.
    pub(super) fn of_events(events: Events) -> Self {
        Self { ready: VecDeque::new(), events: Some(events) }
    }
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        Self::new(&[text.into()])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.events.as_mut() {
            Some(events) => std::task::ready!(events.as_mut().poll_next(cx)),
            None => self.ready.pop_front(),
        };
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.events.is_none() && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.events.is_some() {
            return SizeHint::default();
        }
        let length = self.ready.iter().map(Bytes::len).fold(0, usize::saturating_add);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}
