//! The future of a call whose response tells the quotas of a limit.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project::pin_project;

use super::layer::write;
use crate::rate_limit::QuotaSource;

/// The inner service's response, with the fields of the quotas.
///
/// # Cancellation
///
/// Dropping it drops the inner call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, L: QuotaSource<Req>, Req> {
    #[pin]
    pub(super) inner: F,
    pub(super) limit: Arc<L>,
    pub(super) key: L::Key,
}

impl<F, L, Req, B, E> Future for ResponseFuture<F, L, Req>
where
    F: Future<Output = Result<Response<B>, E>>,
    L: QuotaSource<Req>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        // Read now, and not when the limit let the call pass: the client may have sent others since.
        if let Ok(response) = &mut result
            && let Some(quotas) = this.limit.quotas(this.key)
        {
            write(&quotas, response.headers_mut());
        }
        Poll::Ready(result)
    }
}

impl<F: fmt::Debug, L: QuotaSource<Req>, Req> fmt::Debug for ResponseFuture<F, L, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("inner", &self.inner).finish_non_exhaustive()
    }
}
