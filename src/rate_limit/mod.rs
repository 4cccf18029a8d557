//! Rate limits.

mod bucket;
