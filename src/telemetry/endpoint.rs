//! Why a balancer ejects an endpoint.

use std::fmt;

/// The rule by which a balancer ejected an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EjectionCause {
    /// Several calls in a row failed.
    ConsecutiveFailures,
    /// Its success rate was lower than that of the other endpoints.
    SuccessRate,
    /// Its latency was higher than that of the other endpoints.
    Latency,
}

impl EjectionCause {
    /// The cause in lower case, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::Latency => "latency",
        }
    }
}

impl fmt::Display for EjectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConsecutiveFailures => "consecutive failures",
            Self::SuccessRate => "low success rate",
            Self::Latency => "high latency",
        })
    }
}
