//! HTTP: outcomes of responses, further attempts, deadlines, uploads, and answers to rejected calls.
//!
//! | type | use |
//! |---|---|
//! | [`standard`] | a stack for HTTP clients, with numbers that suit most of them |
//! | [`stack`], [`protocol`] | a stack, or single layers, for HTTP clients |
//! | [`server`](server()), [`server_from`] | a stack for HTTP servers |
//! | [`ByAuthority`], [`Authority`] | circuits and retry budgets per host and port |
//! | [`HttpClient`], `ReqwestClient` | clients that a struct can name |
//! | [`HttpClassifier`] | the outcome of a response or an error |
//! | [`HttpResend`], [`ReplayLayer`] | which requests may be sent again, and their bodies |
//! | [`ReconnectLayer`] | requests that meet a closed keep-alive connection |
//! | [`RequestExtensions`], [`TimeoutHeader`], [`BodyDeadlineLayer`] | deadlines of requests and of response bodies |
//! | [`PriorityHeader`] | priorities of requests |
//! | [`ReportQuotasLayer`], [`RateLimitFields`] | quotas, told to clients; [`HttpClassifier`] reads them |
//! | [`BodyReadTimeoutLayer`] | clients that stall their upload |
//! | [`UntilBodyEnd`], [`BodyOutcomeLayer`] | permits and drains that wait for the end of the response body |
//! | [`ByHeader`], [`ByExtension`] | rate limits per client |
//! | [`RejectionLayer`] | answers to rejected calls |
//! | [`ReportAttemptsLayer`] | a header for callers that retry too |
//! | [`HttpProbe`] | [health checks](crate::health_check) of servers |
//!
//! A `use tower_reliability::http` hides the crate `http` in its scope: write `::http::Request`, or import the types from
//! hyper or axum.
//!
//! # Clients
//!
//! The client is hyper's, or any other service of HTTP requests. With the feature `reqwest`, `stack.reqwest(client)`
//! does the same for reqwest.
//!
//! ```
//! use std::time::Duration;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_reliability::{
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{self, HttpClient},
//!     retry::RetryConfig,
//! };
//!
//! let stack = http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let hyper = Client::builder(TokioExecutor::new()).build_http();
//! let client: HttpClient = stack.client(hyper);
//! # let _ = client;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! [`standard`] adds all these stages with numbers of its own, and keeps circuits and retry budgets per host and port.
//!
//! Retries and hedges ask [`HttpResend`] whether a request may be sent again. The client gives
//! requests a body that can be sent more than once; around a stack that is used as a layer, [`ReplayLayer`] does. The
//! header `x-retry-attempt` tells the backend that a request is a retry. [`ReportAttemptsLayer`] puts it into responses
//! too, so that outer callers do not retry again.
//!
//! # Servers
//!
//! [`server`](server()) builds one layer with all stages of a server, which fits into a `Router`:
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_reliability::{drain::DrainConfig, http};
//!
//! let server = http::server()
//!     .drain(DrainConfig::new())
//!     .timeout(Duration::from_secs(2))
//!     .build()?;
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(server);
//! # let _ = app;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! [`report_quotas`](crate::stack::server::ServerStack::report_quotas) of the built layer tells each client what is left
//! of its rate limit. Around single layers, or a [`stack`], [`RejectionLayer`] turns rejections into answers.
//!
//! # Disclosure
//!
//! A remote client sees the status, `Retry-After`, and a fixed sentence per status. It sees no name, address or count,
//! unless [`RejectionLayer::detailed`] is set, and no numbers of a limit, unless [`ReportQuotasLayer`] tells them. Errors
//! that are no rejection pass the layer unchanged; the server decides about their text.
//!
//! # Runtime
//!
//! Classifier, resend, replay, reconnect and the answers need no runtime and no timer. The two body timeouts need a tokio
//! runtime with time enabled as soon as a body waits.

pub mod attempts;
pub mod authority;
mod balance;
pub mod body_deadline;
pub mod body_outcome;
pub mod body_read_timeout;
mod classify;
pub mod client;
mod client_key;
pub(crate) mod errors;
mod extensions;
pub(crate) mod pending_outcomes;
mod priority;
mod probe;
pub mod quotas;
pub mod reconnect;
pub mod rejection;
pub mod replay;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest_client;
pub(crate) mod resend;
mod retry_after;
pub(crate) mod retry_attempt;
mod server;
pub(crate) mod stack;
mod timeout_header;

pub use attempts::{ReportAttempts, ReportAttemptsLayer};
pub use authority::{Authority, ByAuthority, InvalidAuthority, PerAuthority};
pub use balance::balance;
pub use body_deadline::{BodyDeadline, BodyDeadlineLayer, DeadlineBody};
pub use body_outcome::{BodyOutcome, BodyOutcomeLayer, OutcomeBody, UntilBodyEnd};
pub use body_read_timeout::{BodyReadTimeout, BodyReadTimeoutLayer, ReadTimeoutBody};
pub use classify::HttpClassifier;
pub use client::{BoxBody, HttpClient};
pub use client_key::{ByExtension, ByHeader, ClientKey};
pub use extensions::{Attempt, Idempotent, RequestExtensions, RequestTimeout};
pub use priority::PriorityHeader;
pub use probe::HttpProbe;
pub use quotas::{QuotaEdge, QuotaPolicy, QuotaState, RateLimitFields, ReportQuotas, ReportQuotasLayer};
pub use reconnect::{Reconnect, ReconnectLayer, TrackedConnector};
pub use rejection::{Answers, DetailedProblem, DetailedRejectionLayer, Problem, Rejection, RejectionLayer};
pub use replay::{CannotReplay, Replay, ReplayBody, ReplayLayer};
#[cfg(feature = "reqwest")]
pub use reqwest_client::{ReqwestClient, ReqwestRequest};
pub use resend::HttpResend;
pub use server::{ServerEdge, ServerProtocol, server, server_from};
pub use stack::{Standard, protocol, stack, stack_from, standard};
pub use timeout_header::TimeoutHeader;
