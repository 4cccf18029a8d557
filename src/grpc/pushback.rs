//! The wishes of a server about further attempts: `grpc-retry-pushback-ms` and `grpc-previous-rpc-attempts` (gRFC A6).

use std::time::Duration;

use ::http::HeaderMap;

use crate::{
    call::Outcome,
    http::retry_attempt::{self, is_above_zero},
};

/// The value of `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushback {
    /// Another attempt after this delay.
    After(Duration),
    /// No further attempt: a negative number, or no number.
    Never,
}

/// Adds the wishes in the answer's headers or trailers to its outcome.
pub(super) fn hinted(outcome: Outcome, headers: &HeaderMap, max: Duration) -> Outcome {
    let hinted = match pushback(headers) {
        Some(Pushback::After(delay)) => outcome.retry_after(delay.min(max)),
        Some(Pushback::Never) => outcome.not_retryable(),
        None => outcome,
    };
    // A hop closer to the server has retried already. If each of three hops did, one call would make 27 attempts.
    if is_above_zero(headers.get(PREVIOUS_ATTEMPTS)) { hinted.not_retryable() } else { hinted }
}

/// The pushback of an answer, if it has one.
pub(super) fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let mut values = headers.get_all(PUSHBACK).iter();
    let first = values.next()?;
    // Two values are no number, as in grpc-go.
    let value = if values.next().is_some() { b"" } else { first.as_bytes() };
    Some(parse(value))
}

/// The specification forbids leading zeros; grpc-go reads them, and so does this function.
fn parse(value: &[u8]) -> Pushback {
    number(value).map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)))
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";
pub(super) const PREVIOUS_ATTEMPTS: &str = retry_attempt::GRPC_NAME;

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::call::{ErrorClass, Retryable};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_number_is_a_delay_and_anything_else_a_refusal() {
        let after = |millis| Pushback::After(Duration::from_millis(millis));
        assert_eq!(parse(b"5000"), after(5_000));
        assert_eq!(parse(b"0"), after(0));
        assert_eq!(parse(b"0100"), after(100));
        for no in ["-1", "abc", "", "+5", "1.5", " 5", "99999999999999999999999"] {
            assert_eq!(parse(no.as_bytes()), Pushback::Never, "{no:?}");
        }
    }

    #[test]
    fn two_values_are_a_refusal() {
        assert_eq!(pushback(&headers(&[])), None);
        assert_eq!(pushback(&headers(&[(PUSHBACK, "1"), (PUSHBACK, "2")])), Some(Pushback::Never));
    }

    #[test]
    fn an_answer_to_a_second_attempt_is_not_retryable() {
        let failure = Outcome::failure(ErrorClass::Server);
        let retryable = |value| match hinted(failure, &headers(&[(PREVIOUS_ATTEMPTS, value)]), Duration::MAX)
        {
            Outcome::Failure { retryable, .. } => retryable,
            other => panic!("{other:?}"),
        };
        assert_eq!(["", "0", "x", "-1"].map(retryable), [Retryable::IfIdempotent; 4]);
        assert_eq!(["1", "12", " 3 ", "99999999999999999999999"].map(retryable), [Retryable::Never; 4]);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&value);
        }
    }
}
