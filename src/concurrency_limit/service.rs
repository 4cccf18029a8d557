//! The service: takes a permit, or hands the call to the future that waits for one.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    future::{ResponseFuture, Waiting},
    handle::{Acquired, ConcurrencyLimitHandle, ConcurrencyLimitShared},
    layer::ConcurrencyLimitLayer,
    permit::CallTimes,
};
use crate::{
    call::{
        Classifier, Deadline, DeadlineSource, FromRejected, NoDeadline, NoPriority, PrioritySource,
        UntilResponse,
    },
    wait_queue::Arrival,
};

/// A service with a limited number of calls in flight. Made by [`ConcurrencyLimitLayer`].
///
/// A call takes its permit, or joins the queue, in `call`. `poll_ready` reserves no permit. While a permit is free,
/// `poll_ready` waits for the inner service, as usual. While no permit is free, the service is ready at once: the call
/// waits for its permit first, and then for a clone of the inner service. So a call that waits holds nothing of the
/// inner service, and a call that is rejected does not wait for it.
///
/// # Clone
///
/// Clones share the limit and its queue.
pub struct ConcurrencyLimit<S, C = UntilResponse, P = NoPriority, D = NoDeadline> {
    pub(super) inner: S,
    /// Whether the inner service has been found ready since the last call.
    pub(super) is_ready: bool,
    /// Whether the inner service was pending when it was last asked. It may then get a place for the next call.
    pub(super) is_pending: bool,
    pub(super) layer: ConcurrencyLimitLayer<C, P, D>,
}

impl<S, C, P, D> ConcurrencyLimit<S, C, P, D> {
    /// The handle of the limit.
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        self.layer.handle()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, P, D, Req> Service<Req> for ConcurrencyLimit<S, C, P, D>
where
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error> + Clone,
    P: PrioritySource<Req>,
    D: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.layer.is_absent || self.layer.handle.shared.permits.has_free() {
            (self.is_ready, self.is_pending) = (false, true);
            ready!(self.inner.poll_ready(cx))?;
            (self.is_ready, self.is_pending) = (true, false);
        } else if mem::take(&mut self.is_pending) {
            // The call with the last permit may wait for the place that this service would get.
            self.inner = self.inner.clone();
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if self.layer.is_absent {
            return ResponseFuture::calling(self.inner.call(request), None, self.layer.classifier.clone());
        }
        self.layer.admit(&self.layer.handle.shared, &mut self.inner, &mut self.is_ready, request)
    }
}

impl<C, P, D> ConcurrencyLimitLayer<C, P, D> {
    /// Takes a permit of this limit for the call, or lets it wait for one.
    #[inline]
    pub(super) fn admit<S, Req>(
        &self,
        limit: &Arc<ConcurrencyLimitShared>,
        inner: &mut S,
        is_ready: &mut bool,
        mut request: Req,
    ) -> ResponseFuture<S, Req, C>
    where
        S: Service<Req> + Clone,
        C: Clone,
        P: PrioritySource<Req>,
        D: DeadlineSource<Req>,
    {
        let mut permit = if let Some(permit) = limit.try_acquire() {
            permit
        } else {
            let arrival = self.arrival(&request);
            match limit.acquire(arrival) {
                Ok(Acquired::Permit(permit)) => permit,
                Ok(Acquired::Waiting(waiter)) => {
                    if let Some(deadline) = arrival.deadline {
                        // Without this, an inner layer that reads a time from a header would start that time again.
                        self.deadlines.propagate(&mut request, Deadline::at(deadline));
                    }
                    if mem::take(is_ready) {
                        // A ready service may hold a place that another call could use meanwhile.
                        *inner = inner.clone();
                    }
                    let is_measuring = limit.permits.is_measuring();
                    return ResponseFuture::queued(self.waiting(inner, request, is_measuring), waiter);
                }
                Err(rejected) => return ResponseFuture::rejected(rejected),
            }
        };
        if mem::take(is_ready) {
            if permit.is_chosen() {
                permit.begin(CallTimes::of(&self.deadlines, &request));
            }
            let classifier = self.classifier.clone();
            return ResponseFuture::calling(inner.call(request), Some(permit), classifier);
        }
        ResponseFuture::readying(self.waiting(inner, request, permit.is_chosen()), permit)
    }

    fn waiting<S, Req>(&self, inner: &S, request: Req, is_measured: bool) -> Waiting<S, Req, C>
    where
        S: Clone,
        C: Clone,
        D: DeadlineSource<Req>,
    {
        let times = if is_measured { CallTimes::of(&self.deadlines, &request) } else { CallTimes::default() };
        Waiting { service: inner.clone(), request, times, classifier: self.classifier.clone() }
    }

    fn arrival<Req>(&self, request: &Req) -> Arrival
    where
        P: PrioritySource<Req>,
        D: DeadlineSource<Req>,
    {
        Arrival {
            priority: self.priorities.priority(request),
            cost: 1,
            deadline: self.deadlines.deadline(request).map(Deadline::instant),
            key: self.priorities.queue_key(request),
        }
    }
}

impl<S: Clone, C: Clone, P: Clone, D: Clone> Clone for ConcurrencyLimit<S, C, P, D> {
    fn clone(&self) -> Self {
        // The clone of a ready service is not ready.
        Self { inner: self.inner.clone(), is_ready: false, is_pending: false, layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, C, P, D> fmt::Debug for ConcurrencyLimit<S, C, P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .field("name", self.layer.handle.name())
            .finish_non_exhaustive()
    }
}
