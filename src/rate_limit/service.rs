//! The service: takes the tokens of a call, or hands the call to the future that waits for them.

use std::{
    fmt, mem,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    adaptive::Watched,
    cost::{CostSource, UnitCost},
    future::ResponseFuture,
    handle::{Entered, RateLimitHandle},
    layer::RateLimitLayer,
};
use crate::{
    call::{
        Classifier, Deadline, DeadlineSource, FromRejected, NoDeadline, NoPriority, PrioritySource,
        UntilResponse,
    },
    wait_queue::Arrival,
};

/// A service with a limited rate of calls. Made by [`RateLimitLayer`].
///
/// A call takes its tokens in `call`. `poll_ready` reserves none. If the inner service is not ready and there is no token,
/// the service is ready at once: the call is rejected, or waits for its tokens first and then for a clone of the inner
/// service. So a call that waits for tokens holds nothing of the inner service, and a call that is rejected does not wait
/// for it.
///
/// # Clone
///
/// Clones share the limit and its queue.
pub struct RateLimit<S, P = NoPriority, D = NoDeadline, K = UnitCost, C = UntilResponse> {
    pub(super) inner: Watched<S, C>,
    /// Whether the inner service has been found ready since the last call.
    pub(super) is_ready: bool,
    pub(super) layer: RateLimitLayer<P, D, K, C>,
}

impl<S, P, D, K, C> RateLimit<S, P, D, K, C> {
    /// The handle of the limit.
    pub fn handle(&self) -> RateLimitHandle {
        self.layer.handle()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner.inner
    }
}

impl<S, P, D, K, C, Req> Service<Req> for RateLimit<S, P, D, K, C>
where
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    P: PrioritySource<Req>,
    D: DeadlineSource<Req>,
    K: CostSource<Req>,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<Watched<S, C>, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let is_ready = self.inner.poll_ready(cx)?.is_ready();
        self.is_ready = is_ready;
        if !is_ready {
            if self.layer.costs.is_none() || self.layer.handle.shared.has_tokens() {
                return Poll::Pending;
            }
            self.leave_inner();
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let Some(costs) = &self.layer.costs else {
            self.is_ready = false;
            return ResponseFuture::calling(self.inner.call(request));
        };
        let shared = &self.layer.handle.shared;
        let cost = costs.cost(&request);
        if shared.try_take(cost) {
            if mem::take(&mut self.is_ready) {
                return ResponseFuture::calling(self.inner.call(request));
            }
            return ResponseFuture::readying(self.inner.clone(), request, shared.tokens(cost));
        }
        let arrival = Arrival {
            priority: self.layer.priorities.priority(&request),
            cost,
            deadline: self.layer.deadlines.deadline(&request).map(Deadline::instant),
            key: self.layer.priorities.queue_key(&request),
        };
        match shared.enter(arrival) {
            Ok(Entered::Passed(tokens)) if mem::take(&mut self.is_ready) => {
                tokens.spend();
                ResponseFuture::calling(self.inner.call(request))
            }
            Ok(Entered::Passed(tokens)) => ResponseFuture::readying(self.inner.clone(), request, tokens),
            Ok(Entered::Waits(waiter)) => {
                if let Some(deadline) = arrival.deadline {
                    // Without this, an inner layer that reads a time from a header would start that time again.
                    self.layer.deadlines.propagate(&mut request, Deadline::at(deadline));
                }
                if mem::take(&mut self.is_ready) {
                    self.leave_inner();
                }
                ResponseFuture::queued(self.inner.clone(), request, waiter)
            }
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}

impl<S: Clone, P, D, K, C: Clone> RateLimit<S, P, D, K, C> {
    /// Gives up the place that the inner service holds, or waits for: another call could use it meanwhile.
    fn leave_inner(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S: Clone, P: Clone, D: Clone, K: Clone, C: Clone> Clone for RateLimit<S, P, D, K, C> {
    fn clone(&self) -> Self {
        // The clone of a ready service is not ready.
        Self { inner: self.inner.clone(), is_ready: false, layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, P, D, K, C> fmt::Debug for RateLimit<S, P, D, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner.inner)
            .field("name", self.layer.handle.name())
            .finish_non_exhaustive()
    }
}
