//! The latency of an endpoint as a balancer expects it: it jumps to a peak at once, and decays with time.

/// A latency in seconds, and the millisecond of its last change. One word, so that an atomic holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::balance) struct Ewma {
    value: f32,
    at: u32,
}

impl Ewma {
    /// No call has ended yet.
    pub(in crate::balance) const UNSEEN: Self = Self { value: f32::INFINITY, at: 0 };

    /// The latency at `now`, as if it had decayed since the last change. Reading changes nothing.
    pub(in crate::balance) fn read(self, decay_millis: f32, now: u32) -> f32 {
        match self.since(now) {
            _ if self == Self::UNSEEN => f32::INFINITY,
            None | Some(0) => self.value,
            Some(millis) => self.value * weight(millis, decay_millis),
        }
    }

    /// With one more latency. A former or the same millisecond changes nothing, as the weight of the sample is 0.
    pub(in crate::balance) fn add(self, sample: f32, decay_millis: f32, now: u32) -> Self {
        if self == Self::UNSEEN {
            return Self { value: sample, at: now };
        }
        match self.since(now) {
            None | Some(0) => self,
            Some(millis) => {
                Self { value: sample + (self.value - sample) * weight(millis, decay_millis), at: now }
            }
        }
    }

    /// With one more latency: a latency above the decayed one replaces it.
    pub(in crate::balance) fn peak(self, sample: f32, decay_millis: f32, now: u32) -> Self {
        let is_past = self != Self::UNSEEN && self.since(now).is_none();
        if is_past || self != Self::UNSEEN && sample <= self.read(decay_millis, now) {
            self.add(sample, decay_millis, now)
        } else {
            Self { value: sample, at: now }
        }
    }

    /// With the lower bound of a latency, of a call that ended without an answer. It raises, and never lowers.
    pub(in crate::balance) fn at_least(self, sample: f32, decay_millis: f32, now: u32) -> Self {
        if self == Self::UNSEEN || sample <= self.read(decay_millis, now) {
            self
        } else {
            self.peak(sample, decay_millis, now)
        }
    }

    /// The cost of one more call beside `in_flight`: the wait behind them.
    ///
    /// An endpoint without an answer costs nothing for its first call, and more than any other until that call ends.
    pub(in crate::balance) fn load(self, in_flight: u32, decay_millis: f32, now: u32) -> f32 {
        if self == Self::UNSEEN && in_flight == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a cost needs no more than 24 bits")]
        let calls = in_flight as f32 + 1.0;
        self.read(decay_millis, now) * calls
    }

    /// The latency as it was after the last change.
    pub(in crate::balance) fn last(self) -> Option<f32> {
        (self != Self::UNSEEN).then_some(self.value)
    }

    pub(in crate::balance) const fn to_bits(self) -> u64 {
        (self.value.to_bits() as u64) << 32 | self.at as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    pub(in crate::balance) const fn from_bits(bits: u64) -> Self {
        Self { value: f32::from_bits((bits >> 32) as u32), at: bits as u32 }
    }

    /// The milliseconds since the last change; `None` if `now` is before it.
    fn since(self, now: u32) -> Option<u32> {
        // The clock wraps after 49 days. Times up to half of that in the past are times of another thread.
        let since = now.wrapping_sub(self.at);
        (since <= u32::MAX / 2).then_some(since)
    }
}

fn weight(millis: u32, decay_millis: f32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a weight needs no more than 24 bits")]
    let millis = millis as f32;
    (-millis / decay_millis.max(SHORTEST)).exp()
}

/// A decay of 0 would divide by it.
const SHORTEST: f32 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: f32 = 10_000.0;

    #[test]
    fn the_word_keeps_every_bit() {
        for ewma in [Ewma::UNSEEN, Ewma { value: 0.25, at: u32::MAX }, Ewma { value: 1e-6, at: 7 }] {
            assert_eq!(Ewma::from_bits(ewma.to_bits()), ewma);
        }
    }

    #[test]
    fn an_endpoint_without_an_answer_gets_one_call_and_no_second_one() {
        assert!(Ewma::UNSEEN.load(0, DECAY, 5) <= 0.0);
        assert!(Ewma::UNSEEN.load(1, DECAY, 5).is_infinite());
        assert!(Ewma::UNSEEN.load(1, DECAY, 10_000_000).is_infinite(), "an unknown latency does not decay");
        assert_eq!(Ewma::UNSEEN.at_least(1.0, DECAY, 5).last(), None, "a cut call answers nothing");
    }

    #[test]
    fn a_lower_bound_raises_and_never_lowers() {
        let seen = Ewma::UNSEEN.peak(1.0, DECAY, 5);
        assert!((seen.at_least(0.5, DECAY, 10_005).read(DECAY, 10_005) - 0.5).abs() < 1e-6);
        assert!((seen.at_least(0.1, DECAY, 10_005).read(DECAY, 10_005) - 0.367_879).abs() < 1e-6);
    }

    #[test]
    fn a_clock_that_wraps_is_no_step_back() {
        let seen = Ewma { value: 1.0, at: u32::MAX - 4_999 };
        assert!((seen.read(DECAY, 5_000) - 0.367_879).abs() < 1e-6);
    }

    #[test]
    fn case_24_an_earlier_instant_reads_the_latency_as_it_is() {
        let seen = Ewma { value: 1.0, at: 100 };
        assert!((seen.read(DECAY, 99) - 1.0).abs() < 1e-6);
        assert_eq!(seen.peak(9.0, DECAY, 99), seen);
    }
}
