//! The layer and its service.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{body::DeadlineBody, future::ResponseFuture};

/// Holds response bodies to the [`Deadline`](crate::Deadline) in their request's extensions.
///
/// The position decides which deadline that is. Outside a stack it is the caller's. Inside a timeout it is the earlier
/// of the caller's and the timeout's. Inside an attempt timeout it is the attempt's, unless the attempt uploads a body.
///
/// ```
/// # use std::{convert::Infallible, time::Duration};
/// # use ::http::{Request, Response};
/// # use tower::service_fn;
/// use tower::ServiceBuilder;
/// use tower_reliability::http::{BodyDeadlineLayer, stack};
///
/// # let client = service_fn(|_: Request<()>| async {
/// #     Ok::<_, Infallible>(Response::new(String::new()))
/// # });
/// let stack = stack().timeout(Duration::from_secs(10)).build()?;
/// let client = ServiceBuilder::new()
///     .layer(stack)
///     .layer(BodyDeadlineLayer)
///     .service(client);
/// # let _ = tower::ServiceExt::<Request<()>>::oneshot(client, Request::new(()));
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Panics
///
/// The layer does not panic. A [`DeadlineBody`] that waits needs a tokio runtime with time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyDeadlineLayer;

impl<S> Layer<S> for BodyDeadlineLayer {
    type Service = BodyDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyDeadline { inner }
    }
}

/// A service whose response bodies have a deadline. Made by [`BodyDeadlineLayer`].
#[derive(Clone, Copy, Debug)]
pub struct BodyDeadline<S> {
    inner: S,
}

impl<S> BodyDeadline<S> {
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for BodyDeadline<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<DeadlineBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let deadline = request.extensions().get().copied();
        ResponseFuture { inner: self.inner.call(request), deadline }
    }
}
