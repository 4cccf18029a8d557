//! The future of a call that may be hedged.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    attempt::{Answer, Ended, Hedges},
    handle::{End, HedgeHandle},
    state::{Call, Next, Trigger},
};
use crate::{
    algo::after,
    call::{CallHistory, Classifier, Origin, Outcome, PriorAttempts, Protocol, Resend},
    rt::{clock, descent},
};

/// The answer of the inner service, to the first request or to a hedge.
///
/// The future arms its timer when it first finds the first attempt waiting; a call that is answered at once costs no
/// timer. The timer lies inside the future, so a call that is answered before its delay allocates nothing. Every poll
/// polls all attempts. When one of them answers, the future drops the others before it returns the answer.
///
/// A failure of the first attempt that does not end the call is kept until the hedges have ended. If no hedge succeeds,
/// the kept failure is the answer.
///
/// # Cancellation
///
/// Dropping the future drops all attempts. The withdrawal of a hedge that was not sent is refunded.
///
/// # Panics
///
/// If a delay above zero begins inside a tokio runtime without `enable_time`. Outside of a runtime no delay ends, and the
/// first attempt goes on alone.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, P> {
    /// `None` once it has ended.
    #[pin]
    primary: Option<S::Future>,
    #[pin]
    timer: Option<Sleep>,
    /// A copy of the request; `None` if there will be no further hedge.
    next: Option<Req>,
    /// `None` until the first hedge.
    hedges: Option<Box<Hedges<S, Req>>>,
    call: Call,
    done: bool,
    history: Option<CallHistory>,
    protocol: P,
    origin: Origin<S, HedgeHandle>,
}

impl<S: Service<Req>, Req, P> ResponseFuture<S, Req, P> {
    pub(super) fn new(
        primary: S::Future,
        next: Option<Req>,
        history: Option<CallHistory>,
        call: Call,
        protocol: P,
        origin: Origin<S, HedgeHandle>,
    ) -> Self {
        let (primary, timer, hedges, done) = (Some(primary), None, None, false);
        Self { primary, timer, next, hedges, call, done, history, protocol, origin }
    }
}

impl<S, Req, C, R, D> Future for ResponseFuture<S, Req, Protocol<C, R, D>>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error>,
    R: Resend<Req>,
{
    type Output = Answer<S, Req>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        if let Some(primary) = this.primary.as_mut().as_pin_mut()
            && let Poll::Ready(result) = primary.poll(cx)
        {
            let outcome = this.protocol.classifier.classify(result.as_ref());
            this.primary.set(None);
            if outcome.is_success() {
                this.origin.handle().won_by_primary(this.call);
                self.finish();
                return Poll::Ready(result);
            }
            if let Some(answer) = self.as_mut().primary_failed(result, outcome) {
                return Poll::Ready(answer);
            }
        }
        let mut polled = 0;
        loop {
            if let Some(answer) = self.as_mut().poll_hedges(&mut polled, cx) {
                return Poll::Ready(answer);
            }
            if !self.as_mut().is_due(cx) {
                return Poll::Pending;
            }
            self.as_mut().hedge(Trigger::Slow);
        }
    }
}

impl<S, Req, C, R, D> ResponseFuture<S, Req, Protocol<C, R, D>>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error>,
    R: Resend<Req>,
{
    /// The first attempt has failed. Returns the answer if the failure ends the call.
    // Cold: nearly every first attempt succeeds.
    #[cold]
    fn primary_failed(
        mut self: Pin<&mut Self>,
        result: Answer<S, Req>,
        outcome: Outcome,
    ) -> Option<Answer<S, Req>> {
        let is_final = self.as_mut().failed(true, outcome);
        match self.as_mut().project().hedges {
            Some(hedges) if !is_final && !hedges.is_empty() => {
                hedges.kept = Some((result, outcome));
                None
            }
            _ => {
                self.end(End::Failed);
                Some(result)
            }
        }
    }

    /// Polls the hedges from number `polled` on. Returns the answer if one of them ends the call.
    fn poll_hedges(
        mut self: Pin<&mut Self>,
        polled: &mut usize,
        cx: &mut Context<'_>,
    ) -> Option<Answer<S, Req>> {
        loop {
            let this = self.as_mut().project();
            match this.hedges.as_mut()?.poll_from(polled, cx)? {
                // The grant was refunded; the budget decides whether there is another one.
                Ended::Unready => self.as_mut().hedge(Trigger::Unready),
                Ended::Answered(result) => {
                    let outcome = this.protocol.classifier.classify(result.as_ref());
                    if outcome.is_success() {
                        self.end(End::WonByHedge);
                        return Some(result);
                    }
                    if self.as_mut().failed(false, outcome) {
                        self.end(End::Failed);
                        return Some(result);
                    }
                    // A failure of the backend replaces a kept rejection by this side. An outer retry would take the
                    // rejection for an attempt that reached no backend, and send a free one.
                    if let Some((kept, of_kept)) = &mut self.as_mut().project().hedges.as_mut()?.kept
                        && of_kept.blames_backend().is_none()
                        && outcome.blames_backend().is_some()
                    {
                        (*kept, *of_kept) = (result, outcome);
                    }
                }
            }
            let hedges = self.as_mut().project().hedges.as_mut()?;
            if hedges.is_empty()
                && let Some((result, _)) = hedges.kept.take()
            {
                self.end(End::Failed);
                return Some(result);
            }
        }
    }

    /// An attempt has failed. Returns whether the failure ends the call; otherwise a hedge may have been sent.
    fn failed(mut self: Pin<&mut Self>, primary: bool, outcome: Outcome) -> bool {
        let this = self.as_mut().project();
        match this.origin.handle().failed(this.call, primary, outcome) {
            Next::Final => return true,
            Next::HedgeNow => self.hedge(Trigger::Failed(outcome)),
            Next::Wait => {
                this.call.stop();
                *this.next = None;
            }
        }
        false
    }

    /// Whether the time for a hedge has come. Arms the timer if it is not armed.
    fn is_due(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        // The learnt delay and the count of requests without a copy are about first attempts that had to wait.
        if this.primary.is_some() && !this.call.is_over() && this.call.wait() {
            this.origin.handle().waits(this.call, this.next.is_some());
        }
        if this.call.is_over() || this.next.is_none() {
            return false;
        }
        let until = match this.timer.as_ref().as_pin_ref() {
            Some(timer) => timer.deadline().into_std(),
            None => match this.origin.handle().delay(this.call.class) {
                None => return false,
                Some(Duration::ZERO) => return true,
                Some(delay) => after(descent::now(), delay),
            },
        };
        // Without a runtime the first attempt goes on alone.
        clock::poll_alarm(this.timer.as_mut(), until, cx) == Poll::Ready(Ok(()))
    }

    /// Sends one more hedge, if it is granted. The delay before the next one begins now.
    // Cold: few calls are hedged.
    #[cold]
    fn hedge(self: Pin<&mut Self>, trigger: Trigger) {
        let mut this = self.project();
        this.timer.set(None);
        // A hedge that is not ready yet counts as running: the backend may still see it.
        let running = this.primary.is_some() || this.hedges.as_ref().is_some_and(|hedges| !hedges.is_empty());
        let (resend, prior) = (&this.protocol.resend, this.call.prior(running));
        let may_resend = this.next.as_ref().is_some_and(|copy| resend.may_resend(copy, prior));
        let grant = this.origin.handle().grant(this.call, may_resend, trigger);
        // Without a grant there will be no further hedge, so the copy is dropped.
        let Some(mut request) = this.next.take() else { return };
        let Some(grant) = grant else { return };
        if prior != PriorAttempts::Running && !resend.take_over(&mut request) {
            return;
        }
        if !grant.last {
            *this.next = resend.copy(&mut request);
        }
        resend.prepare(&mut request, this.call.attempt(), this.history);
        let hedges = this.hedges.get_or_insert_with(|| Box::new(Hedges::new()));
        hedges.send(this.origin.service(), request, grant);
    }
}

impl<S: Service<Req>, Req, P> ResponseFuture<S, Req, P> {
    /// The call is over, other than by the success of its first attempt.
    // Cold: nearly every first attempt succeeds.
    #[cold]
    fn end(mut self: Pin<&mut Self>, end: End) {
        let this = self.as_mut().project();
        this.origin.handle().ended(this.call, end);
        self.finish();
    }

    /// Drops the attempts that still run, since the caller may hold the completed future for long.
    fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.done = true;
        let hedges = this.hedges.take();
        let losers = usize::from(this.primary.is_some()) + hedges.as_ref().map_or(0, |it| it.running());
        this.primary.set(None);
        this.timer.set(None);
        *this.next = None;
        drop(hedges);
        if losers > 0 {
            this.origin.handle().dropped(losers);
        }
    }
}

#[pinned_drop]
impl<S: Service<Req>, Req, P> PinnedDrop for ResponseFuture<S, Req, P> {
    fn drop(self: Pin<&mut Self>) {
        if !self.done {
            self.end(End::Abandoned);
        }
    }
}

impl<S: Service<Req>, Req, P> fmt::Debug for ResponseFuture<S, Req, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("layer", self.origin.handle().name())
            .field("call", &self.call)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
