//! The priority of a request under overload.

use std::fmt;

/// The priority of a request: `Critical > High > Normal > Low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Priority {
    /// Background work: prefetching, batch jobs.
    Low,
    /// A request without a priority of its own. The default.
    #[default]
    Normal,
    /// A user waits for the answer.
    High,
    /// The system depends on it: payments, health checks, control.
    Critical,
}

impl Priority {
    /// All priorities, the most important first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The priority in lower case, for events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_comes_first_and_normal_is_the_default() {
        assert!(Priority::ALL.is_sorted_by(|prior, later| prior > later));
        assert_eq!(Priority::default(), Priority::Normal);
    }
}
