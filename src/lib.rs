//! [tower] layers that keep networked clients and servers reliable: circuit breaker, retries under a budget, hedging,
//! timeouts with deadlines, fallbacks, and limits of rate and concurrency by priority. Each layer works alone.
//! [`ReliabilityStack`] combines them in the order in which they work together, and checks their numbers against each
//! other. A call returns the answer of the service or a typed [rejection](Rejected). The rejection holds the layer, the
//! reason and the time of the next try.
//!
//! ```text
//! caller ─► fallback ─► timeout ─► rate_limit ─► concurrency_limit ─┐     one call
//!           ┌───────────────────────────────────────────────────────┘
//!           └─► retry ─► hedge ─┐
//!           ┌───────────────────┘
//!           └─► pacing ─► circuit_breaker ─► attempt_timeout ─► service   each attempt
//! ```
//!
//! # Which layer do I need?
//!
//! | problem | layer |
//! |---|---|
//! | a backend is down, and each call waits for it | [`circuit_breaker`] |
//! | one host, route or tenant of many is down | [`circuit_breaker::keyed`] |
//! | an endpoint is down, and no call should find that out | [`health_check`] |
//! | single requests fail, and would succeed a moment later | [`retry`] |
//! | retries overload a backend that recovers | [`retry_budget`], part of every retry and hedge |
//! | a few calls are much slower than the others | [`hedge`] |
//! | a call hangs, or the caller has a deadline | [`timeout`] |
//! | another answer is better than an error | [`fallback`] |
//! | too many calls are in flight at once, and some are more important | [`concurrency_limit`] |
//! | the capacity of a backend is unknown, or changes | [`concurrency_limit`, adaptive](concurrency_limit#an-adaptive-limit) |
//! | callers send more requests per second than a service or a quota allows | [`rate_limit`] |
//! | the quota of a provider is unknown, or changes | [`rate_limit::adaptive`] |
//! | a service has several endpoints, and some are slow or down | [`balance`] |
//! | one client of many sends more than its share | [`rate_limit::keyed`] |
//! | several instances have to keep one limit together | [`rate_limit::leased`] |
//! | the addresses of a backend change in DNS | [`dns`] |
//! | a server stops, and must finish its calls first | [`drain`] |
//! | a handler panics, and the server must go on | [`panic_guard`] |
//! | several of these, in a client | [`stack`] |
//! | several of these, in a server | [`stack::server`] |
//! | a request body must be sent twice | [`http::ReplayLayer`] |
//! | a reused keep-alive connection was closed by the server | [`http::ReconnectLayer`] |
//! | a server must answer rejected requests | [`http::RejectionLayer`], [`grpc::GrpcRejectionLayer`] |
//! | a permit or a drain must wait for the end of the response body | [`http::BodyOutcomeLayer`] |
//! | a client stalls its upload | [`http::BodyReadTimeoutLayer`] |
//! | a backend stalls the body of its response | [`http::BodyDeadlineLayer`] |
//! | several hops retry the same request | [`http::ReportAttemptsLayer`] |
//! | a gRPC stream fails in its trailers | [`grpc::StreamOutcomeLayer`] |
//!
//! The [`guide`] helps to choose layers, order and numbers, and to move from other libraries.
//!
//! # A first client
//!
//! Over HTTP, start with [`http::stack`] and the feature `http`, or with `http::standard()`, which has every stage and
//! keeps circuits and budgets per host. A struct can name the client, and a call takes `&self`.
//!
//! ```
//! use std::time::Duration;
//!
//! use hyper::Request;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_reliability::{
//!     Error,
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::HttpClient,
//!     retry::RetryConfig,
//! };
//!
//! #[derive(Clone)]
//! struct Prices {
//!     http: HttpClient,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = tower_reliability::http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new().max_attempts(3))
//!     .circuit_breaker(CircuitBreakerConfig::new().failure_rate(0.5))
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let hyper = Client::builder(TokioExecutor::new()).build_http();
//! let prices = Prices { http: stack.client(hyper) };
//!
//! let request = Request::get("http://127.0.0.1:8080/").body(String::new())?;
//! match prices.http.send(request).await {
//!     Ok(response) => println!("{}", response.status()),
//!     // `rejected.retry_after()` is the wait before the next try.
//!     Err(Error::Rejected(rejected)) => println!("rejected by {rejected}"),
//!     Err(error) => println!("{}", error.report()),
//! }
//! # Ok(()) }
//! ```
//!
//! The same over reqwest is `stack.reqwest(client)`, over a channel of tonic `stack.channel(channel)`, and over any
//! other service [`stack.service(inner)`](ReliabilityStack::service). The stack is also a tower layer, for layers of your
//! own around it.
//!
//! Over gRPC, start with [`grpc::stack`]. For requests of any other type, start with
//! [`ReliabilityStack::builder`](stack::ReliabilityStack::builder) and name a [`Classifier`]: without it, every `Ok` is
//! a success. For a single layer, `build()` its config, as in `CircuitBreakerConfig::new().build()?`.
//!
//! # Errors
//!
//! A stack wraps the error of its service in [`Error<E>`](Error). The enum is flat, however many layers the stack has.
//! Log an error with [`Error::report`]; match [`Rejected::reason`] and [`Rejected::retry_after`] in code. Single layers
//! ask for an error type that is `From<Rejected>`: a [`BoxError`], an enum of your own, or [`Error<E>`](Error) after
//! `.map_err(Error::inner)`.
//!
//! The compiler may report that the method `ready` or `oneshot` exists, but its trait bounds were not satisfied. Pass
//! the service through [`check_service`], and the compiler names the missing bound and its remedy.
//!
//! # Shared state
//!
//! All services made by a layer and by its clones share the layer's state, such as one circuit on twenty axum routes.
//! `isolated()` gives a layer with state of its own.
//!
//! # Observability
//!
//! Each layer with state has a `handle()`, and the handle a `snapshot()` of its counts. With the feature `serde`,
//! snapshots can be serialised. A [`Listener`] receives the [`Event`]s of a layer or of a whole
//! [stack](stack#telemetry): retries, hedges, timeouts, fallbacks and circuits that open. A healthy call emits none.
//! Each event also goes to `tracing`, with the target `tower_reliability`. `named("prices")` sets the name in
//! rejections and events.
//!
//! # Runtime
//!
//! No layer starts a task, except for a [leased](rate_limit::leased) rate limit, which asks its source on one. A
//! [health check](health_check) has a task per endpoint. A call that waits for a limit, a timeout, a retry or a hedge
//! needs a tokio runtime with time enabled. Outside of a runtime no layer panics: limits and timeouts reject a call that
//! would have to wait with [`Reason::NoRuntime`], a retry returns the failure, and a hedge sends no second request. tokio's
//! timer panics in a runtime that was built without `enable_time`, and no public function of tokio tells such a runtime
//! apart. The breaker, the fallback and the budget run in every runtime and outside of a runtime. `tokio::time::pause`
//! moves the time of every layer. The page of each layer has the details.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | the module [`http`], with the errors of hyper and hyper-util |
//! | `reqwest` | the same for the requests, responses and errors of reqwest, and `ReqwestClient`; includes `http` |
//! | `grpc` | the module [`grpc`], over tonic; includes `http` |
//! | `redis` | the module [`redis`]: rate limits across machines |
//! | `dns` | the module [`dns`], over hickory; includes `tower` |
//! | `tower` | `RetryBudget::of`, which takes one of tower's budgets, and `BalanceHandle::follow`, which takes a `Discover` |
//! | `serde` | [`StackConfig`](stack::StackConfig) and every other config from and to files, and snapshots to files, with durations as `"30s"` |
//! | `full` | all of these |
//! | `testing` | the module [`testing`]: a scripted backend and injected faults, for the tests of a user |
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | call, attempt | a request of the caller; one of the requests that the layers send for it |
//! | backend | the service at the other end of a call |
//! | inner, outer | closer to the service; closer to the caller |
//! | [outcome](Outcome) | the meaning of a result for all layers: success, failure, ignored … |
//! | [class](ErrorClass) | the kind of a failure: connection, timeout, rate limit … |
//! | deferred, [pending outcome](PendingOutcome) | of an answer that has begun: its end decides the outcome |
//! | [rejection](Rejected) | the error of a layer on this side, not of the backend |
//! | endpoint unavailable | an outcome: this endpoint got no request, and another endpoint may take it |
//! | vote | the effect of an outcome on one layer, such as a failure in the window of a breaker |
//! | cut call | a call that ends before the backend answers, by a drop or by the deadline |
//! | open period | the time for which an open circuit rejects all calls |
//! | probe | a call that a half-open circuit admits to test the backend |
//! | [retry budget](retry_budget), reserve | the limit on retries and hedges that layers share; the retries it grants at first |
//! | [wait queue](wait_queue), class | the calls that wait for a limit; the calls of one [priority](Priority) in it |
//! | [lease](rate_limit::leased), source, instance | units of a shared limit that one process holds; the store of the others; such a process |
//! | [resend](Resend) | to send the request of a call again, in a retry or a hedge |
//! | unprocessed | of a request: no backend has begun it, so every request may be resent |
//! | endpoint, ejection, panic | one service of a [balancer](balance); its time without calls; the use of all because few are healthy |
//! | [call history](CallHistory) | the retries and the endpoints of one call so far |
//! | [deadline source](DeadlineSource) | the reader of deadlines from requests |
//! | [protocol](Protocol) | classifier, resend and deadline source in one bundle |
//!
//! [tower]: https://docs.rs/tower
//! [`dns`]: ./dns/index.html
//! [`http`]: ./http/index.html
//! [`http::stack`]: ./http/fn.stack.html
//! [`http::ReplayLayer`]: ./http/struct.ReplayLayer.html
//! [`http::ReconnectLayer`]: ./http/struct.ReconnectLayer.html
//! [`http::RejectionLayer`]: ./http/struct.RejectionLayer.html
//! [`http::BodyOutcomeLayer`]: ./http/struct.BodyOutcomeLayer.html
//! [`http::BodyReadTimeoutLayer`]: ./http/struct.BodyReadTimeoutLayer.html
//! [`http::BodyDeadlineLayer`]: ./http/struct.BodyDeadlineLayer.html
//! [`http::ReportAttemptsLayer`]: ./http/struct.ReportAttemptsLayer.html
//! [`testing`]: ./testing/index.html
//! [`redis`]: ./redis/index.html
//! [`grpc`]: ./grpc/index.html
//! [`grpc::stack`]: ./grpc/fn.stack.html
//! [`grpc::GrpcRejectionLayer`]: ./grpc/struct.GrpcRejectionLayer.html
//! [`grpc::StreamOutcomeLayer`]: ./grpc/struct.StreamOutcomeLayer.html
#![cfg_attr(docsrs, feature(doc_cfg))]

mod algo;
mod call;
mod keyed;
mod rt;
mod telemetry;

pub mod balance;
pub mod circuit_breaker;
pub mod concurrency_limit;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub mod dns;
pub mod drain;
pub mod fallback;
#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub mod grpc;
pub mod health_check;
pub mod hedge;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
pub mod panic_guard;
pub mod rate_limit;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;
pub mod retry;
pub mod retry_budget;
pub mod stack;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod timeout;
pub mod wait_queue;

pub use call::{
    AsRejected, BoxError, BoxErrorClassifier, CallHistory, Classifier, CloneRequest, ConfigError, Deadline,
    DeadlineSource, Error, ErrorClass, FromRejected, IntoRejected, NoDeadline, NoPriority, NoRoute, Outcome,
    PendingOutcome, PerClass, PriorAttempts, Priority, PrioritySource, Protocol, QuotaState, Reason,
    Rejected, Resend, Retryable, RouteSource, StandardClassifier, UntilResponse, Upload, check_service,
    classify_fn, outcome_of,
};
pub use keyed::KeySource;
#[doc(inline)]
pub use stack::ReliabilityStack;
pub use telemetry::{
    CheckFailure, CircuitState, CircuitTransition, EjectionCause, Event, EventKind, HealthStatus,
    HealthTransition, Listener, Name, Severity, Trip,
};

#[cfg(any(doc, doctest))]
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

/// Compiles and runs the examples of the README.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
