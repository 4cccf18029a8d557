//! The decision: whether an attempt that failed is followed by another, and after what time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::config::RetryConfig;
use crate::{
    algo::spread,
    call::{ErrorClass, Outcome, Retryable},
    retry_budget::NoCredit,
};

/// How far one call has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// How many attempts have been made.
    pub(super) attempts: u32,
    /// The delay before the last of them.
    pub(super) delay: Duration,
    /// How the last one failed.
    pub(super) class: Option<ErrorClass>,
    /// Whether that delay was of the row that learns, so that there is something to learn from what came of it.
    pub(super) learns: bool,
    /// Whether the budget knows of the request.
    pub(super) counted: bool,
    /// Which delay of the row comes next.
    step: u32,
    began: Instant,
}

/// What is known when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) outcome: Outcome,
    /// Whether it was sent as the last one, whatever the numbers say by now.
    pub(super) was_last: bool,
    /// Whether there is a copy that may be sent.
    pub(super) may_resend: bool,
    /// Whether an inner hop has tried again already.
    pub(super) retried_below: bool,
    /// How long until the request's deadline.
    pub(super) remaining: Option<Duration>,
    /// How long the whole call may take, where a layer outside has a limit.
    pub(super) total: Option<Duration>,
    /// How long an attempt takes, as a rule.
    pub(super) typical: Duration,
    /// The delay that has worked.
    pub(super) learnt: Option<Duration>,
    /// A random number, 0 ‥ 1.
    pub(super) unit: f64,
}

/// One more attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) delay: Duration,
    /// It goes where nothing was sent yet, so it costs no credit.
    pub(super) free: bool,
}

/// Why a failed attempt is not followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Failures of this class are not tried again, or it is no failure of the peer's.
    NotRetryable,
    /// It was the last attempt.
    Exhausted,
    /// The request cannot be sent twice, or that would do harm.
    NotRepeatable,
    /// The peer asks not to, or somebody nearer to it has tried again already.
    Forbidden,
    /// No further attempt would have ended in time.
    OutOfTime,
    /// The budget gave no credit.
    NoCredit(NoCredit),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRetryable => f.write_str("not retryable"),
            Self::Exhausted => f.write_str("last attempt"),
            Self::NotRepeatable => f.write_str("cannot be sent twice"),
            Self::Forbidden => f.write_str("forbidden"),
            Self::OutOfTime => f.write_str("out of time"),
            Self::NoCredit(why) => write!(f, "no credit: {why}"),
        }
    }
}

impl Progress {
    /// The first attempt has been made.
    pub(super) const fn new(began: Instant) -> Self {
        Self {
            attempts: 1,
            delay: Duration::ZERO,
            class: None,
            learns: false,
            counted: false,
            step: 0,
            began,
        }
    }

    /// Judges the last attempt. The budget has not been asked yet.
    pub(super) fn judge(&mut self, config: &RetryConfig, facts: &Facts, now: Instant) -> Result<Next, Stop> {
        self.class = facts.outcome.class();
        let (class, hint) = match facts.outcome {
            Outcome::Failure { retryable: Retryable::Never, .. } => return Err(Stop::Forbidden),
            Outcome::Failure { class, retry_after, .. } if config.on.contains(class) => (class, retry_after),
            Outcome::EndpointUnavailable if config.other_endpoints => {
                self.check(config, facts)?;
                self.check_time(config, facts, Duration::ZERO, now)?;
                (self.delay, self.learns, self.step) = (Duration::ZERO, false, 0);
                return Ok(Next { delay: Duration::ZERO, free: true });
            }
            _ => return Err(Stop::NotRetryable),
        };
        self.check(config, facts)?;
        let delay = self.delay_after(config, class, hint, facts);
        self.check_time(config, facts, delay, now)?;
        self.delay = delay;
        Ok(Next { delay, free: false })
    }

    /// The attempt that was granted is sent.
    pub(super) const fn sent(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    fn check(&self, config: &RetryConfig, facts: &Facts) -> Result<(), Stop> {
        if facts.was_last || self.attempts >= config.max_attempts {
            Err(Stop::Exhausted)
        } else if facts.retried_below {
            Err(Stop::Forbidden)
        } else if !facts.may_resend {
            Err(Stop::NotRepeatable)
        } else {
            Ok(())
        }
    }

    fn check_time(
        &self,
        config: &RetryConfig,
        facts: &Facts,
        delay: Duration,
        now: Instant,
    ) -> Result<(), Stop> {
        let elapsed = now.saturating_duration_since(self.began);
        let left_of = |span: Option<Duration>| span.map(|span| span.saturating_sub(elapsed));
        let in_time = facts.remaining.is_none_or(|left| delay.saturating_add(facts.typical) < left)
            && left_of(facts.total).is_none_or(|left| delay.saturating_add(facts.typical) < left)
            && left_of(config.max_elapsed).is_none_or(|left| delay < left);
        if in_time { Ok(()) } else { Err(Stop::OutOfTime) }
    }

    fn delay_after(
        &mut self,
        config: &RetryConfig,
        class: ErrorClass,
        hint: Option<Duration>,
        facts: &Facts,
    ) -> Duration {
        let row = config.class_delays[class].map_or(config.backoff, |delay| config.backoff.starting(delay));
        let of_row = |step| row.delay(step, config.multiplier, facts.learnt, config.max_delay);
        // A row that begins anew has no delay before, whatever the server has asked for.
        let previous = if self.step == 0 { Duration::ZERO } else { self.delay };
        let delay =
            config.jitter.apply(of_row(self.step), of_row(0), previous, facts.unit).min(config.max_delay);
        // After a server's word the row begins anew, as gRPC has it: the server has reset what we knew.
        self.step = if hint.is_some() { 0 } else { self.step.saturating_add(1) };
        self.learns = hint.is_none() && config.class_delays[class].is_none();
        match hint {
            Some(hint) => {
                let hint = hint.min(config.max_retry_after);
                delay.max(spread(hint, HINT_SPREAD, 0.5 + facts.unit / 2.0))
            }
            None => delay,
        }
    }
}

/// Those who were told the same come back within a tenth of it, and never too early.
const HINT_SPREAD: f64 = 0.1;

#[cfg(test)]
mod tests;
