//! The counts of a closed circuit: the window, the consecutive failures, and whether they suffice to open it.

use std::time::Instant;

use super::ending::Vote;
use crate::{
    algo::{OutcomeWindow, Tally, WindowSpan},
    circuit_breaker::config::{CircuitBreakerConfig, Window},
    telemetry::Trip,
};

/// The counts from which a closed circuit decides.
#[derive(Clone, Debug)]
pub(super) struct Health {
    window: OutcomeWindow,
    consecutive: u32,
}

/// Until when a healthy call cannot open the circuit, so that it may be counted without the machine's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lockless {
    /// A healthy call may open it at any time.
    Never,
    /// Until the current bucket of a time window ends.
    Until(Instant),
    /// As long as no other event comes.
    Always,
}

impl Health {
    pub(super) fn new(config: &CircuitBreakerConfig, now: Instant) -> Self {
        Self { window: OutcomeWindow::new(span(config.window), now), consecutive: 0 }
    }

    /// Counts one call. Returns why the circuit must open now, if it must.
    pub(super) fn record(
        &mut self,
        vote: Vote,
        slow: bool,
        config: &CircuitBreakerConfig,
        now: Instant,
    ) -> Option<Trip> {
        self.window.advance(now);
        self.window.push(vote.is_failure(), slow);
        match vote {
            Vote::Success => self.consecutive = 0,
            Vote::Failure => self.consecutive = self.consecutive.saturating_add(1),
            Vote::Answered | Vote::RateLimited | Vote::Ignored => {}
        }
        self.trip(config)
    }

    /// Counts healthy calls that were made while [`lockless`](Self::lockless) allowed it. None of them opens the circuit.
    pub(super) fn absorb(&mut self, healthy: u64) {
        if healthy > 0 {
            self.window.push_healthy(healthy);
            self.consecutive = 0;
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.window.advance(now);
    }

    /// Changes the size of the window. The window keeps the newest calls that fit.
    pub(super) fn resize(&mut self, config: &CircuitBreakerConfig, now: Instant) {
        self.window = self.window.resized(span(config.window), now);
    }

    pub(super) fn tally(&self) -> Tally {
        self.window.tally()
    }

    pub(super) fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Until when a healthy call cannot open the circuit.
    ///
    /// It can if the window is about to hold enough calls to be judged. It also can if a rate is above its limit already:
    /// healthy calls have left the window by time, or the limits were changed.
    pub(super) fn lockless(&self, config: &CircuitBreakerConfig) -> Lockless {
        let tally = self.window.tally();
        let judged = tally.total >= min_requests(config);
        let spotless = tally.failed == 0 && tally.slow == 0;
        if !(judged || spotless) || self.trip(config).is_some() {
            return Lockless::Never;
        }
        self.window.steady_until().map_or(Lockless::Always, Lockless::Until)
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
        if config.slow_call.is_some_and(|limit| tally.slow_rate() >= limit.rate) {
            return Some(Trip::SlowCallRate { slow, total });
        }
        None
    }
}

/// A window that can never hold `min_requests` calls is judged when it is full, as in resilience4j.
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
    fn a_rate_limit_counts_in_the_window_and_not_in_the_sequence() {
        let config = CircuitBreakerConfig::consecutive(2);
        let mut health = Health::new(&config, epoch());
        let trip = record(&mut health, &config, &[Vote::Failure, Vote::RateLimited, Vote::Answered]);
        assert_eq!((trip, health.consecutive(), health.tally().failed), (None, 1, 2));
        let trip = record(&mut health, &config, &[Vote::Failure]);
        assert_eq!(trip, Some(Trip::ConsecutiveFailures(2)));
    }

    #[test]
    fn a_healthy_call_may_trip_by_making_the_window_full_enough() {
        let config = CircuitBreakerConfig::new().min_requests(4);
        let mut health = Health::new(&config, epoch());
        assert_eq!(record(&mut health, &config, &[Vote::Failure, Vote::Failure, Vote::Success]), None);
        assert_eq!(health.lockless(&config), Lockless::Never);
        let trip = record(&mut health, &config, &[Vote::Success]);
        assert_eq!(trip, Some(Trip::FailureRate { failed: 2, total: 4 }));
    }

    #[test]
    fn it_is_not_lockless_while_a_rate_is_above_its_limit() {
        let config = CircuitBreakerConfig::new().min_requests(2).window(Window::Calls(10));
        let mut health = Health::new(&config, epoch());
        record(&mut health, &config, &[Vote::Success, Vote::Success, Vote::Failure]);
        assert_eq!(health.lockless(&config), Lockless::Always);
        assert_eq!(health.lockless(&config.failure_rate(0.2)), Lockless::Never);
    }

    #[test]
    fn a_count_window_is_lockless_until_another_event_and_a_time_window_until_its_bucket_ends() {
        let by_calls = CircuitBreakerConfig::new().window(Window::Calls(100));
        assert_eq!(Health::new(&by_calls, epoch()).lockless(&by_calls), Lockless::Always);
        let by_time = CircuitBreakerConfig::new().window(Window::Time(Duration::from_secs(10)));
        let end = epoch() + Duration::from_secs(1);
        assert_eq!(Health::new(&by_time, epoch()).lockless(&by_time), Lockless::Until(end));
    }
}
