//! The quotas of a limit, and how much of them is left.

use std::time::Duration;

use governor::nanos::Nanos;

use super::{
    bucket::Bucket,
    config::{RateLimitConfig, Span},
    rate::Rate,
    window::Window,
};

/// The quotas of a limit at one moment. Read by [`RateLimitHandle::quotas`](super::RateLimitHandle::quotas) and
/// [`KeyedRateLimitHandle::quotas`](super::keyed::KeyedRateLimitHandle::quotas).
///
/// A call needs room in both quotas, if there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Quotas {
    /// The tokens. `None` without a bucket.
    pub bucket: Option<Quota>,
    /// The calls in the window. `None` without a window.
    pub window: Option<Quota>,
    /// Whether the limit lets every call pass, and only [counts](super::RateLimitConfig::shadow).
    pub shadow: bool,
}

/// So many calls of cost 1 in a time, and the rest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Quota {
    /// The burst of the bucket, or the calls of the window.
    pub limit: u32,
    /// The time in which an empty bucket fills up, or the length of the window.
    pub period: Duration,
    /// The calls that would pass at this moment.
    pub remaining: u32,
    /// The time until one more call would pass. `None` if the whole quota is left.
    pub next_in: Option<Duration>,
}

/// Tells the quotas that a request is measured by.
///
/// A [`RateLimitLayer`](super::RateLimitLayer) and a [`KeyedRateLimitLayer`](super::keyed::KeyedRateLimitLayer) have it,
/// and the stages of a stack that they are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` tells no quotas of `{Req}`",
    note = "a rate limit does: add the stage to the builder, or give the layer of the limit"
)]
pub trait QuotaSource<Req> {
    /// The part of a request that chooses its quotas.
    type Key;

    /// The key of this request.
    fn key(&self, request: &Req) -> Self::Key;

    /// The quotas of the requests with this key. `None` without a limit.
    fn quotas(&self, key: &Self::Key) -> Option<Quotas>;
}

impl Quotas {
    /// Reads a bucket at its rate, and a window, as far as the config has them. A window without state is empty.
    pub(super) fn new(
        config: &RateLimitConfig,
        rate: Option<Rate>,
        bucket: &Bucket,
        window: Option<&mut Window>,
        now: Nanos,
    ) -> Self {
        let of_bucket = rate.map(|rate| {
            let limit = rate.burst.get();
            let remaining = bucket.available(rate, now);
            let next_at = bucket.free_at(rate, u64::from(remaining) + 1, now);
            Quota::new(limit, config.fills_in(rate), remaining, next_at.saturating_sub(now))
        });
        let of_window = config.window.map(|Span { calls, period }| {
            let Some(window) = window else { return Quota::new(calls, period, calls, now) };
            let remaining = window.left(now);
            let next_at = window.free_at(u64::from(remaining) + 1, now);
            Quota::new(calls, period, remaining, next_at.saturating_sub(now))
        });
        Self { bucket: of_bucket, window: of_window, shadow: config.is_shadow() }
    }
}

impl Quota {
    fn new(limit: u32, period: Duration, remaining: u32, next_in: Nanos) -> Self {
        Self { limit, period, remaining, next_in: (remaining < limit).then(|| next_in.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLI: Duration = Duration::from_millis(1);

    fn at(time: Duration) -> Nanos {
        time.into()
    }

    #[test]
    fn the_quotas_say_what_passes_now_and_when_one_more_does() {
        let config = RateLimitConfig::per_second(10).burst(4).window(3, SECOND);
        let (bucket, mut window) = (Bucket::default(), Window::new(3, SECOND));
        let rate = config.bucket().expect("there is a rate");
        let mut quotas = |taken: u32, now: Duration| {
            if let Some(cost) = NonZeroU32::new(taken) {
                bucket.take(rate, cost, at(now)).expect("there is enough");
                window.take(taken, at(now));
            }
            let Quotas { bucket, window, .. } =
                Quotas::new(&config, Some(rate), &bucket, Some(&mut window), at(now));
            [bucket, window].map(|quota| quota.map(|quota| (quota.remaining, quota.next_in)))
        };
        assert_eq!(quotas(0, SECOND), [Some((4, None)), Some((3, None))]);
        assert_eq!(quotas(2, SECOND), [Some((2, Some(100 * MILLI))), Some((1, Some(SECOND)))]);
        let later = SECOND + 30 * MILLI;
        assert_eq!(quotas(0, later), [Some((2, Some(70 * MILLI))), Some((1, Some(970 * MILLI)))]);
        let later = SECOND + 150 * MILLI;
        assert_eq!(quotas(1, later), [Some((2, Some(50 * MILLI))), Some((0, Some(850 * MILLI)))]);
        assert_eq!(quotas(0, 2 * SECOND), [Some((4, None)), Some((2, Some(150 * MILLI)))]);
    }

    #[test]
    fn without_calls_the_quotas_are_whole() {
        let config = RateLimitConfig::per(60, 60 * SECOND).burst(10).window(100, 3_600 * SECOND).shadow(true);
        let quotas = Quotas::new(&config, config.bucket(), &Bucket::default(), None, at(SECOND));
        let whole = |limit, period| Some(Quota { limit, period, remaining: limit, next_in: None });
        let expected =
            Quotas { bucket: whole(10, 10 * SECOND), window: whole(100, 3_600 * SECOND), shadow: true };
        assert_eq!(quotas, expected);
        let config = RateLimitConfig::sliding_window(7, SECOND);
        let quotas = Quotas::new(&config, config.bucket(), &Bucket::default(), None, at(SECOND));
        assert_eq!(quotas, Quotas { bucket: None, window: whole(7, SECOND), shadow: false });
    }
}
