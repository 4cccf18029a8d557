//! A service behind a pointer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Service, ServiceExt};

/// A service of any type. A call allocates its future, and a clone is a pointer.
///
/// A clone of tower's `BoxCloneSyncService` allocates a second service, and every call needs a clone.
pub(crate) struct SharedService<Req, Res, E>(Arc<dyn Fn(Req) -> Call<Res, E> + Send + Sync>);

/// The call of a [`SharedService`].
pub(crate) type Call<Res, E> = Pin<Box<dyn Future<Output = Result<Res, E>> + Send>>;

impl<Req: Send + 'static, Res, E> SharedService<Req, Res, E> {
    /// Each call is made on a clone of `service`.
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Req, Response = Res, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    {
        Self(Arc::new(move |request| Box::pin(service.clone().oneshot(request))))
    }

    pub(crate) fn call(&self, request: Req) -> Call<Res, E> {
        (self.0)(request)
    }
}

impl<Req, Res, E> Clone for SharedService<Req, Res, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req, Res, E> Service<Req> for SharedService<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = Call<Res, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        (self.0)(request)
    }
}

impl<Req, Res, E> fmt::Debug for SharedService<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedService")
    }
}
