//! The body.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::pending_outcomes::PendingOutcomes;
use crate::{
    call::{BoxError, ErrorClass, Outcome, Retryable},
    grpc::GrpcClassifier,
};

/// A response body that tells, exactly once, how its stream ended.
///
/// At its trailers it tells what they say; at an error, what that says; at an end without trailers, that the answer is
/// broken. Dropped before its end, it tells what [`abandoned`](Self::abandoned) set.
///
/// Whatever shall be held until the end of the stream, such as a permit, `on_end` can own: it is called once in any
/// case, and what it owns is dropped with it.
///
/// ```
/// use std::sync::Arc;
/// use http_body_util::{BodyExt, Full};
/// use tokio::sync::Semaphore;
/// use tower_reliability::grpc::{GrpcClassifier, GrpcOutcomeBody};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let slots = Arc::new(Semaphore::new(1));
/// let permit = slots.clone().try_acquire_owned()?;
/// # let body = Full::new(bytes::Bytes::new());
/// let body = GrpcOutcomeBody::new(body, GrpcClassifier::new(), move |outcome| {
///     println!("{outcome:?}");
///     drop(permit);
/// });
/// assert_eq!(slots.available_permits(), 0);
/// # let _ =
/// body.collect().await;
/// assert_eq!(slots.available_permits(), 1);
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// Dropping it drops the body inside, and tells.
#[pin_project]
pub struct GrpcOutcomeBody<B, F: FnOnce(Outcome)> {
    #[pin]
    inner: B,
    classifier: GrpcClassifier,
    ending: Ending<F>,
}

/// Tells once, at the latest when it is dropped.
struct Ending<F: FnOnce(Outcome)> {
    /// `None` once it has been told.
    on_end: Option<F>,
    deferred: Option<PendingOutcomes>,
    abandoned: Option<Outcome>,
}

impl<B, F: FnOnce(Outcome)> GrpcOutcomeBody<B, F> {
    /// Watches over `inner`, and tells `on_end` how it ended.
    pub const fn new(inner: B, classifier: GrpcClassifier, on_end: F) -> Self {
        Self::telling(inner, classifier, Some(on_end), None, None)
    }

    pub(super) const fn telling(
        inner: B,
        classifier: GrpcClassifier,
        on_end: Option<F>,
        deferred: Option<PendingOutcomes>,
        abandoned: Option<Outcome>,
    ) -> Self {
        Self { inner, classifier, ending: Ending { on_end, deferred, abandoned } }
    }

    /// What to tell if the body is dropped before its end. Default: [`Ignored`](Outcome::Ignored); a caller that has
    /// heard enough says nothing about the server.
    #[must_use]
    pub const fn abandoned(mut self, outcome: Outcome) -> Self {
        self.ending.abandoned = Some(outcome);
        self
    }
}

impl<F: FnOnce(Outcome)> Ending<F> {
    /// The layers hear of it first, so that whoever is told finds them as they are from now on.
    fn tell(&mut self, outcome: Outcome) {
        if let Some(deferred) = self.deferred.take() {
            deferred.settle(outcome);
        }
        if let Some(on_end) = self.on_end.take() {
            on_end(outcome);
        }
    }

    const fn is_told(&self) -> bool {
        self.on_end.is_none() && self.deferred.is_none()
    }
}

impl<F: FnOnce(Outcome)> Drop for Ending<F> {
    fn drop(&mut self) {
        // Unless somebody has said what it means, each layer has its own policy for what is abandoned.
        if self.abandoned.is_none()
            && let Some(deferred) = self.deferred.take()
        {
            deferred.abandon();
        }
        self.tell(self.abandoned.unwrap_or(Outcome::Ignored));
    }
}

impl<B, F> Body for GrpcOutcomeBody<B, F>
where
    B: Body,
    B::Error: Into<BoxError>,
    F: FnOnce(Outcome),
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx)).map(|frame| frame.map_err(Into::into));
        match &frame {
            None => this.ending.tell(this.classifier.outcome_of_trailers(&HeaderMap::new())),
            Some(Err(error)) => this.ending.tell(of_error(this.classifier, error)),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.ending.tell(this.classifier.outcome_of_trailers(trailers));
                }
            }
        }
        Poll::Ready(frame)
    }

    /// Not before it has been told: whoever believes it does not ask for the trailers any more.
    fn is_end_stream(&self) -> bool {
        self.ending.is_told() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What an error says in the middle of a stream: whatever it is, it is no success, and what has begun is not unprocessed.
fn of_error(classifier: &GrpcClassifier, error: &BoxError) -> Outcome {
    match classifier.outcome_of_error(error.as_ref()) {
        Outcome::Failure { class, retry_after, retryable: Retryable::Unprocessed } => {
            let seen = Outcome::failure(class);
            retry_after.map_or(seen, |delay| seen.retry_after(delay))
        }
        Outcome::Success => Outcome::failure(ErrorClass::Server),
        other => other,
    }
}

/// An empty body with nothing to tell, for layers that answer without asking the service.
impl<B: Default, F: FnOnce(Outcome)> Default for GrpcOutcomeBody<B, F> {
    fn default() -> Self {
        Self::telling(B::default(), GrpcClassifier::new(), None, None, None)
    }
}

impl<B: fmt::Debug, F: FnOnce(Outcome)> fmt::Debug for GrpcOutcomeBody<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcOutcomeBody")
            .field("inner", &self.inner)
            .field("told", &self.ending.is_told())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque, io, rc::Rc};

    use bytes::Bytes;
    use futures::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Step = Result<Frame<Bytes>, io::ErrorKind>;

    /// Polls a body of these frames so many times, drops it, and returns what was told.
    fn told(frames: impl Into<VecDeque<Step>>, polls: usize) -> Vec<Outcome> {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inner =
            StreamBody::new(stream::iter(frames.into()).map(|step| step.map_err(io::Error::from)).fuse());
        let writer = log.clone();
        let mut body = GrpcOutcomeBody::new(inner, GrpcClassifier::new(), move |outcome| {
            writer.borrow_mut().push(outcome);
        });
        for _ in 0..polls {
            assert!(!body.is_end_stream() || !log.borrow().is_empty());
            let _ = body.frame().now_or_never().expect("it never waits");
        }
        drop(body);
        log.take()
    }

    fn data() -> Frame<Bytes> {
        Frame::data(Bytes::from_static(b"x"))
    }

    fn trailers(code: &'static str) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", ::http::HeaderValue::from_static(code));
        Frame::trailers(trailers)
    }

    #[test]
    fn trailers_tell_once_however_often_it_is_polled_after_them() {
        assert_eq!(told([Ok(data()), Ok(trailers("0"))], 5), [Outcome::Success]);
        assert_eq!(told([Ok(data()), Ok(trailers("14"))], 5), [Outcome::failure(ErrorClass::Server)]);
        assert_eq!(told([Ok(data()), Ok(trailers("1"))], 2), [Outcome::Ignored]);
    }

    #[test]
    fn an_end_without_trailers_is_a_broken_answer() {
        assert_eq!(told([Ok(data())], 3), [Outcome::failure(ErrorClass::Server)]);
        assert_eq!(told([], 1), [Outcome::failure(ErrorClass::Server)]);
    }

    #[test]
    fn an_error_tells_and_what_comes_after_it_does_not() {
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(
            told([Ok(data()), reset, Ok(trailers("0"))], 4),
            [Outcome::failure(ErrorClass::Connection)]
        );
    }

    #[test]
    fn dropped_before_its_end_it_is_abandoned_in_every_phase() {
        for polls in 0..2 {
            assert_eq!(
                told([Ok(data()), Ok(trailers("0"))], polls),
                [Outcome::Ignored],
                "after {polls} polls"
            );
        }
    }

    #[test]
    fn what_abandoned_means_can_be_said_and_a_default_tells_nothing() {
        let log = RefCell::new(Vec::new());
        let tell = |outcome| log.borrow_mut().push(outcome);
        let slow = Outcome::failure(ErrorClass::Timeout);
        drop(GrpcOutcomeBody::new((), GrpcClassifier::new(), tell).abandoned(slow));
        let mut empty = GrpcOutcomeBody::new((), GrpcClassifier::new(), tell);
        empty.ending.on_end = None;
        drop(empty);
        assert_eq!(*log.borrow(), [slow]);
    }
}
