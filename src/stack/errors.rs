//! The two ways in which a stack treats the error of its service: wrapped, or flat.

use tower_layer::Layer;

use super::wrap::Wrap;
use crate::call::{Classifier, Error, Outcome, PendingOutcome, QuotaState};

/// How the errors of a stack look: [`WrappedErrors`] or [`FlatErrors`], the innermost layer of the stack.
pub trait Errors: Copy {
    /// The user's classifier, fitted to the errors that the stages see.
    type Classifier<C>;

    /// Fits the user's classifier to the errors that the stages see.
    fn classifier<C>(self, classifier: C) -> Self::Classifier<C>;
}

/// The error of the stack is [`Error<E>`], and `E` is the error of the service. The default.
///
/// It is also a layer, for stages that are layered by hand: a [`Wrap`] that has a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct WrappedErrors;

impl Errors for WrappedErrors {
    type Classifier<C> = InnerClassifier<C>;

    fn classifier<C>(self, classifier: C) -> InnerClassifier<C> {
        InnerClassifier(classifier)
    }
}

impl<S> Layer<S> for WrappedErrors {
    type Service = Wrap<S>;

    fn layer(&self, inner: S) -> Wrap<S> {
        Wrap::new(inner)
    }
}

/// The error of the stack is the error of the service, which must be `From<Rejected>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlatErrors;

impl Errors for FlatErrors {
    type Classifier<C> = C;

    fn classifier<C>(self, classifier: C) -> C {
        classifier
    }
}

impl<S> Layer<S> for FlatErrors {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

/// Classifies wrapped errors with a classifier for the errors of the service.
///
/// [`Rejected::outcome`](crate::Rejected::outcome) classifies rejections of this process. The inner classifier sees
/// only results of the service.
#[derive(Clone, Copy, Debug, Default)]
pub struct InnerClassifier<C>(pub C);

impl<Res, E, C: Classifier<Res, E>> Classifier<Res, Error<E>> for InnerClassifier<C> {
    fn classify(&self, result: Result<&Res, &Error<E>>) -> Outcome {
        match result {
            Ok(response) => self.0.classify(Ok(response)),
            Err(Error::Inner(error)) => self.0.classify(Err(error)),
            Err(Error::Rejected(rejected)) => rejected.outcome(),
        }
    }

    fn defer(&self, response: &mut Res, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        self.0.defer(response, pending)
    }

    fn quota(&self, response: &Res) -> Option<QuotaState> {
        self.0.quota(response)
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
    fn the_inner_classifier_sees_only_results_of_the_service() {
        let classifier = InnerClassifier(|result: Result<&(), &u8>| match result {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Server),
        });
        let rejected = Error::Rejected(Rejected::new(Name::new("x"), Reason::ProbesTaken));
        assert_eq!(classifier.classify(Ok(&())), Outcome::Success);
        assert_eq!(classifier.classify(Err(&Error::Inner(1))), Outcome::failure(ErrorClass::Server));
        assert_eq!(classifier.classify(Err(&rejected)), Outcome::EndpointUnavailable);
    }

    #[test]
    fn the_inner_classifier_takes_the_pending_outcome() {
        struct Takes;
        impl Classifier<Vec<PendingOutcome>, u8> for Takes {
            fn classify(&self, _: Result<&Vec<PendingOutcome>, &u8>) -> Outcome {
                Outcome::Deferred
            }

            fn defer(
                &self,
                response: &mut Vec<PendingOutcome>,
                pending: PendingOutcome,
            ) -> Result<(), PendingOutcome> {
                response.push(pending);
                Ok(())
            }
        }
        let mut response = Vec::new();
        let deferred = InnerClassifier(Takes).defer(&mut response, PendingOutcome::hold(()));
        assert!(deferred.is_ok() && response.len() == 1);
        let closure = InnerClassifier(|_: Result<&(), &u8>| Outcome::Deferred);
        assert!(closure.defer(&mut (), PendingOutcome::hold(())).is_err(), "a closure cannot take it");
    }
}
