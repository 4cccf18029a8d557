//! A layer for servers: every protection of a server in one line, in the one order in which they work together.
//!
//! ```text
//! client ─► answers ─► panic guard ─► drain ─► deadline ─► rate_limit ─┐
//!           ┌───────────────────────────────────────────────────────────┘
//!           └─► concurrency_limit, by priority ─► timeout ─► handler
//! ```
//!
//! `http::server()` makes the builder for axum and any other HTTP server, and `grpc::server()` for tonic.
//!
//! ```
//! # #[cfg(feature = "http")] {
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_reliability::{
//!     concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig, http::{self, PriorityHeader},
//!     rate_limit::RateLimitConfig,
//! };
//!
//! let server = http::server()
//!     .drain(DrainConfig::new())
//!     .rate_limit(RateLimitConfig::per_second(1_000))
//!     .concurrency_limit(ConcurrencyLimitConfig::new(100))
//!     .priority(PriorityHeader::new())
//!     .timeout(Duration::from_secs(5))
//!     .build()?;
//! let drain = server.drain();
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(server);
//! assert!(!drain.is_draining());
//! # let _ = app;
//! # }
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! # The order
//!
//! A request that one stage rejects takes nothing from an inner stage: no token, no permit, no time of the handler.
//!
//! | part | place | reason |
//! |---|---|---|
//! | answers | outermost | they turn the rejections of all inner stages into responses, and hold permits until the body ends |
//! | panic guard | around all stages | a panic returns every permit, and the connection goes on |
//! | drain | outer to the limits | requests in a queue are in flight, and finish |
//! | deadline | outer to the limits | a request whose caller has given up takes no token |
//! | rate limit | outer to the concurrency limit | a greedy client takes no permits |
//! | concurrency limit | outer to the timeout | the handler has its whole time, however long its request waited |
//! | timeout | innermost | it limits the handler alone, or ends it at the deadline of its request |
//!
//! # Defaults
//!
//! A new builder has the answers, the panic guard and the deadline, and no other stage. Each stage has the defaults of
//! its own module. The default limit of a [drain](crate::drain) grows to the timeout and the waits of the limits
//! together, so that it cuts no call off.
//!
//! | setter | default |
//! |---|---|
//! | [`drain`](ServerBuilder::drain), [`rate_limit`](ServerBuilder::rate_limit), [`concurrency_limit`](ServerBuilder::concurrency_limit), [`timeout`](ServerBuilder::timeout) | absent |
//! | [`deadlines`](ServerBuilder::deadlines) | over HTTP, the extensions of the request; over gRPC, `grpc-timeout` too |
//! | [`priority`](ServerBuilder::priority) | [`NoPriority`](crate::NoPriority) |
//! | [`named`](ServerBuilder::named) | no name |
//! | [`listen`](ServerBuilder::listen) | no listener |
//!
//! Each stage may be an `Option` of its config, and [`ServerConfig`] has all of them for a file. For any other order,
//! put single layers together by hand.
//!
//! # Telemetry
//!
//! [`listen`](ServerBuilder::listen) adds a listener to every stage. An event carries the name of its stage, such as
//! `shop.drain` in the stack `shop`.
//!
//! | stage | events |
//! |---|---|
//! | panic guard | [`Panicked`](crate::EventKind::Panicked) |
//! | drain | [`DrainBegan`](crate::EventKind::DrainBegan), [`DrainEnded`](crate::EventKind::DrainEnded) |
//! | deadline, timeout | [`TimedOut`](crate::EventKind::TimedOut) |
//! | rate limit | [`Rejected`](crate::EventKind::Rejected), [`SheddingChanged`](crate::EventKind::SheddingChanged) |
//! | rate limit per key | [`KeysExhausted`](crate::EventKind::KeysExhausted); a rejection is only counted |
//! | concurrency limit | [`Rejected`](crate::EventKind::Rejected), [`SheddingChanged`](crate::EventKind::SheddingChanged); per key, [`KeysExhausted`](crate::EventKind::KeysExhausted) too |
//! | each but the panic guard and the deadline | [`Reconfigured`](crate::EventKind::Reconfigured) |

mod builder;
mod config;
mod deadline;
mod layer;
mod plan;
mod slots;

pub use builder::{ServerBuilder, ServerConfigSlots, ServerStages};
pub use config::ServerConfig;
pub use deadline::{DeadlineGate, DeadlineGateFuture, DeadlineGateLayer};
pub use layer::ServerStack;
pub use slots::ServerSlots;
