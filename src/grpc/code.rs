//! The outcome of each status code.

use ::http::StatusCode;
use tonic::Code;

use crate::call::{ErrorClass, Outcome};

/// The outcome of an answer with this code, without hints.
pub(super) const fn outcome_of(code: Code) -> Outcome {
    let class = match code {
        // The server has answered the question; `OutOfRange` ends an iteration.
        Code::Ok | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            return Outcome::Success;
        }
        // The caller cancelled, or the timer of a tonic server ended the call at the caller's deadline. Neither is
        // evidence about the server, and no caller waits for another attempt.
        Code::Cancelled => return Outcome::Ignored,
        // An aborted transaction must start again from its first read, so the caller repeats it, not a layer. Another
        // attempt does not implement `Unimplemented`.
        Code::InvalidArgument | Code::Aborted | Code::Unimplemented => ErrorClass::Validation,
        Code::Unauthenticated | Code::PermissionDenied => ErrorClass::Authentication,
        Code::ResourceExhausted => ErrorClass::RateLimit,
        Code::DeadlineExceeded => ErrorClass::Timeout,
        Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => ErrorClass::Server,
    };
    Outcome::failure(class)
}

/// The code for an HTTP status without one, by gRPC's "HTTP to gRPC Status Code Mapping".
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
    fn the_answer_of_a_proxy_has_the_code_that_a_client_sees() {
        let code = |status| code_of_http(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([code(400), code(404)], [Code::Internal, Code::Unimplemented]);
        assert_eq!([code(401), code(403)], [Code::Unauthenticated, Code::PermissionDenied]);
        assert_eq!([429, 502, 503, 504].map(code), [Code::Unavailable; 4]);
        assert_eq!([302, 418, 500].map(code), [Code::Unknown; 3]);
    }
}
