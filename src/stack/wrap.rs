//! The bottom of a stack: the service's own error becomes an [`Error`].

use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use super::future::WrapFuture;
use crate::call::Error;

/// Puts a [`Wrap`] around a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct WrapLayer;

impl<S> Layer<S> for WrapLayer {
    type Service = Wrap<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Wrap { inner }
    }
}

/// A service whose errors are wrapped, so that the layers above can add their rejections.
#[derive(Clone, Copy, Debug)]
pub struct Wrap<S> {
    inner: S,
}

impl<S> Wrap<S> {
    /// The service below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Service<Req>, Req> Service<Req> for Wrap<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = WrapFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(ready!(self.inner.poll_ready(cx)).map_err(Error::Inner))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        WrapFuture { inner: self.inner.call(request) }
    }
}
