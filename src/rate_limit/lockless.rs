//! Whether a call may take from the bucket without the lock, and by which rate.

use std::num::NonZeroU32;

use super::rate::Rate;
use crate::rt::sync::{AtomicU64, Ordering};

/// The rate for calls without the lock, if the bucket alone decides. Changed under the lock.
///
/// It is one word. With a word each for interval and burst, a call could read the interval of a new rate and the burst of
/// the old one, and pass although neither rate lets it.
#[derive(Debug)]
pub(super) struct Lockless(AtomicU64);

impl Lockless {
    /// The lock decides.
    pub(super) fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(super) fn rate(&self) -> Option<Rate> {
        // Relaxed: a call that was made after another began to wait sees that it waits.
        unpack(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, rate: Option<Rate>) {
        // Relaxed: a call that reads the old word is of the moment of the change.
        self.0.store(rate.map_or(0, pack), Ordering::Relaxed);
    }
}

/// The interval above the burst. An interval is at most an hour, and a burst at most a million.
const fn pack(rate: Rate) -> u64 {
    rate.interval << BURST_BITS | rate.burst.get() as u64
}

#[inline]
fn unpack(word: u64) -> Option<Rate> {
    let burst = u32::try_from(word & BURST).expect("it has 20 bits");
    Some(Rate { interval: word >> BURST_BITS, burst: NonZeroU32::new(burst)? })
}

const BURST_BITS: u32 = 20;
const BURST: u64 = (1 << BURST_BITS) - 1;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate_limit::config::RateLimitConfig;

    #[test]
    fn case_21_every_rate_survives_the_word() {
        let (hour, lockless) = (Duration::from_secs(60 * 60), Lockless::none());
        assert_eq!(lockless.rate(), None);
        for calls in [1, 2, 999, 1_000_000] {
            for burst in [1, 1_000_000] {
                for config in [
                    RateLimitConfig::per(calls, hour * calls).burst(burst),
                    RateLimitConfig::per_second(calls).burst(burst),
                ] {
                    assert_eq!(config.check(), Ok(()));
                    lockless.set(config.bucket());
                    assert_eq!(lockless.rate(), config.bucket(), "{config:?}");
                }
            }
        }
        lockless.set(None);
        assert_eq!(lockless.rate(), None);
    }
}
