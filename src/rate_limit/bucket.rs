//! The token bucket: governor's algorithm, told the rate and the time of each check.
//!
//! A limiter of governor has one rate, and counts time from its own construction. So a bucket keeps only governor's state,
//! which is one word, and makes the limiter around it for the duration of a check. Each of these limiters starts at the
//! same [`Epoch`](super::rate::Epoch). The stored instant thus keeps its meaning, and the rate may change between two checks.

use std::{cell::Cell, num::NonZeroU32};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
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
        // governor multiplies the cost before it compares, and that may overflow.
        if cost > rate.burst {
            return Err(None);
        }
        let clock = CheckClock { now, next: Cell::new(Nanos::new(0)) };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(rate.quota(), Store(&self.0), clock);
        // The check of several tokens costs more.
        let checked = if cost == NonZeroU32::MIN { Ok(limiter.check()) } else { limiter.check_n(cost) };
        match checked {
            Ok(checked) => checked.map_err(|not_until| Some(not_until.earliest_possible())),
            Err(_) => Err(None),
        }
    }

    /// From when so many tokens have been taken, if calls take them as early as they can. It may lie in the past.
    pub(crate) fn free_at(&self, rate: Rate, cost: u64, now: Nanos) -> Nanos {
        let cost = rate.interval.saturating_mul(cost);
        let full_at = self.full_at().map_or(now, |at| at.max(now)).as_u64();
        Nanos::new(full_at.saturating_add(cost).saturating_sub(rate.fill()))
    }

    /// The tokens in the bucket.
    pub(crate) fn available(&self, rate: Rate, now: Nanos) -> u32 {
        let owed = self.full_at().map_or(0, |at| at.saturating_sub(now).as_u64());
        u32::try_from(rate.fill().saturating_sub(owed) / rate.interval).unwrap_or(u32::MAX)
    }

    /// Returns the tokens of a call that did not use them.
    pub(crate) fn refund(&self, rate: Rate, cost: NonZeroU32) {
        let cost = Nanos::new(rate.interval.saturating_mul(cost.get().into()));
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

/// The clock of one check: governor first reads the start of its limiter, and then the time.
struct CheckClock {
    now: Nanos,
    next: Cell<Nanos>,
}

impl Clock for CheckClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        self.next.replace(self.now)
    }
}

/// A borrowed state: governor's limiters own theirs.
struct Store<'a>(&'a InMemoryState);

impl StateStore for Store<'_> {
    type Key = NotKeyed;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
