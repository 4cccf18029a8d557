//! What is about waiting, cancellation, and real sockets: one binary.

mod breaker_axum;
mod breaker_cancellation;
mod breaker_contract;
mod breaker_keyed;
mod breaker_quality;
mod breaker_races;
mod breaker_vectors;
mod scripted;
