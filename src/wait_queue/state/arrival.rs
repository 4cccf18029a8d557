//! A call at a queue: how it arrives, and how its wait ends.

use std::time::Instant;

use crate::call::Priority;

/// A call that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) priority: Priority,
    /// The permits that it needs.
    pub(crate) cost: u32,
    pub(crate) deadline: Option<Instant>,
    /// The hash of its client. Clients whose hashes are equal share a bound.
    pub(crate) key: Option<u64>,
}

/// A call that waits now, and the payload of the call that was evicted for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enqueued<T> {
    pub(crate) ticket: Ticket,
    pub(crate) evicted: Option<T>,
}

/// A call that no longer waits, with its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dequeued<T> {
    pub(crate) payload: T,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Served,
    Refused(Refusal),
}

/// Why a call is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue, or the part of its key, is full of calls that are not less important.
    Full,
    /// It waited too long in an overload.
    Shed,
    /// `max_wait` is over, or would be.
    MaxWait,
    /// Its deadline has passed, or would have.
    Deadline,
}

/// The place of one call. The call gives it back by [`WaitQueue::remove`](super::WaitQueue::remove).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Ticket(pub(super) u32);

impl Arrival {
    /// Why the call is refused when its time ends at this instant.
    pub(super) fn expired(&self, until: Instant) -> Refusal {
        if self.deadline == Some(until) { Refusal::Deadline } else { Refusal::MaxWait }
    }
}
