//! How long to stay away: delays that grow by a factor, and their jitter.

use std::time::Duration;

/// `base × factor^step`, never more than `max`.
pub(crate) fn exponential(base: Duration, factor: f64, step: u32, max: Duration) -> Duration {
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    scale(base, factor.powi(exponent)).min(max)
}

/// `delay` moved by at most `share` of itself, up or down, as `unit` (0 ‥ 1) says.
///
/// The formula is Polly's: `delay × (1 − share + 2 × share × unit)`.
pub(crate) fn spread(delay: Duration, share: f64, unit: f64) -> Duration {
    if share <= 0.0 {
        return delay;
    }
    scale(delay, 1.0 - share + 2.0 * share * unit)
}

/// `delay × by`, saturating: a product that is no duration becomes the nearest one.
fn scale(delay: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64((delay.as_secs_f64() * by).max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_until_it_meets_the_cap() {
        let base = Duration::from_secs(5);
        let delays: Vec<u64> = (0..8)
            .map(|step| exponential(base, 2.0, step, Duration::from_secs(300)).as_secs())
            .collect();
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
    fn no_jitter_is_exact() {
        assert_eq!(spread(Duration::MAX, 0.0, 0.7), Duration::MAX);
    }
}
