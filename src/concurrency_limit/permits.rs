//! The permits in one word, so that a call takes and returns a permit without the lock.

use crate::rt::sync::{AtomicU64, Ordering};

/// The calls in flight, the limit, whether calls wait, and whether the limit only counts.
///
/// While calls wait, a permit changes hands under the lock of the queue, so no new call overtakes them. Because all of it
/// is one word, no permit is returned unseen between the last look of a call and its wait.
#[derive(Debug)]
pub(super) struct Permits(AtomicU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Permits {
    pub(super) fn new(limit: u32, shadow: bool) -> Self {
        Self(AtomicU64::new(Word(0).limited(limit, shadow).0))
    }

    /// Takes a permit if one is free and no call waits.
    #[inline]
    pub(super) fn try_acquire(&self) -> bool {
        self.change(|word| (!word.waits() && word.has_free()).then(|| word.acquired()))
    }

    /// Whether a call that is made now would get a permit.
    #[inline]
    pub(super) fn has_free(&self) -> bool {
        let word = self.word();
        !word.waits() && (word.has_free() || word.is_shadow())
    }

    /// Returns a permit, unless it belongs to a call that waits.
    #[inline]
    pub(super) fn try_release(&self) -> bool {
        self.change(|word| (!word.waits() || word.in_flight() > word.limit()).then(|| word.released()))
    }

    /// Takes a permit, or notes that a call waits. The caller holds the lock of the queue.
    pub(super) fn acquire_or_wait(&self) -> Grant {
        loop {
            if self.try_acquire() {
                return Grant::Permit;
            }
            if self.change(|word| word.is_shadow().then(|| word.acquired())) {
                return Grant::ShadowPermit;
            }
            if self.change(|word| (word.waits() || !word.has_free()).then(|| word.waiting(true))) {
                return Grant::Wait;
            }
        }
    }

    /// Takes a permit for a call that waits, if the limit has grown.
    pub(super) fn acquire_for_waiting(&self) -> bool {
        self.change(|word| (word.waits() && (word.has_free() || word.is_shadow())).then(|| word.acquired()))
    }

    /// No call waits. The caller holds the lock of the queue.
    pub(super) fn stop_waiting(&self) {
        self.change(|word| Some(word.waiting(false)));
    }

    /// No call waits, and a permit is returned. The caller holds the lock of the queue.
    pub(super) fn stop_waiting_and_release(&self) {
        self.change(|word| Some(word.waiting(false).released()));
    }

    pub(super) fn set_limit(&self, limit: u32, shadow: bool) {
        self.change(|word| Some(word.limited(limit, shadow)));
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.word().in_flight()
    }

    #[inline]
    fn word(&self) -> Word {
        // Relaxed: a change compares the word again.
        Word(self.0.load(Ordering::Relaxed))
    }

    /// Changes the word, unless `change` returns nothing.
    #[inline]
    fn change(&self, change: impl Fn(Word) -> Option<Word>) -> bool {
        let mut word = self.word();
        while let Some(changed) = change(word) {
            // Acquire and release: a call sees all that the former holder of its permit has done.
            match self.0.compare_exchange_weak(word.0, changed.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => word = Word(found),
            }
        }
        false
    }
}

/// The result of an attempt to take a permit under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Permit,
    /// A permit above the limit, in shadow mode.
    ShadowPermit,
    /// No permit; the call has to wait.
    Wait,
}

/// From the lowest bit: 31 bits for the calls in flight, 31 for the limit, and two flags.
impl Word {
    const fn in_flight(self) -> u32 {
        (self.0 & FIELD) as u32
    }

    const fn limit(self) -> u32 {
        (self.0 >> LIMIT & FIELD) as u32
    }

    const fn has_free(self) -> bool {
        self.in_flight() < self.limit()
    }

    const fn waits(self) -> bool {
        self.0 & WAITS != 0
    }

    const fn is_shadow(self) -> bool {
        self.0 & SHADOW != 0
    }

    /// With one more call in flight. Two billion futures do not fit into memory, so the field does not overflow.
    const fn acquired(self) -> Self {
        Self(self.0 + 1)
    }

    /// With one call less in flight. Each permit is returned once, so the field does not underflow.
    const fn released(self) -> Self {
        Self(self.0 - 1)
    }

    const fn waiting(self, waits: bool) -> Self {
        Self(if waits { self.0 | WAITS } else { self.0 & !WAITS })
    }

    const fn limited(self, limit: u32, shadow: bool) -> Self {
        let kept = self.0 & (FIELD | WAITS);
        Self(kept | (limit as u64 & FIELD) << LIMIT | if shadow { SHADOW } else { 0 })
    }
}

const FIELD: u64 = (1 << LIMIT) - 1;
const LIMIT: u32 = 31;
const WAITS: u64 = 1 << 62;
const SHADOW: u64 = 1 << 63;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn as_many_permits_are_taken_as_the_limit_says() {
        let permits = Permits::new(2, false);
        assert!(permits.try_acquire() && permits.has_free() && permits.try_acquire());
        assert!(!permits.try_acquire() && !permits.has_free());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        assert!(!permits.try_release(), "it belongs to the call that waits");
        permits.stop_waiting_and_release();
        assert!(permits.try_acquire() && permits.try_release() && permits.try_release());
        assert_eq!(permits.in_flight(), 0);
    }

    #[test]
    fn no_new_call_overtakes_a_call_that_waits() {
        let permits = Permits::new(1, false);
        assert!(permits.try_acquire());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        permits.set_limit(3, false);
        assert!(!permits.try_acquire());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        assert!(
            permits.acquire_for_waiting() && permits.acquire_for_waiting() && !permits.acquire_for_waiting()
        );
        permits.stop_waiting();
        assert_eq!((permits.in_flight(), permits.acquire_for_waiting()), (3, false));
    }

    #[test]
    fn permits_above_a_smaller_limit_are_returned_although_calls_wait() {
        let permits = Permits::new(2, false);
        assert!(permits.try_acquire() && permits.try_acquire());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        permits.set_limit(1, false);
        assert!(permits.try_release() && !permits.try_release());
    }

    #[test]
    fn a_shadow_holds_no_call_up() {
        let permits = Permits::new(1, true);
        assert_eq!(
            [permits.acquire_or_wait(), permits.acquire_or_wait()],
            [Grant::Permit, Grant::ShadowPermit]
        );
        assert!(!permits.try_acquire() && permits.has_free());
        assert!(permits.try_release() && permits.try_release());
    }
}
