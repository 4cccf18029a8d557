//! The body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Sleep;

use crate::{
    call::{BoxError, Deadline, Reason, Rejected},
    rt::clock::{self, NoRuntime},
    telemetry::Name,
};

/// A body that ends in an error when the deadline passes: a [`Rejected`] for
/// [`DeadlineExceeded`](Reason::DeadlineExceeded).
///
/// The inner body is dropped before the error is returned, and its connection with it. The timer starts when the body
/// is found waiting for the first time.
///
/// # Cancellation
///
/// Dropping it drops the inner body and the timer.
///
/// # Panics
///
/// If it has a deadline and has to wait inside a tokio runtime without `enable_time`. Outside of a runtime, that wait
/// ends in an error with [`NoRuntime`](Reason::NoRuntime).
#[pin_project]
#[derive(Debug)]
pub struct DeadlineBody<B> {
    /// `None` after the deadline has passed.
    #[pin]
    inner: Option<B>,
    #[pin]
    timer: Option<Sleep>,
    deadline: Option<Deadline>,
}

impl<B> DeadlineBody<B> {
    /// Holds `inner` to a deadline. `None` only changes the error type.
    pub const fn new(inner: B, deadline: Option<Deadline>) -> Self {
        Self { inner: Some(inner), timer: None, deadline }
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let mut reason = Reason::DeadlineExceeded;
        // The clock decides, not only the timer: a body that always has a frame ready never waits for the timer.
        if !this.deadline.is_some_and(Deadline::is_expired) {
            if let Poll::Ready(frame) = inner.poll_frame(cx) {
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            let Some(deadline) = *this.deadline else { return Poll::Pending };
            if let Err(NoRuntime) = ready!(clock::poll_timer(this.timer.as_mut(), deadline.instant(), cx)) {
                reason = Reason::NoRuntime;
            }
        }
        this.inner.set(None);
        Poll::Ready(Some(Err(Rejected::new(NAME, reason).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

const NAME: Name = Name::new("body_deadline");

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use bytes::Bytes;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_always_has_a_frame_ready_ends_at_the_deadline() {
        let frames =
            futures::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))));
        let deadline = Deadline::after(Duration::from_secs(1));
        let mut body = Box::pin(DeadlineBody::new(StreamBody::new(frames), Some(deadline)));
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        tokio::time::advance(Duration::from_secs(2)).await;
        let error = body.frame().await.expect("no end").expect_err("the deadline has passed");
        let rejected = error.downcast_ref::<Rejected>().expect("a rejection");
        assert_eq!(rejected.reason(), Reason::DeadlineExceeded);
        assert!(body.frame().await.is_none());
    }
}
