//! A header that tells callers about retries on this side, so that they do not retry too.

pub mod future;
mod service;

pub use service::{ReportAttempts, ReportAttemptsLayer};
