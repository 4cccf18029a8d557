//! The header `x-retry-attempt`: how many attempts were made before this one.
//!
//! In a request it is written by whoever tries again. In a response it says that somebody nearer to the peer has tried
//! again already, so that three hops that retry three times do not make 27 calls of one.

use ::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

/// The same in gRPC (gRFC A6).
pub(crate) const GRPC_NAME: &str = "grpc-previous-rpc-attempts";

const NAME: HeaderName = HeaderName::from_static("x-retry-attempt");

/// Whether somebody has tried again, as these headers of a response say.
pub(super) fn says_so(headers: &HeaderMap) -> bool {
    is_above_zero(headers.get(NAME))
}

/// Whether a header is a number above zero. What is no number says nothing.
pub(crate) fn is_above_zero(value: Option<&HeaderValue>) -> bool {
    let digits = value.map_or(&[][..], HeaderValue::as_bytes).trim_ascii();
    // The number may be longer than ours are, and says no more for it.
    digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|digit| *digit != b'0')
}

/// Says in a request or response how many attempts were made before; what it said earlier is replaced.
pub(super) fn set(headers: &mut HeaderMap, attempts: u64) {
    headers.insert(NAME, HeaderValue::from(attempts));
}

/// The same in a response, also by the name that gRPC has for it if that is what the response is of.
pub(super) fn report(headers: &mut HeaderMap, attempts: u64) {
    set(headers, attempts);
    let content = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if content.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC)) {
        headers.insert(GRPC_NAME, HeaderValue::from(attempts));
    }
}

/// With a suffix for the encoding, as `application/grpc+proto`, or without.
const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_response_says_it_by_both_names() {
        let reported = |content: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(content) = content {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
            }
            report(&mut headers, 2);
            assert_eq!(headers[NAME], "2");
            headers.get(GRPC_NAME).cloned()
        };
        for content in ["application/grpc", "application/grpc+proto", "Application/gRPC"] {
            assert_eq!(reported(Some(content)), Some(HeaderValue::from(2)), "{content}");
        }
        for content in [None, Some(""), Some("application/json"), Some("application/grp")] {
            assert_eq!(reported(content), None, "{content:?}");
        }
    }

    #[test]
    fn only_a_number_above_zero_says_that_somebody_has_tried_again() {
        let says =
            |value: &'static str| says_so(&HeaderMap::from_iter([(NAME, HeaderValue::from_static(value))]));
        for yes in ["1", "12", " 3 ", "01", "99999999999999999999999"] {
            assert!(says(yes), "{yes:?}");
        }
        for no in ["", "0", "000", "-1", "1.5", "yes", "1, 2"] {
            assert!(!says(no), "{no:?}");
        }
        assert!(!says_so(&HeaderMap::new()));
    }
}
