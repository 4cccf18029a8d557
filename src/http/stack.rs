//! A stack that knows HTTP.

use super::{HttpClassifier, HttpResend, RequestExtensions};
use crate::{
    call::Protocol,
    stack::{ReliabilityStack, StackBuilder},
};

/// A [`ReliabilityStack`] builder for HTTP clients: [`HttpClassifier`], [`HttpResend`] and [`RequestExtensions`], each of
/// which can be replaced.
///
/// A stack with a retry or a hedge wants requests whose bodies can be sent again: put a
/// [`ReplayLayer`](super::ReplayLayer) outside it. reqwest's requests need none.
///
/// ```
/// use std::time::Duration;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use tower::{Service, ServiceBuilder, ServiceExt};
/// use tower_reliability::{http::{self, ReplayLayer}, retry::RetryConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = http::stack()
///     .timeout(Duration::from_secs(10))
///     .retry(RetryConfig::new())
///     .attempt_timeout(Duration::from_secs(2))
///     .build()?;
/// let client = Client::builder(TokioExecutor::new()).build_http();
/// let client = ServiceBuilder::new().layer(ReplayLayer::new()).layer(stack).service(client);
/// let request = ::http::Request::get("http://127.0.0.1:9/").body(Full::new(Bytes::new()))?;
/// let refused = client.oneshot(request).await.unwrap_err();
/// println!("tried three times: {refused}");
/// # Ok(()) }
/// ```
pub fn stack() -> StackBuilder<Protocol<HttpClassifier, HttpResend, RequestExtensions>> {
    ReliabilityStack::builder()
        .classify(HttpClassifier::new())
        .deadlines(RequestExtensions)
        .resend(HttpResend::new())
}
