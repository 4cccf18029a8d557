//! The body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{call::Outcome, http::pending_outcomes::PendingOutcomes};

/// A response body that owns the places of its call, such as permits, until its end.
///
/// The end is the last frame, or a drop. The body settles the pending outcomes of a whole response with
/// [`Success`](Outcome::Success). It drops the others unsettled.
///
/// # Cancellation
///
/// Dropping it drops the inner body, and then the places.
#[pin_project]
#[derive(Debug)]
pub struct OutcomeBody<B> {
    #[pin]
    inner: B,
    // After the inner body, so that a drop ends the response before another call gets its place.
    pending: Option<PendingOutcomes>,
}

impl<B: Body> OutcomeBody<B> {
    /// Moves the places from the head of the response into its body.
    pub(super) fn of(mut response: Response<B>) -> Response<Self> {
        let mut pending = response.extensions_mut().remove::<PendingOutcomes>();
        if response.body().is_end_stream() {
            settle(&mut pending);
        }
        response.map(|inner| Self { inner, pending })
    }
}

impl<B: Body> Body for OutcomeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            Some(Err(_)) => *this.pending = None,
            // A reader that finds the end after the last frame does not poll for it.
            Some(Ok(_)) if !this.inner.is_end_stream() => {}
            Some(Ok(_)) | None => settle(this.pending),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn settle(pending: &mut Option<PendingOutcomes>) {
    if let Some(pending) = pending.take() {
        pending.settle(Outcome::Success);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::mpsc::{Receiver, channel},
    };

    use bytes::Bytes;
    use futures::{FutureExt, stream};
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    use super::*;
    use crate::{
        call::{Classifier, PendingOutcome},
        http::UntilBodyEnd,
    };

    /// A response with a place, and the outcomes that settle it. The channel is closed once the place is gone.
    fn response<B: Body>(body: B) -> (Response<OutcomeBody<B>>, Receiver<Outcome>) {
        let mut response = Response::new(body);
        let (tell, told) = channel();
        let pending = PendingOutcome::new(move |outcome| tell.send(outcome).expect("the receiver is alive"));
        Classifier::<_, ()>::defer(&UntilBodyEnd, &mut response, pending).expect("it takes each response");
        (OutcomeBody::of(response), told)
    }

    #[test]
    fn case_58_a_place_is_held_until_the_last_frame() {
        let frames = ["a", "b"].map(|data| Ok::<_, io::Error>(Frame::data(Bytes::from(data))));
        let (response, told) = response(StreamBody::new(stream::iter(frames)));
        let mut body = response.into_body();
        for _ in 0..2 {
            assert!(body.frame().now_or_never().flatten().is_some());
            assert!(told.try_recv().is_err());
        }
        assert!(body.frame().now_or_never().flatten().is_none());
        assert_eq!(told.try_recv(), Ok(Outcome::Success));
    }

    #[test]
    fn a_body_that_knows_its_end_returns_the_place_with_its_last_frame() {
        let (response, told) = response(Full::new(Bytes::from_static(b"x")));
        let mut body = response.into_body();
        assert!(!body.is_end_stream() && told.try_recv().is_err());
        assert!(body.frame().now_or_never().flatten().is_some());
        assert_eq!(told.try_recv(), Ok(Outcome::Success));
    }

    #[test]
    fn an_empty_body_holds_no_place() {
        let (_response, told) = response(Empty::<Bytes>::new());
        assert_eq!(told.try_recv(), Ok(Outcome::Success));
    }

    #[test]
    fn case_07_an_error_and_a_drop_return_the_place_unsettled() {
        let failing = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(io::Error::other("reset"))]));
        let (failed, told) = response(failing);
        let mut body = failed.into_body();
        assert!(body.frame().now_or_never().flatten().is_some_and(|frame| frame.is_err()));
        assert!(told.recv().is_err(), "the place is gone");
        let (dropped, told) = response(Full::new(Bytes::from_static(b"x")));
        drop(dropped);
        assert!(told.recv().is_err(), "the place is gone");
    }
}
