//! The outcomes of the errors of tonic, hyper and h2.

use std::error::Error;

use h2::Reason;
use tonic::{ConnectError, Status, TimeoutExpired};

use crate::{
    call::{ErrorClass, Outcome, Rejected, chain, find_named},
    http::{HttpClassifier, errors::is_callers_own},
};

/// The outcome of an error of a gRPC client; `of_status` gives that of a status.
///
/// tonic turns every error into a status and keeps the error as its source. So a cause with a known outcome decides
/// first, at any depth of the chain. Without a cause, the status decides.
pub(super) fn outcome_of(error: &(dyn Error + 'static), of_status: impl Fn(&Status) -> Outcome) -> Outcome {
    // First: the stream of the caller's messages fails with the same error types as the server.
    if is_callers_own(error) || chain(error).any(is_own_reset) {
        return Outcome::Ignored;
    }
    let status = |answers: bool| {
        find_named(error, |error| {
            let status = error.downcast_ref::<Status>()?;
            (!answers || status.source().is_none()).then(|| of_status(status))
        })
    };
    find_named(error, |error| error.downcast_ref::<Rejected>().map(Rejected::outcome))
        .or_else(|| find_named(error, named))
        .or_else(|| status(true))
        .or_else(|| Some(HttpClassifier::new().outcome_of_error(error)).filter(is_named))
        .or_else(|| status(false))
        .unwrap_or(Outcome::failure(ErrorClass::Unknown))
}

fn is_named(outcome: &Outcome) -> bool {
    outcome.class() != Some(ErrorClass::Unknown)
}

/// Whether this side reset the stream, as hyper does when the body of a request fails.
fn is_own_reset(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<h2::Error>();
    error.is_some_and(|error| error.is_reset() && !error.is_remote() && !error.is_library())
}

/// The outcome of this one error, without its sources.
fn named(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if error.is::<ConnectError>() {
        return Some(Outcome::failure(ErrorClass::Connection).unprocessed());
    }
    // The timer of tonic's channel, set from `grpc-timeout` or `Endpoint::timeout`. tonic makes it `CANCELLED`.
    if error.is::<TimeoutExpired>() {
        return Some(Outcome::failure(ErrorClass::Timeout));
    }
    error.downcast_ref::<h2::Error>().and_then(h2_outcome)
}

/// The reasons as in gRPC's PROTOCOL-HTTP2, "Errors".
fn h2_outcome(error: &h2::Error) -> Option<Outcome> {
    // A refused stream was not begun, nor was one after the last stream that a `GOAWAY` accepts.
    let going = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    if going || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)) {
        return Some(Outcome::failure(ErrorClass::Connection).unprocessed());
    }
    if error.is_io() {
        return Some(Outcome::failure(ErrorClass::Connection));
    }
    Some(match error.reason()? {
        Reason::CANCEL => Outcome::Ignored,
        Reason::ENHANCE_YOUR_CALM => Outcome::failure(ErrorClass::RateLimit),
        Reason::INADEQUATE_SECURITY => Outcome::failure(ErrorClass::Authentication),
        Reason::STREAM_CLOSED | Reason::HTTP_1_1_REQUIRED => Outcome::failure(ErrorClass::Connection),
        _ => Outcome::failure(ErrorClass::Server),
    })
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;
    use crate::{Reason as Why, grpc::GrpcClassifier, telemetry::Name};

    fn outcome(error: impl Error + 'static) -> Outcome {
        GrpcClassifier::new().outcome_of_error(&error)
    }

    #[test]
    fn a_refused_connection_has_sent_nothing() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let connection = Outcome::failure(ErrorClass::Connection);
        assert_eq!(outcome(ConnectError(Box::new(refused))), connection.unprocessed());
        assert_eq!(outcome(io::Error::from(io::ErrorKind::ConnectionReset)), connection);
    }

    #[test]
    fn a_status_of_the_server_decides_with_its_metadata() {
        let mut status = Status::resource_exhausted("busy");
        status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().expect("ascii"));
        assert_eq!(outcome(status), Outcome::failure(ErrorClass::RateLimit).not_retryable());
        assert_eq!(outcome(Status::unavailable("later")), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(io::Error::other(Status::internal("bug"))), Outcome::failure(ErrorClass::Server));
    }

    #[test]
    fn a_status_with_a_source_has_the_outcome_of_the_source() {
        let made = |source: Box<dyn Error + Send + Sync>| outcome(Status::from_error(source));
        let refused = ConnectError("refused".into());
        assert_eq!(made(Box::new(refused)), Outcome::failure(ErrorClass::Connection).unprocessed());
        assert_eq!(made("?".into()), Outcome::failure(ErrorClass::Server));
        let rejected = Rejected::new(Name::new("timeout"), Why::DeadlineExceeded);
        let mut status = Status::deadline_exceeded("late");
        status.set_source(Arc::new(rejected));
        assert_eq!(outcome(status), Outcome::DeadlineExceeded);
    }

    #[test]
    fn the_timer_of_a_channel_is_a_timeout_and_any_other_cancellation_is_ignored() {
        let timeout = Outcome::failure(ErrorClass::Timeout);
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!((status.code(), outcome(status)), (tonic::Code::Cancelled, timeout));
        assert_eq!(outcome(TimeoutExpired(())), timeout);
        assert_eq!(outcome(Status::cancelled("Timeout expired")), Outcome::Ignored);
    }

    #[test]
    fn resets_have_reasons() {
        let reset = |reason: Reason| outcome(h2::Error::from(reason));
        assert_eq!(reset(Reason::ENHANCE_YOUR_CALM), Outcome::failure(ErrorClass::RateLimit));
        assert_eq!(reset(Reason::CANCEL), Outcome::Ignored);
        assert_eq!(reset(Reason::INTERNAL_ERROR), Outcome::failure(ErrorClass::Server));
    }

    #[test]
    fn any_other_error_is_unknown() {
        assert_eq!(outcome(io::Error::other("?")), Outcome::failure(ErrorClass::Unknown));
    }
}
