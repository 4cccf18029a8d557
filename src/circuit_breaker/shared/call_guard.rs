//! The guard of one call: it settles the call with the circuit, however the call ends.

use std::{sync::Arc, time::Instant};

use super::circuit::Circuit;
use crate::{
    call::{Deadline, DeadlineSource, Outcome, PendingOutcome, Upload},
    circuit_breaker::state::{Ending, Permit, Refusal, State, Timing},
    rt::{clock, descent, sync::thread_number},
};

/// Held by a call while it runs, and by a service that has reserved a place. Dropping it gives back what it took, and
/// counts the call by the stage that it had reached.
#[derive(Debug)]
#[must_use]
pub(crate) struct CallGuard {
    circuit: Arc<Circuit>,
    permit: Permit,
    /// When the call was made, if a stage had read the clock. Otherwise when the call was first found waiting.
    since: Option<Instant>,
    waited: bool,
    deadline: Option<Deadline>,
    upload: Option<Upload>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A place without a call.
    Reserved,
    /// The inner service was called, and its future was not polled yet.
    Unpolled,
    /// Inside the inner service. A guard that is dropped here is unwound by a panic.
    Inside,
    /// Polled, and waiting.
    Waiting,
    Settled,
}

impl CallGuard {
    /// Reserves a place for a call that may come.
    pub(crate) fn reserve(circuit: &Arc<Circuit>) -> Result<Self, Refusal> {
        let permit = circuit.fast_path.pass().map_or_else(|| circuit.ask_to_pass(State::reserve), Ok)?;
        Ok(Self::new(circuit, permit, Stage::Reserved))
    }

    /// Makes an admitted call, and returns its guard. A panic in `call`, or in the source of deadlines, is a failure.
    #[inline]
    pub(crate) fn call<Req, F>(
        circuit: Arc<Circuit>,
        permit: Permit,
        deadlines: &impl DeadlineSource<Req>,
        request: Req,
        call: impl FnOnce(Req) -> F,
    ) -> (F, Self) {
        // Not the whole guard: it would lie in memory during the call, written in halves and read whole afterwards, and
        // the reads would wait for the writes.
        let unwound = Unwound { circuit: &circuit, permit };
        let (deadline, upload) = (deadlines.deadline(&request), deadlines.upload(&request));
        if upload.is_some() && permit.probe.is_some() {
            circuit.ask(|state, _| (state.uploads(permit), None));
        }
        let timed = circuit.fast_path.slow_over().is_some();
        let since = if timed { Some(descent::now()) } else { descent::reading() };
        let inner = call(request);
        std::mem::forget(unwound);
        (inner, Self { circuit, permit, since, waited: false, deadline, upload, stage: Stage::Unpolled })
    }

    #[inline]
    fn new(circuit: &Arc<Circuit>, permit: Permit, stage: Stage) -> Self {
        let circuit = Arc::clone(circuit);
        Self { circuit, permit, since: None, waited: false, deadline: None, upload: None, stage }
    }

    /// Whether the reserved place is still there.
    pub(crate) fn is_held(&self) -> bool {
        self.circuit.holds(self.permit)
    }

    /// The call for which the place was reserved has come, and takes the permit.
    pub(crate) fn begin(mut self) -> Permit {
        if self.permit.probe.is_some() {
            self.circuit.begin(self.permit);
        }
        self.stage = Stage::Settled;
        self.permit
    }

    /// Code of the inner service runs from now on: a panic in it is a failure.
    #[inline]
    pub(crate) fn enter(&mut self) {
        self.stage = Stage::Inside;
    }

    /// The call waits. From now on, dropping it cuts it.
    #[inline]
    pub(crate) fn waiting(&mut self) {
        self.stage = Stage::Waiting;
        self.waited = true;
        self.since.get_or_insert_with(descent::now);
    }

    /// Whether the call has been counted.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.stage == Stage::Settled
    }

    /// The call is done.
    #[inline]
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        // Read once for the two that may ask.
        let ended = self.circuit.fast_path.slow_over().map(|_| clock::now());
        let slow = ended.is_some_and(|ended| self.is_slow(ended));
        self.count(outcome, slow, ended);
    }

    /// The response has begun. Its outcome is settled at its end; that of a probe now.
    ///
    /// Whether the call is slow is decided here: a stream may last for hours, which says nothing about the backend.
    #[cold]
    pub(crate) fn defer(&mut self) -> PendingOutcome {
        let slow = self.is_slow(clock::now());
        if self.permit.probe.is_some() {
            // A circuit that waited for the ends of streams might never close.
            self.count(Outcome::Success, slow, None);
            return PendingOutcome::hold(());
        }
        self.stage = Stage::Settled;
        // Without a time: a stream that is dropped after its head has no vote.
        let mut rest = Self::new(&self.circuit, self.permit, Stage::Waiting);
        (rest.deadline, rest.since) = (self.deadline, None);
        PendingOutcome::new(move |outcome| rest.count(outcome, slow, None))
    }

    #[inline]
    fn count(&mut self, outcome: Outcome, slow: bool, ended: Option<Instant>) {
        self.stage = Stage::Settled;
        let now = || ended.unwrap_or_else(clock::now);
        if outcome == Outcome::Success && !slow {
            match self.circuit.fast_path.count_healthy(self.permit, thread_number(), now) {
                Some(true) if self.waited => {
                    if let Some(since) = self.timing().waiting_since {
                        self.circuit.sample_wait(now().saturating_duration_since(since));
                    }
                    return;
                }
                Some(_) => return,
                None => {}
            }
        }
        self.circuit.record(self.permit, Ending::Done { outcome, slow, timing: self.timing() });
    }

    fn is_slow(&self, ended: Instant) -> bool {
        let took = self.timing().waiting_since.map(|since| ended.saturating_duration_since(since));
        self.circuit.fast_path.slow_over().zip(took).is_some_and(|(over, took)| took > over)
    }

    /// The time that the backend had, since it could take the last part of the request.
    fn timing(&self) -> Timing {
        let waiting_since = match &self.upload {
            Some(upload) if upload.waits_for_caller() => None,
            Some(upload) => self.since.map(|since| since.max(upload.last_progress())),
            None => self.since,
        };
        Timing { waiting_since, deadline: self.deadline.map(Deadline::instant) }
    }

    #[cold]
    fn give_back(&mut self) {
        let ending = match self.stage {
            Stage::Reserved => Ending::Withdrawn,
            Stage::Unpolled => Ending::Unpolled,
            Stage::Inside => Ending::Panicked,
            Stage::Waiting => Ending::Dropped(self.timing()),
            Stage::Settled => return,
        };
        self.stage = Stage::Settled;
        self.circuit.record(self.permit, ending);
    }
}

/// Guards a call until its future exists. Dropped only by a panic.
struct Unwound<'a> {
    circuit: &'a Circuit,
    permit: Permit,
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        self.circuit.record(self.permit, Ending::Panicked);
    }
}

impl Drop for CallGuard {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Settled {
            self.give_back();
        }
    }
}
