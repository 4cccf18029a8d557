//! The service.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{future::ResponseFuture, handle::TimeoutHandle, state::Allowance};
use crate::{
    call::{Deadline, DeadlineSource, FromRejected, NoDeadline, Reason},
    rt::descent,
};

/// A service whose calls are limited in time. Made by [`TimeoutLayer`](super::TimeoutLayer).
///
/// The time begins with `call`, not with the first poll of its future. It does not include `poll_ready`, as in all
/// of tower.
///
/// # Clone
///
/// Clones share the limit and the counts.
#[derive(Clone, Debug)]
pub struct Timeout<S, L = NoDeadline> {
    inner: S,
    deadlines: L,
    after_upload: bool,
    is_absent: bool,
    handle: TimeoutHandle,
}

impl<S, L> Timeout<S, L> {
    pub(super) fn new(
        inner: S,
        deadlines: L,
        after_upload: bool,
        is_absent: bool,
        handle: TimeoutHandle,
    ) -> Self {
        Self { inner, deadlines, after_upload, is_absent, handle }
    }

    /// A handle of the limit and the counts.
    pub fn handle(&self) -> TimeoutHandle {
        self.handle.clone()
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
        if self.is_absent {
            return ResponseFuture::absent(self.inner.call(request));
        }
        let limit = self.deadlines.timeout(&request).unwrap_or_else(|| self.handle.limit());
        let deadline = self.deadlines.deadline(&request);
        let Some(allowance) = Allowance::new(limit, deadline, descent::now()) else {
            return ResponseFuture::rejected(self.handle.reject(Reason::DeadlineExceeded));
        };
        let upload = if self.after_upload { self.deadlines.upload(&request) } else { None };
        // The end of a limit that waits for an upload is not known yet, so only the deadline is handed on.
        let inner_deadline = if upload.is_none() { Some(Deadline::at(allowance.until())) } else { deadline };
        if let Some(inner_deadline) = inner_deadline {
            self.deadlines.propagate(&mut request, inner_deadline);
        }
        ResponseFuture::running(self.inner.call(request), allowance, upload, self.handle.clone())
    }
}
