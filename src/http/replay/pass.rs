//! One reading of a body that is shared with copies.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::{
    error::CannotReplay,
    shared::{Next, Rest, Shared},
};
use crate::BoxError;

/// One attempt's way through the body: first what was recorded before it, then the rest, recorded in its turn.
///
/// What it has of the rest it gives back when it is dropped.
pub(super) struct Pass<B> {
    shared: Shared<B>,
    rest: Option<Rest<B>>,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Reads the recording, of which it has read this much.
    Replaying {
        pieces: usize,
        bytes: u64,
    },
    /// Reads the rest, which it holds.
    Streaming,
    Over,
}

impl<B> Pass<B> {
    /// The first pass over a body.
    pub(super) fn first(body: B, max_bytes: usize) -> Self {
        Self { shared: Shared::new(max_bytes), rest: Some(Box::pin(body)), phase: Phase::START }
    }

    /// Another pass, from the beginning. This one is taken for the one that is read first.
    pub(super) fn copy(&mut self) -> Option<Self> {
        if self.shared.is_lost() {
            return None;
        }
        // Who is copied is about to be sent. Were the rest left lying, the copy would look free to go to its end
        // until this pass is read for the first time, and then the two would race for it.
        if matches!(self.phase, Phase::Replaying { .. }) && self.rest.is_none() {
            self.rest = self.shared.take_rest();
        }
        Some(Self { shared: self.shared.clone(), rest: None, phase: Phase::START })
    }

    pub(super) fn can_replay(&self) -> bool {
        self.shared.can_replay()
    }
}

impl<B> Pass<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Phase::Replaying { pieces, bytes } = self.phase {
            match self.shared.next(pieces) {
                Next::Piece(piece) => {
                    let frame = Frame::from(piece);
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    self.phase = Phase::Replaying { pieces: pieces + 1, bytes: bytes + length };
                    return Poll::Ready(Some(Ok(frame)));
                }
                Next::Rest(rest) => {
                    self.rest = Some(rest);
                    self.phase = Phase::Streaming;
                }
                Next::End => self.phase = Phase::Over,
                Next::Nothing if self.rest.is_some() => self.phase = Phase::Streaming,
                Next::Nothing => {
                    self.phase = Phase::Over;
                    return Poll::Ready(Some(Err(CannotReplay.into())));
                }
            }
        }
        match (self.phase, &mut self.rest) {
            (Phase::Streaming, Some(rest)) => {
                let frame = ready!(rest.as_mut().poll_frame(cx));
                Poll::Ready(self.record(frame))
            }
            _ => Poll::Ready(None),
        }
    }

    /// What the body yielded, noted down for the copies.
    fn record(
        &mut self,
        frame: Option<Result<Frame<B::Data>, B::Error>>,
    ) -> Option<Result<Frame<Bytes>, BoxError>> {
        let frame = frame.map(to_bytes);
        match &frame {
            Some(Ok(frame)) => {
                // Who sends a body asks it whether it has ended, and may never read as far as its end.
                let was_last = self.rest.as_ref().is_some_and(Body::is_end_stream);
                self.shared.record(frame, was_last);
            }
            Some(Err(_)) => {
                self.shared.lose();
                self.end();
            }
            None => {
                self.shared.complete();
                self.end();
            }
        }
        frame
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.rest = None;
    }
}

impl<B: Body> Pass<B> {
    /// Whether nothing is ahead, and its size.
    pub(super) fn ahead(&self) -> (bool, SizeHint) {
        match (self.phase, &self.rest) {
            (Phase::Replaying { pieces, bytes }, own) => self.shared.ahead(pieces, bytes, own.as_ref()),
            (Phase::Streaming, Some(rest)) => (rest.is_end_stream(), rest.size_hint()),
            (Phase::Streaming, None) | (Phase::Over, _) => (true, SizeHint::with_exact(0)),
        }
    }
}

impl<B> Drop for Pass<B> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.shared.give_back(rest);
        }
    }
}

/// The data in one piece, which costs nothing where it is `Bytes` already.
pub(super) fn to_bytes<D: Buf, E: Into<BoxError>>(
    frame: Result<Frame<D>, E>,
) -> Result<Frame<Bytes>, BoxError> {
    frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))).map_err(Into::into)
}

impl Phase {
    const START: Self = Self::Replaying { pieces: 0, bytes: 0 };
}
