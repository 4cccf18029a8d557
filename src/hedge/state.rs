//! The decision of one call: the consequence of a failed attempt, and whether one more hedge is sent.

use std::time::{Duration, Instant};

use super::config::HedgeConfig;
use crate::{
    call::{ErrorClass, Outcome, PriorAttempts, Retryable},
    retry_budget::RejectedBy,
};

/// The machine of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// The class of the call, as an index.
    pub(super) class: u8,
    /// How many hedges were granted, whether sent or not.
    hedges: u8,
    /// No further hedge, whatever happens.
    over: bool,
    /// The attempts that have ended, as far as a copy of the request is concerned.
    ended: PriorAttempts,
    /// The first attempt was found waiting.
    waited: bool,
    /// When the first attempt was found waiting, if the call measures its time.
    pub(super) started: Option<Instant>,
}

/// The consequence of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Every other attempt would fail the same way, so the failure is the answer.
    Final,
    /// A hedge is sent now, if it is granted.
    HedgeNow,
    /// No further attempt is sent; a running one may still succeed.
    Wait,
}

/// Why one more hedge is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// No attempt has answered within the delay.
    Slow,
    /// An attempt has failed, with this outcome.
    Failed(Outcome),
    /// The service of a hedge failed to become ready.
    Unready,
}

/// Why there is no further hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The call has sent as many as it may, or was stopped before.
    Over,
    /// The request cannot be copied, or is not idempotent.
    NotResendable,
    /// The budget rejected the hedge.
    Budget(RejectedBy),
}

impl Trigger {
    /// Whether the hedge needs no withdrawal: it replaces an attempt that this side rejected, so nothing was sent.
    pub(super) fn is_free(self) -> bool {
        self == Self::Failed(Outcome::EndpointUnavailable)
    }

    /// The class of the failure, if it has one.
    pub(super) const fn class(self) -> Option<ErrorClass> {
        match self {
            Self::Failed(outcome) => outcome.class(),
            Self::Slow | Self::Unready => None,
        }
    }
}

impl Call {
    /// The first attempt is sent.
    pub(super) const fn new(class: u8) -> Self {
        Self {
            class,
            hedges: 0,
            over: false,
            ended: PriorAttempts::Unprocessed,
            waited: false,
            started: None,
        }
    }

    /// Judges a failed attempt.
    pub(super) const fn judge(&mut self, outcome: Outcome, config: &HedgeConfig) -> Next {
        if !outcome.is_unprocessed() {
            self.ended = PriorAttempts::Ended;
        }
        match outcome {
            Outcome::Success | Outcome::Deferred => Next::Final,
            Outcome::Failure { class, retry_after, retryable } => {
                let asks_for_less = matches!(class, ErrorClass::RateLimit)
                    || matches!(retryable, Retryable::Never)
                    || retry_after.is_some();
                if !config.on.contains(class) {
                    Next::Final
                } else if asks_for_less {
                    Next::Wait
                } else {
                    Next::HedgeNow
                }
            }
            Outcome::EndpointUnavailable if config.other_endpoints => Next::HedgeNow,
            // It says nothing about the backend, so nothing against an attempt that has reached it.
            Outcome::EndpointUnavailable | Outcome::DeadlineExceeded | Outcome::Ignored => Next::Wait,
        }
    }

    /// Notes that the first attempt is waiting. Returns whether it is so for the first time.
    pub(super) const fn wait(&mut self) -> bool {
        !std::mem::replace(&mut self.waited, true)
    }

    /// The attempts so far, of which one may be running.
    pub(super) const fn prior(&self, running: bool) -> PriorAttempts {
        if running { PriorAttempts::Running } else { self.ended }
    }

    /// Forbids further hedges.
    pub(super) const fn stop(&mut self) {
        self.over = true;
    }

    /// Grants one more hedge, as far as the call is concerned; the budget is asked afterwards. Returns whether it is the
    /// last one.
    pub(super) const fn grant(&mut self, may_resend: bool, config: &HedgeConfig) -> Result<bool, Stop> {
        if self.over || self.hedges >= config.max_hedges {
            return Err(Stop::Over);
        } else if !may_resend {
            return Err(Stop::NotResendable);
        }
        self.hedges = self.hedges.saturating_add(1);
        self.over = self.hedges >= config.max_hedges;
        Ok(self.over)
    }

    /// Whether there will be no further hedge.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// The number of the last attempt, from 1.
    pub(super) fn attempt(&self) -> u32 {
        u32::from(self.hedges) + 1
    }

    /// How long the first attempt took, or at least took if it was dropped, where that is worth learning.
    pub(super) fn latency(&self, finished: bool, delay: Option<Duration>, now: Instant) -> Option<Duration> {
        let latency = now.saturating_duration_since(self.started?);
        // "At least this long" says nothing while it is shorter than the delay that the quantile gives.
        (finished || delay.is_some_and(|delay| latency >= delay)).then_some(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const CONFIG: HedgeConfig = HedgeConfig::new();

    fn judged(outcome: Outcome, config: &HedgeConfig) -> Next {
        Call::new(0).judge(outcome, config)
    }

    #[test]
    fn each_outcome_has_its_consequence() {
        use ErrorClass::{Authentication, Connection, RateLimit, Server, Timeout, Unknown, Validation};
        let failure = Outcome::failure;
        for (outcome, next) in [
            (failure(Connection), Next::HedgeNow),
            (failure(Connection).unprocessed(), Next::HedgeNow),
            (failure(Timeout), Next::HedgeNow),
            (failure(Server), Next::HedgeNow),
            (failure(Server).retry_after(Duration::ZERO), Next::Wait),
            (failure(Server).not_retryable(), Next::Wait),
            (failure(RateLimit), Next::Wait),
            (failure(RateLimit).not_retryable(), Next::Wait),
            (failure(Authentication), Next::Final),
            (failure(Validation), Next::Final),
            (failure(Validation).retry_after(Duration::ZERO), Next::Final),
            (failure(Unknown), Next::Final),
            (Outcome::EndpointUnavailable, Next::HedgeNow),
            (Outcome::Ignored, Next::Wait),
            (Outcome::Success, Next::Final),
            (Outcome::Deferred, Next::Final),
        ] {
            assert_eq!(judged(outcome, &CONFIG), next, "{outcome:?}");
        }
        let other = CONFIG.on(Unknown).never(Server).never(RateLimit).no_other_endpoints();
        assert_eq!(judged(failure(Unknown), &other), Next::HedgeNow);
        assert_eq!(judged(failure(Server), &other), Next::Final);
        assert_eq!(judged(failure(RateLimit), &other), Next::Final);
        assert_eq!(judged(Outcome::EndpointUnavailable, &other), Next::Wait);
    }

    #[test]
    fn there_are_as_many_hedges_as_there_may_be() {
        let config = CONFIG.max_hedges(2);
        let mut call = Call::new(0);
        assert_eq!(call.grant(false, &config), Err(Stop::NotResendable));
        for last in [false, true] {
            assert_eq!(call.grant(true, &config), Ok(last));
        }
        assert_eq!(call.attempt(), 3);
        assert_eq!(call.grant(true, &config), Err(Stop::Over));
        assert_eq!(call.grant(true, &config.max_hedges(3)), Err(Stop::Over), "its copies are used up");
    }

    #[test]
    fn a_copy_is_unprocessed_until_one_attempt_may_have_been_processed() {
        let mut call = Call::new(0);
        let unprocessed = Outcome::failure(ErrorClass::Connection).unprocessed();
        for (outcome, prior) in [
            (Outcome::EndpointUnavailable, PriorAttempts::Unprocessed),
            (unprocessed, PriorAttempts::Unprocessed),
            (Outcome::failure(ErrorClass::Connection), PriorAttempts::Ended),
            (unprocessed, PriorAttempts::Ended),
        ] {
            call.judge(outcome, &CONFIG);
            assert_eq!((call.prior(false), call.prior(true)), (prior, PriorAttempts::Running), "{outcome:?}");
        }
    }

    #[test]
    fn a_stopped_call_stays_stopped() {
        let mut call = Call::new(0);
        call.stop();
        assert_eq!((call.grant(true, &CONFIG), call.is_over()), (Err(Stop::Over), true));
    }

    #[test]
    fn a_call_waits_for_the_first_time_once() {
        let mut call = Call::new(0);
        assert_eq!([call.wait(), call.wait()], [true, false]);
    }

    #[test]
    fn a_lower_bound_is_learnt_above_the_delay() {
        let (millis, now) = (Duration::from_millis, epoch() + Duration::from_millis(50));
        let mut call = Call::new(0);
        assert_eq!(call.latency(true, None, now), None, "the call does not measure its time");
        call.started = Some(epoch());
        assert_eq!(call.latency(true, Some(millis(80)), now), Some(millis(50)));
        assert_eq!(call.latency(false, Some(millis(80)), now), None);
        assert_eq!(call.latency(false, Some(millis(50)), now), Some(millis(50)));
        assert_eq!(call.latency(false, None, now), None);
    }
}
