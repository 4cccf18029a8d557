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
    attempt::{Answer, Ended, Hedges, Spare},
    handle::{End, HedgeHandle},
    state::{Judgement, Progress},
};
use crate::{
    algo,
    call::{CallHistory, Classifier, Outcome, PriorAttempts, Protocol, Resend, superseded::supersede},
    rt::clock,
};

/// The answer of the service below, be it to the first request or to a hedge.
///
/// The timer is armed when the first attempt is found waiting; one that is answered at once costs none. It lies within
/// this future, so that a call that is answered before its delay is over costs no allocation. Hedges are allocated when
/// they are sent. All attempts are polled whenever this is; when one of them answers, the others are dropped before the
/// answer is returned.
///
/// A failure of the first attempt that does not end the call is kept until the hedges have ended: if none of them
/// succeeds, it is the answer.
///
/// # Cancellation
///
/// Dropping it drops all attempts. The credit of a hedge that was not sent goes back to the budget; that of one that was
/// sent is spent.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, P> {
    /// `None` when it has ended.
    #[pin]
    primary: Option<S::Future>,
    #[pin]
    timer: Option<Sleep>,
    /// What the next hedge is made of, if there may be one.
    spare: Option<Spare<S, Req>>,
    /// `None` until the first hedge.
    hedges: Option<Box<Hedges<S, Req>>>,
    call: Progress,
    done: bool,
    history: Option<CallHistory>,
    protocol: P,
    handle: HedgeHandle,
}

impl<S: Service<Req>, Req, P> ResponseFuture<S, Req, P> {
    pub(super) fn new(
        primary: S::Future,
        spare: Option<Spare<S, Req>>,
        history: Option<CallHistory>,
        call: Progress,
        protocol: P,
        handle: HedgeHandle,
    ) -> Self {
        let (primary, timer, hedges, done) = (Some(primary), None, None, false);
        Self { primary, timer, spare, hedges, call, done, history, protocol, handle }
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
        let this = self.as_mut().project();
        if let Some(primary) = this.primary.as_pin_mut()
            && let Poll::Ready(result) = primary.poll(cx)
        {
            let outcome = this.protocol.classifier.classify(result.as_ref());
            if outcome.is_success() {
                this.handle.won_by_primary(this.call);
                if this.hedges.is_some() {
                    supersede(|| self.finish());
                } else {
                    self.finish();
                }
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
            self.as_mut().hedge(false, false);
        }
    }
}

impl<S, Req, C, R, D> ResponseFuture<S, Req, Protocol<C, R, D>>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error>,
    R: Resend<Req>,
{
    /// The first attempt has failed. Gives the answer if that ends the call.
    #[cold]
    fn primary_failed(
        mut self: Pin<&mut Self>,
        result: Answer<S, Req>,
        outcome: Outcome,
    ) -> Option<Answer<S, Req>> {
        let mut this = self.as_mut().project();
        this.primary.set(None);
        let judgement = this.handle.failed(this.call, true, outcome);
        this.call.failed(outcome);
        self.as_mut().go_on(judgement);
        let this = self.as_mut().project();
        match this.hedges {
            Some(hedges) if judgement != Judgement::Conclusive && !hedges.is_empty() => {
                hedges.primary = Some((result, outcome));
                None
            }
            _ => {
                let untold = (judgement == Judgement::Conclusive).then_some(outcome);
                self.end(End::Failed(untold), true);
                Some(result)
            }
        }
    }

    /// Polls the hedges from number `polled` on. Gives the answer if one of them ends the call.
    fn poll_hedges(
        mut self: Pin<&mut Self>,
        polled: &mut usize,
        cx: &mut Context<'_>,
    ) -> Option<Answer<S, Req>> {
        loop {
            let this = self.as_mut().project();
            let hedges = this.hedges.as_mut()?;
            match hedges.poll_from(polled, cx)? {
                // It was granted once; whether there is another one is for the budget to say.
                Ended::Unready => self.as_mut().hedge(false, false),
                Ended::Answered(result) => {
                    let outcome = this.protocol.classifier.classify(result.as_ref());
                    if outcome.is_success() {
                        self.end(End::WonByHedge, false);
                        return Some(result);
                    }
                    let judgement = this.handle.failed(this.call, false, outcome);
                    this.call.failed(outcome);
                    if judgement == Judgement::Conclusive {
                        self.end(End::Failed(Some(outcome)), false);
                        return Some(result);
                    }
                    // What the peer said is the answer, and not that this side did not ask it at first: who tries again
                    // would take that for free.
                    if let Some((kept, of_kept)) = &mut hedges.primary
                        && of_kept.blames_peer().is_none()
                        && outcome.blames_peer().is_some()
                    {
                        (*kept, *of_kept) = (result, outcome);
                    }
                    self.as_mut().go_on(judgement);
                }
            }
            let hedges = self.as_mut().project().hedges.as_mut()?;
            if hedges.is_empty()
                && let Some((result, _)) = hedges.primary.take()
            {
                self.end(End::Failed(None), true);
                return Some(result);
            }
        }
    }

    fn go_on(self: Pin<&mut Self>, judgement: Judgement) {
        match judgement {
            Judgement::GoOn { free } => self.hedge(free, true),
            Judgement::Wait | Judgement::Conclusive => {
                let this = self.project();
                this.call.stop();
                *this.spare = None;
            }
        }
    }

    /// Whether the time for a hedge has come. Arms the timer if it is not.
    fn is_due(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        // What is learnt, and who could not be hedged, is about first attempts that had to wait.
        if this.primary.is_some() && !this.call.is_over() && this.call.wait() {
            this.handle.waits(this.call, this.spare.is_some());
        }
        if this.call.is_over() || this.spare.is_none() {
            return false;
        }
        if this.timer.is_none() {
            match this.handle.delay(this.call.class) {
                None => return false,
                Some(Duration::ZERO) => return true,
                Some(delay) => this.timer.set(Some(clock::alarm(algo::after(clock::now(), delay)))),
            }
        }
        this.timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready())
    }

    /// Sends one more, if that is granted. The delay before the next one begins now.
    #[cold]
    fn hedge(self: Pin<&mut Self>, free: bool, after_failure: bool) {
        let mut this = self.project();
        this.timer.set(None);
        // Another attempt may be seen by the peer yet.
        let running = this.primary.is_some() || this.hedges.as_ref().is_some_and(|hedges| !hedges.is_empty());
        let prior = this.call.earlier(running);
        let repeatable =
            this.spare.as_ref().is_some_and(|spare| this.protocol.resend.may_resend(&spare.request, prior));
        let grant = this.handle.grant(this.call, repeatable, free);
        // Without credit there will be no other hedge, and nothing to keep a copy for.
        let Some(Spare { service, mut request }) = this.spare.take() else { return };
        let Some(grant) = grant else { return };
        if prior != PriorAttempts::Running && !this.protocol.resend.take_over(&mut request) {
            return;
        }
        if !grant.last {
            let copy = this.protocol.resend.copy(&mut request);
            *this.spare = copy.map(|request| Spare { service: service.clone(), request });
        }
        this.protocol.resend.prepare(&mut request, this.call.attempt(), this.history);
        // After a failure it is a retry in all but name, and a retry further up should know. The one right above shares
        // the budget, which is enough.
        if after_failure
            && !this.handle.is_below_retry()
            && let Some(history) = this.history
        {
            history.retried();
        }
        let hedges = this.hedges.get_or_insert_with(|| Box::new(Hedges::new()));
        hedges.send(Spare { service, request }, grant);
    }
}

impl<S: Service<Req>, Req, P> ResponseFuture<S, Req, P> {
    /// The call is over, otherwise than by the success of its first attempt.
    #[cold]
    fn end(self: Pin<&mut Self>, end: End, by_primary: bool) {
        let this = self.as_ref().get_ref();
        let kept = this.hedges.as_ref().and_then(|hedges| hedges.primary.as_ref());
        let masked = kept.filter(|_| !by_primary).map(|(_, outcome)| *outcome);
        let mut this = self;
        let it = this.as_mut().project();
        it.handle.ended(it.call, end, masked);
        match end {
            End::Abandoned => this.finish(),
            End::WonByHedge | End::Failed(_) => supersede(|| this.finish()),
        }
    }

    /// Drops whatever is still running, at once: whoever called may hold on to this for long.
    fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.done = true;
        this.primary.set(None);
        this.timer.set(None);
        *this.spare = None;
        *this.hedges = None;
    }
}

#[pinned_drop]
impl<S: Service<Req>, Req, P> PinnedDrop for ResponseFuture<S, Req, P> {
    fn drop(self: Pin<&mut Self>) {
        if !self.done {
            self.end(End::Abandoned, false);
        }
    }
}

impl<S: Service<Req>, Req, P> fmt::Debug for ResponseFuture<S, Req, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("layer", self.handle.name())
            .field("call", &self.call)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
