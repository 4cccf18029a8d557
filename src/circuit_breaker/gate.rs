//! The gate as every core reads it, and the healthy calls as every core counts them: without a lock.
//!
//! The state decides under its lock, and publishes what holds until it says otherwise. A call that passes reads
//! one word. A healthy call that ends adds one to the stripe of its own thread. Whoever takes the state's lock
//! first [closes](PublishedGate::close) the gate and collects the stripes, so the state sees every healthy call before it
//! decides anything, in an order in which they could have happened one by one.

use std::time::{Duration, Instant};

use super::{
    health::Calm,
    permit::{Collected, Gate, Permit, Refusal},
};
use crate::{
    call::Reason,
    rt::sync::{AtomicBool, AtomicU64, MAX_STRIPES, Ordering, OwnLine, stripe_count},
    telemetry::Trip,
};

#[derive(Debug)]
pub(super) struct PublishedGate {
    /// Generation (32 bits), round (29 bits), mode (3 bits).
    word: AtomicU64,
    /// Nanoseconds since `start`, biased by `ZERO`: the end of the calm, or of the time that the gate is shut.
    until: AtomicU64,
    trip: AtomicU64,
    /// Nanoseconds above which a call is slow.
    slow_over: AtomicU64,
    /// Somebody else looks at the clock and will say when it is time; see `alarm.rs`.
    resting: AtomicBool,
    start: Instant,
    /// As many as `stripes_in_use`, a power of two, are used. They lie here and not behind a pointer, which every call
    /// would have to follow.
    stripes: [OwnLine<Stripe>; MAX_STRIPES],
    stripes_in_use: usize,
}

#[derive(Debug, Default)]
struct Stripe {
    /// Round (32 bits), healthy calls (32 bits). A count of another round than the gate's takes no more calls.
    healthy: AtomicU64,
    rejected: AtomicU64,
}

impl PublishedGate {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            word: AtomicU64::new(pack(0, 0, ASK)),
            until: AtomicU64::new(NEVER),
            trip: AtomicU64::new(0),
            slow_over: AtomicU64::new(NEVER),
            resting: AtomicBool::new(false),
            start,
            stripes: Default::default(),
            stripes_in_use: stripe_count(),
        }
    }

    /// The permit of a call that may pass without asking.
    #[inline]
    pub(super) fn pass(&self) -> Option<Permit> {
        let word = self.word.load(Ordering::SeqCst);
        (mode(word) >= FREE).then(|| Permit::free(generation(word)))
    }

    /// The number of the phase that the circuit is in.
    pub(super) fn generation(&self) -> u32 {
        generation(self.word.load(Ordering::SeqCst))
    }

    /// Turns a call away, if that needs no asking.
    #[inline]
    pub(super) fn turn_away(&self, stripe: usize, now: impl FnOnce() -> Instant) -> Option<Refusal> {
        let word = self.word.load(Ordering::SeqCst);
        if mode(word) != SHUT {
            return None;
        }
        let (until, trip) = (self.until.load(Ordering::SeqCst), self.trip.load(Ordering::SeqCst));
        // The two belong together only if nobody published in between.
        if self.word.load(Ordering::SeqCst) != word {
            return None;
        }
        let reason = Reason::CircuitOpen(Trip::unpack(trip));
        if until == NEVER {
            return Some(Refusal { reason, retry_at: None });
        }
        let retry_at = self.instant(until)?;
        let early = self.is_resting(stripe) || now() < retry_at;
        early.then_some(Refusal { reason, retry_at: Some(retry_at) })
    }

    /// The rest begins: nobody needs to look at the clock before [`rest_ends`](Self::rest_ends).
    pub(super) fn rest(&self) {
        self.resting.store(true, Ordering::Release);
    }

    /// The rest is nearly over.
    pub(super) fn rest_ends(&self) {
        self.resting.store(false, Ordering::Release);
    }

    /// A runtime that nobody drives never rings, so now and then somebody looks at the clock all the same.
    fn is_resting(&self, stripe: usize) -> bool {
        let rejected = self.stripe(stripe).rejected.load(Ordering::Relaxed);
        self.resting.load(Ordering::Acquire) && !rejected.is_multiple_of(LOOKS_EVERY)
    }

    /// Counts a healthy call, if it is one that the state need not see. `now` is asked for only where time matters.
    #[inline]
    pub(super) fn count_healthy(&self, permit: Permit, stripe: usize, now: impl FnOnce() -> Instant) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let calm = match mode(word) {
            FREE_CALM => true,
            FREE_CALM_UNTIL => {
                let end = self.instant(self.until.load(Ordering::SeqCst));
                end.is_some_and(|end| now() < end)
            }
            _ => false,
        };
        if !calm || generation(word) != permit.generation {
            return false;
        }
        let healthy = &self.stripe(stripe).healthy;
        let mut seen = healthy.load(Ordering::Relaxed);
        while seen >> 32 == round(word) && seen & COUNT < COUNT {
            match healthy.compare_exchange_weak(seen, seen + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => seen = found,
            }
        }
        false
    }

    pub(super) fn count_rejected(&self, stripe: usize) {
        self.stripe(stripe).rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Above what time a call is slow; `None` where that is not asked.
    #[inline]
    pub(super) fn slow_over(&self) -> Option<Duration> {
        match self.slow_over.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Lets nothing happen unprocessed from here on, and collects what has. Only under the state's lock.
    pub(super) fn close(&self) -> Collected {
        let word = self.word.load(Ordering::SeqCst);
        let next = (round(word) + 1) & MAX_ROUND;
        self.word.store(pack(generation(word), next, ASK), Ordering::SeqCst);
        let mut collected = Collected { healthy: 0, rejected: 0 };
        for OwnLine(stripe) in &self.stripes[..self.stripes_in_use] {
            collected.healthy += stripe.healthy.swap(next << 32, Ordering::SeqCst) & COUNT;
            if stripe.rejected.load(Ordering::Relaxed) > 0 {
                collected.rejected += stripe.rejected.swap(0, Ordering::Relaxed);
            }
        }
        collected
    }

    /// Says what holds from now on. Only under the state's lock, after [`close`](Self::close).
    pub(super) fn publish(&self, gate: Gate, generation: u32, slow_over: Option<Duration>) {
        let slow_over = slow_over.map_or(NEVER, |over| u64::try_from(over.as_nanos()).unwrap_or(NEVER));
        self.slow_over.store(slow_over, Ordering::Relaxed);
        let (mode, until) = match gate {
            Gate::Free(Calm::Always) => (FREE_CALM, NEVER),
            Gate::Free(Calm::Until(end)) => (FREE_CALM_UNTIL, self.nanos(end)),
            Gate::Free(Calm::Never) => (FREE, NEVER),
            Gate::Shut(Refusal { reason: Reason::CircuitOpen(trip), retry_at }) => {
                self.trip.store(trip.pack(), Ordering::SeqCst);
                (SHUT, retry_at.map_or(NEVER, |until| self.nanos(until)))
            }
            // Only an open circuit shuts its gate.
            Gate::Shut(_) | Gate::Ask => (ASK, NEVER),
        };
        self.until.store(until, Ordering::SeqCst);
        let round = round(self.word.load(Ordering::SeqCst));
        self.word.store(pack(generation, round, mode), Ordering::SeqCst);
    }

    fn stripe(&self, number: usize) -> &Stripe {
        &self.stripes[number & (self.stripes_in_use - 1)].0
    }

    // A reused circuit may have been made in another runtime whose paused clock was ahead of this one's, so an
    // instant can lie before `start`.
    fn nanos(&self, at: Instant) -> u64 {
        let count = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.start) {
            Some(later) => ZERO.saturating_add(count(later)).min(NEVER - 1),
            None => ZERO.saturating_sub(count(self.start.saturating_duration_since(at))),
        }
    }

    fn instant(&self, nanos: u64) -> Option<Instant> {
        match nanos.checked_sub(ZERO) {
            Some(later) => self.start.checked_add(Duration::from_nanos(later)),
            None => self.start.checked_sub(Duration::from_nanos(ZERO - nanos)),
        }
    }
}

const fn pack(generation: u32, round: u64, mode: u64) -> u64 {
    (generation as u64) << 32 | round << 3 | mode
}

const fn generation(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn round(word: u64) -> u64 {
    word >> 3 & MAX_ROUND
}

const fn mode(word: u64) -> u64 {
    word & 0b111
}

/// Rejections of one stripe between two looks at the clock.
const LOOKS_EVERY: u64 = 64;

const ASK: u64 = 0;
const SHUT: u64 = 1;
// From here on, all calls pass.
const FREE: u64 = 2;
const FREE_CALM: u64 = 3;
const FREE_CALM_UNTIL: u64 = 4;

const MAX_ROUND: u64 = (1 << 29) - 1;
const COUNT: u64 = u32::MAX as u64;
const NEVER: u64 = u64::MAX;
const ZERO: u64 = 1 << 63;
