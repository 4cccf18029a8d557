//! A balancer for HTTP.

use super::{HttpClassifier, RequestExtensions};
use crate::{
    balance::{BalanceBuilder, BalanceConfig},
    call::ConfigError,
};

/// A builder of [balancers](crate::balance) that knows HTTP: the outcomes of answers and errors, and the endpoints that a
/// retry or a hedge has tried.
///
/// The service of an endpoint sends a request to its address, whatever the URI of the request says:
///
/// ```
/// use hyper::{Request, Uri};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     BoxError, Error,
///     balance::BalanceConfig,
///     http::{self, HttpClient},
///     retry::RetryConfig,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let hyper = Client::builder(TokioExecutor::new()).build_http();
/// let balance = http::balance(BalanceConfig::new())?.endpoints(
///     ["10.0.0.1:80", "10.0.0.2:80"],
///     |address| {
///         let address = *address;
///         ServiceBuilder::new()
///             .map_request(move |mut request: Request<_>| {
///                 let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
///                 let uri = format!("http://{address}{path}").parse::<Uri>();
///                 *request.uri_mut() = uri.expect("an address and a path are a URI");
///                 request
///             })
///             .map_err(Error::inner)
///             .service(hyper.clone())
///     },
/// );
/// let stack = http::stack().flat_errors().retry(RetryConfig::new()).build()?;
/// let client = stack.client(balance);
/// # let _: HttpClient<_, _> = client;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Names the first field that breaks its rule.
pub fn balance(
    config: BalanceConfig,
) -> Result<BalanceBuilder<HttpClassifier, RequestExtensions>, ConfigError> {
    Ok(config.build()?.classify(HttpClassifier::new()).route(RequestExtensions))
}
