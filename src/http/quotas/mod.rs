//! The quotas of a server, told to its clients in every response.
//!
//! [`ReportQuotasLayer`] writes the quotas of a [rate limit](crate::rate_limit) into the fields `RateLimit-Policy` and
//! `RateLimit` (draft-ietf-httpapi-ratelimit-headers). [`RateLimitFields`] writes quotas that come from elsewhere.

mod fields;
pub mod future;
mod layer;
mod read;

pub use crate::call::QuotaState;
pub use fields::{QuotaPolicy, RateLimitFields};
pub use layer::{QuotaEdge, ReportQuotas, ReportQuotasLayer};
pub(super) use read::read;
