//! The body.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Sleep;

use crate::{
    call::{BoxError, Deadline, Reason, Rejected},
    rt::clock,
    telemetry::Name,
};

/// A body that ends in an error when the deadline passes: a [`Rejected`] for
/// [`DeadlineExceeded`](Reason::DeadlineExceeded).
///
/// The body inside is dropped before the error is returned, and with it its connection. The timer is armed when the
/// body is found to be waiting for the first time.
///
/// # Cancellation
///
/// Dropping it drops the body inside.
#[pin_project]
#[derive(Debug)]
pub struct DeadlineBody<B> {
    /// `None` once the deadline has passed.
    #[pin]
    inner: Option<B>,
    #[pin]
    timer: Option<Sleep>,
    deadline: Option<Deadline>,
}

impl<B> DeadlineBody<B> {
    /// Holds `inner` to a deadline; without one, it only changes the error type.
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
        // The clock decides, and not the timer alone: a body that always has a frame ready never waits for it.
        if !this.deadline.is_some_and(Deadline::is_expired) {
            if let Poll::Ready(frame) = inner.poll_frame(cx) {
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            let Some(deadline) = *this.deadline else { return Poll::Pending };
            if this.timer.is_none() {
                this.timer.set(Some(clock::alarm(deadline.instant())));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
            }
        }
        this.inner.set(None);
        Poll::Ready(Some(Err(Rejected::new(NAME, Reason::DeadlineExceeded).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

const NAME: Name = Name::new("body_deadline");
