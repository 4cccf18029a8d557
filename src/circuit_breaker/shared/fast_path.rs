//! The decisions of the machine as every thread reads them, and the healthy calls as every thread counts them, without
//! a lock.
//!
//! The machine decides under its lock, and publishes a decision that holds until it publishes another. A call that
//! passes reads one word. A healthy call that ends adds one to the stripe of its own thread. A thread that takes the
//! machine's lock first [closes](FastPath::close) the fast path and collects the stripes. The machine therefore sees
//! every healthy call before it decides anything, in an order in which the calls could have happened one by one.
//!
//! All accesses to the word and to the counts of healthy calls are sequentially consistent: a count and a close of
//! another thread have to agree on which of them came first, and so do the loads of `word`, `until` and `detail` with
//! their stores. Relaxed are the counts of rejections, which decide nothing, and numbers that stand alone.

use std::time::{Duration, Instant};

use crate::{
    circuit_breaker::state::{Collected, FastMode, Lockless, Permit, Refusal},
    rt::sync::{AtomicU64, MAX_STRIPES, Ordering, OwnLine, stripe_count},
    telemetry::Trip,
};

#[derive(Debug)]
pub(crate) struct FastPath {
    /// Generation (32 bits), epoch (29 bits), mode (3 bits).
    word: AtomicU64,
    /// Nanoseconds since `start`, biased by `ZERO`: until when the published decision holds.
    until: AtomicU64,
    /// The reason of an open circuit, or the nanoseconds after which a call may come back to a half-open one.
    detail: AtomicU64,
    /// Nanoseconds above which a call is slow.
    slow_over: AtomicU64,
    /// A successful call that had to wait is sampled if these bits of its number are 0.
    sample_mask: AtomicU64,
    start: Instant,
    /// A power of two of these are used. They lie here and not behind a pointer, which every call would have to follow.
    stripes: [OwnLine<Stripe>; MAX_STRIPES],
    stripes_in_use: usize,
}

#[derive(Debug, Default)]
struct Stripe {
    /// Epoch (32 bits), healthy calls (32 bits). A stripe of another epoch than the word's takes no more counts.
    healthy: AtomicU64,
    rejected: AtomicU64,
}

impl FastPath {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            word: AtomicU64::new(pack(0, 0, ASK)),
            until: AtomicU64::new(NEVER),
            detail: AtomicU64::new(0),
            slow_over: AtomicU64::new(NEVER),
            sample_mask: AtomicU64::new(0),
            start,
            stripes: Default::default(),
            stripes_in_use: stripe_count(),
        }
    }

    /// The permit of a call that passes without a question to the machine.
    #[inline]
    pub(crate) fn pass(&self) -> Option<Permit> {
        let word = self.word.load(Ordering::SeqCst);
        (mode(word) >= PASS).then(|| Permit::free(generation(word)))
    }

    /// The generation of the circuit.
    pub(super) fn generation(&self) -> u32 {
        generation(self.word.load(Ordering::SeqCst))
    }

    /// The rejection of a call that needs no question to the machine.
    #[inline]
    pub(super) fn refusal(&self, now: impl FnOnce() -> Instant) -> Option<Refusal> {
        let word = self.word.load(Ordering::SeqCst);
        if !matches!(mode(word), REJECT | PROBES_TAKEN) {
            return None;
        }
        let (until, detail) = (self.until.load(Ordering::SeqCst), self.detail.load(Ordering::SeqCst));
        // They belong together only if no other decision was published in between.
        if self.word.load(Ordering::SeqCst) != word {
            return None;
        }
        if until == NEVER {
            return Some(Refusal::open(Trip::unpack(detail), None));
        }
        let (now, until) = (now(), self.instant(until)?);
        if now >= until {
            return None;
        }
        Some(match mode(word) {
            REJECT => Refusal::open(Trip::unpack(detail), Some(until)),
            _ => Refusal::probes_taken(Duration::from_nanos(detail), now),
        })
    }

    /// Counts a healthy call, if the machine need not see it, and returns whether the call shall be sampled. `now` is
    /// called only for a time window.
    #[inline]
    pub(super) fn count_healthy(
        &self,
        permit: Permit,
        stripe: usize,
        now: impl FnOnce() -> Instant,
    ) -> Option<bool> {
        let word = self.word.load(Ordering::SeqCst);
        let lockless = match mode(word) {
            PASS_LOCKLESS => true,
            PASS_LOCKLESS_UNTIL => {
                let end = self.instant(self.until.load(Ordering::SeqCst));
                end.is_some_and(|end| now() < end)
            }
            _ => false,
        };
        if !lockless || generation(word) != permit.generation {
            return None;
        }
        let healthy = &self.stripe(stripe).healthy;
        let mut seen = healthy.load(Ordering::Relaxed);
        while seen >> 32 == epoch(word) && seen & COUNT < COUNT {
            match healthy.compare_exchange_weak(seen, seen + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Some(seen & self.sample_mask.load(Ordering::Relaxed) == 0),
                Err(found) => seen = found,
            }
        }
        None
    }

    pub(super) fn count_rejected(&self, stripe: usize) {
        self.stripe(stripe).rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples every successful call that had to wait, or one in sixteen.
    pub(super) fn sample_every_call(&self, every: bool) {
        self.sample_mask.store(if every { 0 } else { SAMPLED - 1 }, Ordering::Relaxed);
    }

    /// The threshold above which a call is slow; `None` if calls are not timed.
    #[inline]
    pub(super) fn slow_over(&self) -> Option<Duration> {
        match self.slow_over.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Stops all counting without the lock, and collects the counts. Only under the machine's lock.
    pub(super) fn close(&self) -> Collected {
        let word = self.word.load(Ordering::SeqCst);
        let next = (epoch(word) + 1) & MAX_EPOCH;
        self.word.store(pack(generation(word), next, ASK), Ordering::SeqCst);
        let mut collected = Collected::default();
        for OwnLine(stripe) in &self.stripes[..self.stripes_in_use] {
            collected.healthy += stripe.healthy.swap(next << 32, Ordering::SeqCst) & COUNT;
            if stripe.rejected.load(Ordering::Relaxed) > 0 {
                collected.rejected += stripe.rejected.swap(0, Ordering::Relaxed);
            }
        }
        collected
    }

    /// Publishes a decision. Only under the machine's lock, after [`close`](Self::close).
    pub(super) fn publish(&self, decision: FastMode, generation: u32, slow_over: Option<Duration>) {
        let slow_over = slow_over.map_or(NEVER, nanos);
        self.slow_over.store(slow_over, Ordering::Relaxed);
        let (mode, until) = match decision {
            FastMode::Pass(Lockless::Always) => (PASS_LOCKLESS, NEVER),
            FastMode::Pass(Lockless::Until(end)) => (PASS_LOCKLESS_UNTIL, self.nanos(end)),
            FastMode::Pass(Lockless::Never) => (PASS, NEVER),
            FastMode::Reject(trip, until) => {
                self.detail.store(trip.pack(), Ordering::SeqCst);
                (REJECT, until.map_or(NEVER, |until| self.nanos(until)))
            }
            FastMode::ProbesTaken { until, retry_after } => {
                self.detail.store(nanos(retry_after), Ordering::SeqCst);
                (PROBES_TAKEN, self.nanos(until))
            }
            FastMode::Ask => (ASK, NEVER),
        };
        self.until.store(until, Ordering::SeqCst);
        let epoch = epoch(self.word.load(Ordering::SeqCst));
        self.word.store(pack(generation, epoch, mode), Ordering::SeqCst);
    }

    fn stripe(&self, number: usize) -> &Stripe {
        &self.stripes[number & (self.stripes_in_use - 1)].0
    }

    // A layer may be used in several runtimes, each with a paused clock of its own, so an instant can lie before `start`.
    fn nanos(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.start) {
            Some(later) => ZERO.saturating_add(nanos(later)).min(NEVER - 1),
            None => ZERO.saturating_sub(nanos(self.start.saturating_duration_since(at))),
        }
    }

    fn instant(&self, nanos: u64) -> Option<Instant> {
        match nanos.checked_sub(ZERO) {
            Some(later) => self.start.checked_add(Duration::from_nanos(later)),
            None => self.start.checked_sub(Duration::from_nanos(ZERO - nanos)),
        }
    }
}

/// At most 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

const fn pack(generation: u32, epoch: u64, mode: u64) -> u64 {
    (generation as u64) << 32 | epoch << 3 | mode
}

const fn generation(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn epoch(word: u64) -> u64 {
    word >> 3 & MAX_EPOCH
}

const fn mode(word: u64) -> u64 {
    word & 0b111
}

const ASK: u64 = 0;
const REJECT: u64 = 1;
const PROBES_TAKEN: u64 = 2;
// In this mode and the following modes, all calls pass.
const PASS: u64 = 3;
const PASS_LOCKLESS: u64 = 4;
const PASS_LOCKLESS_UNTIL: u64 = 5;

const MAX_EPOCH: u64 = (1 << 29) - 1;
const COUNT: u64 = u32::MAX as u64;
const NEVER: u64 = u64::MAX;
const ZERO: u64 = 1 << 63;
/// One waiting success in so many takes the lock for its sample. A power of two.
const SAMPLED: u64 = 16;
