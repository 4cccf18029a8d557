//! Deadlines in the `grpc-timeout` header, which shrinks from hop to hop.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request};

use crate::{
    call::{Deadline, DeadlineSource, Upload},
    http::RequestExtensions,
};

/// Reads the deadline of a request from its extensions and from `grpc-timeout`, and writes it to both.
///
/// The header carries the time that the caller waits. The time starts when a layer reads the header. A timeout, or a
/// retry with a [`GrpcResend`](super::GrpcResend), leaves the instant in the request. Inner layers then read neither
/// header nor clock again. The earlier of header and extension counts, also if a layer in between changes one of
/// them. A value outside gRPC's grammar counts as no timeout.
///
/// A timeout or a retry writes the rest of the time to the header, rounded down. So it shrinks from hop to hop. A
/// [`RequestTimeout`](crate::http::RequestTimeout) in the extensions counts as with [`RequestExtensions`].
///
/// In a server, a timeout with `GrpcTimeout` rejects an expired request before the handler sees it:
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_reliability::{ReliabilityStack, grpc::{GrpcRejectionLayer, GrpcTimeout}};
///
/// let stack = ReliabilityStack::builder()
///     .timeout(Duration::from_secs(5))
///     .deadlines(GrpcTimeout)
///     .build()?;
/// let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(stack);
/// let server = tonic::transport::Server::builder().layer(layers.into_inner());
/// # let _ = server;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// In a client, `.deadlines(GrpcTimeout)` on a stack replaces `Request::set_timeout`, and respects it.
///
/// # The timers of tonic
///
/// tonic has two timers on this header: in its server outside all layers, and in its channel inside them. Both end the
/// call with `CANCELLED`. A timeout with `GrpcTimeout` ends the call before both, with `DEADLINE_EXCEEDED`.
/// Without such a timeout, [`GrpcClassifier`](super::GrpcClassifier) tells the channel's timer from other errors, but
/// not the server's.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcTimeout;

impl<B> DeadlineSource<Request<B>> for GrpcTimeout {
    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        let header =
            request.headers().get(&HEADER).and_then(|value| match request.extensions().get::<Reading>() {
                Some(reading) if reading.value == value => Some(reading.deadline),
                _ => parse(value.as_bytes()).map(Deadline::after),
            });
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
        if let Ok(value) = HeaderValue::try_from(write(deadline.remaining())) {
            request.extensions_mut().insert(Reading { value: value.clone(), deadline });
            request.headers_mut().insert(&HEADER, value);
        }
    }
}

/// The deadline that a value of the header stands for.
///
/// Without it, each inner layer would read the same value later, and so find a later deadline. A value that another
/// layer has written since does not match, and is read.
#[derive(Clone)]
struct Reading {
    value: HeaderValue,
    deadline: Deadline,
}

/// Starts the time in the header, for the copies of the request.
pub(super) fn start<B>(request: &mut Request<B>) {
    if let Some(value) = request.headers().get(&HEADER).cloned()
        && let Some(deadline) = GrpcTimeout.deadline(request)
    {
        RequestExtensions.propagate(request, deadline);
        request.extensions_mut().insert(Reading { value, deadline });
    }
}

/// Writes the rest of the [started](start) time to the header. A request without the header gets none.
pub(super) fn shorten<B>(request: &mut Request<B>) {
    if request.headers().contains_key(&HEADER)
        && let Some(deadline) = GrpcTimeout.deadline(request)
    {
        GrpcTimeout.propagate(request, deadline);
    }
}

/// Reads gRPC's grammar, `1*8DIGIT` and a unit.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=MAX_DIGITS).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 60 * 60),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes the rest of the time in the finest unit with enough digits, rounded down: the next hop never waits longer.
fn write(left: Duration) -> String {
    let nanos = left.as_nanos();
    let (amount, unit) = UNITS
        .iter()
        .map(|(size, unit)| (nanos / size, *unit))
        .find(|(amount, _)| *amount <= MAX_AMOUNT)
        .unwrap_or((MAX_AMOUNT, 'H'));
    format!("{amount}{unit}")
}

static HEADER: HeaderName = HeaderName::from_static("grpc-timeout");
const MAX_DIGITS: usize = 8;
const MAX_AMOUNT: u128 = 99_999_999;

/// The units, finest first, in nanoseconds.
const UNITS: [(u128, char); 6] = [
    (1, 'n'),
    (1_000, 'u'),
    (1_000_000, 'm'),
    (1_000_000_000, 'S'),
    (60_000_000_000, 'M'),
    (3_600_000_000_000, 'H'),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_outside_the_grammar_is_no_timeout() {
        for garbage in ["", "S", "10", "123456789m", "-1S", "+1S", " 1S", "1 S", "1s", "1.5S", "\u{665}S"] {
            assert_eq!(parse(garbage.as_bytes()), None, "{garbage:?}");
        }
        assert_eq!(parse(&[b'1', 0xff]), None);
    }

    #[test]
    fn the_finest_unit_that_fits_is_written_and_rounded_down() {
        assert_eq!(write(Duration::ZERO), "0n");
        assert_eq!(write(Duration::from_nanos(99_999_999)), "99999999n");
        assert_eq!(write(Duration::from_nanos(100_000_999)), "100000u");
        assert_eq!(write(Duration::from_secs(2)), "2000000u");
        assert_eq!(write(Duration::from_secs(100)), "100000m");
        assert_eq!(write(Duration::from_secs(100_000)), "100000S");
        assert_eq!(write(Duration::MAX), "99999999H");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_header_and_extension_holds() {
        let mut request = Request::new(());
        assert_eq!(GrpcTimeout.deadline(&request), None);
        request.headers_mut().insert(&HEADER, HeaderValue::from_static("3S"));
        let left = |request: &Request<()>| GrpcTimeout.deadline(request).map(Deadline::remaining);
        assert_eq!(left(&request), Some(Duration::from_secs(3)));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(9)));
        assert_eq!(left(&request), Some(Duration::from_secs(3)));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(1)));
        assert_eq!(left(&request), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_layer_finds_the_deadline_in_both_places() {
        let mut request = Request::new(());
        let deadline = Deadline::after(Duration::from_millis(1_500));
        GrpcTimeout.propagate(&mut request, deadline);
        assert_eq!(request.headers()[&HEADER], "1500000u");
        assert_eq!(request.extensions().get(), Some(&deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_a_layer_wrote_keeps_its_instant() {
        let mut request = Request::new(());
        let deadline = Deadline::after(Duration::from_millis(1_500));
        GrpcTimeout.propagate(&mut request, deadline);
        tokio::time::advance(Duration::from_secs(1)).await;
        request.extensions_mut().remove::<Deadline>();
        assert_eq!(GrpcTimeout.deadline(&request), Some(deadline));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(9)));
        assert_eq!(GrpcTimeout.deadline(&request), Some(deadline), "the later extension does not count");
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_another_layer_wrote_is_read() {
        let mut request = Request::new(());
        GrpcTimeout.propagate(&mut request, Deadline::after(Duration::from_secs(3)));
        request.headers_mut().insert(&HEADER, HeaderValue::from_static("1S"));
        let left = GrpcTimeout.deadline(&request).map(Deadline::remaining);
        assert_eq!(left, Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_copy_runs_during_the_first_attempt() {
        let mut first = Request::new(());
        start(&mut first);
        shorten(&mut first);
        assert!(first.headers().is_empty() && first.extensions().is_empty(), "the caller has set no time");
        first.headers_mut().insert(&HEADER, HeaderValue::from_static("3S"));
        start(&mut first);
        assert_eq!(first.headers()[&HEADER], "3S", "the first attempt leaves as it came");
        let mut second = first.clone();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(GrpcTimeout.deadline(&second).map(Deadline::remaining), Some(Duration::from_secs(1)));
        start(&mut second);
        shorten(&mut second);
        assert_eq!(second.headers()[&HEADER], "1000000u");
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..16)) {
            let _ = parse(&value);
        }

        #[test]
        fn a_written_value_is_read_as_no_more_and_hardly_less(nanos in 0..20_000_000_000_000_u64) {
            let left = Duration::from_nanos(nanos);
            let read = parse(write(left).as_bytes()).expect("it is in the grammar");
            prop_assert!(read <= left);
            prop_assert!(left.abs_diff(read) <= left / 100_000);
        }
    }
}
