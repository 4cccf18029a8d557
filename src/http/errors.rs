//! What the errors of hyper, hyper-util and reqwest say.

use std::error::Error;

use crate::{
    ErrorClass, Outcome,
    classify::{first_named, standard},
};

/// What an error of an HTTP client says about the peer.
pub(super) fn outcome_of(error: &(dyn Error + 'static)) -> Outcome {
    first_named(error, |error| {
        named(error).map(Outcome::failure).or_else(|| standard(error))
    })
}

/// The class of this one error, without its sources.
fn named(error: &(dyn Error + 'static)) -> Option<ErrorClass> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return hyper_class(error);
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then_some(ErrorClass::Connection);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return reqwest_class(error);
    }
    None
}

fn hyper_class(error: &hyper::Error) -> Option<ErrorClass> {
    let broken = error.is_canceled()
        || error.is_closed()
        || error.is_incomplete_message()
        || error.is_body_write_aborted();
    if error.is_timeout() {
        Some(ErrorClass::Timeout)
    } else if broken {
        Some(ErrorClass::Connection)
    } else if error.is_parse() {
        // The peer answered, and not in HTTP.
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
        error
            .status()
            .map(|status| super::classify::class_of(status).unwrap_or(ErrorClass::Unknown))
    }
}
