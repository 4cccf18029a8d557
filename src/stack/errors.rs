//! What a stack does with the error of the service below: wraps it, or takes it as it is.

use tower_layer::Identity;

use super::wrap::WrapLayer;
use crate::call::{Classifier, Error, Outcome, PendingOutcome};

/// How the errors of a stack look. [`WrappedErrors`] or [`FlatErrors`].
pub trait Errors: Copy {
    /// What stands at the bottom.
    type Layer;
    /// What the user's classifier becomes, so that it sees the errors that it was written for.
    type Classifier<C>;

    /// The bottom layer.
    fn layer(self) -> Self::Layer;

    /// Fits the user's classifier in.
    fn classifier<C>(self, classifier: C) -> Self::Classifier<C>;
}

/// The stack's error is [`Error<E>`], where `E` is the service's. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct WrappedErrors;

impl Errors for WrappedErrors {
    type Layer = WrapLayer;
    type Classifier<C> = PeerClassifier<C>;

    fn layer(self) -> WrapLayer {
        WrapLayer
    }

    fn classifier<C>(self, classifier: C) -> PeerClassifier<C> {
        PeerClassifier(classifier)
    }
}

/// The stack's error is the service's, which must be `From<Rejected>`: a `BoxError`, or an enum of your own.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlatErrors;

impl Errors for FlatErrors {
    type Layer = Identity;
    type Classifier<C> = C;

    fn layer(self) -> Identity {
        Identity::new()
    }

    fn classifier<C>(self, classifier: C) -> C {
        classifier
    }
}

/// A classifier of a service's own errors, in a place where they are wrapped.
///
/// Rejections made on this side are classified by [`Rejected::outcome`](crate::Rejected::outcome); only what came
/// from the service is shown to the classifier inside.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerClassifier<C>(pub C);

impl<Res, E, C: Classifier<Res, E>> Classifier<Res, Error<E>> for PeerClassifier<C> {
    fn classify(&self, result: Result<&Res, &Error<E>>) -> Outcome {
        match result {
            Ok(response) => self.0.classify(Ok(response)),
            Err(Error::Inner(error)) => self.0.classify(Err(error)),
            Err(Error::Rejected(rejected)) => rejected.outcome(),
        }
    }

    fn defer(&self, response: &mut Res, verdict: PendingOutcome) -> Result<(), PendingOutcome> {
        self.0.defer(response, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call::{ErrorClass, Reason, Rejected},
        telemetry::Name,
    };

    #[test]
    fn only_what_came_from_the_service_is_shown_to_its_classifier() {
        let classifier = PeerClassifier(|result: Result<&(), &u8>| match result {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Server),
        });
        let rejected = Error::Rejected(Rejected::new(Name::new("x"), Reason::ProbesTaken));
        assert_eq!(classifier.classify(Ok(&())), Outcome::Success);
        assert_eq!(classifier.classify(Err(&Error::Inner(1))), Outcome::failure(ErrorClass::Server));
        assert_eq!(classifier.classify(Err(&rejected)), Outcome::EndpointUnavailable);
    }

    #[test]
    fn a_verdict_is_left_where_the_classifier_inside_leaves_it() {
        struct Takes;
        impl Classifier<Vec<PendingOutcome>, u8> for Takes {
            fn classify(&self, _: Result<&Vec<PendingOutcome>, &u8>) -> Outcome {
                Outcome::Deferred
            }

            fn defer(
                &self,
                response: &mut Vec<PendingOutcome>,
                verdict: PendingOutcome,
            ) -> Result<(), PendingOutcome> {
                response.push(verdict);
                Ok(())
            }
        }
        let mut response = Vec::new();
        let deferred = PeerClassifier(Takes).defer(&mut response, PendingOutcome::hold(()));
        assert!(deferred.is_ok() && response.len() == 1);
        let closure = PeerClassifier(|_: Result<&(), &u8>| Outcome::Deferred);
        assert!(closure.defer(&mut (), PendingOutcome::hold(())).is_err(), "a closure cannot keep it");
    }
}
