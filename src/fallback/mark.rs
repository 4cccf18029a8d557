//! How a response says that it comes from a fallback.

use super::cause::Cause;

/// Marks a response that comes from a fallback, so that those above know.
///
/// A closure will do; for HTTP responses take `http::mark_fallback`.
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{BoxError, BoxErrorClassifier, ErrorClass, fallback::{Cause, FallbackConfig}};
///
/// #[derive(Clone)]
/// struct Price { cents: u32, is_estimate: bool }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let layer = FallbackConfig::new().on(ErrorClass::Unknown).build()?
///     .classify(BoxErrorClassifier)
///     .value(Price { cents: 250, is_estimate: false })
///     .mark(|price: &mut Price, _: Cause| price.is_estimate = true);
/// let mut prices = ServiceBuilder::new()
///     .layer(layer)
///     .service(service_fn(|_: &str| async { Err::<Price, BoxError>("no idea".into()) }));
/// let price = prices.ready().await?.call("tea").await?;
/// assert!(price.cents == 250 && price.is_estimate);
/// # Ok(()) }
/// ```
pub trait Mark<Res> {
    /// Marks this response.
    fn mark(&self, response: &mut Res, cause: Cause);
}

impl<Res, F: Fn(&mut Res, Cause)> Mark<Res> for F {
    fn mark(&self, response: &mut Res, cause: Cause) {
        self(response, cause);
    }
}

/// Marks no response. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmarked;

impl<Res> Mark<Res> for Unmarked {
    fn mark(&self, _: &mut Res, _: Cause) {}
}
