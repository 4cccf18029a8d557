//! The arithmetic of a source: a token bucket as one instant, which may owe.
//!
//! governor's bucket cannot take more than it holds. A source must: its instances have given out units before they ask.
//! The script of the Redis source does the same steps, and one body of tests compares the two.

use std::time::Duration;

use super::source::{Grant, QuotaRequest};

/// Answers a request of a bucket that is full again at `full_at`, in nanoseconds. Returns the new instant too.
pub(super) fn lease(full_at: u64, request: &QuotaRequest, now: u64) -> (u64, Grant) {
    let interval = u64::try_from(request.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let cost = |units: u32| interval.saturating_mul(units.into());
    let fill = cost(request.burst);
    // A bucket owes its content once more at most. Without this, an instance could lock out the others for ever.
    let highest = now.saturating_add(fill.saturating_mul(2));
    let full_at = full_at.max(now).saturating_add(cost(request.owed)).min(highest);
    let free = now.saturating_add(fill).saturating_sub(full_at) / interval;
    let granted = request.wanted.min(u32::try_from(free).unwrap_or(u32::MAX));
    let full_at = full_at.saturating_add(cost(granted));
    let remaining = now.saturating_add(fill).saturating_sub(full_at) / interval;
    let next_unit = full_at.saturating_add(interval).saturating_sub(fill);
    let grant = Grant {
        granted,
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        retry_after: Duration::from_nanos(next_unit.saturating_sub(now)),
        reset_after: Duration::from_nanos(full_at - now),
    };
    (full_at, grant)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Units, and the part of the next one in nanoseconds.
    struct Naive {
        level: i64,
        part: i64,
    }

    #[test]
    fn it_agrees_with_a_naive_bucket_that_owes() {
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (interval, burst) = (rng.random_range(1..1_000), rng.random_range(1..50));
            let request = QuotaRequest::new("k", Duration::from_nanos(interval), burst);
            let step = i64::try_from(interval).expect("small");
            let mut naive = Naive { level: burst.into(), part: 0 };
            let (mut full_at, mut now) = (0, 1_000_000);
            for turn in 0..300 {
                let passed = rng.random_range(0..interval * 3);
                now += passed;
                naive.part += i64::try_from(passed).expect("small");
                naive.level += naive.part / step;
                naive.part %= step;
                if naive.level >= burst.into() {
                    (naive.level, naive.part) = (burst.into(), 0);
                }
                let owed = if rng.random_bool(0.2) { rng.random_range(0..=burst / 4) } else { 0 };
                let wanted = rng.random_range(0..=burst);
                naive.level -= i64::from(owed);
                if naive.level < -i64::from(burst) {
                    (naive.level, naive.part) = (-i64::from(burst), 0);
                }
                let granted = i64::from(wanted).min(naive.level.max(0));
                naive.level -= granted;
                let wait = ((1 - naive.level) * step - naive.part).max(0);
                let grant;
                (full_at, grant) = lease(full_at, &request.clone().owed(owed).wanted(wanted), now);
                let expected = (granted, naive.level.max(0), u128::try_from(wait).expect("not below 0"));
                let found = (grant.granted.into(), i64::from(grant.remaining), grant.retry_after.as_nanos());
                assert_eq!(found, expected, "seed {seed}, turn {turn}");
            }
        }
    }

    #[test]
    fn case_21_extreme_requests_do_not_overflow() {
        for interval in [Duration::ZERO, Duration::MAX] {
            let request = QuotaRequest::new("k", interval, u32::MAX).owed(u32::MAX).wanted(u32::MAX);
            for (full_at, now) in [(0, 0), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
                let (after, _) = lease(full_at, &request, now);
                assert!(after >= now);
            }
        }
    }

    #[test]
    fn a_bucket_owes_its_content_once_at_most() {
        let request = QuotaRequest::new("k", Duration::from_secs(1), 10);
        let (full_at, _) = lease(0, &request.clone().owed(1_000_000), 0);
        assert_eq!(Duration::from_nanos(full_at).as_secs(), 20);
        // The clock of the store went back by years.
        let (full_at, _) = lease(u64::MAX, &request, 0);
        assert_eq!(Duration::from_nanos(full_at).as_secs(), 20);
    }
}
