//! The decision: whether there is credit for one more attempt.

use std::{fmt, time::Instant};

use super::config::{HealthGate, RetryBudgetConfig};
use crate::algo::{Summed, Tally, TimeBuckets};

/// What is earned and spent over the window, and how well the peer is.
#[derive(Debug)]
pub(super) struct State {
    config: RetryBudgetConfig,
    traffic: TimeBuckets<Traffic>,
    health: TimeBuckets<Tally>,
    /// When the calls that succeed were last counted.
    looked: Instant,
    /// What the gate has let through in parts; a whole retry passes when it reaches 1. While the peer is well it is full,
    /// so that the first call of a quiet client that fails twice still gets its second retry.
    trickle: f64,
    /// What is left of the credit given at the start, and what has been added to it since.
    reserve: f64,
    /// Withdrawn from the share, and not yet spent.
    held: u32,
}

/// Where the credit for one more attempt was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purse {
    Reserve,
    Share,
}

/// Why there is no credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoCredit {
    /// So many attempts fail that more of them would not help.
    PeerIsIll,
    /// The share of the requests that may be sent again is used up.
    ShareIsUsedUp,
}

impl fmt::Display for NoCredit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerIsIll => "too many attempts fail",
            Self::ShareIsUsedUp => "the share of retries is used up",
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    requests: u32,
    retries: u32,
}

impl Summed for Traffic {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.retries = self.retries.saturating_add(other.retries);
    }

    fn subtract(&mut self, other: Self) {
        self.requests = self.requests.saturating_sub(other.requests);
        self.retries = self.retries.saturating_sub(other.retries);
    }
}

impl State {
    pub(super) fn new(config: RetryBudgetConfig, now: Instant) -> Self {
        Self {
            traffic: TimeBuckets::new(config.window, now),
            health: TimeBuckets::new(config.health_window, now),
            looked: now,
            trickle: 1.0,
            reserve: config.start.into(),
            held: 0,
            config,
        }
    }

    /// Lets time pass, in which that many calls succeeded at their first attempt. They came evenly, as far as anybody
    /// knows: nobody looked.
    pub(super) fn look(&mut self, succeeded: u64, now: Instant) {
        let balance = self.balance().max(0.0);
        let old = self.traffic.advance(now);
        self.health.advance(now);
        let (mut lost, unspent) = (0, old.earned(&self.config) - f64::from(old.retries));
        if succeeded > 0 {
            lost = succeeded - self.traffic.add_since(self.looked, succeeded, Traffic::requests);
            self.health.add_since(self.looked, succeeded, Tally::healthy);
        }
        self.looked = now;
        // What leaves the window unspent fills up what was given at the start; in the past that nobody looked at,
        // nothing was spent.
        self.reserve += unspent.min(balance).max(0.0) + Traffic::requests(lost).earned(&self.config);
        self.reserve = self.reserve.min(self.config.start.into());
    }

    /// An attempt has ended, other than by the success of a first attempt. Only a first one is a request.
    pub(super) fn record(&mut self, first: bool, failed: bool) {
        if first {
            self.traffic.add(Traffic::requests(1));
        }
        self.health.add(Tally::one(failed, false));
    }

    /// Asks for credit for one more attempt.
    pub(super) fn withdraw(&mut self) -> Result<Purse, NoCredit> {
        let gate = self.gate();
        let trickle = if gate < 1.0 { self.trickle + gate } else { 2.0 };
        if trickle < 1.0 {
            self.trickle = trickle;
            return Err(NoCredit::PeerIsIll);
        }
        // A sum of tenths that should be whole must not miss it by the last bit.
        let purse = if self.balance() + ROUNDING >= 1.0 {
            self.held = self.held.saturating_add(1);
            Purse::Share
        } else {
            if self.reserve + ROUNDING < 1.0 {
                return Err(NoCredit::ShareIsUsedUp);
            }
            self.reserve -= 1.0;
            Purse::Reserve
        };
        self.trickle = trickle - 1.0;
        Ok(purse)
    }

    /// The attempt is sent.
    pub(super) fn spend(&mut self, purse: Purse) {
        if purse == Purse::Share {
            self.held -= 1;
            self.traffic.add(Traffic { requests: 0, retries: 1 });
        }
    }

    /// The attempt will not be sent.
    pub(super) fn refund(&mut self, purse: Purse) {
        match purse {
            Purse::Share => self.held -= 1,
            Purse::Reserve => self.reserve += 1.0,
        }
        // It is never below 0, so giving back what was taken from it fills it.
        self.trickle = 1.0;
    }

    /// How many attempts there is credit for at the moment, by the share.
    pub(super) fn balance(&self) -> f64 {
        let traffic = self.traffic.sum();
        traffic.earned(&self.config) - f64::from(traffic.retries) - f64::from(self.held)
    }

    /// The share of the attempts that failed, as the gate sees it.
    pub(super) fn failure_rate(&self) -> f64 {
        let Tally { total, failed, .. } = self.health.sum();
        f64::from(failed) / f64::from(total.saturating_add(PRIOR_SUCCESSES))
    }

    /// The share of the retries that the peer's health lets through.
    pub(super) fn gate(&self) -> f64 {
        let HealthGate::Between(well_below, ill_from) = self.config.health_gate else { return 1.0 };
        let rate = self.failure_rate();
        if rate < well_below {
            return 1.0;
        }
        ((ill_from - rate) / (ill_from - well_below)).clamp(TRICKLE, 1.0)
    }

    /// How much credit there is beside the share.
    pub(super) const fn reserve(&self) -> f64 {
        self.reserve
    }
}

impl Traffic {
    fn requests(count: u64) -> Self {
        Self { requests: u32::try_from(count).unwrap_or(u32::MAX), retries: 0 }
    }

    fn earned(self, config: &RetryBudgetConfig) -> f64 {
        f64::from(self.requests) * config.share
    }
}

/// While the peer is ill one retry in a hundred passes, so that somebody notices when it is well again.
const TRICKLE: f64 = 0.01;
/// A quiet client is not shut by a single failure.
const PRIOR_SUCCESSES: u32 = 5;
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::clock::epoch;

    fn at(millis: u64) -> Instant {
        epoch() + Duration::from_millis(millis)
    }

    /// No credit at the start, and no gate.
    fn by_share(share: f64) -> State {
        State::new(RetryBudgetConfig::new().share(share).start(0).without_health_gate(), epoch())
    }

    fn retries(state: &mut State, asked: u32) -> u32 {
        let granted = (0..asked).filter_map(|_| state.withdraw().ok()).collect::<Vec<_>>();
        for purse in &granted {
            state.spend(*purse);
        }
        u32::try_from(granted.len()).expect("as many as were asked for")
    }

    #[test]
    fn the_share_is_exact_whatever_the_fraction() {
        for (share, expected) in [
            (0.1, 1_000),
            (0.5, 5_000),
            (0.25, 2_500),
            (0.75, 7_500),
            (0.99, 9_900),
            (0.001, 10),
            (2.0, 20_000),
        ] {
            let mut state = by_share(share);
            state.look(10_000, at(0));
            assert_eq!(retries(&mut state, 30_000), expected, "{share}");
        }
    }

    #[test]
    fn what_is_given_at_the_start_is_given_once() {
        let mut state = State::new(RetryBudgetConfig::new().start(3), epoch());
        assert_eq!(retries(&mut state, 10), 3);
        state.look(0, at(60_000));
        assert_eq!(state.withdraw(), Err(NoCredit::ShareIsUsedUp));
        state.look(5, at(60_001));
        assert_eq!(retries(&mut state, 10), 1);
    }

    #[test]
    fn what_is_not_spent_in_time_is_kept_up_to_what_was_given_at_the_start() {
        let mut state = State::new(RetryBudgetConfig::new().start(3).without_health_gate(), epoch());
        assert_eq!(retries(&mut state, 10), 3);
        // One request every 20 s earns less than a retry a minute, and still one every 100 s.
        for n in 1..=15 {
            state.look(1, at(20_000 * n));
        }
        assert_eq!(retries(&mut state, 10), 3 - 1, "what the last minute has earned is not yet kept");
        state.look(1_000_000, at(400_000));
        state.look(0, at(900_000));
        assert!((state.reserve() - 3.0).abs() < 1e-9);
        state.look(600, at(4_500_000));
        assert_eq!(retries(&mut state, 30), 3 + 2, "ten of these came in the last minute");
    }

    #[test]
    fn what_was_spent_is_not_kept() {
        let mut state = State::new(RetryBudgetConfig::new().start(10).without_health_gate(), epoch());
        assert_eq!(retries(&mut state, 10), 10);
        state.look(50, at(0));
        state.look(0, at(30_000));
        assert_eq!(retries(&mut state, 20), 10);
        // The requests leave the window, then the retries.
        for n in 31..=120 {
            state.look(0, at(1_000 * n));
        }
        assert!(state.reserve().abs() < 1e-9, "{}", state.reserve());
    }

    #[test]
    fn requests_and_retries_are_forgotten_with_the_window() {
        let mut state = by_share(0.2);
        state.look(1_000, at(0));
        assert_eq!(retries(&mut state, 150), 150);
        state.look(0, at(59_999));
        assert!((state.balance() - 50.0).abs() < 1e-3);
        state.look(0, at(60_000));
        assert_eq!(state.withdraw(), Err(NoCredit::ShareIsUsedUp));
    }

    #[test]
    fn a_withdrawal_that_is_not_spent_comes_back() {
        let mut state = by_share(0.2);
        state.look(5, at(0));
        let purse = state.withdraw().expect("there is one");
        assert_eq!(state.withdraw(), Err(NoCredit::ShareIsUsedUp));
        // However late: nothing of it has entered the window.
        state.look(9, at(90_000));
        state.refund(purse);
        assert_eq!(retries(&mut state, 10), 1);
    }

    #[test]
    fn while_the_peer_is_ill_one_retry_in_a_hundred_passes() {
        let mut state = State::new(RetryBudgetConfig::new(), epoch());
        state.look(10_000, at(0));
        state.look(0, at(5_000));
        for _ in 0..1_000 {
            state.record(true, true);
        }
        assert!((10..=11).contains(&retries(&mut state, 1_000)));
        state.look(0, at(7_000));
        assert!((state.gate() - 1.0).abs() < f64::EPSILON, "its illness is forgotten after two seconds");
    }

    #[test]
    fn between_well_and_ill_the_gate_closes_by_degrees() {
        let gate = |failed: u64| {
            let mut state = State::new(RetryBudgetConfig::new(), epoch());
            // With the five successes it starts from, these are 1 000.
            state.look(995 - failed, at(0));
            (0..failed).for_each(|_| state.record(true, true));
            format!("{:.2}", state.gate())
        };
        assert_eq!(
            [0, 249, 250, 300, 375, 450, 500, 995].map(gate),
            ["1.00", "1.00", "1.00", "0.80", "0.50", "0.20", "0.01", "0.01"]
        );
    }

    #[test]
    fn one_call_that_fails_twice_does_not_shut_a_quiet_client_out() {
        let mut state = State::new(RetryBudgetConfig::new(), epoch());
        for attempt in 0..2 {
            state.record(attempt == 0, true);
            assert_eq!(state.withdraw(), Ok(Purse::Reserve));
        }
    }

    #[test]
    fn no_count_overflows() {
        let mut state = by_share(10.0);
        state.look(u64::MAX, at(0));
        assert_eq!(retries(&mut state, 5), 5);
    }
}
