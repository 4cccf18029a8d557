//! The outcomes of errors of hyper, hyper-util and reqwest.

use std::{error::Error, io};

#[cfg(feature = "reqwest")]
use super::classify;
use crate::call::{ErrorClass, Outcome, chain, first_named, standard};

/// The outcome of an HTTP client's error, and whether the backend has processed the request.
pub(super) fn outcome_of(error: &(dyn Error + 'static)) -> Outcome {
    if is_callers_own(error) {
        return Outcome::Ignored;
    }
    let outcome = first_named(error, |error| named(error).or_else(|| standard(error)));
    if chain(error).find_map(unprocessed).unwrap_or(false) { outcome.unprocessed() } else { outcome }
}

/// Whether the caller has failed: the request body ended in an error, or was dropped.
///
/// The inner errors are then about the source of that body, and say nothing about the backend.
pub(crate) fn is_callers_own(error: &(dyn Error + 'static)) -> bool {
    let of_hyper = chain(error).find_map(|error| error.downcast_ref::<hyper::Error>());
    of_hyper.is_some_and(hyper::Error::is_user)
}

/// Whether this error, without its sources, says that the request was or was not sent.
fn unprocessed(error: &(dyn Error + 'static)) -> Option<bool> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // hyper cancels a request that it has not begun to write, because the connection was closing or not ready.
        // With any other error of hyper there was a connection, whatever the inner errors say.
        return Some(error.is_canceled());
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(true);
    }
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    error.downcast_ref().is_some_and(refused).then_some(true)
}

/// Whether the connection was closed or reset before an answer, and not because of the request body.
pub(super) fn closed_without_answer(error: &(dyn Error + 'static)) -> bool {
    let closed = |error: &(dyn Error + 'static)| {
        error.downcast_ref::<hyper::Error>().is_some_and(is_closed)
            || error.downcast_ref::<io::Error>().is_some_and(|error| CLOSED.contains(&error.kind()))
    };
    !is_callers_own(error) && chain(error).any(closed)
}

fn is_closed(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

/// The last one is a TLS connection that was closed without a notice.
const CLOSED: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// The outcome of this error, without its sources.
fn named(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return hyper_class(error).map(Outcome::failure);
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(Outcome::failure(ErrorClass::Connection));
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return reqwest_class(error)
            .map(Outcome::failure)
            .or_else(|| error.status().map(classify::of_status));
    }
    None
}

fn hyper_class(error: &hyper::Error) -> Option<ErrorClass> {
    if error.is_timeout() {
        Some(ErrorClass::Timeout)
    } else if is_closed(error) {
        Some(ErrorClass::Connection)
    } else if error.is_parse() {
        // The backend answered in another protocol.
        Some(ErrorClass::Server)
    } else {
        None
    }
}

#[cfg(feature = "reqwest")]
fn reqwest_class(error: &reqwest::Error) -> Option<ErrorClass> {
    if error.is_timeout() {
        Some(ErrorClass::Timeout)
    } else if error.is_connect() {
        Some(ErrorClass::Connection)
    } else if error.is_builder() {
        Some(ErrorClass::Validation)
    } else if error.is_redirect() || error.is_decode() {
        Some(ErrorClass::Server)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::call::BoxError;

    #[derive(Debug)]
    struct Around(BoxError);

    impl fmt::Display for Around {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("around")
        }
    }

    impl Error for Around {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0.as_ref())
        }
    }

    #[test]
    fn a_refused_request_is_unprocessed_and_a_reset_one_may_be_processed() {
        let around =
            |kind: io::ErrorKind| Around(Box::new(io::Error::other(Around(Box::new(io::Error::from(kind))))));
        let connection = Outcome::failure(ErrorClass::Connection);
        assert_eq!(outcome_of(&around(io::ErrorKind::ConnectionRefused)), connection.unprocessed());
        assert_eq!(outcome_of(&around(io::ErrorKind::ConnectionReset)), connection);
        assert_eq!(outcome_of(&around(io::ErrorKind::BrokenPipe)), connection);
    }
}
