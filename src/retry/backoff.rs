//! The delay before the next attempt: a sequence of delays, and its jitter.

use std::time::Duration;

use crate::algo::{between, exponential, fibonacci, linear, spread};
#[cfg(feature = "serde")]
use crate::call::duration::Spelled;

/// A sequence of delays.
#[allow(clippy::large_enum_variant, reason = "a config is a value, and no hot path moves it")]
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum Backoff {
    Fixed(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    Linear(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    Exponential(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    Fibonacci(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    Adaptive(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    Schedule(Schedule),
}

/// How a delay is spread, so that clients that failed together do not return together.
///
/// `d` is the delay of the sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Jitter {
    /// Just `d`.
    None,
    /// Between 0 and `d`, which spreads best. The default.
    #[default]
    Full,
    /// Between half of `d` and `d`.
    Equal,
    /// Between the first delay of the sequence and three times the previous delay; `d` has no effect.
    ///
    /// The formula is from the AWS architecture blog.
    Decorrelated,
    /// Between `d` minus and `d` plus this ratio of `d`. From 0 to 1.
    Spread(f64),
}

/// Listed delays, of which the last one repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "Vec<Spelled>", into = "Vec<Spelled>")
)]
pub(super) struct Schedule {
    delays: [Duration; LONGEST_SCHEDULE],
    /// The length of the list. A list that does not fit is refused when the config is checked.
    given: usize,
}

impl Backoff {
    /// The delay after `step` others, without jitter. An adaptive sequence begins with `learnt`.
    pub(super) fn delay(&self, step: u32, factor: f64, learnt: Option<Duration>, max: Duration) -> Duration {
        match *self {
            Self::Fixed(delay) => delay.min(max),
            Self::Linear(delay) => linear(delay, step, max),
            Self::Exponential(base) => exponential(base, factor, step, max),
            Self::Fibonacci(base) => fibonacci(base, step, max),
            Self::Adaptive(start) => exponential(learnt.unwrap_or(start), factor, step, max),
            Self::Schedule(schedule) => schedule.delay(step).min(max),
        }
    }

    /// The same kind of sequence with another first delay. A schedule becomes that delay.
    pub(super) const fn starting(self, delay: Duration) -> Self {
        match self {
            Self::Fixed(_) | Self::Schedule(_) => Self::Fixed(delay),
            Self::Linear(_) => Self::Linear(delay),
            // The learnt delay is about the other classes.
            Self::Exponential(_) | Self::Adaptive(_) => Self::Exponential(delay),
            Self::Fibonacci(_) => Self::Fibonacci(delay),
        }
    }

    /// The first delay of an adaptive sequence; `None` for all others.
    pub(super) const fn learns_from(&self) -> Option<Duration> {
        match self {
            Self::Adaptive(start) => Some(*start),
            _ => None,
        }
    }

    /// The rule that the sequence breaks, if any.
    pub(super) const fn flaw(&self) -> Option<&'static str> {
        match self {
            Self::Schedule(Schedule { given: 0, .. }) => Some("must have at least one delay"),
            Self::Schedule(Schedule { given, .. }) if *given > LONGEST_SCHEDULE => {
                Some("must have at most 8 delays")
            }
            Self::Adaptive(start) if start.is_zero() => Some("must start above 0"),
            _ => None,
        }
    }
}

impl Jitter {
    /// Spreads a delay. `unit` is random, 0 ‥ 1. `first` is the first delay of the sequence, `previous` the last one
    /// waited.
    pub(super) fn apply(self, delay: Duration, first: Duration, previous: Duration, unit: f64) -> Duration {
        match self {
            Self::None => delay,
            Self::Full => between(Duration::ZERO, delay, unit),
            Self::Equal => between(delay / 2, delay, unit),
            Self::Decorrelated => between(first, previous.max(first).saturating_mul(3), unit),
            Self::Spread(share) => spread(delay, share, unit),
        }
    }
}

impl Schedule {
    pub(super) const fn new(delays: &[Duration]) -> Self {
        let mut schedule = Self { delays: [Duration::ZERO; LONGEST_SCHEDULE], given: delays.len() };
        let mut at = 0;
        while at < delays.len() && at < LONGEST_SCHEDULE {
            schedule.delays[at] = delays[at];
            at += 1;
        }
        schedule
    }

    fn delay(&self, step: u32) -> Duration {
        let last = self.given.clamp(1, LONGEST_SCHEDULE) - 1;
        self.delays[last.min(usize::try_from(step).unwrap_or(usize::MAX))]
    }
}

#[cfg(feature = "serde")]
impl From<Vec<Spelled>> for Schedule {
    fn from(delays: Vec<Spelled>) -> Self {
        Self::new(&delays.into_iter().map(|Spelled(delay)| delay).collect::<Vec<_>>())
    }
}

#[cfg(feature = "serde")]
impl From<Schedule> for Vec<Spelled> {
    fn from(schedule: Schedule) -> Self {
        schedule.delays.into_iter().take(schedule.given).map(Spelled).collect()
    }
}

/// Longer than any list that a retry under a budget gets through.
const LONGEST_SCHEDULE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sequence(backoff: Backoff) -> [u64; 6] {
        [0, 1, 2, 3, 4, 5].map(|step| backoff.delay(step, 2.0, None, 30 * SECOND).as_secs())
    }

    #[test]
    fn every_sequence_is_exact_and_ends_at_the_cap() {
        assert_eq!(sequence(Backoff::Fixed(SECOND)), [1, 1, 1, 1, 1, 1]);
        assert_eq!(sequence(Backoff::Linear(SECOND)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(sequence(Backoff::Exponential(SECOND)), [1, 2, 4, 8, 16, 30]);
        assert_eq!(sequence(Backoff::Fibonacci(SECOND)), [1, 1, 2, 3, 5, 8]);
        assert_eq!(sequence(Backoff::Adaptive(SECOND)), [1, 2, 4, 8, 16, 30]);
        let schedule = Schedule::new(&[SECOND, 7 * SECOND, 60 * SECOND]);
        assert_eq!(sequence(Backoff::Schedule(schedule)), [1, 7, 30, 30, 30, 30]);
    }

    #[test]
    fn attempt_ten_thousand_waits_for_the_cap() {
        for backoff in [Backoff::Linear(SECOND), Backoff::Exponential(SECOND), Backoff::Fibonacci(SECOND)] {
            assert_eq!(backoff.delay(10_000, 1.5, None, 20 * SECOND), 20 * SECOND, "{backoff:?}");
        }
    }

    #[test]
    fn no_sequence_overflows() {
        for backoff in
            [Backoff::Exponential(SECOND), Backoff::Fibonacci(SECOND), Backoff::Linear(Duration::MAX)]
        {
            assert_eq!(backoff.delay(u32::MAX, f64::MAX, None, Duration::MAX), Duration::MAX, "{backoff:?}");
        }
    }

    #[test]
    fn each_jitter_has_its_range() {
        let range = |jitter: Jitter| {
            [0.0, 0.5, 1.0].map(|unit| jitter.apply(8 * SECOND, SECOND, 2 * SECOND, unit).as_millis())
        };
        assert_eq!(range(Jitter::None), [8_000, 8_000, 8_000]);
        assert_eq!(range(Jitter::Full), [0, 4_000, 8_000]);
        assert_eq!(range(Jitter::Equal), [4_000, 6_000, 8_000]);
        assert_eq!(range(Jitter::Decorrelated), [1_000, 3_500, 6_000]);
        assert_eq!(range(Jitter::Spread(0.1)), [7_200, 8_000, 8_800]);
    }

    #[test]
    fn the_first_decorrelated_delay_comes_from_the_sequence() {
        let first = |unit| Jitter::Decorrelated.apply(SECOND, SECOND, Duration::ZERO, unit).as_secs();
        assert_eq!([first(0.0), first(1.0)], [1, 3]);
    }

    #[test]
    fn a_schedule_is_neither_empty_nor_endless() {
        let flaw = |count: usize| Backoff::Schedule(Schedule::new(&vec![SECOND; count])).flaw().is_some();
        assert_eq!([0, 1, 8, 9].map(flaw), [true, false, false, true]);
    }
}
