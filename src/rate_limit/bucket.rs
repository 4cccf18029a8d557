//! The token bucket: governor's algorithm, told the rate and the time of each check.
//!
//! A limiter of governor has one rate, and counts time from its own construction. So a bucket keeps only governor's state,
//! which is one word, and replaces the word by governor's rule, GCRA. The rate may change between two checks, and the
//! instant in the word keeps its meaning.

use std::num::NonZeroU32;

use governor::{
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::rate::Rate;

/// The tokens of one bucket, in one word. A new bucket is full.
///
/// The word is the instant at which the bucket is full again.
#[derive(Debug, Default)]
pub(crate) struct Bucket(InMemoryState);

impl Bucket {
    /// Takes tokens, or says from when there are enough of them. `None`: more than the bucket holds.
    #[inline]
    pub(crate) fn take(&self, rate: Rate, cost: NonZeroU32, now: Nanos) -> Result<(), Option<Nanos>> {
        if cost > rate.burst {
            return Err(None);
        }
        let (now, price, fill) = (now.as_u64(), rate.price(cost.get().into()), rate.fill());
        let take = |full_at: Option<Nanos>| {
            let full_at = full_at.map_or(now, |at| at.as_u64().max(now)).saturating_add(price);
            match full_at.saturating_sub(fill) {
                free_at if free_at > now => Err(Some(Nanos::new(free_at))),
                _ => Ok(((), Nanos::new(full_at))),
            }
        };
        self.0.measure_and_replace(&NotKeyed::NonKey, take)
    }

    /// From when so many tokens have been taken, if calls take them as early as they can. It may lie in the past.
    pub(crate) fn free_at(&self, rate: Rate, cost: u64, now: Nanos) -> Nanos {
        let full_at = self.full_at().map_or(now, |at| at.max(now)).as_u64();
        Nanos::new(full_at.saturating_add(rate.price(cost)).saturating_sub(rate.fill()))
    }

    /// The tokens in the bucket.
    pub(crate) fn available(&self, rate: Rate, now: Nanos) -> u32 {
        let owed = self.full_at().map_or(0, |at| at.saturating_sub(now).as_u64());
        u32::try_from(rate.fill().saturating_sub(owed) / rate.interval).unwrap_or(u32::MAX)
    }

    /// Returns the tokens of a call that did not use them.
    pub(crate) fn refund(&self, rate: Rate, cost: NonZeroU32) {
        let cost = Nanos::new(rate.price(cost.get().into()));
        self.replace(|full_at| full_at.saturating_sub(cost));
    }

    /// Goes on with another rate. The tokens that were taken stay taken, up to the new burst.
    pub(crate) fn change_rate(&self, old: Rate, new: Rate, now: Nanos) {
        self.replace(|full_at| {
            let owed = u128::from(full_at.saturating_sub(now).as_u64());
            let owed = owed * u128::from(new.interval) / u128::from(old.interval);
            let owed = u64::try_from(owed).map_or(new.fill(), |owed| owed.min(new.fill()));
            Nanos::new(now.as_u64().saturating_add(owed))
        });
    }

    /// Holds one token at this instant, at most.
    pub(crate) fn drain(&self, rate: Rate, at: Nanos) {
        let full_at = Nanos::new(at.as_u64().saturating_add(rate.fill() - rate.interval));
        self.replace(|at| at.max(full_at));
    }

    /// Forgives a debt beyond the burst. A call that took its tokens while the rate changed may have paid the old price,
    /// such as an hour for a token.
    ///
    /// The clock is read after the debt. `now` may be older than the last call that took tokens, whose debt then looks too
    /// high.
    pub(crate) fn clamp_debt(&self, rate: Rate, now: Nanos, clock: impl FnOnce() -> Nanos) {
        let highest = |now: Nanos| Nanos::new(now.as_u64().saturating_add(rate.fill()));
        let Some(seen) = self.full_at().filter(|full_at| *full_at > highest(now)) else { return };
        let highest = highest(clock());
        if seen > highest {
            self.replace(|full_at| if full_at == seen { highest } else { full_at });
        }
    }

    /// When the bucket is full again. `None` if no token was ever taken.
    pub(super) fn full_at(&self) -> Option<Nanos> {
        let read = |full_at| Err::<((), Nanos), _>(full_at);
        self.0.measure_and_replace(&NotKeyed::NonKey, read).err().flatten()
    }

    /// Replaces the instant, if a token was ever taken.
    fn replace(&self, replace: impl Fn(Nanos) -> Nanos) {
        let replace = |full_at: Option<Nanos>| full_at.map(|at| ((), replace(at))).ok_or(());
        // An error means a bucket that was never used: it is full.
        let _ = self.0.measure_and_replace(&NotKeyed::NonKey, replace);
    }
}

/// The clone has the same tokens, and a state of its own.
impl Clone for Bucket {
    fn clone(&self) -> Self {
        let clone = Self::default();
        let copy = |_| self.full_at().map(|at| ((), at)).ok_or(());
        // An error means a bucket that was never used: it is full.
        let _ = clone.0.measure_and_replace(&NotKeyed::NonKey, copy);
        clone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{algo::after, rate_limit::rate::Epoch, rt::clock::epoch};

    fn rate(tokens: u32, period: Duration, burst: u32) -> Rate {
        let above_0 = |n| NonZeroU32::new(n).expect("above 0");
        Rate::new(above_0(tokens), period, above_0(burst))
    }

    fn cost(tokens: u32) -> NonZeroU32 {
        NonZeroU32::new(tokens).expect("above 0")
    }

    fn millis(millis: u64) -> Nanos {
        Nanos::new(millis * 1_000_000)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_full_bucket_serves_its_burst_and_then_its_rate() {
        let (bucket, rate) = (Bucket::default(), rate(10, SECOND, 3));
        let mut passed = Vec::new();
        for now in (0..1_000).step_by(10) {
            if bucket.take(rate, cost(1), millis(now)).is_ok() {
                passed.push(now);
            }
        }
        assert_eq!(passed, [0, 10, 20, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(bucket.take(rate, cost(2), millis(900)), Err(Some(millis(1_100))));
        assert_eq!(bucket.take(rate, cost(4), millis(9_000)), Err(None));
        assert_eq!((bucket.available(rate, millis(1_100)), bucket.available(rate, millis(9_000))), (2, 3));
    }

    #[test]
    fn case_64_a_new_rate_neither_stalls_nor_forgives() {
        let (slow, fast) = (rate(1, Duration::from_secs(3_600), 5), rate(1_000, SECOND, 5));
        let bucket = Bucket::default();
        for _ in 0..5 {
            assert_eq!(bucket.take(slow, cost(1), millis(0)), Ok(()));
        }
        bucket.change_rate(slow, fast, millis(0));
        assert_eq!(bucket.take(fast, cost(1), millis(0)), Err(Some(millis(1))));
        assert_eq!(bucket.take(fast, cost(1), millis(1)), Ok(()));
        bucket.change_rate(fast, slow, millis(1));
        let Err(Some(at)) = bucket.take(slow, cost(1), millis(1)) else { panic!("it is empty") };
        assert_eq!(Duration::from(at).as_secs(), 3_600);
        // A smaller burst clamps the debt.
        let small = rate(1, Duration::from_secs(3_600), 1);
        bucket.change_rate(slow, small, millis(1));
        assert_eq!(Duration::from(bucket.free_at(small, 1, millis(1))).as_secs(), 3_600);
    }

    #[test]
    fn case_64_a_call_that_paid_the_old_price_stalls_no_other() {
        let (slow, fast) = (rate(1, Duration::from_secs(3_600), 2), rate(1_000, SECOND, 2));
        let bucket = Bucket::default();
        assert_eq!(bucket.take(fast, cost(2), millis(10)), Ok(()));
        // A call of a clock that is behind forgives nothing.
        bucket.clamp_debt(fast, millis(1), || millis(10));
        assert_eq!(bucket.free_at(fast, 1, millis(10)), millis(11));
        assert_eq!(bucket.take(slow, cost(1), millis(10)), Ok(()));
        bucket.clamp_debt(fast, millis(10), || millis(20));
        assert_eq!(bucket.free_at(fast, 1, millis(20)), millis(21));
    }

    #[test]
    fn case_21_extreme_rates_do_not_overflow() {
        let late = Epoch(epoch()).nanos(after(epoch(), Duration::MAX));
        for interval in [Duration::from_nanos(1), Duration::from_secs(3_600)] {
            for (tokens, burst) in [(1, 1), (1, 1_000_000), (1_000_000, 1_000_000)] {
                let (bucket, rate) = (Bucket::default(), rate(tokens, interval, burst));
                assert_eq!(bucket.take(rate, cost(burst), late), Ok(()));
                assert!(matches!(bucket.take(rate, cost(burst), late), Err(Some(at)) if at > late));
                assert_eq!(bucket.take(rate, cost(u32::MAX), late), Err(None));
                bucket.refund(rate, cost(u32::MAX));
                assert_eq!(bucket.available(rate, late), burst);
                assert!(bucket.free_at(rate, u64::MAX, late) > late);
            }
        }
    }

    /// Tokens in units of the nanoseconds that they take to refill.
    struct Naive {
        rate: Rate,
        level: u64,
        last: u64,
    }

    impl Naive {
        fn refill(&mut self, now: u64) {
            self.level = (self.level + now - self.last).min(self.rate.fill());
            self.last = now;
        }

        fn take(&mut self, cost: u64) -> Result<(), Option<Nanos>> {
            let needed = self.rate.interval * cost;
            if needed > self.rate.fill() {
                return Err(None);
            }
            let Some(left) = self.level.checked_sub(needed) else {
                return Err(Some(Nanos::new(self.last + needed - self.level)));
            };
            self.level = left;
            Ok(())
        }

        fn change_rate(&mut self, new: Rate) {
            let owed = u128::from(self.rate.fill() - self.level);
            let owed = owed * u128::from(new.interval) / u128::from(self.rate.interval);
            let owed = u64::try_from(owed).expect("small").min(new.fill());
            (self.rate, self.level) = (new, new.fill() - owed);
        }
    }

    #[test]
    fn it_agrees_with_a_limiter_of_governor() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (bucket, clock) = (Bucket::default(), FakeRelativeClock::default());
            let (interval, burst) = (rng.random_range(1..1_000), cost(rng.random_range(1..20)));
            let quota = Quota::with_period(Duration::from_nanos(interval)).expect("above 0");
            let governor = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock.clone());
            let mut now = 0;
            for step in 0..500 {
                let passed = rng.random_range(0..3) * rng.random_range(0..interval * 4);
                now += passed;
                clock.advance(Duration::from_nanos(passed));
                let tokens = cost(rng.random_range(1..4));
                let expected = match governor.check_n(tokens) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(until)) => Err(Some(until.earliest_possible())),
                    Err(_) => Err(None),
                };
                let taken = bucket.take(Rate { interval, burst }, tokens, Nanos::new(now));
                assert_eq!(taken, expected, "seed {seed}, step {step}");
            }
        }
    }

    #[test]
    fn it_agrees_with_a_naive_bucket() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut any_rate = {
                let mut rng = StdRng::seed_from_u64(seed + 1_000);
                move || rate(rng.random_range(1..2_000), SECOND, rng.random_range(1..20))
            };
            let first = any_rate();
            let mut naive = Naive { rate: first, level: first.fill(), last: 0 };
            let (bucket, mut now) = (Bucket::default(), 0);
            for step in 0..500 {
                now += rng.random_range(0..3) * rng.random_range(0..naive.rate.interval * 4);
                naive.refill(now);
                let (rate, at) = (naive.rate, Nanos::new(now));
                match rng.random_range(0..20) {
                    0 => {
                        naive.change_rate(any_rate());
                        bucket.change_rate(rate, naive.rate, at);
                    }
                    1 => {
                        naive.level = (naive.level + rate.interval * 2).min(rate.fill());
                        bucket.refund(rate, cost(2));
                    }
                    _ => {
                        let tokens = rng.random_range(1..4);
                        let taken = bucket.take(rate, cost(tokens), at);
                        assert_eq!(taken, naive.take(tokens.into()), "seed {seed}, step {step}");
                        if let Err(Some(until)) = taken {
                            assert_eq!(bucket.free_at(rate, tokens.into(), at), until);
                        }
                    }
                }
                let tokens = naive.level / naive.rate.interval;
                assert_eq!(u64::from(bucket.available(naive.rate, at)), tokens, "seed {seed}, step {step}");
            }
        }
    }
}
