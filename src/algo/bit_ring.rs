//! The last `n` yes-or-no answers, one bit each.

/// A ring of bits that knows how many of them are set.
///
/// Pushing a run of clear bits costs a step per 64 of them, so that a batch of healthy calls is cheap.
#[derive(Clone, Debug)]
pub(crate) struct BitRing {
    words: Vec<u64>,
    size: u32,
    next: u32,
    set: u32,
}

impl BitRing {
    /// A ring of `size` clear bits.
    pub(crate) fn new(size: u32) -> Self {
        Self { words: vec![0; size.div_ceil(64) as usize], size, next: 0, set: 0 }
    }

    /// Writes one bit over the oldest.
    pub(crate) fn push(&mut self, bit: bool) {
        let mask = 1 << (self.next % 64);
        let word = &mut self.words[(self.next / 64) as usize];
        self.set -= u32::from(*word & mask != 0);
        self.set += u32::from(bit);
        *word = if bit { *word | mask } else { *word & !mask };
        self.next = (self.next + 1) % self.size;
    }

    /// Writes `count` clear bits over the oldest.
    pub(crate) fn push_clear(&mut self, count: u64) {
        if count >= u64::from(self.size) && self.set > 0 {
            self.words.fill(0);
            self.set = 0;
        }
        if self.set == 0 {
            let next = (u64::from(self.next) + count % u64::from(self.size)) % u64::from(self.size);
            self.next = u32::try_from(next).expect("a remainder by a u32 is one");
            return;
        }
        let mut left = u32::try_from(count).expect("less than size, which is a u32");
        while left > 0 {
            let offset = self.next % 64;
            let run = left.min(64 - offset).min(self.size - self.next);
            let mask = (u64::MAX >> (64 - run)) << offset;
            let word = &mut self.words[(self.next / 64) as usize];
            self.set -= (*word & mask).count_ones();
            *word &= !mask;
            self.next = (self.next + run) % self.size;
            left -= run;
        }
    }

    /// How many bits are set.
    pub(crate) fn set(&self) -> u32 {
        self.set
    }

    /// The bits, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = bool> {
        (0..self.size).map(|step| {
            let at = (self.next + step) % self.size;
            self.words[(at / 64) as usize] & (1 << (at % 64)) != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_bit_leaves_first() {
        let mut ring = BitRing::new(3);
        for bit in [true, false, false, false] {
            ring.push(bit);
        }
        assert_eq!(ring.set(), 0);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_queue(
            size in 1_u32..200,
            steps in prop::collection::vec(prop_oneof![Just((true, 1)), Just((false, 1)), (Just(false), 0_u64..300)], 0..60),
        ) {
            let mut ring = BitRing::new(size);
            let mut model: VecDeque<bool> = vec![false; size as usize].into();
            for (bit, count) in steps {
                if bit { ring.push(true) } else { ring.push_clear(count) }
                for _ in 0..count {
                    model.pop_front();
                    model.push_back(bit);
                }
                prop_assert_eq!(ring.set() as usize, model.iter().filter(|bit| **bit).count());
                prop_assert!(ring.iter().eq(model.iter().copied()));
            }
        }
    }
}
