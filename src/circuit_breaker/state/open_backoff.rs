//! How long the circuit stays open: in proportion to the outage so far, or as long as the backend asks.

use std::time::{Duration, Instant};

use crate::{
    algo::{after, exponential, scale, spread},
    circuit_breaker::config::CircuitBreakerConfig,
};

/// The outage so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenBackoff {
    /// When the circuit first opened since it was last closed.
    outage_since: Option<Instant>,
    /// Openings that `open_multiplier` remembers, across outages that follow each other closely.
    openings: u32,
    closed_since: Option<Instant>,
}

impl OpenBackoff {
    /// The circuit opens, by a call whose response asked to come back after `hint`. Returns the end of the open period;
    /// `unit` (0 ‥ 1) is the jitter.
    pub(super) fn open(
        &mut self,
        config: &CircuitBreakerConfig,
        hint: Option<Duration>,
        unit: f64,
        now: Instant,
    ) -> Instant {
        if let Some(since) = self.closed_since.take() {
            let healthy = now.saturating_duration_since(since).as_nanos();
            let decayed = healthy / config.backoff_decay_every.as_nanos().max(1);
            self.openings = self.openings.saturating_sub(u32::try_from(decayed).unwrap_or(u32::MAX));
        }
        let outage = now.saturating_duration_since(*self.outage_since.get_or_insert(now));
        let max = config.max_open_for.max(config.open_for);
        let grown = exponential(config.open_for, config.open_multiplier, self.openings, max);
        let period = scale(outage, config.outage_ratio).clamp(grown, max);
        self.openings = self.openings.saturating_add(1);
        let own = spread(period, config.open_jitter, unit);
        after(now, own.max(hint.unwrap_or_default().min(config.max_retry_after)))
    }

    /// The circuit is closed from now on: the outage is over.
    pub(super) fn closed(&mut self, now: Instant) {
        (self.outage_since, self.closed_since) = (None, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const EXACT: CircuitBreakerConfig = CircuitBreakerConfig::new().open_jitter(0.0);
    const DOUBLING: CircuitBreakerConfig = EXACT
        .open_for(Duration::from_secs(5))
        .outage_ratio(0.0)
        .open_multiplier(2.0)
        .max_open_for(Duration::from_secs(300));

    fn millis(backoff: &mut OpenBackoff, config: &CircuitBreakerConfig, now: Instant) -> u128 {
        (backoff.open(config, None, 0.5, now) - now).as_millis()
    }

    /// The open periods of an outage in which every probe fails at once, in milliseconds.
    fn periods(config: &CircuitBreakerConfig, count: usize) -> Vec<u128> {
        let (mut backoff, mut now) = (OpenBackoff::default(), epoch());
        let mut next = || {
            let until = backoff.open(config, None, 0.5, now);
            let period = (until - now).as_millis();
            now = until;
            period
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn an_open_period_is_a_sixth_of_the_outage_so_far() {
        let first: u128 = 700;
        let found = periods(&EXACT, 30);
        assert_eq!(found[..7], [first; 7], "up to 4.2 s the minimum is longer");
        assert_eq!(found[7..10], [816, 952, 1_111], "each is a sixth of the sum of those before");
        assert_eq!(found.last(), Some(&15_000));
    }

    #[test]
    fn nothing_is_remembered_when_the_circuit_closes() {
        let mut backoff = OpenBackoff::default();
        millis(&mut backoff, &EXACT, epoch());
        let later = epoch() + Duration::from_secs(60);
        assert_eq!(millis(&mut backoff, &EXACT, later), 10_000);
        backoff.closed(later);
        assert_eq!(millis(&mut backoff, &EXACT, later), 700);
    }

    #[test]
    fn a_chosen_period_above_the_default_cap_is_kept() {
        let config = EXACT.open_for(Duration::from_secs(60));
        assert_eq!(periods(&config, 3), [60_000; 3]);
    }

    #[test]
    fn it_doubles_up_to_the_cap_where_that_is_asked_for() {
        assert_eq!(periods(&DOUBLING, 8), [5, 10, 20, 40, 80, 160, 300, 300].map(|seconds| seconds * 1_000));
    }

    #[test]
    fn every_stretch_of_health_takes_back_one_doubling() {
        let mut backoff = OpenBackoff::default();
        for _ in 0..4 {
            backoff.open(&DOUBLING, None, 0.5, epoch());
        }
        backoff.closed(epoch());
        assert_eq!(millis(&mut backoff, &DOUBLING, epoch() + Duration::from_secs(65)), 20_000);
        backoff.closed(epoch());
        assert_eq!(millis(&mut backoff, &DOUBLING, epoch() + Duration::from_secs(3_600)), 5_000);
    }

    #[test]
    fn the_backend_may_ask_for_more_but_not_for_less_and_only_up_to_the_cap() {
        let hinted = |hint| {
            let until = OpenBackoff::default().open(&EXACT, Some(hint), 0.5, epoch());
            (until - epoch()).as_millis()
        };
        assert_eq!(hinted(Duration::from_millis(1)), 700);
        assert_eq!(hinted(Duration::from_secs(20)), 20_000);
        assert_eq!(hinted(Duration::MAX), 60_000);
    }

    #[test]
    fn jitter_moves_it_both_ways() {
        let config = EXACT.open_for(Duration::from_secs(5)).open_jitter(0.2);
        let at = |unit| (OpenBackoff::default().open(&config, None, unit, epoch()) - epoch()).as_millis();
        assert_eq!([at(0.0), at(0.5), at(1.0)], [4_000, 5_000, 6_000]);
    }
}
