//! Requests that meet a closed keep-alive connection.
//!
//! A server may close an idle connection at the moment when a client sends a request over it. Each connection pool
//! has this race, and a healthy server then looks like a failing one. [`ReconnectLayer`] sends such a request again.
//!
//! # Defaults
//!
//! | number | value |
//! |---|---|
//! | further connections per request | 3 |

mod connector;
pub mod future;
mod service;

pub use connector::{Connecting, TrackedConnection, TrackedConnector};
pub use service::{Reconnect, ReconnectLayer};
