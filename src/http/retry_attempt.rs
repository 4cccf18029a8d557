//! The header `x-retry-attempt`: the number of attempts before this one.
//!
//! In a request, the layer that retries writes it. In a response it says that a server closer to the backend has retried.
//! Without it, three hops with three attempts each make 27 calls.

use ::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

/// The same header in gRPC (gRFC A6).
pub(crate) const GRPC_NAME: &str = "grpc-previous-rpc-attempts";

const NAME: HeaderName = HeaderName::from_static("x-retry-attempt");

/// Whether a server has retried, according to its response headers.
pub(super) fn was_retried(headers: &HeaderMap) -> bool {
    is_above_zero(headers.get(NAME))
}

/// Whether a header is a number above zero.
pub(crate) fn is_above_zero(value: Option<&HeaderValue>) -> bool {
    let digits = value.map_or(&[][..], HeaderValue::as_bytes).trim_ascii();
    // The number may be too long for an integer.
    digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|digit| *digit != b'0')
}

/// Writes the number of earlier attempts into a request or response.
pub(super) fn set(headers: &mut HeaderMap, attempts: u64) {
    headers.insert(NAME, HeaderValue::from(attempts));
}

/// Writes it into a response. A gRPC response gets the gRPC header too.
pub(super) fn report(headers: &mut HeaderMap, attempts: u64) {
    set(headers, attempts);
    let content = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if content.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC)) {
        headers.insert(GRPC_NAME, HeaderValue::from(attempts));
    }
}

/// A suffix may name the encoding, as in `application/grpc+proto`.
const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_response_gets_both_headers() {
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
    fn only_a_number_above_zero_is_a_retry() {
        let retried = |value: &'static str| {
            was_retried(&HeaderMap::from_iter([(NAME, HeaderValue::from_static(value))]))
        };
        for yes in ["1", "12", " 3 ", "01", "99999999999999999999999"] {
            assert!(retried(yes), "{yes:?}");
        }
        for no in ["", "0", "000", "-1", "1.5", "yes", "1, 2"] {
            assert!(!retried(no), "{no:?}");
        }
        assert!(!was_retried(&HeaderMap::new()));
    }
}
