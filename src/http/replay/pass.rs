//! One reading of a body that is shared with copies.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::{
    error::CannotReplay,
    shared::{Loan, Next, Number, Shared},
};
use crate::call::BoxError;

/// One attempt's way through the body: first what was recorded before it, then the rest, recorded in its turn.
///
/// The rest is one pass's at a time. It leaves it to the others when it is dropped, and may be relieved of it before.
pub(super) struct Pass<B> {
    shared: Shared<B>,
    number: Number,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Reads the recording, of which it has read this much.
    Replaying {
        pieces: usize,
        bytes: u64,
    },
    /// Reads the rest, which was its own when it began.
    Streaming,
    Over,
}

impl<B> Pass<B> {
    /// The first pass over a body.
    pub(super) fn first(body: B, max_bytes: usize) -> Self {
        let (shared, number) = Shared::new(Box::pin(body), max_bytes);
        Self { shared, number, phase: Phase::START }
    }

    /// Another pass, from the beginning. This one is taken for the one that is read first.
    pub(super) fn copy(&mut self) -> Option<Self> {
        if self.shared.is_lost() {
            return None;
        }
        // Who is copied is about to be sent. Were the rest left lying, the copy would look free to go to its end
        // until this pass is read for the first time, and then the two would race for it.
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.shared.claim(self.number);
        }
        let (shared, number) = self.shared.join();
        Some(Self { shared, number, phase: Phase::START })
    }

    /// One that has read some of the rest cannot: others may have read on from there.
    pub(super) fn take_over(&self) -> bool {
        matches!(self.phase, Phase::Replaying { .. }) && self.shared.take_over(self.number)
    }

    pub(super) fn can_take_over(&self) -> bool {
        matches!(self.phase, Phase::Replaying { .. }) && !self.shared.is_lost()
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
        let loan = match self.phase {
            Phase::Replaying { pieces, bytes } => match ready!(self.shared.next(pieces, self.number, cx)) {
                Next::Piece(piece) => {
                    let frame = Frame::from(piece);
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    self.phase = Phase::Replaying { pieces: pieces + 1, bytes: bytes + length };
                    return Poll::Ready(Some(Ok(frame)));
                }
                Next::Rest(loan) => Some(loan),
                Next::End => {
                    self.phase = Phase::Over;
                    return Poll::Ready(None);
                }
                Next::Nothing => None,
            },
            Phase::Streaming => self.shared.lend(self.number),
            Phase::Over => return Poll::Ready(None),
        };
        let polled = match loan {
            Some(loan) => poll_rest(&self.shared, loan, cx),
            None => Poll::Ready((Some(Err(CannotReplay.into())), false)),
        };
        self.phase = Phase::Streaming;
        let (frame, goes_on) = ready!(polled);
        if !goes_on {
            self.phase = Phase::Over;
        }
        Poll::Ready(frame)
    }
}

type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// What the body yields, noted down for the copies, and whether this pass goes on.
fn poll_rest<B>(shared: &Shared<B>, mut loan: Loan<'_, B>, cx: &mut Context<'_>) -> Poll<(Polled, bool)>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let Poll::Ready(frame) = loan.rest().poll_frame(cx) else {
        // Nobody would wake who has been relieved in the meantime: from now on the body wakes another.
        let has_it = loan.wait(cx.waker());
        return if has_it { Poll::Pending } else { Poll::Ready((Some(Err(CannotReplay.into())), false)) };
    };
    let frame = frame.map(to_bytes);
    // Who sends a body asks it whether it has ended, and may never read as far as its end.
    let was_last = loan.rest().is_end_stream();
    match &frame {
        Some(Ok(frame)) => shared.record(frame, was_last),
        Some(Err(_)) => shared.lose(),
        None => shared.complete(),
    }
    let goes_on = matches!(frame, Some(Ok(_))) && !was_last;
    if goes_on {
        loan.go_on();
    } else {
        loan.end();
    }
    Poll::Ready((frame, goes_on))
}

impl<B: Body> Pass<B> {
    /// Whether nothing is ahead, and its size.
    pub(super) fn ahead(&self) -> (bool, SizeHint) {
        match self.phase {
            Phase::Replaying { pieces, bytes } => self.shared.ahead(pieces, bytes, self.number),
            Phase::Streaming => self.shared.ahead_of_rest(self.number),
            Phase::Over => (true, SizeHint::with_exact(0)),
        }
    }
}

impl<B> Drop for Pass<B> {
    fn drop(&mut self) {
        self.shared.leave(self.number);
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
