//! A response body of finished pieces that are shared, not copied.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// The pieces that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub(super) fn new(pieces: &[Bytes]) -> Self {
        Self(pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect())
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

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.0.iter().map(Bytes::len).fold(0, usize::saturating_add);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}
