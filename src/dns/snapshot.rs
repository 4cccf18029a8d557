//! The size of the set and the counts of the lookups, for operators.

/// The addresses in use, and how the lookups ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DnsSnapshot {
    /// The addresses in use.
    pub endpoints: usize,
    /// The addresses of the last answer that were beyond [`max_endpoints`](super::DnsConfig::max_endpoints).
    pub left_out: usize,
    /// The lookups that have ended.
    pub lookups: u64,
    /// The lookups that failed, for both families or for one.
    pub failed: u64,
    /// The text of the latest failure, shortened and escaped. A later success leaves it.
    pub last_failure: Option<String>,
}
