//! What is known of the peer while calls pass: the window, the row of failures, and whether they suffice to trip.

use std::time::Instant;

use super::{
    config::{CircuitBreakerConfig, Window},
    vote::Vote,
};
use crate::{
    algo::{OutcomeWindow, Tally, WindowSpan},
    telemetry::Trip,
};

/// The counts from which a closed circuit decides.
#[derive(Clone, Debug)]
pub(super) struct Health {
    window: OutcomeWindow,
    consecutive: u32,
}

/// Until when a healthy call cannot change anything and need not be shown to the state one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calm {
    /// It may trip the circuit any time.
    Never,
    /// Nothing leaves the window before then.
    Until(Instant),
    /// Time does not matter.
    Always,
}

impl Health {
    pub(super) fn new(config: &CircuitBreakerConfig, now: Instant) -> Self {
        Self { window: OutcomeWindow::new(span(config.window), now), consecutive: 0 }
    }

    /// Counts one call; says whether the circuit must open now.
    pub(super) fn record(
        &mut self,
        vote: Vote,
        slow: bool,
        config: &CircuitBreakerConfig,
        now: Instant,
    ) -> Option<Trip> {
        self.window.advance(now);
        self.window.push(vote.is_bad(), slow);
        match vote {
            Vote::Success => self.consecutive = 0,
            Vote::Failure => self.consecutive = self.consecutive.saturating_add(1),
            Vote::Answered | Vote::Refused | Vote::Ignored => {}
        }
        self.trip(config)
    }

    /// Counts healthy calls that were made while it was [calm](Self::calm): none of them can trip the circuit.
    pub(super) fn absorb(&mut self, healthy: u64) {
        if healthy > 0 {
            self.window.push_healthy(healthy);
            self.consecutive = 0;
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.window.advance(now);
    }

    /// Follows a change of the window's size, keeping what it holds.
    pub(super) fn resize(&mut self, config: &CircuitBreakerConfig, now: Instant) {
        self.window = self.window.resized(span(config.window), now);
    }

    pub(super) fn tally(&self) -> Tally {
        self.window.tally()
    }

    pub(super) fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Until when a healthy call cannot trip the circuit.
    ///
    /// It can where the window is about to hold enough calls to be judged, and where the rates are past their limits
    /// already and wait for a call to say so: healthy calls have left by time, or the limits were changed.
    pub(super) fn calm(&self, config: &CircuitBreakerConfig) -> Calm {
        let tally = self.window.tally();
        let judged = tally.total >= min_requests(config);
        let idempotent = tally.failed == 0 && tally.slow == 0;
        if !(judged || idempotent) || self.trip(config).is_some() {
            return Calm::Never;
        }
        self.window.steady_until().map_or(Calm::Always, Calm::Until)
    }

    fn trip(&self, config: &CircuitBreakerConfig) -> Option<Trip> {
        if config.consecutive_failures.is_some_and(|limit| self.consecutive >= limit) {
            return Some(Trip::ConsecutiveFailures(self.consecutive));
        }
        let tally = self.window.tally();
        if tally.total < min_requests(config) {
            return None;
        }
        let Tally { total, failed, slow } = tally;
        if config.failure_rate.is_some_and(|limit| tally.failure_rate() >= limit) {
            return Some(Trip::FailureRate { failed, total });
        }
        if config.slow_call.is_some_and(|limit| tally.slow_rate() >= limit.share) {
            return Some(Trip::SlowCallRate { slow, total });
        }
        None
    }
}

/// A window that can never hold as many calls as asked for is judged when it is full, as in resilience4j.
pub(super) fn min_requests(config: &CircuitBreakerConfig) -> u32 {
    match config.window {
        Window::Calls(size) => config.min_requests.min(size),
        Window::Time(_) => config.min_requests,
    }
}

fn span(window: Window) -> WindowSpan {
    match window {
        Window::Calls(calls) => WindowSpan::Calls(calls),
        Window::Time(span) => WindowSpan::Time(span),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::clock::epoch;

    fn record(health: &mut Health, config: &CircuitBreakerConfig, votes: &[Vote]) -> Option<Trip> {
        votes.iter().fold(None, |_, vote| health.record(*vote, false, config, epoch()))
    }

    #[test]
    fn a_refusal_counts_in_the_window_and_neither_adds_to_a_row_nor_ends_it() {
        let config = CircuitBreakerConfig::consecutive(2);
        let mut health = Health::new(&config, epoch());
        let trip = record(&mut health, &config, &[Vote::Failure, Vote::Refused, Vote::Answered]);
        assert_eq!((trip, health.consecutive(), health.tally().failed), (None, 1, 2));
        let trip = record(&mut health, &config, &[Vote::Failure]);
        assert_eq!(trip, Some(Trip::ConsecutiveFailures(2)));
    }

    #[test]
    fn a_healthy_call_may_trip_by_making_the_window_full_enough() {
        let config = CircuitBreakerConfig::new().min_requests(4);
        let mut health = Health::new(&config, epoch());
        assert_eq!(record(&mut health, &config, &[Vote::Failure, Vote::Failure, Vote::Success]), None);
        assert_eq!(health.calm(&config), Calm::Never);
        let trip = record(&mut health, &config, &[Vote::Success]);
        assert_eq!(trip, Some(Trip::FailureRate { failed: 2, total: 4 }));
    }

    #[test]
    fn it_is_not_calm_while_a_rate_is_past_its_limit() {
        let config = CircuitBreakerConfig::new().min_requests(2).window(Window::Calls(10));
        let mut health = Health::new(&config, epoch());
        record(&mut health, &config, &[Vote::Success, Vote::Success, Vote::Failure]);
        assert_eq!(health.calm(&config), Calm::Always);
        assert_eq!(health.calm(&config.failure_rate(0.2)), Calm::Never);
    }

    #[test]
    fn it_is_calm_for_ever_over_calls_and_to_the_end_of_the_bucket_over_time() {
        let by_calls = CircuitBreakerConfig::new().window(Window::Calls(100));
        assert_eq!(Health::new(&by_calls, epoch()).calm(&by_calls), Calm::Always);
        let by_time = CircuitBreakerConfig::new().window(Window::Time(Duration::from_secs(10)));
        let end = epoch() + Duration::from_secs(1);
        assert_eq!(Health::new(&by_time, epoch()).calm(&by_time), Calm::Until(end));
    }
}
