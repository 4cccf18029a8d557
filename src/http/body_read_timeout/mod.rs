//! A limit on the silence of a client that uploads a request body.
//!
//! A client that stalls its upload holds a connection, and in a proxy also a connection to the upstream. This layer
//! ends such a request, and nothing counts it as a failure of the upstream.
//!
//! # Defaults
//!
//! | setter | default |
//! |---|---|
//! | [`limit`](BodyReadTimeoutLayer::limit) | 30 s |

mod body;
mod service;

pub use body::ReadTimeoutBody;
pub use service::{BodyReadTimeout, BodyReadTimeoutLayer};
