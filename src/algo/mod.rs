//! Floor 0: arithmetic. Nothing here reads a clock, waits, locks or draws a random number.

mod backoff;
mod bit_ring;
mod instant;
mod latency_histogram;
mod outcome_window;
mod tail_latency;
mod time_buckets;

#[cfg(feature = "http")]
pub(crate) use backoff::golden;
pub(crate) use backoff::{between, exponential, fibonacci, linear, scale, spread};
pub(crate) use bit_ring::BitRing;
#[cfg(feature = "grpc")]
pub(crate) use instant::whole_millis_up;
#[cfg(feature = "http")]
pub(crate) use instant::whole_seconds_up;
pub(crate) use instant::{AT_THE_DEADLINE, after};
pub(crate) use latency_histogram::LatencyHistogram;
pub(crate) use outcome_window::{OutcomeWindow, Tally, WindowSpan};
pub(crate) use tail_latency::TailLatency;
pub(crate) use time_buckets::{Summed, TimeBuckets};
