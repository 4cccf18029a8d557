//! The future of a call: it picks an endpoint, waits for it if it must, and calls it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    asked::Asked,
    call_guard::CallGuard,
    core::Core,
    set::Endpoint,
    shared::{BalanceShared, EndpointKey},
    strategy::{Choice, Clock},
    vote::RECHECK,
};
use crate::{
    call::{CallHistory, Classifier, FromRejected, Outcome, RouteSource},
    rt::sync::Ordering,
};

/// The answer of an endpoint, or a rejection.
///
/// # Cancellation
///
/// Dropping the future drops the call at the endpoint. The endpoint's latency is then at least the time that the call
/// took. A future that is dropped before its first poll has picked no endpoint.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<K, S, C, R, Req>
where
    S: Service<Req>,
{
    classifier: C,
    route: R,
    #[pin]
    phase: Phase<K, S, S::Future, Req, S::Error>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<K, S, F, Req, E> {
    Picking {
        shared: Arc<BalanceShared<K, S>>,
        request: Option<Req>,
        asked: Option<Box<Asked<K, S, E>>>,
    },
    Calling {
        #[pin]
        inner: F,
        // After the inner call, so that a drop ends the call before the endpoint sees its end.
        guard: CallGuard,
    },
    Done,
}

/// The end of a pick.
enum Picked<F, E> {
    Called(F, CallGuard),
    Failed(E),
    Waits,
}

impl<K, S: Service<Req>, C, R, Req> ResponseFuture<K, S, C, R, Req> {
    pub(super) const fn new(shared: Arc<BalanceShared<K, S>>, classifier: C, route: R, request: Req) -> Self {
        Self { classifier, route, phase: Phase::Picking { shared, request: Some(request), asked: None } }
    }
}

impl<K, S, C, R, Req> Future for ResponseFuture<K, S, C, R, Req>
where
    K: EndpointKey,
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error>,
    R: RouteSource<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Picking => Picking | Calling | Done
        if let PhaseProj::Picking { shared, request, asked } = this.phase.as_mut().project() {
            match pick(shared, this.classifier, this.route, request, asked, cx) {
                Picked::Waits => return Poll::Pending,
                Picked::Failed(error) => {
                    this.phase.set(Phase::Done);
                    return Poll::Ready(Err(error));
                }
                Picked::Called(inner, guard) => this.phase.set(Phase::Calling { inner, guard }),
            }
        }
        // Calling => Calling | Done
        let PhaseProj::Calling { inner, guard } = this.phase.as_mut().project() else {
            unreachable!("a future is not polled after it has completed")
        };
        guard.inside();
        let polled = inner.poll(cx);
        if polled.is_pending() {
            guard.waiting();
        }
        let result = ready!(polled);
        let outcome = this.classifier.classify(result.as_ref());
        let PhaseOwned::Calling { guard, .. } = this.phase.project_replace(Phase::Done) else {
            unreachable!("the call has just ended")
        };
        if outcome == Outcome::Deferred {
            return Poll::Ready(defer(this.classifier, result, guard));
        }
        guard.finish(outcome);
        Poll::Ready(result)
    }
}

/// A call that has no endpoint yet.
struct Unsent<'a, R, Req> {
    core: &'a Core,
    route: &'a R,
    request: &'a mut Option<Req>,
    began: Option<Instant>,
}

impl<R: RouteSource<Req>, Req> Unsent<'_, R, Req> {
    fn request(&self) -> &Req {
        self.request.as_ref().expect("the request is taken when it is sent")
    }

    /// The history, if the call has tried an endpoint before.
    fn tried(&self) -> Option<&CallHistory> {
        self.route.history(self.request()).filter(|history| history.has_visits())
    }

    /// Sends the request; `None` if the endpoint was removed. The call had `of` endpoints to choose from.
    #[inline]
    fn send<K: EndpointKey, S: Service<Req>>(
        &mut self,
        endpoint: &Endpoint<K, S>,
        mut service: S,
        of: usize,
        is_second_choice: bool,
    ) -> Option<Picked<S::Future, S::Error>> {
        let guard = CallGuard::enter(&endpoint.load, self.began)?;
        if is_second_choice || self.tried().is_some() {
            self.core.failovers.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(history) = self.route.history(self.request()) {
            history.visit_one_of(&endpoint.key, of);
        }
        let request = self.request.take().expect("the request is taken when it is sent");
        Some(Picked::Called(service.call(request), guard))
    }
}

/// Calls the first endpoint that is ready.
fn pick<K, S, C, R, Req>(
    shared: &BalanceShared<K, S>,
    classifier: &C,
    route: &R,
    request: &mut Option<Req>,
    asked: &mut Option<Box<Asked<K, S, S::Error>>>,
    cx: &mut Context<'_>,
) -> Picked<S::Future, S::Error>
where
    K: EndpointKey,
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error>,
    R: RouteSource<Req>,
{
    let core = &*shared.core;
    let mut clock = Clock::new(core.epoch);
    let began = core.is_timed().then(|| clock.read());
    let mut call = Unsent { core, route, request, began };
    if let Some((endpoint, service)) = asked.as_mut().and_then(|asked| asked.poll(classifier, cx)) {
        let of = shared.set.load().endpoints.len();
        if let Some(called) = call.send(&endpoint, service, of, true) {
            return called;
        }
    }
    shared.advance(&clock);
    loop {
        let set = shared.set.load();
        let chosen = match asked {
            Some(asked) if !asked.has_room(set.config.max_tries) => None,
            _ => {
                let tried = call.tried();
                let mut choice = Choice::new(&core.random, route.affinity(call.request()), clock);
                let has_asked = |it: &Endpoint<K, S>| asked.as_ref().is_some_and(|asked| asked.has(it));
                let has_tried = |it: &Endpoint<K, S>| tried.is_some_and(|tried| tried.has_visited(&it.key));
                set.choose(&mut choice, has_asked, has_tried)
            }
        };
        let Some(endpoint) = chosen else {
            let Some(asked) = asked else {
                return Picked::Failed(S::Error::from_rejected(shared.reject(&set)));
            };
            // Before the look at the set, so that no change is missed.
            asked.register(core, cx);
            if !Arc::ptr_eq(&set, &shared.set.load()) {
                asked.renew();
                continue;
            }
            return match asked.take_error() {
                _ if asked.is_waiting() => Picked::Waits,
                Some(error) => Picked::Failed(error),
                None => Picked::Failed(S::Error::from_rejected(shared.reject(&set))),
            };
        };
        let mut service = endpoint.service.clone();
        match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                endpoint.load.is_ready_again();
                if let Some(called) = call.send(endpoint, service, set.endpoints.len(), asked.is_some()) {
                    return called;
                }
                // The endpoint was removed after this set was made, so there is a new one.
            }
            Poll::Pending => {
                endpoint.load.avoid_until(core.millis(clock.read()).after(RECHECK));
                Asked::in_place(asked, core).waits(endpoint, service);
            }
            Poll::Ready(Err(error)) => {
                CallGuard::refused(&endpoint.load, classifier.classify(Err(&error)));
                Asked::in_place(asked, core).failed(endpoint, error);
            }
        }
    }
}

/// Leaves the pending outcome with the response. If the classifier returns it, the call is a success.
#[cold]
fn defer<C: Classifier<T, E>, T, E>(
    classifier: &C,
    mut result: Result<T, E>,
    guard: CallGuard,
) -> Result<T, E> {
    let pending = guard.defer();
    let back = match &mut result {
        Ok(response) => classifier.defer(response, pending),
        Err(_) => Err(pending),
    };
    if let Err(pending) = back {
        pending.settle(Outcome::Success);
    }
    result
}

impl<K, S: Service<Req>, C, R, Req> fmt::Debug for ResponseFuture<K, S, C, R, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
