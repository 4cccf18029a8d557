//! The future of a call that may be tried again.

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
    config::RetryPolicy,
    handle::{Failed, RetryHandle},
    policy::Policies,
    state::Progress,
};
use crate::{
    algo,
    call::{CallHistory, Classifier, DeadlineSource, Outcome, PriorAttempts, Protocol, Resend},
    retry_budget::Credit,
    rt::clock,
};

/// The answer of the service below, be it that of a later attempt.
///
/// The failed response is dropped before the wait. What a call needs only when it is tried again is allocated then.
///
/// # Cancellation
///
/// Dropping it drops the attempt that runs. While it waits for the next one, the credit goes back to the budget.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, P, Q> {
    #[pin]
    phase: Phase<S::Future>,
    /// What the next attempt is made of, if there may be one.
    spare: Result<Spare<S, Req>, NoSpare>,
    /// When the attempt was first found waiting.
    started: Option<Instant>,
    history: Option<CallHistory>,
    /// `None` until the first attempt has failed.
    retrying: Option<Box<Retrying>>,
    protocol: P,
    policies: Q,
    handle: RetryHandle,
}

#[pin_project(project = PhaseProj)]
enum Phase<F> {
    Running(#[pin] F),
    Waiting(Pin<Box<Sleep>>),
    Readying,
    Done,
}

/// A service that has not been made ready, and a copy of the request.
pub(super) struct Spare<S, Req> {
    pub(super) service: S,
    pub(super) request: Req,
}

/// Why there is nothing to make another attempt of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSpare {
    /// The attempt is the last one. The request's own numbers, which said so, are not to be asked again: they go by the
    /// copy.
    LastAttempt,
    /// The request cannot be sent twice.
    NoCopy,
}

impl<S, Req> Spare<S, Req> {
    pub(super) fn new(copy: Option<Req>, service: impl FnOnce() -> S) -> Result<Self, NoSpare> {
        let request = copy.ok_or(NoSpare::NoCopy)?;
        Ok(Self { service: service(), request })
    }
}

/// A call whose first attempt has failed.
struct Retrying {
    call: Progress,
    policy: Option<RetryPolicy>,
    /// For the next attempt; it goes back when this is dropped.
    credit: Option<Credit>,
}

impl<S: Service<Req>, Req, P, Q> ResponseFuture<S, Req, P, Q> {
    pub(super) fn new(
        inner: S::Future,
        spare: Result<Spare<S, Req>, NoSpare>,
        history: Option<CallHistory>,
        protocol: P,
        policies: Q,
        handle: RetryHandle,
    ) -> Self {
        let phase = Phase::Running(inner);
        Self { phase, spare, started: None, history, retrying: None, protocol, policies, handle }
    }

    /// Lets go of everything: whoever called may hold on to this for long. With it goes a credit that nobody will spend.
    fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.phase.set(Phase::Done);
        *this.spare = Err(NoSpare::LastAttempt);
        *this.retrying = None;
    }
}

impl<S, Req, C, R, D, Q> Future for ResponseFuture<S, Req, Protocol<C, R, D>, Q>
where
    S: Service<Req>,
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
                PhaseProj::Running(inner) => {
                    let Poll::Ready(result) = inner.poll(cx) else {
                        this.started.get_or_insert_with(clock::now);
                        return Poll::Pending;
                    };
                    let outcome = this.protocol.classifier.classify(result.as_ref());
                    if outcome.is_success() {
                        match this.retrying {
                            None => this.handle.succeeded(*this.started),
                            Some(it) => this.handle.recovered(&it.call, *this.started, it.policy.as_ref()),
                        }
                        self.finish();
                        return Poll::Ready(result);
                    }
                    let Some(delay) = self.as_mut().next(outcome) else {
                        self.finish();
                        return Poll::Ready(result);
                    };
                    drop(result);
                    if self.as_mut().wait(delay).is_pending() {
                        // A peer that fails at once must not keep the task from everything else.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                PhaseProj::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.phase.set(Phase::Readying);
                }
                PhaseProj::Readying => {
                    let Ok(spare) = this.spare else {
                        unreachable!(
                            "nothing is granted without it, and it is taken when the attempt is sent"
                        );
                    };
                    if let Err(error) = ready!(spare.service.poll_ready(cx)) {
                        this.handle.unready();
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
    /// An attempt has failed: after what time there is another one.
    #[cold]
    fn next(self: Pin<&mut Self>, outcome: Outcome) -> Option<Duration> {
        let this = self.project();
        let (protocol, policies, started) = (this.protocol, this.policies, *this.started);
        let (copy, was_last) = match this.spare {
            Ok(spare) => (Some(&spare.request), false),
            Err(why) => (None, *why == NoSpare::LastAttempt),
        };
        let it = this.retrying.get_or_insert_with(|| {
            let call = Progress::new(started.unwrap_or_else(clock::now));
            let policy = copy.and_then(|copy| policies.policy(copy));
            Box::new(Retrying { call, policy, credit: None })
        });
        let prior = if outcome.is_unprocessed() { PriorAttempts::Unprocessed } else { PriorAttempts::Ended };
        let own_retries = u64::from(it.call.attempts - 1);
        let failed = Failed {
            outcome,
            started,
            deadline: copy.and_then(|copy| protocol.deadlines.deadline(copy)),
            was_last,
            may_resend: copy.is_some_and(|copy| protocol.resend.may_resend(copy, prior)),
            retried_below: this.history.as_ref().is_some_and(|history| history.retries() > own_retries),
        };
        let (delay, credit) = this.handle.failed(&mut it.call, &failed, it.policy.as_ref()).ok()?;
        // Not after the wait: the transport would go on reading a body meanwhile, up to where it is not kept any more.
        if let Ok(spare) = this.spare
            && !protocol.resend.take_over(&mut spare.request)
        {
            this.handle.lost();
            return None;
        }
        it.credit = credit;
        Some(delay)
    }

    /// Drops the attempt, whose response is gone already. `Pending` where there is nothing to wait for.
    fn wait(self: Pin<&mut Self>, delay: Duration) -> Poll<()> {
        let mut phase = self.project().phase;
        if delay.is_zero() {
            phase.set(Phase::Readying);
            return Poll::Pending;
        }
        phase.set(Phase::Waiting(Box::pin(clock::alarm(algo::after(clock::now(), delay)))));
        Poll::Ready(())
    }

    /// Sends the copy, and makes another one if there may be another attempt.
    fn send(self: Pin<&mut Self>) {
        let mut this = self.project();
        let (resend, handle) = (&this.protocol.resend, this.handle);
        let taken = std::mem::replace(this.spare, Err(NoSpare::LastAttempt));
        let Ok(Spare { mut service, mut request }) = taken else {
            unreachable!("the only caller has made its service ready");
        };
        let it = this.retrying.as_mut().expect("it is made when the first attempt has failed");
        it.call.sent();
        let attempts =
            it.policy.as_ref().map_or_else(|| handle.max_attempts(), |it| it.config().max_attempts.into());
        let is_last = u64::from(it.call.attempts) >= attempts;
        let copy = if is_last { None } else { resend.copy(&mut request) };
        resend.prepare(&mut request, it.call.attempts, this.history);
        if let Some(history) = this.history {
            history.retried();
        }
        *this.started = None;
        this.phase.set(Phase::Running(service.call(request)));
        // From here on it has been sent; had `call` panicked, the credit would have gone back.
        if let Some(credit) = it.credit.take() {
            credit.spend();
        }
        handle.retried();
        if !is_last {
            *this.spare = Spare::new(copy, || service);
        }
    }
}

#[pinned_drop]
impl<S: Service<Req>, Req, P, Q> PinnedDrop for ResponseFuture<S, Req, P, Q> {
    fn drop(self: Pin<&mut Self>) {
        if !matches!(self.phase, Phase::Done) {
            self.handle.abandoned();
        }
    }
}

impl<S: Service<Req>, Req, P, Q> fmt::Debug for ResponseFuture<S, Req, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Running(_) => "running",
            Phase::Waiting(_) => "waiting",
            Phase::Readying => "readying",
            Phase::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("layer", self.handle.name())
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}
