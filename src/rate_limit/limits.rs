//! The bucket and the window of one limit as one: a call passes both or takes nothing.

use std::{num::NonZeroU32, time::Instant};

use governor::nanos::Nanos;

use super::{
    bucket::Bucket,
    config::RateLimitConfig,
    quota::Quotas,
    rate::{Epoch, Rate},
    window::Window,
};

/// The rate and the window, which together with the bucket grant a call. The bucket is not part of it, because most calls
/// take from the bucket without the lock of the limit.
#[derive(Debug)]
pub(super) struct Limits {
    epoch: Epoch,
    rate: Option<Rate>,
    window: Option<Window>,
    /// No call passes before this instant, and then the bucket begins empty.
    paused_until: Option<Instant>,
    /// No call that costs more ever passes.
    most: u32,
}

/// When a call took its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) at: Instant,
    /// The bucket was not full before this instant, if it is known.
    pub(super) full_at: Option<Nanos>,
}

impl Limits {
    /// For a checked config, at the rate of the config or at a learnt one.
    pub(super) fn new(config: &RateLimitConfig, rate: Option<Rate>, epoch: Epoch) -> Self {
        let mut limits = Self { epoch, rate: None, window: None, paused_until: None, most: 0 };
        limits.set(config, rate);
        limits
    }

    /// Goes on with other numbers.
    pub(super) fn update(
        &mut self,
        config: &RateLimitConfig,
        rate: Option<Rate>,
        bucket: &Bucket,
        now: Instant,
    ) {
        let old = self.rate;
        self.set(config, rate);
        if let (Some(old), Some(new)) = (old, self.rate) {
            bucket.change_rate(old, new, self.epoch.nanos(now));
        }
    }

    /// Whether a learnt rate, or a pause, is not in force yet.
    pub(super) fn is_new(&self, rate: Rate, pause: Option<Instant>, now: Instant) -> bool {
        self.rate != Some(rate) || pause.is_some_and(|until| until > now && Some(until) > self.paused_until)
    }

    /// Goes on with a learnt rate, and with a pause that is longer than the one in force.
    pub(super) fn adapt(&mut self, new: Rate, pause: Option<Instant>, bucket: &Bucket, now: Instant) {
        self.paused_until = self.paused_until.max(pause.filter(|until| *until > now));
        if let Some(old) = self.rate.replace(new) {
            bucket.change_rate(old, new, self.epoch.nanos(now));
        }
    }

    fn set(&mut self, config: &RateLimitConfig, rate: Option<Rate>) {
        self.rate = rate;
        match (&mut self.window, config.window) {
            (Some(window), Some(span)) => window.update(span.calls, span.period),
            (window, span) => *window = span.map(|span| Window::new(span.calls, span.period)),
        }
        self.window.iter_mut().for_each(Window::reserve);
        let of_window = config.window.map_or(u32::MAX, |span| span.calls);
        self.most = self.rate.map_or(u32::MAX, |rate| rate.burst.get()).min(of_window);
    }

    /// The highest cost that can pass.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// The rate of the bucket, if it alone decides.
    pub(super) fn bucket_only(&self) -> Option<Rate> {
        self.rate.filter(|_| self.window.is_none() && self.paused_until.is_none())
    }

    /// Repairs what a call left behind that took its tokens while the rate changed.
    pub(super) fn clamp_debt(&self, bucket: &Bucket, now: Instant, clock: impl FnOnce() -> Instant) {
        if let Some(rate) = self.rate {
            bucket.clamp_debt(rate, self.epoch.nanos(now), || self.epoch.nanos(clock()));
        }
    }

    /// Takes the cost of a call, or says from when there is enough.
    ///
    /// A call whose cost can no longer pass takes all there can be: it has waited for its turn while the numbers changed.
    pub(super) fn take(&mut self, bucket: &Bucket, cost: u32, now: Instant) -> Result<(), Instant> {
        let Some(cost) = NonZeroU32::new(cost.min(self.most)) else { return Ok(()) };
        if self.pause(bucket, now).is_some() {
            return Err(self.free_at(bucket, cost.get().into(), now));
        }
        let at = self.epoch.nanos(now);
        let window_free_at = self.window.as_mut().map_or(at, |window| window.free_at(cost.get().into(), at));
        let taken = match self.rate {
            _ if window_free_at > at => false,
            Some(rate) => bucket.take(rate, cost, at).is_ok(),
            None => true,
        };
        if !taken {
            return Err(self.free_at(bucket, cost.get().into(), now));
        }
        if let Some(window) = &mut self.window {
            window.take(cost.get(), at);
        }
        Ok(())
    }

    /// Returns what a call took and did not use, as far as it has not come back by itself. Without this, calls that wait
    /// for the inner service would collect tokens for a burst.
    pub(super) fn refund(&mut self, bucket: &Bucket, cost: u32, taken: Taken, now: Instant) {
        let Some(cost) = NonZeroU32::new(cost.min(self.most)) else { return };
        let [at, now] = [taken.at, now].map(|at| self.epoch.nanos(at));
        if let Some(rate) = self.rate {
            // These tokens alone take as long to come back. Other calls make it longer.
            let alone = || Nanos::new(at.as_u64().saturating_add(rate.price(cost.get().into())));
            let full_at = taken.full_at.unwrap_or_else(alone);
            if full_at > now {
                bucket.refund(rate, cost);
            }
        }
        if let Some(window) = &mut self.window
            && window.counts(at, now)
        {
            window.refund(cost.get());
        }
    }

    /// From when so much has been taken, if calls take it as early as they can.
    pub(super) fn free_at(&mut self, bucket: &Bucket, cost: u64, now: Instant) -> Instant {
        let at = self.epoch.nanos(now);
        let of_bucket = match (self.rate, self.pause(bucket, now)) {
            (None, _) => at,
            (Some(rate), None) => bucket.free_at(rate, cost, at),
            (Some(rate), Some(until)) => {
                let wait = rate.interval.saturating_mul(cost.saturating_sub(1));
                Nanos::new(self.epoch.nanos(until).as_u64().saturating_add(wait))
            }
        };
        let of_window = self.window.as_mut().map_or(at, |window| window.free_at(cost, at));
        match of_bucket.max(of_window) {
            later if later > at => self.epoch.instant(later),
            _ => now,
        }
    }

    /// The quotas of these numbers, and what is left of them.
    pub(super) fn quotas(&mut self, config: &RateLimitConfig, bucket: &Bucket, now: Instant) -> Quotas {
        let pause = self.pause(bucket, now);
        let mut quotas = Quotas::new(config, self.rate, bucket, self.window.as_mut(), self.epoch.nanos(now));
        if let (Some(quota), Some(until)) = (&mut quotas.bucket, pause) {
            (quota.remaining, quota.next_in) = (0, Some(until.duration_since(now)));
        }
        quotas
    }

    /// The tokens in the bucket, and the calls that the window has room for.
    pub(super) fn left(&mut self, bucket: &Bucket, now: Instant) -> (Option<u32>, Option<u32>) {
        let at: Nanos = self.epoch.nanos(now);
        let is_paused = self.pause(bucket, now).is_some();
        let tokens = self.rate.map(|rate| if is_paused { 0 } else { bucket.available(rate, at) });
        (tokens, self.window.as_mut().map(|window| window.left(at)))
    }

    /// The end of the pause, as long as it lasts.
    fn pause(&mut self, bucket: &Bucket, now: Instant) -> Option<Instant> {
        let until = self.paused_until?;
        if now < until {
            return Some(until);
        }
        self.paused_until = None;
        if let Some(rate) = self.rate {
            // Without this, the tokens of the pause would pass as a burst.
            bucket.drain(rate, self.epoch.nanos(until));
        }
        None
    }
}
