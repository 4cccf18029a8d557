//! The permits in one word, so that a call takes and returns a permit without the lock.

use crate::rt::sync::{AtomicU64, Ordering};

/// The calls in flight, the limit, whether calls wait, whether the limit only counts, and which calls are measured.
///
/// While calls wait, a permit changes hands under the lock of the queue, so no new call overtakes them. Because all of it
/// is one word, no permit is returned unseen between the last look of a call and its wait.
#[derive(Debug)]
pub(super) struct Permits(AtomicU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Permits {
    pub(super) fn new(terms: Terms) -> Self {
        Self(AtomicU64::new(Word(0).under(terms).0))
    }

    /// Takes a permit if one is free and no call waits.
    #[inline]
    pub(super) fn try_acquire(&self) -> Option<Admitted> {
        self.change(|word| (!word.waits() && word.has_free()).then(|| word.acquired())).map(Word::admitted)
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
            .is_some()
    }

    /// Takes a permit, or notes that a call waits. The caller holds the lock of the queue.
    pub(super) fn acquire_or_wait(&self) -> Grant {
        loop {
            if let Some(admitted) = self.try_acquire() {
                return Grant::Permit(admitted);
            }
            if let Some(word) = self.change(|word| word.is_shadow().then(|| word.acquired())) {
                return Grant::ShadowPermit(word.admitted());
            }
            if self.change(|word| (word.waits() || !word.has_free()).then(|| word.waiting(true))).is_some() {
                return Grant::Wait;
            }
        }
    }

    /// Takes a permit for a call that waits, if the limit has grown.
    pub(super) fn acquire_for_waiting(&self) -> bool {
        let acquire =
            |word: Word| (word.waits() && (word.has_free() || word.is_shadow())).then(|| word.acquired());
        self.change(acquire).is_some()
    }

    /// A call that waited takes the permit that it was handed.
    pub(super) fn take_over(&self) -> Admitted {
        self.change(|word| Some(word.counted())).map_or(Admitted::UNMEASURED, Word::admitted)
    }

    /// No call waits. The caller holds the lock of the queue.
    pub(super) fn stop_waiting(&self) {
        self.change(|word| Some(word.waiting(false)));
    }

    /// No call waits, and a permit is returned. The caller holds the lock of the queue.
    pub(super) fn stop_waiting_and_release(&self) {
        self.change(|word| Some(word.waiting(false).released()));
    }

    /// Sets the terms of all permits from now on.
    pub(super) fn set(&self, terms: Terms) {
        // Without the question, each measured call would write the word once more.
        self.change(|word| Some(word.under(terms)).filter(|changed| changed.0 != word.0));
    }

    /// Whether some calls are measured.
    pub(super) fn is_measuring(&self) -> bool {
        self.word().sampling() != NEVER
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.word().in_flight()
    }

    #[inline]
    fn word(&self) -> Word {
        // Relaxed: a change compares the word again.
        Word(self.0.load(Ordering::Relaxed))
    }

    /// Changes the word, unless `change` returns nothing. Returns the changed word.
    #[inline]
    fn change(&self, change: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut word = self.word();
        while let Some(changed) = change(word) {
            // Acquire and release: a call sees all that the former holder of its permit has done.
            match self.0.compare_exchange_weak(word.0, changed.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(changed),
                Err(found) => word = Word(found),
            }
        }
        None
    }
}

/// The terms of all permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) limit: u32,
    pub(super) shadow: bool,
    /// One call in 2 to this power is measured, at most 6. `None` if no call is.
    pub(super) sampling: Option<u32>,
}

/// A call that has its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// The calls in flight, this one included. `None` if the call is not measured.
    pub(super) in_flight: Option<u32>,
}

impl Admitted {
    const UNMEASURED: Self = Self { in_flight: None };
}

/// The result of an attempt to take a permit under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Permit(Admitted),
    /// A permit above the limit, in shadow mode.
    ShadowPermit(Admitted),
    /// No permit; the call has to wait.
    Wait,
}

/// From the lowest bit: 31 bits for the calls in flight, 20 for the limit, two flags, 3 bits for the sampling, and 8 that
/// count the calls.
impl Word {
    const fn in_flight(self) -> u32 {
        (self.0 & IN_FLIGHT) as u32
    }

    const fn limit(self) -> u32 {
        (self.0 >> LIMIT & MAX_LIMIT) as u32
    }

    const fn sampling(self) -> u64 {
        self.0 >> SAMPLING & NEVER
    }

    /// The call that the word has counted last.
    #[inline]
    fn admitted(self) -> Admitted {
        // An odd factor scatters the measured ones: calls that come in a rhythm are otherwise measured all or never.
        let place = (self.0 >> COUNT).wrapping_mul(SCATTER) & COUNTS;
        let sampling = self.sampling();
        let is_measured = sampling != NEVER && place <= COUNTS >> sampling;
        Admitted { in_flight: is_measured.then(|| self.in_flight()) }
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
        Self(self.counted().0 + 1)
    }

    /// With one more call counted. The count is in the highest bits, and begins again.
    const fn counted(self) -> Self {
        Self(self.0.wrapping_add(1 << COUNT))
    }

    /// With one call less in flight. Each permit is returned once, so the field does not underflow.
    const fn released(self) -> Self {
        Self(self.0 - 1)
    }

    const fn waiting(self, waits: bool) -> Self {
        Self(if waits { self.0 | WAITS } else { self.0 & !WAITS })
    }

    const fn under(self, terms: Terms) -> Self {
        let kept = self.0 & (IN_FLIGHT | WAITS | COUNTS << COUNT);
        let sampling = match terms.sampling {
            Some(sampling) => sampling as u64,
            None => NEVER,
        };
        let limit = (terms.limit as u64 & MAX_LIMIT) << LIMIT;
        Self(kept | limit | sampling << SAMPLING | if terms.shadow { SHADOW } else { 0 })
    }
}

const IN_FLIGHT: u64 = (1 << LIMIT) - 1;
const LIMIT: u32 = 31;
/// The highest limit is a million.
const MAX_LIMIT: u64 = (1 << 20) - 1;
const WAITS: u64 = 1 << 51;
const SHADOW: u64 = 1 << 52;
const SAMPLING: u32 = 53;
/// No call is measured.
const NEVER: u64 = 0b111;
const COUNT: u32 = 56;
const COUNTS: u64 = 0xFF;
/// Near the golden ratio of 256.
const SCATTER: u64 = 159;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const fn terms(limit: u32, shadow: bool) -> Terms {
        Terms { limit, shadow, sampling: None }
    }

    #[test]
    fn one_call_in_two_to_the_power_of_the_sampling_is_measured_in_any_rhythm() {
        for sampling in 0..=5 {
            let permits = Permits::new(Terms { limit: 2, shadow: false, sampling: Some(sampling) });
            let mut measured = [[0; 2]; 2];
            for call in 0..2_560 {
                let admitted = permits.try_acquire().expect("a permit is free");
                measured[0][call % 2] += u32::from(admitted.in_flight == Some(1));
                let handed_over = permits.take_over();
                measured[1][call / 2 % 2] += u32::from(handed_over.in_flight == Some(1));
                assert!(permits.try_release());
            }
            assert_eq!(measured, [[1_280 >> sampling; 2]; 2], "{sampling}");
            assert_eq!(permits.in_flight(), 0);
        }
        let permits = Permits::new(terms(1, false));
        assert!((0..1_000).all(|_| permits.take_over() == Admitted::UNMEASURED) && !permits.is_measuring());
    }

    #[test]
    fn new_terms_keep_the_calls_in_flight_and_the_highest_limit_fits() {
        let permits = Permits::new(terms(1_000_000, false));
        assert!(permits.try_acquire().is_some() && permits.try_acquire().is_some());
        permits.set(Terms { limit: 1, shadow: false, sampling: Some(0) });
        assert!(permits.is_measuring() && !permits.has_free());
        assert!(permits.try_release() && permits.try_release() && permits.has_free());
    }

    #[test]
    fn as_many_permits_are_taken_as_the_limit_says() {
        let permits = Permits::new(terms(2, false));
        assert!(permits.try_acquire().is_some() && permits.has_free() && permits.try_acquire().is_some());
        assert!(permits.try_acquire().is_none() && !permits.has_free());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        assert!(!permits.try_release(), "it belongs to the call that waits");
        permits.stop_waiting_and_release();
        assert!(permits.try_acquire().is_some() && permits.try_release() && permits.try_release());
        assert_eq!(permits.in_flight(), 0);
    }

    #[test]
    fn no_new_call_overtakes_a_call_that_waits() {
        let permits = Permits::new(terms(1, false));
        assert!(permits.try_acquire().is_some());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        permits.set(terms(3, false));
        assert!(permits.try_acquire().is_none());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        assert!(
            permits.acquire_for_waiting() && permits.acquire_for_waiting() && !permits.acquire_for_waiting()
        );
        permits.stop_waiting();
        assert_eq!((permits.in_flight(), permits.acquire_for_waiting()), (3, false));
    }

    #[test]
    fn permits_above_a_smaller_limit_are_returned_although_calls_wait() {
        let permits = Permits::new(terms(2, false));
        assert!(permits.try_acquire().is_some() && permits.try_acquire().is_some());
        assert_eq!(permits.acquire_or_wait(), Grant::Wait);
        permits.set(terms(1, false));
        assert!(permits.try_release() && !permits.try_release());
    }

    #[test]
    fn a_shadow_holds_no_call_up() {
        let permits = Permits::new(terms(1, true));
        assert_eq!(
            [permits.acquire_or_wait(), permits.acquire_or_wait()],
            [Grant::Permit(Admitted::UNMEASURED), Grant::ShadowPermit(Admitted::UNMEASURED)]
        );
        assert!(permits.try_acquire().is_none() && permits.has_free());
        assert!(permits.try_release() && permits.try_release());
    }
}
