//! Time that saturates: no sum of an instant and a duration panics.

use std::time::{Duration, Instant};

/// `from + delay`, or an instant some decades away where the platform cannot represent the sum.
pub(crate) fn after(from: Instant, delay: Duration) -> Instant {
    from.checked_add(delay).or_else(|| from.checked_add(FAR)).unwrap_or(from)
}

#[cfg(feature = "http")]
/// Whole seconds, rounded up and never 0, for a `Retry-After` header.
pub(crate) fn whole_seconds_up(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

#[cfg(feature = "grpc")]
/// Whole milliseconds, rounded up and never 0, for a `grpc-retry-pushback-ms` header.
pub(crate) fn whole_millis_up(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}

/// Two timers for the same moment ring within a millisecond, and a busy thread looks at them a little later.
pub(crate) const AT_THE_DEADLINE: Duration = Duration::from_millis(20);
/// Longer than any program runs.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    #[test]
    fn a_sum_is_exact_while_it_can_be_represented() {
        assert_eq!(after(epoch(), Duration::from_nanos(7)) - epoch(), Duration::from_nanos(7));
    }

    #[test]
    fn the_longest_delay_lands_in_the_far_future() {
        assert!(after(epoch(), Duration::MAX) - epoch() >= FAR);
    }

    #[cfg(feature = "http")]
    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        let up = |millis| whole_seconds_up(Duration::from_millis(millis));
        assert_eq!([up(0), up(1), up(1_000), up(1_001)], [1, 1, 1, 2]);
        assert_eq!(whole_seconds_up(Duration::MAX), u64::MAX);
    }

    #[cfg(feature = "grpc")]
    #[test]
    fn milliseconds_are_rounded_up_and_never_zero() {
        let up = |micros| whole_millis_up(Duration::from_micros(micros));
        assert_eq!([up(0), up(1), up(1_000), up(1_001)], [1, 1, 1, 2]);
        assert_eq!(whole_millis_up(Duration::MAX), u64::MAX);
    }
}
