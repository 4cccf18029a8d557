//! The `Retry-After` header, in both of its forms (RFC 9110 §10.2.3).

use std::time::{Duration, SystemTime};

/// The delay that the backend asks for, as seconds or as a date. Any other value is no hint.
///
/// A date in the past asks for no delay.
pub(super) fn parse(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large for a u64 means a very long delay.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let delay = date.duration_since(now).unwrap_or(Duration::ZERO);
    // Rounded up: the date has whole seconds, and a request that comes a moment too early is rejected again.
    Some(Duration::from_secs(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn seconds(value: &str) -> Option<u64> {
        parse(value.as_bytes(), NOW).map(|delay| delay.as_secs())
    }

    #[test]
    fn seconds_are_a_delay() {
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
    }

    #[test]
    fn a_date_is_the_delay_until_then_and_never_negative() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:01:00 GMT"), Some(60));
        let later = NOW + Duration::from_secs(3_600);
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:01:00 GMT", later), Some(Duration::ZERO));
    }

    #[test]
    fn the_delay_until_a_date_is_rounded_up() {
        let now = NOW + Duration::from_nanos(1);
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:01:00 GMT", now), Some(Duration::from_secs(60)));
    }

    #[test]
    fn any_other_value_is_no_hint() {
        for garbage in ["", "-1", "+5", "1.5", "soon", "10 s", "Thu, 99 Foo 1970 00:01:00 GMT"] {
            assert_eq!(seconds(garbage), None, "{garbage:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe], NOW), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&value, NOW);
        }
    }
}
