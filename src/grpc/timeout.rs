//! Deadlines in the `grpc-timeout` header, which shrinks from hop to hop.

use std::time::Duration;

use ::http::{HeaderValue, Request};

use crate::{
    call::{Deadline, DeadlineSource, Upload},
    http::RequestExtensions,
};

/// Reads a request's deadline from its extensions and from `grpc-timeout`, and writes it to both for those below.
///
/// The header says how long the caller will wait, counted from when the request is seen: from the `call` of the first
/// timeout that reads it, or of a retry with a [`GrpcResend`](super::GrpcResend). The earlier of header and extension
/// holds. Handed on, the header says what is left, rounded down, so that it shrinks from hop to hop; a
/// [`RequestTimeout`](crate::http::RequestTimeout) in the extensions counts as with [`RequestExtensions`]. What is not
/// a timeout by gRPC's grammar is none.
///
/// In a server, it makes a timeout turn away what came too late, before the handler sees it:
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_reliability::{ReliabilityStack, grpc::{GrpcRejectionLayer, GrpcTimeout}};
///
/// let stack = ReliabilityStack::builder().timeout(Duration::from_secs(5)).deadlines(GrpcTimeout).build()?;
/// let layers = ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).into_inner();
/// let server = tonic::transport::Server::builder().layer(layers);
/// # let _ = server;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// In a client, `.deadlines(GrpcTimeout)` on a stack takes the place of `Request::set_timeout`, which sets the header too
/// and is read.
///
/// tonic has timers of its own on this header, in its server outside of all layers and in its channel below them, and
/// they end a call with `CANCELLED`. A timeout with `GrpcTimeout` comes before both, with `DEADLINE_EXCEEDED`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcTimeout;

impl<B> DeadlineSource<Request<B>> for GrpcTimeout {
    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        let header = request.headers().get(HEADER).and_then(|value| parse(value.as_bytes()));
        let header = header.map(Deadline::after);
        // A header that an outer timeout wrote is read a little later here, and so says a little more than what
        // that timeout left in the extensions.
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
            request.headers_mut().insert(HEADER, value);
        }
    }
}

/// Lets the time that the header gives run from now on, for copies that are taken of the request.
pub(super) fn start<B>(request: &mut Request<B>) {
    if let Some(deadline) = deadline_of_header(request) {
        request.extensions_mut().insert(deadline);
    }
}

/// Says in the header what is left of the time that has been [started](start).
pub(super) fn shorten<B>(request: &mut Request<B>) {
    if let Some(deadline) = deadline_of_header(request) {
        GrpcTimeout.propagate(request, deadline);
    }
}

/// The deadline of a request that has the header. Where it has none, nobody has asked for one to be sent.
fn deadline_of_header<B>(request: &Request<B>) -> Option<Deadline> {
    request.headers().contains_key(HEADER).then(|| GrpcTimeout.deadline(request)).flatten()
}

/// `1*8DIGIT` and a unit. Anything else is no timeout.
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

/// What is left, in the finest unit whose digits suffice, rounded down: nobody below waits longer than those above.
fn write(left: Duration) -> String {
    let nanos = left.as_nanos();
    let (amount, unit) = UNITS
        .iter()
        .map(|(size, unit)| (nanos / size, *unit))
        .find(|(amount, _)| *amount <= MAX_AMOUNT)
        .unwrap_or((MAX_AMOUNT, 'H'));
    format!("{amount}{unit}")
}

const HEADER: &str = "grpc-timeout";
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
    fn what_is_not_in_the_grammar_is_no_timeout() {
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
        request.headers_mut().insert(HEADER, HeaderValue::from_static("3S"));
        let left = |request: &Request<()>| GrpcTimeout.deadline(request).map(Deadline::remaining);
        assert_eq!(left(&request), Some(Duration::from_secs(3)));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(9)));
        assert_eq!(left(&request), Some(Duration::from_secs(3)));
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(1)));
        assert_eq!(left(&request), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_handed_on_is_in_both_places() {
        let mut request = Request::new(());
        let deadline = Deadline::after(Duration::from_millis(1_500));
        GrpcTimeout.propagate(&mut request, deadline);
        assert_eq!(request.headers()[HEADER], "1500000u");
        assert_eq!(request.extensions().get(), Some(&deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_copy_runs_while_the_first_is_under_way() {
        let mut first = Request::new(());
        start(&mut first);
        shorten(&mut first);
        assert!(first.headers().is_empty() && first.extensions().is_empty(), "nobody has set a time");
        first.headers_mut().insert(HEADER, HeaderValue::from_static("3S"));
        start(&mut first);
        let mut second = first.clone();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(GrpcTimeout.deadline(&second).map(Deadline::remaining), Some(Duration::from_secs(1)));
        start(&mut second);
        shorten(&mut second);
        assert_eq!(second.headers()[HEADER], "1000000u");
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..16)) {
            let _ = parse(&value);
        }

        #[test]
        fn what_is_written_is_read_as_no_more_and_hardly_less(nanos in 0..20_000_000_000_000_u64) {
            let left = Duration::from_nanos(nanos);
            let read = parse(write(left).as_bytes()).expect("it is in the grammar");
            prop_assert!(read <= left);
            prop_assert!(left.abs_diff(read) <= left / 100_000);
        }
    }
}
