//! The body that tells how its stream ended.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    call::{BoxError, ErrorClass, Outcome, Retryable},
    grpc::GrpcClassifier,
    http::pending_outcomes::PendingOutcomes,
};

/// A response body that tells `on_end`, exactly once, how its stream ended.
///
/// | end of the stream | outcome |
/// |---|---|
/// | trailers | the outcome of their status |
/// | an error | the outcome of the error, and never a success |
/// | no trailers | a failure of class `Server` |
/// | dropped before its end | [`abandoned`](Self::abandoned) |
///
/// `on_end` can own a value, such as a permit, until the end of the stream: the body drops `on_end` after the call.
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
/// # Cancellation and panics
///
/// Dropping the body drops the inner body, and tells `on_end` unless it was told before. The body does not panic; a
/// panic of `on_end` reaches the code that polls or drops the body.
#[pin_project]
pub struct GrpcOutcomeBody<B, F: FnOnce(Outcome)> {
    #[pin]
    inner: B,
    classifier: GrpcClassifier,
    ending: Ending<F>,
}

/// Tells once, at the latest when it is dropped.
struct Ending<F: FnOnce(Outcome)> {
    /// `None` once told.
    on_end: Option<F>,
    pending: Option<PendingOutcomes>,
    abandoned: Outcome,
}

impl<B, F: FnOnce(Outcome)> GrpcOutcomeBody<B, F> {
    /// Wraps `inner` and tells `on_end` how its stream ended.
    pub const fn new(inner: B, classifier: GrpcClassifier, on_end: F) -> Self {
        Self::telling(inner, classifier, Some(on_end), None, Outcome::Ignored)
    }

    pub(super) const fn telling(
        inner: B,
        classifier: GrpcClassifier,
        on_end: Option<F>,
        pending: Option<PendingOutcomes>,
        abandoned: Outcome,
    ) -> Self {
        Self { inner, classifier, ending: Ending { on_end, pending, abandoned } }
    }

    /// The outcome of a body that is dropped before its end.
    ///
    /// Default: [`Ignored`](Outcome::Ignored). A caller may have read enough, which says nothing about the server.
    #[must_use]
    pub const fn abandoned(mut self, outcome: Outcome) -> Self {
        self.ending.abandoned = outcome;
        self
    }
}

impl<F: FnOnce(Outcome)> Ending<F> {
    /// Tells the layers first, so that `on_end` finds their handles up to date.
    fn tell(&mut self, outcome: Outcome) {
        if let Some(pending) = self.pending.take() {
            pending.settle(outcome);
        }
        if let Some(on_end) = self.on_end.take() {
            on_end(outcome);
        }
    }

    const fn is_told(&self) -> bool {
        self.on_end.is_none() && self.pending.is_none()
    }
}

impl<F: FnOnce(Outcome)> Drop for Ending<F> {
    fn drop(&mut self) {
        self.tell(self.abandoned);
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

    /// True only after the body has told: a reader that sees `true` does not poll for the end.
    fn is_end_stream(&self) -> bool {
        self.ending.is_told() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The outcome of an error inside a stream. The server has begun the call, so the failure is never unprocessed.
fn of_error(classifier: &GrpcClassifier, error: &BoxError) -> Outcome {
    match classifier.outcome_of_error(error.as_ref()) {
        Outcome::Failure { class, retry_after, retryable: Retryable::Unprocessed } => {
            let begun = Outcome::failure(class);
            retry_after.map_or(begun, |delay| begun.retry_after(delay))
        }
        Outcome::Success => Outcome::failure(ErrorClass::Server),
        other => other,
    }
}

/// An empty body with nothing to tell, for outer layers that answer by themselves.
impl<B: Default, F: FnOnce(Outcome)> Default for GrpcOutcomeBody<B, F> {
    fn default() -> Self {
        Self::telling(B::default(), GrpcClassifier::new(), None, None, Outcome::Ignored)
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

    /// Polls a body of these frames so many times, drops it, and returns the outcomes that it told.
    fn told(frames: impl Into<VecDeque<Step>>, polls: usize) -> Vec<Outcome> {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inner =
            StreamBody::new(stream::iter(frames.into()).map(|step| step.map_err(io::Error::from)).fuse());
        let writer = log.clone();
        let mut body = GrpcOutcomeBody::new(inner, GrpcClassifier::new(), move |outcome| {
            writer.borrow_mut().push(outcome);
        });
        for _ in 0..polls {
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
    fn trailers_tell_once_with_any_number_of_polls_after_them() {
        assert_eq!(told([Ok(data()), Ok(trailers("0"))], 5), [Outcome::Success]);
        assert_eq!(told([Ok(data()), Ok(trailers("14"))], 5), [Outcome::failure(ErrorClass::Server)]);
        assert_eq!(told([Ok(data()), Ok(trailers("1"))], 2), [Outcome::Ignored]);
    }

    #[test]
    fn an_end_without_trailers_is_a_failure() {
        assert_eq!(told([Ok(data())], 3), [Outcome::failure(ErrorClass::Server)]);
        assert_eq!(told([], 1), [Outcome::failure(ErrorClass::Server)]);
    }

    /// The inner body of a unary answer claims its end after its last frame of data. A reader that believes the claim
    /// drops the body, and the outcome would be that of a dropped stream.
    #[test]
    fn the_body_does_not_claim_its_end_before_it_has_told() {
        let log = RefCell::new(Vec::new());
        let inner = http_body_util::Full::new(Bytes::from_static(b"x"));
        let tell = |outcome| log.borrow_mut().push(outcome);
        let mut body = GrpcOutcomeBody::new(inner, GrpcClassifier::new(), tell);
        assert!(body.frame().now_or_never().flatten().is_some());
        assert!(body.inner.is_end_stream() && !body.is_end_stream());
        assert!(body.frame().now_or_never().flatten().is_none());
        assert!(body.is_end_stream());
        assert_eq!(*log.borrow(), [Outcome::failure(ErrorClass::Server)]);
    }

    #[test]
    fn only_the_first_end_is_told() {
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(
            told([Ok(data()), reset, Ok(trailers("0"))], 4),
            [Outcome::failure(ErrorClass::Connection)]
        );
    }

    #[test]
    fn a_body_dropped_before_its_end_is_ignored_in_every_phase() {
        for polls in 0..2 {
            assert_eq!(
                told([Ok(data()), Ok(trailers("0"))], polls),
                [Outcome::Ignored],
                "after {polls} polls"
            );
        }
    }

    #[test]
    fn the_outcome_of_a_drop_can_be_chosen_and_a_default_body_tells_nothing() {
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
