//! The classifier.

use ::http::Response;

use crate::{
    call::{Classifier, Outcome, PendingOutcome},
    http::pending_outcomes::PendingOutcomes,
};

/// Holds the place of a call until the end of the response body: for a [drain](crate::drain) or a
/// [concurrency limit](crate::concurrency_limit) of a server.
///
/// Every response is [`Deferred`](Outcome::Deferred). An error is [`DeadlineExceeded`](Outcome::DeadlineExceeded): an
/// adaptive limit takes its time as the least that the handler would have taken. A
/// [`BodyOutcomeLayer`](super::BodyOutcomeLayer) must stand outside of the layer. Without it, the place returns when the
/// server drops the head of the response. It suits responses of gRPC too.
///
/// A deferred response allocates: the body owns the place.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd;

impl<B, E> Classifier<Response<B>, E> for UntilBodyEnd {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        // Most errors of a handler are timeouts. As `Ignored`, a server whose handlers all time out would learn nothing.
        result.map_or(Outcome::DeadlineExceeded, |_| Outcome::Deferred)
    }

    fn defer(&self, response: &mut Response<B>, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        PendingOutcomes::leave(response.extensions_mut(), pending);
        Ok(())
    }
}
