//! Slow start: the share of its calls that an endpoint gets after its begin.

use std::time::Duration;

/// The ratio, 0.1 ‥ 1, that an endpoint gets of its share, `elapsed` after it has begun or come back.
///
/// The formula is Envoy's: `max(0.1, (elapsed / window) ^ (1 / aggression))`, with an elapsed time of at least a second.
pub(in crate::balance) fn ramp(window: Duration, aggression: f64, elapsed: Duration) -> f64 {
    if elapsed >= window {
        return 1.0;
    }
    let elapsed = elapsed.max(SECOND.min(window));
    let reached = (elapsed.as_secs_f64() / window.as_secs_f64()).powf(1.0 / aggression);
    reached.clamp(LEAST, 1.0)
}

const SECOND: Duration = Duration::from_secs(1);

/// Fewer calls would hardly warm an endpoint up.
const LEAST: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_49_the_share_of_an_endpoint_grows_to_the_whole() {
        let window = 10 * SECOND;
        let shares: Vec<f64> = (0..=11).map(|second| ramp(window, 1.0, second * SECOND)).collect();
        assert!(shares.is_sorted(), "{shares:?}");
        assert!((shares[0] - 0.1).abs() < 1e-9 && (shares[5] - 0.5).abs() < 1e-9);
        assert!(shares[10] >= 1.0 && shares[11] >= 1.0);
    }

    #[test]
    fn no_window_is_no_slow_start() {
        assert!(ramp(Duration::ZERO, 1.0, Duration::ZERO) >= 1.0);
        assert!(ramp(Duration::from_millis(1), 1.0, Duration::ZERO) >= 1.0);
    }
}
