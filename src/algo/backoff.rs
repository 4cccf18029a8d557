//! How long to stay away: sequences of growing delays, and their jitter.

use std::time::Duration;

/// `base × factor^step`, never more than `max`.
pub(crate) fn exponential(base: Duration, factor: f64, step: u32, max: Duration) -> Duration {
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    scale(base, factor.powi(exponent)).min(max)
}

/// `step × (n + 1)`: 1, 2, 3, 4 … times the step, never more than `max`.
pub(crate) fn linear(step: Duration, n: u32, max: Duration) -> Duration {
    step.checked_mul(n.saturating_add(1)).map_or(max, |delay| delay.min(max))
}

/// `base × fib(n)`: 1, 1, 2, 3, 5, 8 … times the base, never more than `max`.
pub(crate) fn fibonacci(base: Duration, n: u32, max: Duration) -> Duration {
    let (mut delay, mut next) = (base.min(max), base.min(max));
    for _ in 0..n {
        // The sequence grows until it meets the cap, however late the step is asked for.
        if delay >= max || delay.is_zero() {
            break;
        }
        (delay, next) = (next, delay.saturating_add(next).min(max));
    }
    delay
}

/// The delay at `unit` (0 ‥ 1) of the way between two; the other way round they are the same two.
pub(crate) fn between(from: Duration, to: Duration, unit: f64) -> Duration {
    let (from, to) = (from.min(to), from.max(to));
    from.saturating_add(scale(to.saturating_sub(from), unit)).min(to)
}

/// `delay` moved by at most `ratio` of itself, up or down, as `unit` (0 ‥ 1) says.
///
/// The formula is Polly's: `delay × (1 − ratio + 2 × ratio × unit)`.
pub(crate) fn spread(delay: Duration, ratio: f64, unit: f64) -> Duration {
    if ratio <= 0.0 {
        return delay;
    }
    scale(delay, 1.0 - ratio + 2.0 * ratio * unit)
}

/// The fractional part of `n` times the golden ratio: a sequence in 0 ‥ 1 whose members keep apart from each other.
#[cfg(feature = "http")]
pub(crate) fn golden(n: u64) -> f64 {
    // 2^64 divided by the golden ratio; a product that wraps keeps the fractional part. 53 bits fit into an f64.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let unit = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}

/// `delay × by`, saturating: a product that is no duration becomes the nearest one.
pub(crate) fn scale(delay: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64((delay.as_secs_f64() * by).max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_until_it_meets_the_cap() {
        let base = Duration::from_secs(5);
        let delays: Vec<u64> =
            (0..8).map(|step| exponential(base, 2.0, step, Duration::from_secs(300)).as_secs()).collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn no_step_overflows() {
        let max = Duration::from_secs(300);
        assert_eq!(exponential(Duration::MAX, 1e300, u32::MAX, max), max);
        assert_eq!(exponential(Duration::ZERO, 1e300, u32::MAX, max), Duration::ZERO);
    }

    #[test]
    fn a_quarter_of_jitter_on_a_second() {
        let at = |unit| spread(Duration::from_secs(1), 0.25, unit).as_millis();
        assert_eq!([at(0.0), at(0.4), at(0.6), at(1.0)], [750, 950, 1_050, 1_250]);
    }

    #[test]
    fn the_rows_are_exact_and_stay_at_the_cap() {
        let (second, max) = (Duration::from_secs(1), Duration::from_secs(10));
        let row = |delay: fn(Duration, u32, Duration) -> Duration| -> Vec<u64> {
            [0, 1, 2, 3, 4, 5, 6, 10_000, u32::MAX].map(|n| delay(second, n, max).as_secs()).into()
        };
        assert_eq!(row(linear), [1, 2, 3, 4, 5, 6, 7, 10, 10]);
        assert_eq!(row(fibonacci), [1, 1, 2, 3, 5, 8, 10, 10, 10]);
        assert_eq!(fibonacci(Duration::ZERO, u32::MAX, max), Duration::ZERO);
        assert_eq!(fibonacci(Duration::MAX, 7, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn between_two_delays_nothing_overflows() {
        let (one, five) = (Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!([0.0, 0.5, 1.0].map(|unit| between(one, five, unit).as_secs()), [1, 3, 5]);
        assert_eq!(between(five, one, 0.25).as_secs(), 2);
        assert_eq!(between(Duration::ZERO, Duration::MAX, 1.0), Duration::MAX);
    }

    #[test]
    fn no_jitter_is_exact() {
        assert_eq!(spread(Duration::MAX, 0.0, 0.7), Duration::MAX);
    }
}
