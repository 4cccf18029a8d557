//! Deadlines in a header that carries the time that the caller waits.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request};

use super::RequestExtensions;
use crate::call::{Deadline, DeadlineSource, Upload};

/// Reads the deadline of a request from a header of your choice and from its extensions, and writes it to both.
///
/// HTTP has no standard header for it. The header carries the time that the caller waits, and that time starts when a
/// layer reads it. The earlier of header and extension counts. A timeout or a retry writes the rest of the time to the
/// header, rounded down to milliseconds, so it shrinks from hop to hop. A value that is no number counts as no timeout.
///
/// In a server, a timeout with this source rejects an expired request before the handler sees it. A header cannot
/// prolong the limit of the timeout, so clients need no trust: a client that names a short time only shortens its own
/// call.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use ::http::HeaderName;
/// use tower_reliability::{
///     ReliabilityStack,
///     http::{RejectionLayer, TimeoutHeader},
/// };
///
/// let header = HeaderName::from_static("x-request-timeout");
/// let stack = ReliabilityStack::builder()
///     .timeout(Duration::from_secs(5))
///     .deadlines(TimeoutHeader::seconds(header))
///     .build()?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer((RejectionLayer::new(), stack));
/// # let _ = app;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Clone
///
/// Clones are independent values.
#[derive(Clone, Debug)]
pub struct TimeoutHeader {
    name: HeaderName,
    unit: Unit,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Seconds,
    Millis,
}

impl TimeoutHeader {
    /// A header in seconds, such as `2` or `0.25`.
    #[must_use]
    pub const fn seconds(name: HeaderName) -> Self {
        Self { name, unit: Unit::Seconds }
    }

    /// A header in whole milliseconds, such as Envoy's `x-envoy-expected-rq-timeout-ms`.
    #[must_use]
    pub const fn millis(name: HeaderName) -> Self {
        Self { name, unit: Unit::Millis }
    }
}

impl<B> DeadlineSource<Request<B>> for TimeoutHeader {
    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        let value = request.headers().get(&self.name);
        let header = value.and_then(|value| self.unit.parse(value.as_bytes())).map(Deadline::after);
        match (RequestExtensions.deadline(request), header) {
            (Some(extension), Some(header)) => Some(extension.earlier(header)),
            (extension, header) => extension.or(header),
        }
    }

    fn timeout(&self, request: &Request<B>) -> Option<Duration> {
        RequestExtensions.timeout(request)
    }

    fn upload(&self, request: &Request<B>) -> Option<Upload> {
        RequestExtensions.upload(request)
    }

    fn propagate(&self, request: &mut Request<B>, deadline: Deadline) {
        RequestExtensions.propagate(request, deadline);
        if let Ok(value) = HeaderValue::try_from(self.unit.write(deadline.remaining())) {
            request.headers_mut().insert(&self.name, value);
        }
    }
}

impl Unit {
    fn parse(self, value: &[u8]) -> Option<Duration> {
        let text = std::str::from_utf8(value).ok()?.trim_ascii();
        match (self, text.split_once('.')) {
            (Self::Millis, _) => whole(text).map(Duration::from_millis),
            (Self::Seconds, None) => whole(text).map(Duration::from_secs),
            (Self::Seconds, Some((seconds, fraction))) => {
                Some(Duration::from_secs(whole(seconds)?).saturating_add(nanos(fraction)?))
            }
        }
    }

    /// Rounded down: the next hop never waits longer.
    fn write(self, left: Duration) -> String {
        match (self, left.as_secs(), left.subsec_millis()) {
            (Self::Millis, ..) => left.as_millis().to_string(),
            (Self::Seconds, seconds, 0) => seconds.to_string(),
            (Self::Seconds, seconds, millis) => format!("{seconds}.{millis:03}"),
        }
    }
}

/// Digits. A number too large for a u64 means a very long time.
fn whole(digits: &str) -> Option<u64> {
    is_digits(digits).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The digits after the point. Further digits than nine are below a nanosecond.
fn nanos(fraction: &str) -> Option<Duration> {
    let padded = || format!("{fraction:0<9.9}").parse().unwrap_or(0);
    is_digits(fraction).then(|| Duration::from_nanos(padded()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("x-request-timeout");

    fn request(value: &'static str) -> Request<()> {
        let mut request = Request::new(());
        request.headers_mut().insert(NAME, HeaderValue::from_static(value));
        request
    }

    #[test]
    fn numbers_are_read_in_their_unit_and_any_other_value_is_no_timeout() {
        let millis = |unit: Unit, text: &str| unit.parse(text.as_bytes()).map(|time| time.as_millis());
        for (text, seconds, whole_millis) in [
            ("2", Some(2_000), Some(2)),
            (" 0 ", Some(0), Some(0)),
            ("0.25", Some(250), None),
            ("1.0000000009", Some(1_000), None),
            ("1.999999999999", Some(1_999), None),
        ] {
            assert_eq!(
                (millis(Unit::Seconds, text), millis(Unit::Millis, text)),
                (seconds, whole_millis),
                "{text:?}"
            );
        }
        for garbage in
            ["", ".", "1.", ".5", "-1", "+1", "1e9", "0x1", "1 0", "1.2.3", "NaN", "inf", "\u{665}"]
        {
            assert_eq!(
                (millis(Unit::Seconds, garbage), millis(Unit::Millis, garbage)),
                (None, None),
                "{garbage:?}"
            );
        }
        let long = "99999999999999999999999999.5";
        assert_eq!(Unit::Seconds.parse(long.as_bytes()).map(|time| time.as_secs()), Some(u64::MAX));
        assert_eq!(Unit::Seconds.parse(&[b'1', 0xff]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_header_and_extension_holds() {
        let header = TimeoutHeader::seconds(NAME);
        let mut request = request("3");
        let left = |request: &Request<()>| header.deadline(request).map(Deadline::remaining);
        assert_eq!(left(&request), Some(Duration::from_secs(3)));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(1)));
        assert_eq!(left(&request), Some(Duration::from_secs(1)));
        assert_eq!(left(&Request::new(())), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_layer_finds_the_rest_of_the_time_in_both_places() {
        for (header, written) in
            [(TimeoutHeader::seconds(NAME), "1.500"), (TimeoutHeader::millis(NAME), "1500")]
        {
            let mut request = request("9");
            let deadline = Deadline::after(Duration::from_micros(1_500_999));
            header.propagate(&mut request, deadline);
            assert_eq!(request.headers()[NAME], written);
            assert_eq!(request.extensions().get(), Some(&deadline));
        }
        assert_eq!(Unit::Seconds.write(Duration::from_secs(2)), "2");
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = (Unit::Seconds.parse(&value), Unit::Millis.parse(&value));
        }

        #[test]
        fn a_written_value_is_read_as_no_more_and_at_most_a_millisecond_less(nanos in any::<u64>()) {
            let left = Duration::from_nanos(nanos);
            for unit in [Unit::Seconds, Unit::Millis] {
                let read = unit.parse(unit.write(left).as_bytes()).expect("it is a number");
                prop_assert!(read <= left && left.abs_diff(read) < Duration::from_millis(1));
            }
        }
    }
}
