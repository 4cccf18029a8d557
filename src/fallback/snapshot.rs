//! What a fallback looks like at a glance.

use std::fmt;

use super::cause::Cause;
use crate::call::ErrorClass;

/// The counts of a fallback, since its layer was built.
///
/// Every call that was turned to the fallback, and is over, is in exactly one of `answered`, `unanswered` and
/// `abandoned`. Those that passed as they were are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackSnapshot {
    /// Answered by the fallback.
    pub answered: FallbackCounts,
    /// The fallback had nothing, or failed itself, and the caller got the original result.
    pub unanswered: FallbackCounts,
    /// Dropped while the fallback was at work, or it panicked.
    pub abandoned: u64,
    /// How many last good answers are held, including those that have become too old and were not yet replaced.
    pub entries: u64,
}

/// Calls by the cause for which they were turned to the fallback.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FallbackCounts {
    pub(super) rejected: u64,
    /// In the order of [`ErrorClass::ALL`].
    pub(super) failed: [u64; ErrorClass::ALL.len()],
}

impl FallbackCounts {
    /// Turned away on this side.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Failed with this class.
    #[must_use]
    pub const fn failed(&self, class: ErrorClass) -> u64 {
        self.failed[class as usize]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.failed.iter().fold(self.rejected, |sum, count| sum.saturating_add(*count))
    }
}

/// Only what has happened, by name.
impl fmt::Debug for FallbackCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = ErrorClass::ALL.map(|class| (class.as_str(), self.failed(class)));
        let counts = [("rejected", self.rejected)].into_iter().chain(failed);
        f.debug_map().entries(counts.filter(|(_, count)| *count > 0)).finish()
    }
}

impl Cause {
    /// The counter of this cause among [`CAUSES`].
    pub(super) const fn counter(self) -> usize {
        match self {
            Self::Failed(class) => class as usize,
            Self::Rejected(_) => CAUSES - 1,
        }
    }
}

/// One for each class, and one for the rejections.
pub(super) const CAUSES: usize = ErrorClass::ALL.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Reason;

    #[test]
    fn every_cause_has_a_counter_of_its_own() {
        let mut counters: Vec<usize> = ErrorClass::ALL.map(|class| Cause::Failed(class).counter()).to_vec();
        counters.push(Cause::Rejected(Reason::DeadlineExceeded).counter());
        assert_eq!(counters, (0..CAUSES).collect::<Vec<_>>());
    }

    #[test]
    fn it_reads_by_name() {
        let mut counts = FallbackCounts { rejected: 2, ..FallbackCounts::default() };
        counts.failed[ErrorClass::Server as usize] = 3;
        assert_eq!(format!("{counts:?}"), r#"{"rejected": 2, "server": 3}"#);
        assert_eq!((counts.total(), counts.failed(ErrorClass::Server)), (5, 3));
    }
}
