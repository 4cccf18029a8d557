//! What is about waiting, cancellation, and real sockets: one binary.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start servers, and read the clock that they have paused"
)]

mod breaker_alarm;
mod http_client;
mod http_server;
mod http_vectors;
mod peers;
mod pipeline;
mod public_types;
mod timeout;
