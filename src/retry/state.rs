//! The decision of one call: whether another attempt follows a failed one, and after what delay.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{config::RetryConfig, stats::Stats};
use crate::{
    algo::{after, spread},
    call::{ErrorClass, Outcome, Retryable},
    retry_budget::RejectedBy,
};

/// The machine of one call whose first attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// The number of the last attempt, from 1; once another one was granted, the number of that.
    pub(super) attempt: u32,
    /// The delay before that attempt.
    pub(super) delay: Duration,
    /// The class of the last failure.
    pub(super) class: Option<ErrorClass>,
    /// Whether the delay came from the adaptive sequence, so that its success or failure teaches something.
    pub(super) learns: bool,
    /// The position in the sequence of delays.
    step: u32,
    began: Instant,
    /// When the caller stops waiting.
    ends: Option<Instant>,
    /// Until when an endpoint asked to be left alone, if another endpoint was tried instead.
    hinted: Option<Instant>,
}

/// A failed attempt, and all that is known of it outside the machine.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, and the machine decides")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// When the attempt was made or first found waiting, if it had to wait.
    pub(super) started: Option<Instant>,
    /// Whether it was sent as the last attempt, whatever the numbers say now.
    pub(super) was_last: bool,
    /// Whether there is a copy of the request that may be sent.
    pub(super) may_resend: bool,
    /// Whether an inner hop has retried already.
    pub(super) retried_inside: bool,
    /// Whether the next attempt goes to an endpoint that this call has not tried.
    pub(super) other_endpoint: bool,
    /// Whether an open circuit would reject the next attempt.
    pub(super) circuit_open: bool,
    /// Whether a timer can end a delay.
    pub(super) has_runtime: bool,
}

/// Why no attempt follows a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Stop {
    /// The class of the failure is not retried, or the result is no failure of the backend.
    NotRetryable,
    /// It was the last attempt.
    Exhausted,
    /// The request cannot be copied, or is not idempotent.
    NotResendable,
    /// The backend forbids a retry, or an inner hop has retried already.
    Forbidden,
    /// No further attempt would end in time.
    OutOfTime,
    /// The circuit is open: it has rejected the attempt, or would reject the next one.
    CircuitOpen,
    /// No runtime runs the call, so no timer would end the delay.
    NoRuntime,
    /// The budget rejected the retry.
    Budget(RejectedBy),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRetryable => f.write_str("not retryable"),
            Self::Exhausted => f.write_str("last attempt"),
            Self::NotResendable => f.write_str("cannot be sent twice"),
            Self::Forbidden => f.write_str("forbidden"),
            Self::OutOfTime => f.write_str("out of time"),
            Self::CircuitOpen => f.write_str("the circuit is open"),
            Self::NoRuntime => f.write_str("outside of a runtime"),
            Self::Budget(why) => write!(f, "rejected by the budget: {why}"),
        }
    }
}

impl Call {
    /// The first attempt of a call has failed. The caller waits until `ends`, if that is known.
    pub(super) const fn new(began: Instant, ends: Option<Instant>) -> Self {
        let (attempt, delay, step) = (1, Duration::ZERO, 0);
        Self { attempt, delay, class: None, learns: false, step, began, ends, hinted: None }
    }

    /// Judges a failed attempt: the delay before the next one, or why there is none. The budget is asked afterwards.
    ///
    /// `unit` is a random number, 0 ‥ 1.
    pub(super) fn judge(
        &mut self,
        config: &RetryConfig,
        failed: &Failed,
        stats: &Stats,
        unit: f64,
        now: Instant,
    ) -> Result<Duration, Stop> {
        self.class = failed.outcome.class();
        let failure = match failed.outcome {
            Outcome::Failure { retryable: Retryable::Never, .. } => return Err(Stop::Forbidden),
            Outcome::Failure { class, retry_after, .. } if config.on.contains(class) => {
                Some((class, retry_after))
            }
            Outcome::EndpointUnavailable if config.other_endpoints => None,
            // The circuit has rejected this attempt, and would reject the next one.
            Outcome::EndpointUnavailable if failed.circuit_open => return Err(Stop::CircuitOpen),
            _ => return Err(Stop::NotRetryable),
        };
        if failed.was_last || self.attempt >= config.max_attempts {
            return Err(Stop::Exhausted);
        } else if failed.retried_inside {
            return Err(Stop::Forbidden);
        } else if !failed.may_resend {
            return Err(Stop::NotResendable);
        } else if failed.circuit_open {
            return Err(Stop::CircuitOpen);
        }
        let delay = match failure {
            Some((class, hint)) if failed.other_endpoint => {
                let until = hint.map(|hint| after(now, hint.min(config.max_retry_after)));
                self.hinted = self.hinted.max(until);
                self.delay_after(config, class, None, stats.learnt(), unit)
            }
            Some((class, hint)) => self.delay_after(config, class, hint, stats.learnt(), unit),
            None => {
                (self.learns, self.step) = (false, 0);
                // Nothing was sent, so the next endpoint is tried at once. If it is one that was tried before, its hint
                // holds.
                let hinted = self.hinted.filter(|_| !failed.other_endpoint);
                hinted.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
            }
        };
        let typical = stats.typical().unwrap_or_default();
        let elapsed = now.saturating_duration_since(self.began);
        let in_time =
            self.ends.is_none_or(|ends| delay.saturating_add(typical) < ends.saturating_duration_since(now))
                && config.max_elapsed.is_none_or(|span| delay < span.saturating_sub(elapsed));
        if !in_time {
            return Err(Stop::OutOfTime);
        } else if !failed.has_runtime && !delay.is_zero() {
            return Err(Stop::NoRuntime);
        }
        self.attempt = self.attempt.saturating_add(1);
        self.delay = delay;
        Ok(delay)
    }

    fn delay_after(
        &mut self,
        config: &RetryConfig,
        class: ErrorClass,
        hint: Option<Duration>,
        learnt: Option<Duration>,
        unit: f64,
    ) -> Duration {
        let backoff =
            config.class_delays[class].map_or(config.backoff, |delay| config.backoff.starting(delay));
        let nth = |step| backoff.delay(step, config.multiplier, learnt, config.max_delay);
        // A sequence that restarts has no previous delay, whatever a hint has asked for.
        let previous = if self.step == 0 { Duration::ZERO } else { self.delay };
        let delay = config.jitter.apply(nth(self.step), nth(0), previous, unit).min(config.max_delay);
        // After a hint the sequence restarts, as in gRPC: the backend has said how long its trouble lasts.
        self.step = if hint.is_some() { 0 } else { self.step.saturating_add(1) };
        self.learns = hint.is_none() && config.class_delays[class].is_none();
        hint.map_or(delay, |hint| {
            delay.max(spread(hint.min(config.max_retry_after), HINT_SPREAD, 0.5 + unit / 2.0))
        })
    }
}

/// Clients that got the same hint come back within a tenth of it, and never too early.
const HINT_SPREAD: f64 = 0.1;

#[cfg(test)]
mod tests;
