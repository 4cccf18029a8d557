//! The machine of a drain: its instants, and the sum of the calls that it waits for.

use std::time::Instant;

use super::{config::DrainConfig, snapshot::DrainReport};
use crate::algo::after;

/// The numbers, and the drain once it has begun.
#[derive(Debug)]
pub(super) struct State {
    config: DrainConfig,
    drain: Option<Begun>,
}

/// A drain that has begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Instant,
    closes_at: Instant,
    ends_at: Instant,
    /// The calls that it waits for: those in flight at its begin, and those admitted during the delay.
    calls: u64,
    report: Option<DrainReport>,
}

impl State {
    pub(super) const fn new(config: DrainConfig) -> Self {
        Self { config, drain: None }
    }

    pub(super) const fn config(&self) -> DrainConfig {
        self.config
    }

    /// Replaces the numbers. A drain that has begun keeps its instants.
    pub(super) const fn update(&mut self, config: DrainConfig) {
        self.config = config;
    }

    /// Begins the drain with so many calls in flight.
    pub(super) fn begin(&mut self, in_flight: u64, now: Instant) {
        let closes_at = after(now, self.config.delay);
        let ends_at = after(closes_at, self.config.longest_wait());
        self.drain = Some(Begun { at: now, closes_at, ends_at, calls: in_flight, report: None });
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.drain.is_some()
    }

    /// When the gate closes and when the wait ends, once the drain has begun.
    pub(super) fn schedule(&self) -> Option<(Instant, Instant)> {
        self.drain.map(|drain| (drain.closes_at, drain.ends_at))
    }

    /// Admits a call during the delay.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let Some(drain) = &mut self.drain else { return true };
        let admitted = now < drain.closes_at;
        drain.calls += u64::from(admitted);
        admitted
    }

    /// The report with so many calls left, and whether it is new. The first report holds for every later wait.
    pub(super) fn report(&mut self, left: u64, now: Instant) -> (DrainReport, bool) {
        let Some(drain) = &mut self.drain else { return (DrainReport::default(), false) };
        if let Some(report) = drain.report {
            return (report, false);
        }
        let finished = drain.calls.saturating_sub(left);
        let report = DrainReport { finished, left, waited: now.saturating_duration_since(drain.at) };
        drain.report = Some(report);
        (report, true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::clock::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    fn begun(in_flight: u64) -> State {
        let mut state = State::new(DrainConfig::new().delay(2 * SECOND).limit(3 * SECOND));
        assert!(state.admit(epoch()) && !state.has_begun());
        state.begin(in_flight, epoch());
        state
    }

    #[test]
    fn calls_are_admitted_until_the_end_of_the_delay() {
        let mut state = begun(0);
        assert_eq!(state.schedule(), Some((epoch() + 2 * SECOND, epoch() + 5 * SECOND)));
        assert!(state.admit(epoch() + SECOND));
        assert!(!state.admit(epoch() + 2 * SECOND));
    }

    #[test]
    fn the_report_counts_the_calls_of_the_delay_and_the_first_one_holds() {
        let mut state = begun(4);
        assert!(state.admit(epoch()));
        let report = DrainReport { finished: 3, left: 2, waited: 5 * SECOND };
        assert_eq!(state.report(2, epoch() + 5 * SECOND), (report, true));
        assert_eq!(state.report(0, epoch() + 9 * SECOND), (report, false));
    }

    #[test]
    fn new_numbers_do_not_move_a_drain_that_has_begun() {
        let mut state = begun(0);
        state.update(DrainConfig::new());
        assert_eq!((state.schedule().unwrap().0, state.config()), (epoch() + 2 * SECOND, DrainConfig::new()));
    }
}
