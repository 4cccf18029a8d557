//! How an HTTP response says that it comes from a fallback.

use ::http::Response;

use crate::fallback::Cause;

/// Found in the extensions of a response that comes from a fallback, where that [marks](mark_fallback) its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FellBack {
    /// Why it did.
    pub cause: Cause,
}

/// Marks the answers of a fallback by [`FellBack`] in their extensions; for
/// [`FallbackLayer::mark`](crate::fallback::FallbackLayer::mark).
///
/// ```
/// use bytes::Bytes;
/// use ::http::{Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{BoxError, Error, ErrorClass, fallback::FallbackConfig, http::*};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let fallback = FallbackConfig::new()
///     .on(ErrorClass::Server)
///     .build()?
///     .classify(HttpClassifier::new())
///     .value(Response::new(Full::new(Bytes::from("come back later"))))
///     .mark(mark_fallback);
/// let mut service = ServiceBuilder::new().layer(fallback).map_err(Error::inner).service(service_fn(|_: ()| async {
///     let mut response = Response::new(Full::new(Bytes::new()));
///     *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
///     Ok::<_, std::io::Error>(response)
/// }));
/// let response = service.ready().await?.call(()).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert!(response.extensions().get::<FellBack>().is_some());
/// # Ok(()) }
/// ```
pub fn mark_fallback<B>(response: &mut Response<B>, cause: Cause) {
    response.extensions_mut().insert(FellBack { cause });
}
