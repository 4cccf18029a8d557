//! The decision: what the end of one attempt means for the call, and whether there is one more.

use std::time::{Duration, Instant};

use super::config::HedgeConfig;
use crate::{
    call::{ErrorClass, Outcome, PriorAttempts, Retryable},
    retry_budget::NoCredit,
};

/// How far one call has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The class of the call, as an index.
    pub(super) class: u8,
    /// How many hedges there have been, those included that were never sent.
    hedges: u8,
    /// No further hedge, whatever happens.
    over: bool,
    /// What is known of the attempts that have ended.
    ended: PriorAttempts,
    /// The first attempt was found waiting.
    waited: bool,
    /// The budget knows of this call.
    counted: bool,
    /// When the first attempt was found waiting, if it shall tell how long it takes and still can.
    pub(super) started: Option<Instant>,
}

/// What an attempt that did not succeed means for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Every other attempt would end the same: it is the answer.
    Conclusive,
    /// Another attempt is sent at once; `free` where this one was turned away on this side.
    GoOn { free: bool },
    /// No further attempt is sent; one that runs already may still succeed.
    Wait,
}

/// Why there is no further hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There have been as many as there may be, or it was decided before.
    Over,
    /// The request cannot be sent twice, or that would do harm.
    NotRepeatable,
    /// The budget gave no credit.
    NoCredit(NoCredit),
}

impl Judgement {
    pub(super) const fn of(outcome: Outcome, config: &HedgeConfig) -> Self {
        match outcome {
            Outcome::Success | Outcome::Deferred => Self::Conclusive,
            Outcome::Failure { class, retry_after, retryable } => {
                let asks_for_less = matches!(class, ErrorClass::RateLimit)
                    || matches!(retryable, Retryable::Never)
                    || retry_after.is_some();
                if !config.on.contains(class) {
                    Self::Conclusive
                } else if asks_for_less {
                    Self::Wait
                } else {
                    Self::GoOn { free: false }
                }
            }
            Outcome::EndpointUnavailable if config.other_endpoints => Self::GoOn { free: true },
            // It says nothing about the peer, so nothing against an attempt that has reached it.
            Outcome::EndpointUnavailable | Outcome::DeadlineExceeded | Outcome::Ignored => Self::Wait,
        }
    }
}

impl Progress {
    /// The first attempt is sent.
    pub(super) const fn new(class: u8) -> Self {
        Self {
            class,
            hedges: 0,
            over: false,
            ended: PriorAttempts::Unprocessed,
            waited: false,
            counted: false,
            started: None,
        }
    }

    /// The first attempt is found waiting. Says whether it is so for the first time.
    pub(super) const fn wait(&mut self) -> bool {
        !std::mem::replace(&mut self.waited, true)
    }

    /// The budget gets to know of the call. Says whether it is so for the first time.
    pub(super) const fn count(&mut self) -> bool {
        !std::mem::replace(&mut self.counted, true)
    }

    /// An attempt has failed.
    pub(super) const fn failed(&mut self, outcome: Outcome) {
        if !outcome.is_unprocessed() {
            self.ended = PriorAttempts::Ended;
        }
    }

    /// What is known of the attempts so far, of which one may be running.
    pub(super) const fn earlier(&self, running: bool) -> PriorAttempts {
        if running { PriorAttempts::Running } else { self.ended }
    }

    /// There shall be no further hedge.
    pub(super) const fn stop(&mut self) {
        self.over = true;
    }

    /// Asks for one more hedge. The budget has not been asked yet.
    pub(super) const fn may_hedge(&self, repeatable: bool, config: &HedgeConfig) -> Result<(), Stop> {
        if self.over || self.hedges >= config.max_hedges {
            Err(Stop::Over)
        } else if repeatable {
            Ok(())
        } else {
            Err(Stop::NotRepeatable)
        }
    }

    /// A hedge was granted. Says whether it was the last one.
    pub(super) const fn grant(&mut self, config: &HedgeConfig) -> bool {
        self.hedges = self.hedges.saturating_add(1);
        self.over = self.hedges >= config.max_hedges;
        self.over
    }

    /// Whether there is no hope of a further hedge.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// The number of the last attempt, from 1.
    pub(super) fn attempt(&self) -> u32 {
        u32::from(self.hedges) + 1
    }

    /// How long the first attempt took, or how long at least if it was cancelled, where that is worth knowing.
    pub(super) fn latency(&self, finished: bool, delay: Option<Duration>, now: Instant) -> Option<Duration> {
        let latency = now.saturating_duration_since(self.started?);
        // "At least this long" tells nothing as long as it is less than what the quantile is taken for.
        (finished || delay.is_some_and(|delay| latency >= delay)).then_some(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const CONFIG: HedgeConfig = HedgeConfig::new();

    #[test]
    fn what_each_outcome_means() {
        use ErrorClass::{Authentication, Connection, RateLimit, Server, Timeout, Unknown, Validation};
        let failure = Outcome::failure;
        let at_once = Judgement::GoOn { free: false };
        for (outcome, judgement) in [
            (failure(Connection), at_once),
            (failure(Connection).unprocessed(), at_once),
            (failure(Timeout), at_once),
            (failure(Server), at_once),
            (failure(Server).retry_after(Duration::ZERO), Judgement::Wait),
            (failure(Server).not_retryable(), Judgement::Wait),
            (failure(RateLimit), Judgement::Wait),
            (failure(RateLimit).not_retryable(), Judgement::Wait),
            (failure(Authentication), Judgement::Conclusive),
            (failure(Validation), Judgement::Conclusive),
            (failure(Validation).retry_after(Duration::ZERO), Judgement::Conclusive),
            (failure(Unknown), Judgement::Conclusive),
            (Outcome::EndpointUnavailable, Judgement::GoOn { free: true }),
            (Outcome::Ignored, Judgement::Wait),
            (Outcome::Success, Judgement::Conclusive),
            (Outcome::Deferred, Judgement::Conclusive),
        ] {
            assert_eq!(Judgement::of(outcome, &CONFIG), judgement, "{outcome:?}");
        }
        let other = CONFIG.on(Unknown).never(Server).never(RateLimit).no_other_endpoints();
        assert_eq!(Judgement::of(failure(Unknown), &other), at_once);
        assert_eq!(Judgement::of(failure(Server), &other), Judgement::Conclusive);
        assert_eq!(Judgement::of(failure(RateLimit), &other), Judgement::Conclusive);
        assert_eq!(Judgement::of(Outcome::EndpointUnavailable, &other), Judgement::Wait);
    }

    #[test]
    fn there_are_as_many_hedges_as_there_may_be() {
        let config = CONFIG.max_hedges(2);
        let mut call = Progress::new(0);
        assert_eq!(call.may_hedge(false, &config), Err(Stop::NotRepeatable));
        for last in [false, true] {
            assert_eq!(call.may_hedge(true, &config), Ok(()));
            assert_eq!(call.grant(&config), last);
        }
        assert_eq!(call.attempt(), 3);
        assert_eq!(call.may_hedge(true, &config), Err(Stop::Over));
        assert_eq!(call.may_hedge(true, &config.max_hedges(3)), Err(Stop::Over), "its copies are used up");
    }

    #[test]
    fn one_attempt_that_was_seen_is_enough_and_one_that_runs_may_yet_be() {
        let mut call = Progress::new(0);
        let unprocessed = Outcome::failure(ErrorClass::Connection).unprocessed();
        for (outcome, prior) in [
            (Outcome::EndpointUnavailable, PriorAttempts::Unprocessed),
            (unprocessed, PriorAttempts::Unprocessed),
            (Outcome::failure(ErrorClass::Connection), PriorAttempts::Ended),
            (unprocessed, PriorAttempts::Ended),
        ] {
            call.failed(outcome);
            assert_eq!(
                (call.earlier(false), call.earlier(true)),
                (prior, PriorAttempts::Running),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn what_is_stopped_stays_so() {
        let mut call = Progress::new(0);
        call.stop();
        assert_eq!((call.may_hedge(true, &CONFIG), call.is_over()), (Err(Stop::Over), true));
    }

    #[test]
    fn a_call_is_counted_once() {
        let mut call = Progress::new(0);
        assert_eq!([call.count(), call.count(), call.wait(), call.wait()], [true, false, true, false]);
    }

    #[test]
    fn a_lower_bound_is_worth_knowing_above_the_delay() {
        let (millis, now) = (Duration::from_millis, epoch() + Duration::from_millis(50));
        let mut call = Progress::new(0);
        assert_eq!(call.latency(true, None, now), None, "it was not asked");
        call.started = Some(epoch());
        assert_eq!(call.latency(true, Some(millis(80)), now), Some(millis(50)));
        assert_eq!(call.latency(false, Some(millis(80)), now), None);
        assert_eq!(call.latency(false, Some(millis(50)), now), Some(millis(50)));
        assert_eq!(call.latency(false, None, now), None);
    }
}
