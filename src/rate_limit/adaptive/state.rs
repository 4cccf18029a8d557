//! The machine: from the ends of calls to a rate.
//!
//! A decrease remembers the rate before it. The rate then follows a curve of the time that the limit was in use, which
//! passes the remembered rate after `recover_within`, and goes on beyond it.

use std::time::{Duration, Instant};

use super::{
    config::{AdaptiveRateConfig, Bounds, Recovery},
    snapshot::AdaptiveRateSnapshot,
};
use crate::{
    algo::after,
    call::{ErrorClass, Outcome, QuotaState},
    rate_limit::rate::Rate,
};

/// The rate of one limit, as far as it has been learnt.
#[derive(Debug)]
pub(in crate::rate_limit) struct AdaptiveRate {
    config: AdaptiveRateConfig,
    bounds: Bounds,
    /// The learnt rate, in tokens per second.
    learnt: f64,
    /// The rate at which the curve is level: the one before the last decrease.
    level: f64,
    /// The time in use since the last decrease, as a share of `recover_within`. The curve is level at 1.
    used: f64,
    /// Calls that began earlier belong to the congestion that is over.
    lowered_at: Option<Instant>,
    /// The rate that the backend names, until its quota is renewed.
    told: Option<(f64, Instant)>,
    paused_until: Option<Instant>,
    /// Since when the use is looked at, and how many calls had been held up then.
    look: Option<(Instant, u64)>,
    answers: u32,
    slow_answers: u32,
    decreases: u64,
}

/// The end of a call that had passed the limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Ended {
    pub(in crate::rate_limit) began: Instant,
    /// Until the head of the answer.
    pub(in crate::rate_limit) latency: Duration,
    /// `None` if the call was dropped before its answer.
    pub(in crate::rate_limit) outcome: Option<Outcome>,
    /// The quota that the answer tells.
    pub(in crate::rate_limit) quota: Option<QuotaState>,
}

/// Whether calls want more than the limit lets pass.
#[derive(Clone, Copy, Debug)]
pub(in crate::rate_limit) struct Demand {
    /// The calls that found too few tokens, ever.
    pub(in crate::rate_limit) held_up: u64,
    /// Whether a call waits.
    pub(in crate::rate_limit) waiting: bool,
}

/// A change of the rate that an operator should hear of, in tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::rate_limit) struct Change {
    pub(in crate::rate_limit) from: f64,
    pub(in crate::rate_limit) to: f64,
}

impl AdaptiveRate {
    pub(in crate::rate_limit) fn new(config: AdaptiveRateConfig, bounds: Bounds) -> Self {
        Self {
            config,
            bounds,
            learnt: bounds.initial,
            level: bounds.initial,
            used: 1.0,
            lowered_at: None,
            told: None,
            paused_until: None,
            look: None,
            answers: 0,
            slow_answers: 0,
            decreases: 0,
        }
    }

    /// Goes on with other numbers. A rate that never moved becomes the new initial rate. A learnt one stays, within the
    /// new bounds.
    pub(in crate::rate_limit) fn update(&mut self, config: AdaptiveRateConfig, bounds: Bounds) {
        if self.lowered_at.is_none() && self.used <= 1.0 {
            (self.learnt, self.level) = (bounds.initial, bounds.initial);
        }
        self.learnt = self.learnt.clamp(bounds.floor, bounds.ceiling);
        (self.config, self.bounds) = (config, bounds);
    }

    /// The rate in force, for the bucket.
    pub(in crate::rate_limit) fn rate(&self) -> Rate {
        let Bounds { slowest, fastest, .. } = self.bounds;
        let interval = Duration::try_from_secs_f64(1.0 / self.in_force()).unwrap_or(Duration::MAX);
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        // A rate of a bound is exactly that of the config.
        Rate { interval: interval.clamp(fastest.interval, slowest.interval), burst: fastest.burst }
    }

    /// No call passes before this instant.
    pub(in crate::rate_limit) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Learns from the end of a call.
    pub(in crate::rate_limit) fn record(
        &mut self,
        ended: &Ended,
        demand: Demand,
        now: Instant,
    ) -> Option<Change> {
        self.told = self.told.filter(|(_, until)| now < *until);
        if let Some(quota) = ended.quota {
            self.hear(quota, now);
        }
        match ended.outcome {
            Some(Outcome::Failure { class: ErrorClass::RateLimit, retry_after, .. }) => {
                let change = self.lower(ended.began, now);
                if let Some(delay) = retry_after {
                    self.pause(delay, now);
                }
                change
            }
            Some(Outcome::Failure { class: ErrorClass::Timeout, .. }) => self.lower(ended.began, now),
            Some(
                Outcome::Success | Outcome::Deferred | Outcome::Failure { class: ErrorClass::Validation, .. },
            ) => self.answer(ended, demand, now),
            // A call that was cut before the target has no latency yet.
            None if self.is_slow(ended.latency) => self.answer(ended, demand, now),
            _ => None,
        }
    }

    pub(in crate::rate_limit) fn snapshot(&self, now: Instant) -> AdaptiveRateSnapshot {
        let paused_for = self.paused_until.map(|until| until.saturating_duration_since(now));
        AdaptiveRateSnapshot {
            per_second: self.in_force(),
            learnt_per_second: self.learnt,
            paused_for: paused_for.filter(|rest| !rest.is_zero()),
            decreases: self.decreases,
        }
    }

    /// In tokens per second.
    fn in_force(&self) -> f64 {
        self.told.map_or(self.learnt, |(told, _)| told.clamp(self.bounds.floor, self.learnt))
    }

    /// Keeps to the quota of the backend until it is renewed.
    fn hear(&mut self, quota: QuotaState, now: Instant) {
        let Some(reset) = quota.reset.filter(|reset| !reset.is_zero()) else { return };
        if quota.remaining == 0 {
            self.pause(reset, now);
            return;
        }
        // Saturated: a quota beyond this is no bound.
        let remaining = u32::try_from(quota.remaining).unwrap_or(u32::MAX);
        self.told = Some((f64::from(remaining) / reset.as_secs_f64(), after(now, reset)));
    }

    fn pause(&mut self, delay: Duration, now: Instant) {
        self.paused_until = self.paused_until.max(Some(after(now, delay)));
        // The pause is no time of use.
        self.look = None;
    }

    /// Lowers the rate, once per congestion: an answer to a call from before says nothing about the rate since.
    fn lower(&mut self, began: Instant, now: Instant) -> Option<Change> {
        if self.lowered_at.is_some_and(|at| began <= at) {
            return None;
        }
        let from = self.in_force();
        self.level = from;
        self.used = 0.0;
        self.learnt = (from * self.config.decrease_factor).max(self.bounds.floor);
        self.lowered_at = Some(now);
        (self.answers, self.slow_answers, self.look) = (0, 0, None);
        self.decreases += 1;
        (self.learnt < from).then_some(Change { from, to: self.learnt })
    }

    /// An answer of a backend that does its work, in good time or too late.
    fn answer(&mut self, ended: &Ended, demand: Demand, now: Instant) -> Option<Change> {
        if self.lowered_at.is_some_and(|at| ended.began <= at) {
            return None;
        }
        self.answers += 1;
        self.slow_answers += u32::from(self.is_slow(ended.latency));
        if self.answers == ANSWERS {
            let is_congested = self.slow_answers > ANSWERS / 2;
            (self.answers, self.slow_answers) = (0, 0);
            if is_congested {
                return self.lower(ended.began, now);
            }
        }
        self.grow(demand, now)
    }

    /// Moves along the curve by the time in which calls wanted more.
    fn grow(&mut self, demand: Demand, now: Instant) -> Option<Change> {
        if self.paused_until.is_some_and(|until| now < until) {
            // An answer to a call from before the pause. The pause is no time of use.
            return None;
        }
        let (since, held_up) = *self.look.get_or_insert((now, demand.held_up));
        let time = now.saturating_duration_since(since);
        if time < LOOK {
            return None;
        }
        self.look = Some((now, demand.held_up));
        let in_use = demand.waiting || demand.held_up != held_up;
        // Use of a lower rate says nothing about the learnt one.
        if !in_use || self.in_force() < self.learnt {
            return None;
        }
        // Without this, a limit that is used again after a long time would count that time.
        let time = time.as_secs_f64().min(LONGEST_LOOK.max(2.0 / self.learnt));
        let was_below = self.used < 1.0;
        let from = self.learnt;
        self.used += time / self.config.recover_within.as_secs_f64();
        let gap = self.level * (1.0 - self.config.decrease_factor);
        let curve = match self.config.recovery {
            Recovery::Cubic => (self.used - 1.0).powi(3),
            Recovery::Additive => self.used - 1.0,
        };
        self.learnt = (self.level + gap * curve).clamp(self.bounds.floor, self.bounds.ceiling);
        (was_below && self.used >= 1.0).then_some(Change { from, to: self.learnt })
    }

    fn is_slow(&self, latency: Duration) -> bool {
        self.config.target_latency.is_some_and(|target| latency > target)
    }
}

/// The rate is raised at most so often, so that most answers cost a few comparisons.
const LOOK: Duration = Duration::from_millis(100);
/// In seconds. A slow limit looks at two tokens at least.
const LONGEST_LOOK: f64 = 1.0;
/// So many answers decide together whether the backend is slow.
const ANSWERS: u32 = 10;

#[cfg(test)]
mod tests;
