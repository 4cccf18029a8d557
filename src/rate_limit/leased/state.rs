//! The machine of one lease: when it asks, and the units that it gives out.
//!
//! The units themselves are a word that calls take from without a lock; the machine only adds to them. It adds
//!
//! - the units that the source granted;
//! - **credit**, when no unit is left and the source did not say that its bucket is empty. The next question charges it. So
//!   a first call passes at once, and so does a burst while the source is slow;
//! - the **share** of the instance, while the source is lost.
//!
//! # The bound
//!
//! Let each of N instances hold at most a lease L, and the bucket of the source hold B. The units of a span of time `t` are
//! those that were held at its begin, at most `N × L`; those that the source granted or charged; and the credit that is not
//! charged at its end, at most `L` each. The bucket gives `rate × t + B`, and falls below 0 by the credit of an instance
//! that thus gives no further credit. So at most `rate × t + B + 2 × N × L` units are given out. The config makes the last
//! two terms the burst.

use std::time::{Duration, Instant};

use super::{
    config::{AfterGrace, Numbers},
    health::RETRY,
    source::Grant,
};
use crate::algo::after;

/// The state of one lease, besides its units.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// Credit that no question has charged.
    owed: u32,
    asking: Option<Ask>,
    /// No question before this instant.
    ask_at: Instant,
    /// No credit before this instant: the bucket of the source is empty.
    credit_at: Instant,
    /// While the source is lost: the share has been given out up to this instant.
    share_until: Option<Instant>,
    usage: Usage,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Ask {
    pub(super) owed: u32,
    pub(super) wanted: u32,
}

/// How fast the instance uses units of the source.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// A mean that fades within about a second.
    per_second: f64,
    at: Instant,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Self {
        let usage = Usage { per_second: 0.0, at: now };
        Self { owed: 0, asking: None, ask_at: now, credit_at: now, share_until: None, usage }
    }

    /// Gives out units for a call that found too few, at least its cost. Or says when to come again.
    ///
    /// `lost_since`: since when the source has been lost for any lease.
    pub(super) fn give(
        &mut self,
        numbers: &Numbers,
        cost: u32,
        left: u32,
        lost_since: Option<Instant>,
        now: Instant,
    ) -> Result<u32, Instant> {
        let units = numbers.lease.saturating_sub(left).max(cost);
        let Some(until) = self.share_until else {
            let is_unpaid = self.owed > 0 || self.asking.is_some_and(|ask| ask.owed > 0);
            if is_unpaid || now < self.credit_at {
                return Err(self.credit_at.max(after(now, SOON)));
            }
            self.owed = units;
            return Ok(units);
        };
        let lost_for = lost_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if lost_for >= numbers.grace {
            return match numbers.after_grace {
                AfterGrace::Open => Ok(units),
                AfterGrace::Closed => Err(self.ask_at.max(after(now, SOON))),
            };
        }
        let interval = self.usage.share(numbers);
        let come = now.saturating_duration_since(until).as_nanos() / interval.as_nanos().max(1);
        let come = u32::try_from(come).unwrap_or(u32::MAX);
        if come < cost {
            return Err(after(until, interval.saturating_mul(cost)));
        }
        // Units beyond a lease are lost, as those beyond the burst of a bucket.
        self.share_until = Some(if come > units { now } else { after(until, interval.saturating_mul(come)) });
        Ok(come.min(units))
    }

    /// The next question, if it is time for one. It ends in [`granted`](Self::granted) or [`failed`](Self::failed).
    pub(super) fn ask(&mut self, numbers: &Numbers, left: u32, now: Instant) -> Option<Ask> {
        if self.asking.is_some() || now < self.ask_at {
            return None;
        }
        let ask = Ask { owed: self.owed, wanted: numbers.lease.saturating_sub(left) };
        if ask.owed == 0 && ask.wanted == 0 {
            return None;
        }
        self.owed = 0;
        self.asking = Some(ask);
        Some(ask)
    }

    /// The source has answered. Returns the units that it granted.
    pub(super) fn granted(&mut self, grant: &Grant, now: Instant) -> u32 {
        let Some(ask) = self.asking.take() else { return 0 };
        // A source that grants more than it was asked for must not exceed the lease.
        let granted = grant.granted.min(ask.wanted);
        self.usage.record(granted.saturating_add(ask.owed), now);
        self.share_until = None;
        self.credit_at = after(now, grant.retry_after);
        // A store that has lost its buckets has units before it said so.
        self.ask_at = self.credit_at.min(after(now, RECHECK));
        granted
    }

    /// The source has not answered, or could not be asked. It is charged again later: it may or may not have taken the
    /// units.
    pub(super) fn failed(&mut self, now: Instant) {
        if let Some(ask) = self.asking.take() {
            self.owed = self.owed.saturating_add(ask.owed);
        }
        self.share_until = self.share_until.or(Some(now));
        self.ask_at = after(now, RETRY);
    }

    /// Whether it can be forgotten, and a new one gives out no unit that this one would not.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.owed == 0 && self.asking.is_none() && now >= self.credit_at
    }

    /// Whether the source is lost, as far as this lease knows.
    pub(super) fn is_on_share(&self) -> bool {
        self.share_until.is_some()
    }
}

impl Usage {
    fn record(&mut self, units: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        // Exact for a steady use, at any distance of the answers.
        self.per_second = (self.per_second + f64::from(units)) / (1.0 + passed);
        self.at = now;
    }

    /// The time for a unit of the share.
    ///
    /// The use alone would leave an instance without units that was idle before the loss. Equal parts alone would take
    /// most units from an instance that has most of the calls. Half of each keeps the sum of both: the limit.
    fn share(&self, numbers: &Numbers) -> Duration {
        let rate = 1.0 / Duration::from_nanos(numbers.source.interval).as_secs_f64();
        let share = self.per_second.min(rate) / 2.0 + rate / (2.0 * f64::from(numbers.instances));
        Duration::from_secs_f64(1.0 / share)
    }
}

/// A call that finds no units while a question is in flight may come again after this.
const SOON: Duration = Duration::from_millis(10);
/// An empty bucket is asked again at this latest.
const RECHECK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
