//! How long to wait before the next attempt: the row of delays, and its jitter.

use std::time::Duration;

use crate::algo::{between, exponential, fibonacci, linear, spread};

/// A row of delays.
#[allow(
    clippy::large_enum_variant,
    reason = "a config is one value, and is not moved on any path that is hot"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum Backoff {
    Fixed(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    Linear(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    Exponential(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    Fibonacci(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    Adaptive(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
    Schedule(Schedule),
}

/// How a delay is spread, so that clients that failed together do not come back together.
///
/// `d` is the delay that the row of delays gives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Jitter {
    /// Just `d`.
    None,
    /// Anything from 0 to `d`. It spreads best. The default.
    #[default]
    Full,
    /// Anything from half of `d` to `d`.
    Equal,
    /// Anything from the first delay of the row to three times the delay before; it follows no row.
    ///
    /// The formula is that of the AWS architecture blog.
    Decorrelated,
    /// `d`, up to this share of it more or less. From 0 to 1.
    Spread(f64),
}

/// Delays as listed; after the last one, the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "Vec<Listed>", into = "Vec<Listed>")
)]
pub(super) struct Schedule {
    delays: [Duration; LONGEST_SCHEDULE],
    /// How many were given; more than there is room for are refused when the config is checked.
    given: usize,
}

impl Backoff {
    /// The delay after that many, with no jitter. `learnt` is what has worked, for a row that learns.
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

    /// The same kind of row, beginning with another delay. A schedule becomes that delay.
    pub(super) const fn starting(self, delay: Duration) -> Self {
        match self {
            Self::Fixed(_) | Self::Schedule(_) => Self::Fixed(delay),
            Self::Linear(_) => Self::Linear(delay),
            // What was learnt was learnt for the other classes.
            Self::Exponential(_) | Self::Adaptive(_) => Self::Exponential(delay),
            Self::Fibonacci(_) => Self::Fibonacci(delay),
        }
    }

    /// Where learning begins, if it learns.
    pub(super) const fn learns_from(&self) -> Option<Duration> {
        match self {
            Self::Adaptive(start) => Some(*start),
            _ => None,
        }
    }

    /// What is wrong with it.
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
    /// The delay, spread. `unit` is 0 ‥ 1; `first` and `previous` are the first delay of the row and the last one waited.
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

/// A delay in a file.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Listed(#[serde(with = "humantime_serde")] Duration);

#[cfg(feature = "serde")]
impl From<Vec<Listed>> for Schedule {
    fn from(delays: Vec<Listed>) -> Self {
        Self::new(&delays.into_iter().map(|Listed(delay)| delay).collect::<Vec<_>>())
    }
}

#[cfg(feature = "serde")]
impl From<Schedule> for Vec<Listed> {
    fn from(schedule: Schedule) -> Self {
        schedule.delays.into_iter().take(schedule.given).map(Listed).collect()
    }
}

/// Nobody tries ten times.
const LONGEST_SCHEDULE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn row(backoff: Backoff) -> [u64; 6] {
        [0, 1, 2, 3, 4, 5].map(|step| backoff.delay(step, 2.0, None, 30 * SECOND).as_secs())
    }

    #[test]
    fn every_row_is_exact_and_ends_at_the_cap() {
        assert_eq!(row(Backoff::Fixed(SECOND)), [1, 1, 1, 1, 1, 1]);
        assert_eq!(row(Backoff::Linear(SECOND)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(row(Backoff::Exponential(SECOND)), [1, 2, 4, 8, 16, 30]);
        assert_eq!(row(Backoff::Fibonacci(SECOND)), [1, 1, 2, 3, 5, 8]);
        assert_eq!(row(Backoff::Adaptive(SECOND)), [1, 2, 4, 8, 16, 30]);
        let schedule = Schedule::new(&[SECOND, 7 * SECOND, 60 * SECOND]);
        assert_eq!(row(Backoff::Schedule(schedule)), [1, 7, 30, 30, 30, 30]);
    }

    #[test]
    fn attempt_ten_thousand_waits_for_the_cap() {
        for backoff in [Backoff::Linear(SECOND), Backoff::Exponential(SECOND), Backoff::Fibonacci(SECOND)] {
            assert_eq!(backoff.delay(10_000, 1.5, None, 20 * SECOND), 20 * SECOND, "{backoff:?}");
        }
    }

    #[test]
    fn no_row_overflows() {
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
    fn the_first_decorrelated_delay_comes_from_the_row() {
        let first = |unit| Jitter::Decorrelated.apply(SECOND, SECOND, Duration::ZERO, unit).as_secs();
        assert_eq!([first(0.0), first(1.0)], [1, 3]);
    }

    #[test]
    fn a_schedule_is_neither_empty_nor_endless() {
        let flaw = |count: usize| Backoff::Schedule(Schedule::new(&vec![SECOND; count])).flaw().is_some();
        assert_eq!([0, 1, 8, 9].map(flaw), [true, false, false, true]);
    }
}
