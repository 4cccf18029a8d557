//! The tests of the public API: waiting, cancellation, real sockets. One binary, because linking takes long.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start servers, and read the clock that they have paused"
)]

mod breaker_axum;
mod breaker_cancellation;
mod breaker_contract;
mod breaker_cut_calls;
mod breaker_keyed;
mod breaker_quality;
mod breaker_races;
mod breaker_runtimes;
mod breaker_shell;
mod breaker_uploads;
mod breaker_vectors;
mod clients;
mod configs;
mod events;
mod fallback;
mod fallback_cancellation;
mod fallback_nested;
mod fallback_peer;
mod fallback_upload;
mod grpc_client;
mod grpc_deadlines;
mod grpc_deferred;
mod grpc_deferred_random;
mod grpc_flaky;
mod grpc_foreign;
mod grpc_peers;
mod grpc_retry;
mod grpc_server;
mod grpc_vectors;
mod hedge;
mod hedge_edges;
mod hedge_http;
mod hedge_learns;
mod hedge_load;
mod hedge_script;
mod hedge_vectors;
mod http_client;
mod http_reconnect;
mod http_recording;
mod http_redirect;
mod http_replay;
mod http_server;
mod http_upload;
mod http_vectors;
mod outage;
mod peers;
mod per_authority;
mod pipeline;
mod pipeline_descent;
mod pipeline_hedge;
mod pipeline_retry;
mod public_types;
mod retry_cancellation;
mod retry_edges;
mod retry_http;
mod retry_shell;
mod retry_upload;
mod retry_vectors;
mod scripted;
mod stack_config;
mod testing;
mod timeout;
