//! The rate of a bucket, and the instant from which it counts.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::nanos::Nanos;

use crate::algo::after;

/// How fast a bucket refills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Nanoseconds per token.
    pub(crate) interval: u64,
    /// The tokens of a full bucket.
    pub(crate) burst: NonZeroU32,
}

/// The instant from which the buckets of one limit count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(pub(crate) Instant);

impl Rate {
    /// So many tokens per period, rounded down.
    pub(crate) fn new(tokens: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let interval = period.as_nanos().div_ceil(tokens.get().into()).max(1);
        Self { interval: u64::try_from(interval).unwrap_or(u64::MAX), burst }
    }

    /// Nanoseconds until an empty bucket is full.
    #[inline]
    pub(super) fn fill(self) -> u64 {
        self.price(self.burst.get().into())
    }

    /// Nanoseconds until so many tokens have come.
    #[inline]
    pub(super) fn price(self, tokens: u64) -> u64 {
        self.interval.saturating_mul(tokens)
    }
}

impl Epoch {
    #[inline]
    pub(crate) fn nanos(self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.0).as_nanos();
        Nanos::new(u64::try_from(since).unwrap_or(LATEST).min(LATEST))
    }

    pub(crate) fn instant(self, at: Nanos) -> Instant {
        after(self.0, at.into())
    }
}

/// A century. A later instant counts as this, so that sums with the fill time fit into a word.
const LATEST: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn case_28_a_rate_is_rounded_down_and_not_up() {
        for (tokens, period) in [(3, SECOND), (999_999, SECOND), (7, Duration::from_secs(60))] {
            let above_0 = |n| NonZeroU32::new(n).expect("above 0");
            let interval = Rate::new(above_0(tokens), period, NonZeroU32::MIN).interval;
            assert!(u128::from(interval) * u128::from(tokens) >= period.as_nanos());
        }
    }

    #[test]
    fn case_24_an_instant_survives_the_way_and_never_goes_back() {
        let limit = Epoch(epoch());
        let at = epoch() + Duration::from_nanos(123_456_789);
        assert_eq!(limit.instant(limit.nanos(at)), at);
        assert_eq!(Epoch(at).nanos(epoch()), Nanos::new(0));
        assert!(limit.nanos(after(epoch(), Duration::MAX)).as_u64() <= LATEST);
    }
}
