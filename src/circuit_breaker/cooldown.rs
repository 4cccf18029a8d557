//! How long the circuit stays open: longer with every opening, forgotten with health.

use std::time::{Duration, Instant};

use super::config::CircuitBreakerConfig;
use crate::algo::{after, exponential, spread};

/// The memory of earlier openings, and of what the peer asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cooldown {
    openings: u32,
    closed_since: Option<Instant>,
    asked: Option<Instant>,
}

impl Cooldown {
    /// Remembers until when the peer asked to be left alone.
    pub(super) fn hint(&mut self, retry_after: Duration, config: &CircuitBreakerConfig, now: Instant) {
        let until = after(now, retry_after.min(config.max_retry_after));
        self.asked = self.asked.max(Some(until));
    }

    /// The circuit opens: until when. `unit` (0 ‥ 1) is the jitter.
    pub(super) fn open(&mut self, config: &CircuitBreakerConfig, unit: f64, now: Instant) -> Instant {
        if let Some(since) = self.closed_since.take() {
            let healthy = now.saturating_duration_since(since).as_nanos();
            let forgiven = healthy / config.forgive_after.as_nanos().max(1);
            self.openings = self.openings.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        }
        let max = config.max_open_for.max(config.open_for);
        let delay = exponential(config.open_for, config.open_multiplier, self.openings, max);
        self.openings = self.openings.saturating_add(1);
        let own = after(now, spread(delay, config.open_jitter, unit));
        self.asked.take().map_or(own, |asked| own.max(asked))
    }

    /// The circuit is closed from now on.
    pub(super) fn closed(&mut self, now: Instant) {
        self.closed_since = Some(now);
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const EXACT: CircuitBreakerConfig = CircuitBreakerConfig::new().open_jitter(0.0);

    fn seconds(cooldown: &mut Cooldown, now: Instant) -> u64 {
        (cooldown.open(&EXACT, 0.5, now) - now).as_secs()
    }

    #[test]
    fn each_opening_doubles_it_up_to_the_cap() {
        let mut cooldown = Cooldown::default();
        let delays: Vec<u64> = (0..8).map(|_| seconds(&mut cooldown, epoch())).collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn every_stretch_of_health_forgets_one_opening() {
        let mut cooldown = Cooldown::default();
        for _ in 0..4 {
            cooldown.open(&EXACT, 0.5, epoch());
        }
        cooldown.closed(epoch());
        assert_eq!(seconds(&mut cooldown, epoch() + Duration::from_secs(65)), 20);
        cooldown.closed(epoch());
        assert_eq!(seconds(&mut cooldown, epoch() + Duration::from_secs(3_600)), 5);
    }

    #[test]
    fn the_peer_may_ask_for_more_but_not_for_less_and_not_for_ever() {
        let hinted = |hint| {
            let mut cooldown = Cooldown::default();
            cooldown.hint(hint, &EXACT, epoch());
            seconds(&mut cooldown, epoch())
        };
        assert_eq!(hinted(Duration::from_secs(1)), 5);
        assert_eq!(hinted(Duration::from_secs(60)), 60);
        assert_eq!(hinted(Duration::MAX), 300);
    }

    #[test]
    fn jitter_moves_it_both_ways() {
        let config = CircuitBreakerConfig::new().open_jitter(0.2);
        let at = |unit| (Cooldown::default().open(&config, unit, epoch()) - epoch()).as_millis();
        assert_eq!([at(0.0), at(0.5), at(1.0)], [4_000, 5_000, 6_000]);
    }
}
