//! The counts of a fallback at one moment.

use crate::call::PerClass;

/// The counts of a fallback since its layer was built.
///
/// Each call that the fallback caught counts once, at its end: as answered, unanswered or abandoned. A call whose
/// result passed does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FallbackSnapshot {
    /// Rejections that the fallback answered.
    pub answered_rejections: u64,
    /// Failures that the fallback answered, by class.
    pub answered_failures: PerClass<u64>,
    /// Calls for which the fallback had no answer, or failed too. The caller got the original result.
    pub unanswered: u64,
    /// Calls that were dropped while the fallback worked, or in which the fallback panicked.
    pub abandoned: u64,
    /// Last good answers in memory, expired ones included.
    pub entries: u64,
}

impl FallbackSnapshot {
    /// All calls that the fallback answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        let failures = self.answered_failures.iter();
        failures.fold(self.answered_rejections, |sum, (_, count)| sum.saturating_add(*count))
    }
}
