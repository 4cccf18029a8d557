//! The random numbers of a balancer: one sequence per stripe, without a lock.

use crate::rt::sync::{AtomicU64, MAX_STRIPES, Ordering, OwnLine, stripe_count, thread_number};

/// A source of random numbers.
#[derive(Debug)]
pub(super) struct Random {
    /// A power of two of them.
    stripes: Box<[OwnLine<AtomicU64>]>,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let count = stripe_count().clamp(1, MAX_STRIPES) as u64;
        let stripes = (0..count).map(|stripe| OwnLine(AtomicU64::new(mix(seed ^ mix(stripe)))));
        Self { stripes: stripes.collect() }
    }

    /// The next number. Threads that share a stripe may draw the same one at the same moment, which is harmless.
    #[inline]
    pub(super) fn draw(&self) -> u64 {
        let state = &self.stripes[thread_number() & (self.stripes.len() - 1)].0;
        // Two plain accesses: an atomic addition would cost more than all the rest.
        let next = state.load(Ordering::Relaxed).wrapping_add(GOLDEN);
        state.store(next, Ordering::Relaxed);
        mix(next)
    }
}

/// The output function of splitmix64.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// 2^64 divided by the golden ratio, the increment of splitmix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_spread_evenly() {
        let random = Random::new(7);
        let mut counts = [0_u32; 16];
        (0..160_000).for_each(|_| counts[usize::try_from(random.draw() >> 60).expect("four bits")] += 1);
        // 10 000 each, and five deviations of 97.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 490), "{counts:?}");
    }

    #[test]
    fn a_seed_repeats_its_numbers_and_another_does_not() {
        let draws = |seed| {
            let random = Random::new(seed);
            [(); 4].map(|()| random.draw())
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }
}
