//! The body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Sleep;

use crate::{
    algo::after,
    call::{BoxError, Reason, Rejected},
    rt::clock::{self, NoRuntime},
    telemetry::Name,
};

/// A body that ends in an error when a frame does not come in time: a [`Rejected`] for
/// [`UploadStalled`](Reason::UploadStalled).
///
/// The time counts while the reader waits for a frame, and starts again with each frame. A reader that pauses does not
/// use it up. The inner body is dropped before the error is returned.
///
/// # Cancellation
///
/// Dropping it drops the inner body and the timer.
///
/// # Panics
///
/// If it has to wait inside a tokio runtime without `enable_time`. Outside of a runtime, a wait ends in an error with
/// [`NoRuntime`](Reason::NoRuntime).
#[pin_project]
#[derive(Debug)]
pub struct ReadTimeoutBody<B> {
    /// `None` after the time was over.
    #[pin]
    inner: Option<B>,
    /// Boxed, so that the body is `Unpin` when the inner one is, as hyper's client demands.
    timer: Option<Pin<Box<Option<Sleep>>>>,
    /// When the awaited frame has to be there. `None` while no frame is awaited.
    until: Option<Instant>,
    limit: Duration,
}

impl<B> ReadTimeoutBody<B> {
    /// Allows `limit` for each frame of `inner`.
    pub const fn new(inner: B, limit: Duration) -> Self {
        Self { inner: Some(inner), timer: None, until: None, limit }
    }
}

impl<B> Body for ReadTimeoutBody<B>
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
        if let Poll::Ready(frame) = inner.poll_frame(cx) {
            *this.until = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = *this.limit;
        let until = *this.until.get_or_insert_with(|| after(clock::now(), limit));
        let timer = this.timer.get_or_insert_with(|| Box::pin(None));
        let reason = match ready!(clock::poll_alarm(timer.as_mut(), until, cx)) {
            Ok(()) => Reason::UploadStalled { limit },
            Err(NoRuntime) => Reason::NoRuntime,
        };
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

const NAME: Name = Name::new("body_read_timeout");

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A body with a frame after each of these delays.
    fn body(delays: &'static [u64]) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        let frames = stream::iter(delays).then(|seconds| async move {
            sleep(Duration::from_secs(*seconds)).await;
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x")))
        });
        ReadTimeoutBody::new(StreamBody::new(frames.boxed()), LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn case_66_a_steady_body_arrives_however_long_it_takes() {
        let collected = body(&[0, 29, 29, 29]).collect().await.expect("a body");
        assert_eq!(collected.to_bytes(), "xxxx");
    }

    #[tokio::test(start_paused = true)]
    async fn case_66_a_body_that_stalls_is_a_rejection_at_the_limit() {
        let began = clock::now();
        let mut body = body(&[5, 31]);
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        let error = body.frame().await.expect("no end").expect_err("it stalls");
        let rejected = error.downcast_ref::<Rejected>().expect("a rejection");
        assert_eq!(rejected.reason(), Reason::UploadStalled { limit: LIMIT });
        let took = clock::now().saturating_duration_since(began);
        assert!(took < Duration::from_secs(37), "{took:?}");
        assert!(body.frame().await.is_none(), "after the error");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_does_not_use_up_the_time() {
        let mut body = body(&[0, 29]);
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        sleep(2 * LIMIT).await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    }
}
