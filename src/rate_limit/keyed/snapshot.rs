//! The counts of a keyed limit, for operators.

/// The counts of all keys together, since the layer was built.
///
/// It lists no keys: there may be millions, and remote callers may choose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyedRateLimitSnapshot {
    /// The number of keys that have state. A key whose bucket is full may have none.
    pub keys: usize,
    /// The highest number of keys that have state at a time.
    pub max_keys: usize,
    /// The number of calls that were rejected.
    pub rejected: u64,
    /// The number of calls that passed in shadow mode and would have been rejected.
    pub would_limit: u64,
    /// The number of keys that were forgotten because their bucket was full again and their window empty.
    pub evicted: u64,
    /// The number of calls whose key found no room. They share a few limits with each other.
    pub without_room: u64,
}
