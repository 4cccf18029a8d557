//! The decision of a budget: whether it grants one more attempt.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::config::{HealthGate, RetryBudgetConfig};
use crate::algo::{Summed, Tally, TimeBuckets};

/// Deposits and withdrawals of the window, and the health of the backend.
#[derive(Debug)]
pub(super) struct State {
    config: RetryBudgetConfig,
    traffic: TimeBuckets<Traffic>,
    health: TimeBuckets<Tally>,
    /// Failures since the last success, as far as the health window remembers them, and when the first of them came.
    consecutive: u32,
    consecutive_since: Instant,
    /// When the successes were last read.
    looked: Instant,
    /// Fractions of a retry that the health rule has let pass; a whole retry passes when they reach 1. While the
    /// backend is healthy the value is 1, so that the first call of a quiet client that fails twice still gets its
    /// second retry.
    passed: f64,
    /// Retries granted beside the ratio: given once, and refilled from deposits that leave the window unspent.
    reserve: f64,
    /// Withdrawn by the ratio, and neither spent nor refunded.
    held: u32,
    /// Attempts that were withdrawn and sent, and whose end is not recorded yet. As many of the attempts to come are no
    /// requests; which of them does not matter.
    unrecorded: u64,
}

/// The side of the budget that a withdrawal was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Ratio,
    Reserve,
}

/// The rule by which a budget rejects a retry or a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RejectedBy {
    /// So many attempts fail that further ones would not help.
    Health,
    /// The retries of the window have reached the ratio, and the reserve is used up.
    Ratio,
}

impl fmt::Display for RejectedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Health => "too many attempts fail",
            Self::Ratio => "the ratio of retries is used up",
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
            consecutive: 0,
            consecutive_since: now,
            looked: now,
            passed: 1.0,
            reserve: config.reserve.into(),
            held: 0,
            unrecorded: 0,
            config,
        }
    }

    /// Lets time pass, in which that many attempts succeeded. They are taken to have come evenly: their times are
    /// unknown.
    pub(super) fn look(&mut self, succeeded: u64, now: Instant) {
        let balance = self.balance().max(0.0);
        let old = self.traffic.advance(now);
        self.health.advance(now);
        let (mut lost, unspent) = (0, old.deposited(&self.config) - f64::from(old.retries));
        if succeeded > 0 {
            let requests = self.requests_of(succeeded);
            lost = requests - self.traffic.add_since(self.looked, requests, Traffic::requests);
            self.health.add_since(self.looked, succeeded, Tally::healthy);
        }
        if succeeded > 0 || self.health.sum().failed == 0 {
            self.consecutive = 0;
        }
        self.looked = now;
        // Deposits that leave the window unspent refill the reserve. In the time since the last look nothing was spent,
        // so the deposits of it that the window no longer holds count too.
        self.reserve += unspent.min(balance).max(0.0) + Traffic::requests(lost).deposited(&self.config);
        self.reserve = self.reserve.min(self.config.reserve.into());
    }

    /// An attempt has ended, other than by a success that [`look`](Self::look) is told of. `unhealthy` is its vote on the
    /// backend's health, if it has one.
    pub(super) fn record(&mut self, unhealthy: Option<bool>) {
        let requests = self.requests_of(1);
        self.traffic.add(Traffic::requests(requests));
        if let Some(unhealthy) = unhealthy {
            self.health.add(Tally::one(unhealthy, false));
            if self.consecutive == 0 {
                self.consecutive_since = self.looked;
            }
            self.consecutive = if unhealthy { self.consecutive.saturating_add(1) } else { 0 };
        }
    }

    /// Asks for one more attempt.
    pub(super) fn withdraw(&mut self) -> Result<Source, RejectedBy> {
        let gate = self.health_gate();
        let passed = if gate < 1.0 { self.passed + gate } else { 2.0 };
        if passed < 1.0 {
            self.passed = passed;
            return Err(RejectedBy::Health);
        }
        let source = if self.balance() + ROUNDING >= 1.0 {
            self.held = self.held.saturating_add(1);
            Source::Ratio
        } else {
            if self.reserve + ROUNDING < 1.0 {
                return Err(RejectedBy::Ratio);
            }
            self.reserve -= 1.0;
            Source::Reserve
        };
        self.passed = passed - 1.0;
        Ok(source)
    }

    /// The attempt is sent.
    pub(super) fn spend(&mut self, source: Source) {
        self.unrecorded = self.unrecorded.saturating_add(1);
        if source == Source::Ratio {
            self.held -= 1;
            self.traffic.add(Traffic { requests: 0, retries: 1 });
        }
    }

    /// The attempt will not be sent.
    pub(super) fn refund(&mut self, source: Source) {
        match source {
            Source::Ratio => self.held -= 1,
            Source::Reserve => self.reserve += 1.0,
        }
        // It is never below 0, so giving back the whole retry that it lost fills it.
        self.passed = 1.0;
    }

    /// How many attempts the ratio grants now.
    pub(super) fn balance(&self) -> f64 {
        let traffic = self.traffic.sum();
        traffic.deposited(&self.config) - f64::from(traffic.retries) - f64::from(self.held)
    }

    /// The ratio of failures in the attempts, as the health rule sees it.
    pub(super) fn failure_rate(&self) -> f64 {
        let Tally { total, failed, .. } = self.health.sum();
        f64::from(failed) / f64::from(total.saturating_add(PRIOR_SUCCESSES))
    }

    /// The ratio of the retries that the health rule lets pass.
    pub(super) fn health_gate(&self) -> f64 {
        let HealthGate::Between(healthy_below, unhealthy_from) = self.config.health_gate else { return 1.0 };
        let span = self.looked.saturating_duration_since(self.consecutive_since);
        if self.consecutive >= OUTAGE_FAILURES && span >= OUTAGE_SPAN {
            return LEAST_GATE;
        }
        let rate = self.failure_rate();
        if rate < healthy_below {
            return 1.0;
        }
        ((unhealthy_from - rate) / (unhealthy_from - healthy_below)).clamp(LEAST_GATE, 1.0)
    }

    /// How many attempts the reserve grants now.
    pub(super) const fn reserve(&self) -> f64 {
        self.reserve
    }

    pub(super) const fn config(&self) -> &RetryBudgetConfig {
        &self.config
    }

    /// Whether a new state could take the place of this one without loss, after so much time without a call.
    ///
    /// A new state grants its whole reserve, so a state that has spent some of it lives for as long as the window.
    pub(super) fn is_forgettable(&self, idle: Duration) -> bool {
        let is_new = self.reserve >= self.config.reserve.into()
            && self.traffic.sum().retries == 0
            && self.held == 0
            && self.health.sum().failed == 0;
        is_new || idle >= self.config.window
    }

    /// How many of the attempts that have ended are requests: all but the retries that were still to be recorded.
    fn requests_of(&mut self, attempts: u64) -> u64 {
        let retries = attempts.min(self.unrecorded);
        self.unrecorded -= retries;
        attempts - retries
    }
}

impl Traffic {
    fn requests(count: u64) -> Self {
        Self { requests: u32::try_from(count).unwrap_or(u32::MAX), retries: 0 }
    }

    fn deposited(self, config: &RetryBudgetConfig) -> f64 {
        f64::from(self.requests) * config.ratio
    }
}

/// While the backend is unhealthy one retry in a hundred passes, so that a call may find it healthy again.
const LEAST_GATE: f64 = 0.01;
/// A single failure does not close the gate of a quiet client.
const PRIOR_SUCCESSES: u32 = 5;
/// So many consecutive failures over so long a time are an outage. Without this rule the successes in the window of a
/// busy client let its retries pass for another second. At 15 % random failures, fewer than one attempt in 10 000 ends
/// such a sequence. The time spares bursts: a connection that breaks fails all its calls at one instant.
const OUTAGE_FAILURES: u32 = 5;
const OUTAGE_SPAN: Duration = Duration::from_millis(100);
/// A sum of tenths that should be a whole number may miss it by the last bits.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
