//! The future of a call whose rejection becomes an answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project::pin_project;
use tonic::Status;

use crate::{IntoRejected, Rejected};

/// The response of the service below, or the answer to a rejection.
///
/// # Cancellation
///
/// Dropping it drops the call below.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    phase: Phase<F>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<F> {
    Running(#[pin] F),
    Rejected(Rejected),
}

impl<F> ResponseFuture<F> {
    pub(super) fn running(inner: F) -> Self {
        Self { phase: Phase::Running(inner) }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(rejected) }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: IntoRejected,
    B: Default,
{
    type Output = Result<Response<B>, E::Other>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.project().phase.project() {
            PhaseProj::Running(inner) => ready!(inner.poll(cx)),
            PhaseProj::Rejected(rejected) => return Poll::Ready(Ok(answer(rejected.clone()))),
        };
        Poll::Ready(result.or_else(|error| error.into_rejected().map(answer)))
    }
}

/// A head and nothing else, which gRPC calls "trailers-only".
fn answer<B: Default>(rejected: Rejected) -> Response<B> {
    let mut response = Status::from(rejected.clone()).into_http();
    // For classifiers above, to whom this is still no verdict on the peer.
    response.extensions_mut().insert(rejected);
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{Classifier, Name, Outcome, Reason, Trip, grpc::GrpcClassifier};

    #[test]
    fn the_answer_is_a_head_with_a_status_and_no_verdict_for_those_above() {
        let reason = Reason::CircuitOpen(Trip::ByHand);
        let answer: Response<String> = answer(Rejected::new(Name::new("b\u{e4}nk%"), reason));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert!(!answer.headers().contains_key("grpc-retry-pushback-ms"));
        let message = answer.headers()["grpc-message"].to_str().expect("ascii");
        assert!(message.starts_with("b%C3%A4nk%25:%20circuit%20open"), "{message}");
        assert!(answer.body().is_empty());
        let outcome = GrpcClassifier::new().classify(Ok::<_, &Infallible>(&answer));
        assert_eq!(outcome, Outcome::Elsewhere);
    }
}
