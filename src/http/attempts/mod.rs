//! Tells callers that a request was tried again on this side, so that they do not try again too.

pub mod future;
mod service;

pub use service::{ReportAttempts, ReportAttemptsLayer};
