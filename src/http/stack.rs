//! A protocol and a stack for HTTP.

use super::{HttpClassifier, HttpResend, RequestExtensions};
use crate::{
    call::Protocol,
    stack::{ReliabilityStack, StackBuilder},
};

/// The protocol of HTTP: [`HttpClassifier`], [`HttpResend`] and [`RequestExtensions`].
///
/// It is for single layers. A [`stack`] has it already.
///
/// ```
/// use tower_reliability::{http, retry::RetryConfig};
///
/// let retry = RetryConfig::new().build()?.protocol(http::protocol());
/// # let _ = retry;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[must_use]
pub const fn protocol() -> Protocol<HttpClassifier, HttpResend, RequestExtensions> {
    Protocol { classifier: HttpClassifier::new(), resend: HttpResend::new(), deadlines: RequestExtensions }
}

/// A [`ReliabilityStack`] builder for HTTP clients, with the [`protocol`] of HTTP. Each part can be replaced.
///
/// [`client`](ReliabilityStack::client) makes a client of the stack that a struct can name:
///
/// ```
/// use std::time::Duration;
/// use hyper::Request;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower_reliability::{BoxError, http, retry::RetryConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let stack = http::stack()
///     .timeout(Duration::from_secs(10))
///     .retry(RetryConfig::new())
///     .attempt_timeout(Duration::from_secs(2))
///     .build()?;
/// let client = stack.client(Client::builder(TokioExecutor::new()).build_http());
/// let request = Request::get("http://127.0.0.1:9/").body(String::new())?;
/// let refused = client.send(request).await.unwrap_err();
/// println!("tried three times: {refused}");
/// # Ok(()) }
/// ```
///
/// The stack is a tower layer too. A stack with a retry or a hedge copies requests, so their bodies must be replayable:
/// put a [`ReplayLayer`](super::ReplayLayer) around the stack. reqwest's requests need none.
pub fn stack() -> StackBuilder<Protocol<HttpClassifier, HttpResend, RequestExtensions>> {
    ReliabilityStack::builder().protocol(protocol())
}
