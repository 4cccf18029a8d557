//! The bucket and the window of one key.

use std::num::NonZeroU32;

use governor::nanos::Nanos;

use crate::rate_limit::{
    bucket::Bucket,
    config::{RateLimitConfig, Span},
    quota::Quotas,
    rate::Rate,
    window::Window,
};

/// The numbers that all keys of a limit share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    rate: Option<Rate>,
    window: Option<Span>,
    /// No call that costs more ever passes.
    most: u32,
    config: RateLimitConfig,
}

/// The tokens and the room in the window that the calls of one key have taken. A new key has everything left.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyLimits {
    bucket: Bucket,
    /// Made by the first call, if the limit has a window. In a box, because most limits have none.
    window: Option<Box<Window>>,
}

/// Why a call does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is enough for it from this instant on.
    Until(Nanos),
    /// It costs more than can ever pass.
    CostTooHigh { most: u32 },
}

impl Numbers {
    /// For a checked config.
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        let rate = config.bucket();
        let of_bucket = rate.map_or(u32::MAX, |rate| rate.burst.get());
        let most = config.window.map_or(of_bucket, |span| of_bucket.min(span.calls));
        Self { rate, window: config.window, most, config: *config }
    }
}

impl KeyLimits {
    /// Takes the cost of a call from both, or nothing.
    #[inline]
    pub(super) fn take(&mut self, numbers: &Numbers, cost: NonZeroU32, now: Nanos) -> Result<(), Denied> {
        if cost.get() > numbers.most {
            return Err(Denied::CostTooHigh { most: numbers.most });
        }
        match (numbers.rate, numbers.window) {
            (Some(rate), None) => {
                self.bucket.take(rate, cost, now).map_err(|at| Denied::Until(at.unwrap_or(now)))
            }
            (rate, Some(span)) => self.take_both(rate, span, cost, now),
            (None, None) => Ok(()),
        }
    }

    fn take_both(
        &mut self,
        rate: Option<Rate>,
        span: Span,
        cost: NonZeroU32,
        now: Nanos,
    ) -> Result<(), Denied> {
        let window = self.window.get_or_insert_with(|| Box::new(Window::new(span.calls, span.period)));
        let of_window = window.free_at(cost.get().into(), now);
        if of_window > now {
            let of_bucket = rate.map_or(now, |rate| self.bucket.free_at(rate, cost.get().into(), now));
            return Err(Denied::Until(of_window.max(of_bucket)));
        }
        if let Some(rate) = rate {
            self.bucket.take(rate, cost, now).map_err(|at| Denied::Until(at.unwrap_or(now)))?;
        }
        window.take(cost.get(), now);
        Ok(())
    }

    /// Whether everything is left, so that the state can be forgotten.
    pub(super) fn is_unused(&mut self, numbers: &Numbers, now: Nanos) -> bool {
        let is_full = |rate: Rate| self.bucket.free_at(rate, rate.burst.get().into(), now) <= now;
        numbers.rate.is_none_or(is_full)
            && numbers
                .window
                .zip(self.window.as_mut())
                .is_none_or(|(span, window)| window.left(now) == span.calls)
    }

    /// The quotas of the key, and what is left of them. It allocates nothing.
    pub(super) fn quotas(&mut self, numbers: &Numbers, now: Nanos) -> Quotas {
        Quotas::new(&numbers.config, numbers.rate, &self.bucket, self.window.as_deref_mut(), now)
    }

    /// Goes on with other numbers. The tokens that were taken stay taken, up to the new burst; the calls in the window
    /// stay in it.
    pub(super) fn update(&mut self, old: &Numbers, new: &Numbers, now: Nanos) {
        match (old.rate, new.rate) {
            (Some(old), Some(new)) => self.bucket.change_rate(old, new, now),
            (None, Some(_)) => self.bucket = Bucket::default(),
            (_, None) => {}
        }
        match (&mut self.window, new.window) {
            (Some(window), Some(span)) => window.update(span.calls, span.period),
            (window, _) => *window = None,
        }
    }
}
