//! One call at one endpoint. It ends however the call ends.

use std::{sync::Arc, time::Instant};

use super::{
    load::EndpointLoad,
    vote::{Health, Latency, RECHECK, Vote},
};
use crate::{
    call::{ErrorClass, Outcome, PendingOutcome},
    rt::clock,
};

/// A call in flight. Dropping it without an outcome cuts it: its latency is at least the time so far.
#[derive(Debug)]
#[must_use]
pub(super) struct CallGuard {
    load: Arc<EndpointLoad>,
    began: Option<Instant>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Code of the inner service runs: a drop comes from a panic in it.
    Inside,
    Waiting,
    /// The outcome is recorded.
    Settled,
}

impl CallGuard {
    /// Begins a call; `None` if the endpoint was removed.
    #[inline]
    pub(super) fn enter(load: &Arc<EndpointLoad>, began: Option<Instant>) -> Option<Self> {
        load.enter().then(|| Self { load: Arc::clone(load), began, stage: Stage::Inside })
    }

    /// The endpoint could not become ready for a call.
    #[cold]
    pub(super) fn refused(load: &Arc<EndpointLoad>, outcome: Outcome) {
        if let Some(mut guard) = Self::enter(load, None) {
            load.avoid_until(load.core.millis(clock::now()).after(RECHECK));
            guard.fail(outcome);
        }
    }

    #[inline]
    pub(super) fn inside(&mut self) {
        self.stage = Stage::Inside;
    }

    #[inline]
    pub(super) fn waiting(&mut self) {
        self.stage = Stage::Waiting;
    }

    /// The call is done.
    #[inline]
    pub(super) fn finish(mut self, outcome: Outcome) {
        if outcome == Outcome::Success {
            self.settle(Vote::SUCCESS);
        } else {
            self.fail(outcome);
        }
    }

    /// The response has begun. Its latency is known; its end decides whether the call has failed.
    #[cold]
    pub(super) fn defer(mut self) -> PendingOutcome {
        if let Some(began) = self.began {
            let now = clock::now();
            let elapsed = now.saturating_duration_since(began);
            self.load.record_latency(Latency::Elapsed, Some(elapsed), self.load.core.millis(now));
        }
        self.began = None;
        self.stage = Stage::Waiting;
        PendingOutcome::new(move |outcome| self.finish(outcome))
    }

    #[cold]
    fn fail(&mut self, outcome: Outcome) {
        let config = self.load.core.config();
        let failures = self.settle(Vote::of(outcome, &config));
        // Once per so many failures: an endpoint that may not be ejected now is judged again later.
        let limit = config.outliers.consecutive_failures;
        if failures > 0 && limit > 0 && failures.is_multiple_of(limit) {
            self.load.core.suspect(&self.load);
        }
    }

    #[inline]
    fn settle(&mut self, vote: Vote) -> u32 {
        self.stage = Stage::Settled;
        let needs_time = self.began.is_some() || vote.health != Health::Success;
        let now = needs_time.then(clock::now);
        let elapsed = self.began.zip(now).map(|(began, now)| now.saturating_duration_since(began));
        self.load.record(vote, elapsed, now.map(|now| self.load.core.millis(now)))
    }
}

impl Drop for CallGuard {
    #[inline]
    fn drop(&mut self) {
        match self.stage {
            Stage::Settled => {}
            Stage::Waiting => drop(self.settle(Vote::CUT)),
            Stage::Inside => self.fail(Outcome::failure(ErrorClass::Unknown)),
        }
        if self.load.leave() {
            self.load.core.drained.notify_waiters();
        }
    }
}
