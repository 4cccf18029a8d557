//! What is about waiting, cancellation, and real sockets: one binary.

mod scripted;

mod breaker_vectors;
