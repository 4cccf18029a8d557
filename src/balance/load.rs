//! The load of one endpoint: the calls in flight, the latency and the counts, written by calls without a lock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    core::Core,
    pick::Ewma,
    state::Counts,
    vote::{Health, Latency, Vote},
};
use crate::rt::sync::{AtomicU32, AtomicU64, Ordering};

/// The load of one endpoint, as a [`Strategy`](super::Strategy) sees it.
// Relaxed except where noted: each number stands for itself, and a pick needs no exact one.
#[derive(Debug)]
pub struct EndpointLoad {
    pub(super) core: Arc<Core>,
    key_hash: u64,
    /// The calls in flight, and whether the endpoint was removed. One word, so that no call enters after the removal.
    calls: AtomicU64,
    latency: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// The calls that ended without a vote.
    unjudged: AtomicU64,
    timed: AtomicU64,
    log_latency: AtomicU64,
    /// The millisecond until which calls avoid the endpoint; 0 if they do not.
    avoided_until: AtomicU64,
    /// The millisecond in which the slow start began; 0 if there is none.
    ramps_from: AtomicU64,
    weight: AtomicU32,
    consecutive_failures: AtomicU32,
}

/// The time of a balancer: milliseconds since it was made, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(pub(super) u64);

impl EndpointLoad {
    pub(super) fn new(core: Arc<Core>, key_hash: u64, weight: u32) -> Self {
        Self {
            core,
            key_hash,
            calls: AtomicU64::new(0),
            latency: AtomicU64::new(Ewma::UNSEEN.to_bits()),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            log_latency: AtomicU64::new(0),
            avoided_until: AtomicU64::new(0),
            ramps_from: AtomicU64::new(0),
            weight: AtomicU32::new(weight),
            consecutive_failures: AtomicU32::new(0),
        }
    }

    /// The calls in flight.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it saturates before")]
    pub fn in_flight(&self) -> u32 {
        (self.calls.load(Ordering::Relaxed) & !REMOVED).min(u64::from(u32::MAX)) as u32
    }

    /// The weight. At least 1 for each endpoint that a strategy sees.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// A hash of the key, for strategies such as consistent hashing. It is the same in every process of one build.
    #[must_use]
    pub fn key_hash(&self) -> u64 {
        self.key_hash
    }

    /// The latency as [`PeakEwma`](super::BuiltIn::PeakEwma) expects it, in seconds. Infinite before the first answer.
    pub(super) fn latency(&self) -> Ewma {
        Ewma::from_bits(self.latency.load(Ordering::Relaxed))
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Counts one more call, unless the endpoint was removed.
    #[inline]
    pub(super) fn enter(&self) -> bool {
        // Acquire and release, here and below: the removal sees all that finished calls have done.
        let is_removed = self.calls.fetch_add(1, Ordering::AcqRel) & REMOVED != 0;
        // For a moment this call counted, so the last call may not have seen that it was the last.
        if is_removed && self.leave() {
            self.core.drained.notify_waiters();
        }
        !is_removed
    }

    /// Counts one call less. `true` if it was the last one of a removed endpoint.
    #[inline]
    pub(super) fn leave(&self) -> bool {
        self.calls.fetch_sub(1, Ordering::AcqRel) == REMOVED + 1
    }

    /// No further call enters.
    pub(super) fn remove(&self) {
        self.calls.fetch_or(REMOVED, Ordering::AcqRel);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.calls.load(Ordering::Acquire) & REMOVED != 0
    }

    /// Whether the endpoint was removed and has no call in flight.
    pub(super) fn is_drained(&self) -> bool {
        self.calls.load(Ordering::Acquire) == REMOVED
    }

    /// Records the end of a call. Returns the failures in a row.
    pub(super) fn record(&self, vote: Vote, elapsed: Option<Duration>, now: Option<Millis>) -> u32 {
        if let Some(now) = now {
            self.record_latency(vote.latency, elapsed, now);
            if let Some(avoid) = vote.avoid {
                self.avoid_until(now.after(avoid));
            }
        }
        match vote.health {
            Health::Success => {
                self.succeeded.fetch_add(1, Ordering::Relaxed);
                // A load first: the line is written by one call in many.
                if self.consecutive_failures.load(Ordering::Relaxed) > 0 {
                    self.consecutive_failures.store(0, Ordering::Relaxed);
                }
                0
            }
            Health::Failure { consecutive } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if consecutive { self.consecutive_failures.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 }
            }
            Health::Unknown => {
                self.unjudged.fetch_add(1, Ordering::Relaxed);
                0
            }
        }
    }

    /// Records the latency of a call that goes on in its body.
    pub(super) fn record_latency(&self, latency: Latency, elapsed: Option<Duration>, now: Millis) {
        let (sample, is_bound) = match (latency, elapsed) {
            (Latency::Elapsed, Some(elapsed)) => {
                let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
                self.timed.fetch_add(1, Ordering::Relaxed);
                self.log_latency.fetch_add(Counts::log_of(nanos), Ordering::Relaxed);
                (elapsed, false)
            }
            (Latency::AtLeast, Some(elapsed)) => (elapsed, true),
            (Latency::Penalty(penalty), _) => (penalty, false),
            _ => return,
        };
        let (sample, decay, now) = (sample.as_secs_f32(), self.core.decay(), now.wrapped());
        let next = |bits| {
            let before = Ewma::from_bits(bits);
            let after =
                if is_bound { before.at_least(sample, decay, now) } else { before.peak(sample, decay, now) };
            (after != before).then(|| after.to_bits())
        };
        // An error says that nothing changes.
        let _ = self.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Forgets the latency and the failures, after an ejection: a new server may have the address by now.
    pub(super) fn renew(&self, now: Millis) {
        self.consecutive_failures.store(0, Ordering::Relaxed);
        self.latency.store(Ewma::UNSEEN.to_bits(), Ordering::Relaxed);
        self.avoided_until.store(0, Ordering::Relaxed);
        self.start_slowly(now);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            timed: self.timed.load(Ordering::Relaxed),
            log_latency: self.log_latency.load(Ordering::Relaxed),
        }
    }

    pub(super) fn unjudged(&self) -> u64 {
        self.unjudged.load(Ordering::Relaxed)
    }

    /// Calls avoid the endpoint until then. A later instant holds.
    pub(super) fn avoid_until(&self, until: Millis) {
        self.avoided_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// The endpoint is ready.
    pub(super) fn is_ready_again(&self) {
        if self.avoided_until.load(Ordering::Relaxed) != 0 {
            self.avoided_until.store(0, Ordering::Relaxed);
        }
    }

    /// Whether calls avoid the endpoint. Only then is the clock read.
    #[inline]
    pub(super) fn is_avoided(&self, now: impl FnOnce() -> Millis) -> bool {
        let until = self.avoided_until.load(Ordering::Relaxed);
        until != 0 && now() < Millis(until)
    }

    /// The endpoint begins with a small share of the calls.
    pub(super) fn start_slowly(&self, now: Millis) {
        self.ramps_from.store(now.0, Ordering::Relaxed);
    }

    /// The begin of the slow start.
    #[inline]
    pub(super) fn ramps_from(&self) -> Option<Millis> {
        let from = self.ramps_from.load(Ordering::Relaxed);
        (from != 0).then_some(Millis(from))
    }

    pub(super) fn has_started(&self) {
        self.ramps_from.store(0, Ordering::Relaxed);
    }
}

impl Millis {
    pub(super) fn new(now: Instant, epoch: Instant) -> Self {
        let elapsed = now.saturating_duration_since(epoch).as_millis();
        Self(u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1))
    }

    pub(super) fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
    }

    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The milliseconds of an [`Ewma`].
    #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
    pub(super) const fn wrapped(self) -> u32 {
        self.0 as u32
    }
}

/// The milliseconds of a decay, at most a day.
#[expect(clippy::cast_possible_truncation, reason = "a decay needs no more than 24 bits")]
pub(super) fn millis_of(decay: Duration) -> f32 {
    (decay.as_secs_f64() * 1_000.0) as f32
}

/// The upper bit. No program makes 2^63 calls at once.
const REMOVED: u64 = 1 << 63;
