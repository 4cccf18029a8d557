//! The service.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{future::ResponseFuture, handle::TimeoutHandle, state::allow};
use crate::{
    call::{Deadline, DeadlineSource, FromRejected, NoDeadline, Reason},
    rt::clock,
};

/// A service whose calls may take so long and no longer.
///
/// The time begins with `call`, not with the first poll of its future. What a caller waits in `poll_ready` is not
/// counted, as everywhere in tower.
///
/// # Clone
///
/// Clones share the limit and the counts.
#[derive(Clone, Debug)]
pub struct Timeout<S, L = NoDeadline> {
    inner: S,
    deadlines: L,
    handle: TimeoutHandle,
}

impl<S, L> Timeout<S, L> {
    pub(super) fn new(inner: S, deadlines: L, handle: TimeoutHandle) -> Self {
        Self { inner, deadlines, handle }
    }

    /// A hold on the limit and the counts.
    pub fn handle(&self) -> TimeoutHandle {
        self.handle.clone()
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, L, Req> Service<Req> for Timeout<S, L>
where
    S: Service<Req>,
    S::Error: FromRejected,
    L: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let limit = self.deadlines.timeout(&request).unwrap_or_else(|| self.handle.limit());
        let Some(allowance) = allow(limit, self.deadlines.deadline(&request), clock::now()) else {
            return ResponseFuture::rejected(self.handle.reject(Reason::DeadlineExceeded));
        };
        self.deadlines.propagate(&mut request, Deadline::at(allowance.until));
        ResponseFuture::running(self.inner.call(request), allowance, self.handle.clone())
    }
}
