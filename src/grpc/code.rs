//! Status codes, and what each says about the server.

use ::http::StatusCode;
use tonic::Code;

use crate::call::{ErrorClass, Outcome};

/// What an answer of this code says, without hints.
pub(super) const fn outcome_of(code: Code) -> Outcome {
    let class = match code {
        // The server has looked and said no; `OutOfRange` is how an iteration ends.
        Code::Ok | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            return Outcome::Success;
        }
        // Somebody gave up waiting: the caller, or a server of tonic's at the end of the time that the caller gave.
        // Neither says what the server would have done, and nobody waits for a second try.
        Code::Cancelled => return Outcome::Ignored,
        // What is aborted is to be begun again further up, as a read and a write together. `Unimplemented` will not
        // be implemented by asking again.
        Code::InvalidArgument | Code::Aborted | Code::Unimplemented => ErrorClass::Validation,
        Code::Unauthenticated | Code::PermissionDenied => ErrorClass::Authentication,
        Code::ResourceExhausted => ErrorClass::RateLimit,
        Code::DeadlineExceeded => ErrorClass::Timeout,
        Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => ErrorClass::Server,
    };
    Outcome::failure(class)
}

/// The code that stands for an HTTP answer without one (gRPC's "HTTP to gRPC Status Code Mapping").
pub(super) const fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_class() {
        use ErrorClass::{Authentication, RateLimit, Server, Timeout, Validation};
        for (code, class) in [
            (Code::Ok, None),
            (Code::Unknown, Some(Server)),
            (Code::InvalidArgument, Some(Validation)),
            (Code::DeadlineExceeded, Some(Timeout)),
            (Code::NotFound, None),
            (Code::AlreadyExists, None),
            (Code::PermissionDenied, Some(Authentication)),
            (Code::ResourceExhausted, Some(RateLimit)),
            (Code::FailedPrecondition, None),
            (Code::Aborted, Some(Validation)),
            (Code::OutOfRange, None),
            (Code::Unimplemented, Some(Validation)),
            (Code::Internal, Some(Server)),
            (Code::Unavailable, Some(Server)),
            (Code::DataLoss, Some(Server)),
            (Code::Unauthenticated, Some(Authentication)),
        ] {
            let expected = class.map_or(Outcome::Success, Outcome::failure);
            assert_eq!(outcome_of(code), expected, "{code:?}");
        }
        assert_eq!(outcome_of(Code::Cancelled), Outcome::Ignored);
    }

    #[test]
    fn a_proxys_answer_has_the_code_that_a_client_would_see() {
        let code = |status| code_of_http(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([code(400), code(404)], [Code::Internal, Code::Unimplemented]);
        assert_eq!([code(401), code(403)], [Code::Unauthenticated, Code::PermissionDenied]);
        assert_eq!([429, 502, 503, 504].map(code), [Code::Unavailable; 4]);
        assert_eq!([302, 418, 500].map(code), [Code::Unknown; 3]);
    }
}
