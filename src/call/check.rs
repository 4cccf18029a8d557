//! A bound that makes the compiler name what a service lacks.

use tower_service::Service;

/// Returns the service, if it takes requests of the type `Req`. If it does not, the compiler says what is missing.
///
/// A method call such as `client.oneshot(request)` says only that "the method `oneshot` exists, but its trait bounds were
/// not satisfied". Pass the service through this function, and the compiler names the bound and its remedy:
///
/// ```compile_fail,E0277
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{check_service, timeout::TimeoutConfig};
///
/// let client = ServiceBuilder::new()
///     .layer(TimeoutConfig::new(Duration::from_secs(1)).build()?)
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// // error: the error `std::io::Error` cannot carry a rejection:
/// //        add `.map_err(Error::inner)` inside this layer
/// let client = check_service::<u32, _>(client);
/// let answer = client.oneshot(1);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// The function may stay in the code. It does nothing at run time.
pub const fn check_service<Req, S: Service<Req>>(service: S) -> S {
    service
}
