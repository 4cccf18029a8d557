//! Rejections as gRPC answers.

pub mod future;
mod service;

pub use service::{GrpcRejection, GrpcRejectionLayer};
