//! A protocol and a stack for HTTP.

use std::time::Duration;

use super::{HttpClassifier, HttpResend, PerAuthority, RequestExtensions};
use crate::{
    call::Protocol,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig},
    retry::RetryConfig,
    stack::{ConfigSlots, ReliabilityStack, Slots, StackBuilder, StackConfig, Unused, WrappedErrors},
    timeout::TimeoutConfig,
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

/// A [`stack`] with every stage that a client of several hosts needs, and with numbers that suit most of them.
///
/// Circuits, retry budgets and concurrency limits are kept per host and port, so that one dead host does not stop the
/// calls to the others.
/// Any setter changes a number or adds a stage, and the default limits yield to a limit that you set. **Repeat
/// `per_authority()`** with your numbers of a retry, a hedge or a breaker: a breaker without it has one circuit for all
/// hosts, and `build()` refuses a retry or a hedge without it.
///
/// A timeout ends when the head of the response has come. Put a [`BodyDeadlineLayer`](super::BodyDeadlineLayer) around
/// the stack, or a `tokio::time::timeout` around the reading of the body.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower_reliability::http;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_reliability::ConfigError> {
/// let hyper = Client::builder(TokioExecutor::new()).build_http();
/// let client = http::standard().build()?.client(hyper);
/// # let _: http::HttpClient = client;
/// # Ok(()) }
/// ```
///
/// # Numbers
///
/// The right column has those of .NET's `AddStandardResilienceHandler`.
///
/// | stage | here | .NET | reason for the difference |
/// |---|---|---|---|
/// | rate limiter | none | 1 000 calls at a time | a bound that the user did not choose fails in a burst |
/// | calls in flight | an [adaptive](AdaptiveLimitConfig) limit per host, from 10 000 down to 1 000 | none | calls to a host that became slow do not pile up; with fewer than 5 000 calls in flight it never acts |
/// | total timeout | 30 s | 30 s | |
/// | retry | 3 attempts | 3 retries | outer layers retry too; three hops with four attempts each make 64 calls |
/// | which requests | idempotent, or unprocessed | all | a POST that timed out must not be processed twice |
/// | budget | 0.2 retries per request | none | without it, an outage multiplies the load |
/// | delay | up to 50 ms, doubling | 2 s, doubling | callers wait less, and the budget protects the backend |
/// | breaker opens | at 50 % of 20 to 100 calls | at 10 % of 100 or more calls in 30 s | retries handle partial failures; a breaker is for a dead backend |
/// | breaker stays open | a sixth of the outage, 0.7 s to 15 s | 5 s | in proportion to the outage |
/// | circuits | one per host and port | one per client | one dead host does not stop the others |
/// | attempt timeout | 10 s | 10 s | |
pub fn standard() -> Standard<Protocol<HttpClassifier, HttpResend, RequestExtensions>> {
    standard_of(stack())
}

/// A [`stack`] with the numbers of a file. Each stage is optional.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use tower_reliability::stack::StackConfig;
///
/// let config: StackConfig = toml::from_str("timeout = '10s'\n[retry]\nmax_attempts = 3")?;
/// let stack = tower_reliability::http::stack_from(config).build()?;
/// # let _ = stack;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stack_from(
    config: StackConfig,
) -> StackBuilder<Protocol<HttpClassifier, HttpResend, RequestExtensions>, WrappedErrors, ConfigSlots> {
    config.builder().protocol(protocol())
}

/// The builder of [`standard`], over the protocol `P`.
pub type Standard<P> = StackBuilder<
    P,
    WrappedErrors,
    Slots<
        Unused,
        TimeoutConfig,
        Unused,
        PerAuthority<ConcurrencyLimitConfig>,
        PerAuthority<RetryConfig>,
        Unused,
        Unused,
        PerAuthority<CircuitBreakerConfig>,
        TimeoutConfig,
    >,
>;

/// Adds the standard stages to a builder without stages.
pub(crate) fn standard_of<C: Clone, R: Clone, D: Clone>(
    builder: StackBuilder<Protocol<C, R, D>>,
) -> Standard<Protocol<C, R, D>> {
    builder
        .timeout(TimeoutConfig::new(Duration::from_secs(30)).yielding())
        .concurrency_limit(PILE_UP.per_authority())
        .retry(RetryConfig::new().max_attempts(3).per_authority())
        .circuit_breaker(CircuitBreakerConfig::new().per_authority())
        .attempt_timeout(TimeoutConfig::new(Duration::from_secs(10)).yielding())
}

/// It does not change while fewer than half of its calls are in flight, so most clients never meet it.
const PILE_UP: ConcurrencyLimitConfig =
    ConcurrencyLimitConfig::new(10_000).adaptive(AdaptiveLimitConfig::new().floor(1_000).ceiling(1_000_000));
