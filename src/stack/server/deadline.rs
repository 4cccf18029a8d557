//! The layer that reads the deadline of each request once, and rejects the requests that come too late.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    call::{DeadlineSource, FromRejected, Reason, Rejected},
    rt::{
        descent,
        sync::{AtomicU64, Ordering},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Puts a [`DeadlineGate`] around a service. A part of each [`ServerStack`](super::ServerStack).
///
/// # Clone
///
/// All services made by this layer and by its clones share one count.
#[derive(Clone, Debug)]
pub struct DeadlineGateLayer<D> {
    deadlines: D,
    emitter: Emitter,
    /// Relaxed: a number of its own.
    expired: Arc<AtomicU64>,
}

impl<D> DeadlineGateLayer<D> {
    pub(super) fn new(deadlines: D, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        let emitter = Emitter::new("deadline").joined(name, listeners);
        Self { deadlines, emitter, expired: Arc::default() }
    }

    /// The number of requests that were rejected because their deadline had passed.
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    // Cold: few callers send a request that they no longer wait for.
    #[cold]
    fn reject(&self) -> Rejected {
        self.expired.fetch_add(1, Ordering::Relaxed);
        let reason = Reason::DeadlineExceeded;
        self.emitter.emit(EventKind::TimedOut { reason });
        Rejected::new(self.emitter.name().clone(), reason)
    }
}

impl<S, D: Clone> Layer<S> for DeadlineGateLayer<D> {
    type Service = DeadlineGate<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineGate { inner, layer: self.clone() }
    }
}

/// A service that rejects the requests whose deadline has passed.
///
/// The time that a header names starts when this service reads it. The service leaves the deadline in the request, so
/// that a wait in an inner queue counts.
///
/// # Clone
///
/// Clones share the count.
#[derive(Clone, Debug)]
pub struct DeadlineGate<S, D> {
    inner: S,
    layer: DeadlineGateLayer<D>,
}

impl<S, D> DeadlineGate<S, D> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, D, Req> Service<Req> for DeadlineGate<S, D>
where
    S: Service<Req>,
    S::Error: FromRejected,
    D: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DeadlineGateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let deadlines = &self.layer.deadlines;
        if let Some(deadline) = deadlines.deadline(&request) {
            if deadline.instant() <= descent::now() {
                return DeadlineGateFuture { phase: Phase::Rejected(Some(self.layer.reject())) };
            }
            deadlines.propagate(&mut request, deadline);
        }
        DeadlineGateFuture { phase: Phase::Calling(self.inner.call(request)) }
    }
}

/// The response of the inner service, or a rejection.
///
/// # Cancellation
///
/// Dropping it drops the inner call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct DeadlineGateFuture<F> {
    #[pin]
    phase: Phase<F>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<F> {
    Calling(#[pin] F),
    /// `None` once the rejection was handed out.
    Rejected(Option<Rejected>),
}

impl<F, R, E> Future for DeadlineGateFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: FromRejected,
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().phase.project() {
            PhaseProj::Calling(inner) => inner.poll(cx),
            PhaseProj::Rejected(rejected) => {
                let rejected = rejected.take().expect("a future is not polled after it has completed");
                Poll::Ready(Err(E::from_rejected(rejected)))
            }
        }
    }
}
