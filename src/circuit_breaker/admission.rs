//! A call in flight: it settles its account with the circuit however it ends.

use std::time::Instant;

use super::{
    permit::{Ending, Permit, Refusal},
    shared::Circuit,
};
use crate::{
    call::{Outcome, PendingOutcome, superseded::is_superseded},
    rt::{clock, sync::thread_number},
};

/// Held by a call while it runs, by a service that waits with its place reserved. Dropping it gives back what it
/// took, and counts the call by how far it had come.
#[derive(Debug)]
#[must_use]
pub(super) struct Admission {
    circuit: &'static Circuit,
    permit: Permit,
    started: Option<Instant>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A place without a call.
    Reserved,
    /// Never polled.
    Unused,
    /// Inside the inner service. Who is dropped in here has panicked.
    Inside,
    /// Polled, and waiting.
    Waiting,
    Settled,
}

impl Admission {
    /// Lets a call pass that is made at once.
    #[inline]
    pub(super) fn admit(circuit: &'static Circuit) -> Result<Self, Refusal> {
        // Not one function with a `Result`: the permit would go through memory, written in halves and read whole,
        // and the read would wait for the writes.
        let permit = match circuit.pass() {
            Some(permit) => permit,
            None => circuit.ask_to_pass()?,
        };
        Ok(Self { circuit, permit, started: Self::start(circuit), stage: Stage::Inside })
    }

    /// Keeps a place for a call that may come.
    pub(super) fn reserve(circuit: &'static Circuit) -> Result<Self, Refusal> {
        let permit = circuit.pass().map_or_else(|| circuit.ask_to_reserve(), Ok)?;
        Ok(Self { circuit, permit, started: None, stage: Stage::Reserved })
    }

    /// Whether the place is still there.
    pub(super) fn is_held(&self) -> bool {
        self.circuit.holds(self.permit)
    }

    /// The call for which the place was kept has come.
    pub(super) fn begin(mut self) -> Self {
        if self.permit.probe.is_some() {
            self.circuit.begin(self.permit);
        }
        self.started = Self::start(self.circuit);
        self.enter();
        self
    }

    /// How long a call takes is measured only where slow calls are asked for.
    #[inline]
    fn start(circuit: &Circuit) -> Option<Instant> {
        circuit.slow_over().map(|_| clock::now())
    }

    /// Code of the inner service's runs from now on: a panic in it is a failure.
    #[inline]
    pub(super) fn enter(&mut self) {
        self.stage = Stage::Inside;
    }

    /// The inner service has been called, and not been polled yet.
    #[inline]
    pub(super) fn called(&mut self) {
        self.stage = Stage::Unused;
    }

    /// The call has been polled and is not done: from now on, dropping it abandons it.
    #[inline]
    pub(super) fn waiting(&mut self) {
        self.stage = Stage::Waiting;
    }

    /// Whether the call has been counted.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.stage == Stage::Settled
    }

    /// The call is done.
    #[inline]
    pub(super) fn finish(&mut self, outcome: Outcome) {
        // Read once for the two that may ask.
        let ended = self.started.map(|_| clock::now());
        let slow = self.started.zip(ended).is_some_and(|(started, ended)| self.is_slow(started, ended));
        self.count(outcome, slow, ended);
    }

    /// The answer has begun, and whoever sees its end has the call's vote from now on; a probe's is given by its head.
    ///
    /// Whether it is slow is decided here: a stream may last for hours, and says by that nothing about the peer.
    #[cold]
    pub(super) fn hand_over(&mut self) -> PendingOutcome {
        let slow = self.started.is_some_and(|started| self.is_slow(started, clock::now()));
        if self.permit.probe.is_some() {
            // A circuit that waited for the ends of streams, which may last for hours, might never close.
            self.count(Outcome::Success, slow, None);
            return PendingOutcome::hold(());
        }
        self.stage = Stage::Settled;
        let mut rest = Self { stage: Stage::Waiting, started: None, ..*self };
        PendingOutcome::new(move |outcome| rest.count(outcome, slow, None))
    }

    #[inline]
    fn count(&mut self, outcome: Outcome, slow: bool, ended: Option<Instant>) {
        self.stage = Stage::Settled;
        let healthy = outcome == Outcome::Success && !slow;
        let now = || ended.unwrap_or_else(clock::now);
        if !healthy || !self.circuit.count_healthy(self.permit, thread_number(), now) {
            self.circuit.record(self.permit, Ending::Done { outcome, slow });
        }
    }

    fn is_slow(&self, started: Instant, ended: Instant) -> bool {
        let took = ended.saturating_duration_since(started);
        self.circuit.slow_over().is_some_and(|over| took > over)
    }

    #[cold]
    fn give_back(&mut self) {
        let ending = match self.stage {
            Stage::Reserved => Ending::Withdrawn,
            Stage::Unused => Ending::Unused,
            Stage::Inside => Ending::Panicked,
            // Another answer came first: that is no verdict on the peer, and no good or bad probe.
            Stage::Waiting if is_superseded() => Ending::Unused,
            Stage::Waiting => Ending::Abandoned,
            Stage::Settled => return,
        };
        self.stage = Stage::Settled;
        self.circuit.record(self.permit, ending);
    }
}

impl Drop for Admission {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Settled {
            self.give_back();
        }
    }
}
