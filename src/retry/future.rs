//! The future of a call that may be retried.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    handle::{RetryHandle, Retrying},
    policy::Policies,
    state::{Call, Failed},
};
use crate::{
    algo::after,
    call::{
        CallHistory, Classifier, Deadline, DeadlineSource, Origin, Outcome, PriorAttempts, Protocol, Resend,
    },
    rt::{clock, descent},
};

/// The result of the last attempt.
///
/// A failed response is dropped before the delay begins, so a call that waits holds no connection. Memory that only a
/// retried call needs is allocated at the first failure.
///
/// # Cancellation
///
/// Dropping the future drops the running attempt. During a delay, the withdrawal for the next attempt is refunded.
///
/// # Panics
///
/// If a delay above zero begins inside a tokio runtime without `enable_time`. Outside of a runtime the failed result is
/// the answer.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, P, Q> {
    #[pin]
    phase: Phase<S, S::Future>,
    /// A copy of the request for the next attempt.
    next: Result<Req, NoNext>,
    /// When the attempt was made, if a stage had read the clock. Otherwise when it was first found waiting.
    started: Option<Instant>,
    waited: bool,
    history: Option<CallHistory>,
    /// `None` until the first attempt has failed.
    retrying: Option<Box<Retrying>>,
    protocol: P,
    policies: Q,
    origin: Origin<S, RetryHandle>,
}

#[pin_project(project = PhaseProj)]
enum Phase<S, F> {
    Running(#[pin] F),
    /// For a timer, which is always there.
    Waiting(Pin<Box<Option<Sleep>>>),
    /// The service of the next attempt is not ready yet.
    Readying(S),
    Done,
}

/// Why no further attempt can be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNext {
    /// The attempt is the last one. The policy that said so reads the copy, so it is not asked again.
    LastAttempt,
    /// The request cannot be copied.
    NoCopy,
}

impl<S: Service<Req>, Req, P, Q> ResponseFuture<S, Req, P, Q> {
    pub(super) fn new(
        inner: S::Future,
        next: Result<Req, NoNext>,
        started: Option<Instant>,
        history: Option<CallHistory>,
        protocol: P,
        policies: Q,
        origin: Origin<S, RetryHandle>,
    ) -> Self {
        let phase = Phase::Running(inner);
        Self { phase, next, started, waited: false, history, retrying: None, protocol, policies, origin }
    }

    /// Drops everything, since the caller may hold the completed future for long. An unspent withdrawal is refunded.
    fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.phase.set(Phase::Done);
        *this.next = Err(NoNext::LastAttempt);
        *this.retrying = None;
    }
}

impl<S, Req, C, R, D, Q> Future for ResponseFuture<S, Req, Protocol<C, R, D>, Q>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error>,
    R: Resend<Req>,
    D: DeadlineSource<Req>,
    Q: Policies<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.phase.as_mut().project() {
                // Running => Waiting | Readying | Done
                PhaseProj::Running(inner) => {
                    let Poll::Ready(result) = inner.poll(cx) else {
                        *this.waited = true;
                        this.started.get_or_insert_with(descent::now);
                        return Poll::Pending;
                    };
                    let outcome = this.protocol.classifier.classify(result.as_ref());
                    if outcome.is_success() {
                        let started = this.started.filter(|_| *this.waited);
                        match this.retrying {
                            None => this.origin.handle().succeeded(started),
                            Some(retrying) => this.origin.handle().recovered(retrying, started),
                        }
                        self.finish();
                        return Poll::Ready(result);
                    }
                    let Some(delay) = self.as_mut().failed(outcome) else {
                        self.finish();
                        return Poll::Ready(result);
                    };
                    drop(result);
                    let mut this = self.as_mut().project();
                    if delay.is_zero() {
                        this.phase.set(Phase::Readying(this.origin.service()));
                        // A backend that fails at once must not keep the task from its other work.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let timer = clock::alarm(after(clock::now(), delay));
                    this.phase.set(Phase::Waiting(Box::pin(Some(timer))));
                }
                // Waiting => Readying
                PhaseProj::Waiting(timer) => {
                    let until = timer.as_ref().get_ref().as_ref().expect("set with the phase").deadline();
                    // Outside of a runtime, after its own was shut down, the attempt is sent at once: the failed response
                    // is gone.
                    let _ = ready!(clock::poll_alarm(timer.as_mut(), until.into_std(), cx));
                    this.phase.set(Phase::Readying(this.origin.service()));
                }
                // Readying => Running | Done
                PhaseProj::Readying(service) => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        this.origin.handle().unready();
                        self.finish();
                        return Poll::Ready(Err(error));
                    }
                    self.as_mut().send();
                }
                PhaseProj::Done => unreachable!("a future is not polled after it has completed"),
            }
        }
    }
}

impl<S, Req, C, R, D, Q> ResponseFuture<S, Req, Protocol<C, R, D>, Q>
where
    S: Service<Req>,
    R: Resend<Req>,
    D: DeadlineSource<Req>,
    Q: Policies<Req>,
{
    /// An attempt has failed: the delay before the next one, if there is one.
    // Cold: nearly every call succeeds at its first attempt.
    #[cold]
    fn failed(self: Pin<&mut Self>, outcome: Outcome) -> Option<Duration> {
        let this = self.project();
        let (Protocol { resend, deadlines, .. }, started) =
            (this.protocol, this.started.filter(|_| *this.waited));
        let copy = this.next.as_ref().ok();
        let retrying = this.retrying.get_or_insert_with(|| {
            let began = started.unwrap_or_else(clock::now);
            let deadline = copy.and_then(|copy| deadlines.deadline(copy)).map(Deadline::instant);
            let total = this.origin.handle().total().map(|total| after(began, total));
            let ends = deadline.into_iter().chain(total).min();
            let policy = copy.and_then(|copy| this.policies.policy(copy));
            Box::new(Retrying { call: Call::new(began, ends), policy, withdrawal: None })
        });
        let prior = if outcome.is_unprocessed() { PriorAttempts::Unprocessed } else { PriorAttempts::Ended };
        let own_retries = u64::from(retrying.call.attempt - 1);
        let failed = Failed {
            outcome,
            started,
            was_last: matches!(this.next, Err(NoNext::LastAttempt)),
            may_resend: copy.is_some_and(|copy| resend.may_resend(copy, prior)),
            retried_inside: this.history.as_ref().is_some_and(|history| history.retries() > own_retries),
            other_endpoint: this.history.as_ref().is_some_and(CallHistory::has_untried),
            circuit_open: false,
            has_runtime: clock::has_runtime(),
        };
        let delay = this.origin.handle().failed(retrying, failed)?;
        // Before the delay. During it the transport would read on a body, past the part that is kept.
        if let Ok(copy) = this.next
            && !resend.take_over(copy)
        {
            this.origin.handle().lost();
            return None;
        }
        Some(delay)
    }

    /// Sends the copy, and makes another copy if a further attempt may follow.
    fn send(self: Pin<&mut Self>) {
        let mut this = self.project();
        let (resend, handle) = (&this.protocol.resend, this.origin.handle());
        let taken = std::mem::replace(this.next, Err(NoNext::LastAttempt));
        let (Ok(mut request), PhaseProj::Readying(service)) = (taken, this.phase.as_mut().project()) else {
            unreachable!(
                "a retry is granted only with a copy, and the only caller has made its service ready"
            );
        };
        let retrying = this.retrying.as_mut().expect("it is made when the first attempt fails");
        let attempt = retrying.call.attempt;
        let attempts = match &retrying.policy {
            Some(policy) => policy.config().max_attempts.into(),
            None => handle.max_attempts(),
        };
        let is_last = u64::from(attempt) >= attempts;
        if !is_last {
            *this.next = resend.copy(&mut request).ok_or(NoNext::NoCopy);
        }
        resend.prepare(&mut request, attempt, this.history);
        if let Some(history) = this.history {
            history.retried();
        }
        (*this.started, *this.waited) = (descent::reading(), false);
        let inner = service.call(request);
        this.phase.set(Phase::Running(inner));
        // Only now is it sent. If `call` panics, the withdrawal is refunded.
        if let Some(withdrawal) = retrying.withdrawal.take() {
            withdrawal.spend();
        }
        handle.retried(&retrying.call);
    }
}

#[pinned_drop]
impl<S: Service<Req>, Req, P, Q> PinnedDrop for ResponseFuture<S, Req, P, Q> {
    fn drop(self: Pin<&mut Self>) {
        if !matches!(self.phase, Phase::Done) {
            self.origin.handle().abandoned(matches!(self.phase, Phase::Running(_)));
        }
    }
}

impl<S: Service<Req>, Req, P, Q> fmt::Debug for ResponseFuture<S, Req, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Running(_) => "running",
            Phase::Waiting(_) => "waiting",
            Phase::Readying(_) => "readying",
            Phase::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("layer", self.origin.handle().name())
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}
