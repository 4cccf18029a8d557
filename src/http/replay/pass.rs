//! One reading of a shared body.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::{
    error::CannotReplay,
    shared::{Loan, Next, Number, ReplayShared},
};
use crate::call::BoxError;

/// One attempt's reading of a body: first the recording, then the rest, which it records in turn.
///
/// One pass at a time holds the rest. A dropped pass releases the rest, and another pass may take it over before.
pub(super) struct Pass<B> {
    shared: ReplayShared<B>,
    number: Number,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Reads the recording. The pass has read so many of its frames, and so many bytes of data.
    Replaying {
        frames: usize,
        bytes: usize,
    },
    /// Reads the rest.
    Streaming,
    Over,
}

impl<B> Pass<B> {
    /// The first pass over a body.
    pub(super) fn first(body: B, max_bytes: usize) -> Self {
        let (shared, number) = ReplayShared::new(Box::pin(body), max_bytes);
        Self { shared, number, phase: Phase::START }
    }

    /// Another pass from the beginning. `self` counts as the pass that is read first.
    pub(super) fn copy(&mut self) -> Option<Self> {
        if self.shared.is_lost() {
            return None;
        }
        // The copied request is about to be sent. With the rest unclaimed, the copy would look readable until this
        // pass is read for the first time, and then both would race for the rest.
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.shared.claim(self.number);
        }
        let (shared, number) = self.shared.join();
        Some(Self { shared, number, phase: Phase::START })
    }

    /// A pass that has read from the rest cannot take it over: another pass may have read on from there.
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
            Phase::Replaying { frames, bytes } => match ready!(self.shared.next(frames, self.number, cx)) {
                Next::Frame(frame) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    self.phase = Phase::Replaying { frames: frames + 1, bytes: bytes + length };
                    return Poll::Ready(Some(Ok(frame)));
                }
                Next::Rest(loan) => Some(loan),
                Next::End => {
                    self.phase = Phase::Over;
                    return Poll::Ready(None);
                }
                Next::Unavailable => None,
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

/// The next frame of the inner body, recorded for the copies, and whether this pass goes on.
fn poll_rest<B>(shared: &ReplayShared<B>, mut loan: Loan<'_, B>, cx: &mut Context<'_>) -> Poll<(Polled, bool)>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let Poll::Ready(frame) = loan.rest().poll_frame(cx) else {
        // After a take-over the body wakes the other pass, and nothing would wake this one again.
        let has_it = loan.wait(cx.waker());
        return if has_it { Poll::Pending } else { Poll::Ready((Some(Err(CannotReplay.into())), false)) };
    };
    let frame = frame.map(to_bytes);
    // A transport asks a body whether it has ended, and may never read the end.
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
    /// Whether the pass is at its end, and the size of the data that follows.
    pub(super) fn ahead(&self) -> (bool, SizeHint) {
        match self.phase {
            Phase::Replaying { frames, bytes } => self.shared.ahead(frames, bytes, self.number),
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

/// The data of a frame in one piece. It is free where the data is `Bytes` already.
pub(crate) fn to_bytes<D: Buf, E: Into<BoxError>>(
    frame: Result<Frame<D>, E>,
) -> Result<Frame<Bytes>, BoxError> {
    frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))).map_err(Into::into)
}

impl Phase {
    const START: Self = Self::Replaying { frames: 0, bytes: 0 };
}
