//! The decision: until when a call may run, and why it ends then.

use std::time::{Duration, Instant};

use crate::{
    algo::after,
    call::{Deadline, Reason},
};

/// The time that one call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    limit: Duration,
    /// When the limit is over. It moves on with the progress of an upload; the deadline does not.
    limit_ends: Instant,
    deadline: Option<Instant>,
}

impl Allowance {
    /// The allowance of a call that begins now. `None` if its deadline has passed.
    pub(super) fn new(limit: Duration, deadline: Option<Deadline>, now: Instant) -> Option<Self> {
        let deadline = deadline.map(Deadline::instant);
        let allowance = Self { limit, limit_ends: after(now, limit), deadline };
        (deadline.is_none_or(|deadline| deadline > now)).then_some(allowance)
    }

    /// The earlier of the limit and the deadline.
    pub(super) fn until(&self) -> Instant {
        self.deadline.map_or(self.limit_ends, |deadline| deadline.min(self.limit_ends))
    }

    /// Counts the limit from the last progress of an upload. Whether the call may run longer than before.
    pub(super) fn extend(&mut self, last_progress: Instant) -> bool {
        let before = self.until();
        self.limit_ends = self.limit_ends.max(after(last_progress, self.limit));
        self.until() > before
    }

    /// Why the call ends at [`until`](Self::until), and whether the caller holds the body of the request back by then.
    pub(super) fn reason(&self, waits_for_caller: bool) -> Reason {
        let limit = self.limit;
        match self.deadline {
            Some(deadline) if after(deadline, SLACK) < self.limit_ends => Reason::DeadlineExceeded,
            _ if waits_for_caller => Reason::UploadStalled { limit },
            _ => Reason::Timeout { limit },
        }
    }
}

/// Two timeouts of one stack with equal limits read the clock one after the other. The outer one's deadline is then a
/// little earlier than the inner one's limit, although the backend had the full limit.
const SLACK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    fn at(seconds: u64) -> Instant {
        epoch() + Duration::from_secs(seconds)
    }

    /// A call that begins at second 1.
    fn allowance(limit: u64, deadline: Option<u64>) -> Option<Allowance> {
        let deadline = deadline.map(|seconds| Deadline::at(at(seconds)));
        Allowance::new(Duration::from_secs(limit), deadline, at(1))
    }

    fn allowed(limit: u64, deadline: Option<u64>) -> Option<(u64, Reason)> {
        allowance(limit, deadline).map(|it| ((it.until() - at(1)).as_secs(), it.reason(false)))
    }

    #[test]
    fn the_earlier_of_limit_and_deadline_counts_and_is_the_reason() {
        let timeout = Reason::Timeout { limit: Duration::from_secs(5) };
        assert_eq!(allowed(5, None), Some((5, timeout)));
        assert_eq!(allowed(5, Some(9)), Some((5, timeout)));
        assert_eq!(allowed(5, Some(2)), Some((1, Reason::DeadlineExceeded)));
    }

    #[test]
    fn a_limit_that_ends_with_the_deadline_is_a_timeout() {
        let timeout = Reason::Timeout { limit: Duration::from_secs(5) };
        assert_eq!(allowed(5, Some(6)), Some((5, timeout)));
    }

    #[test]
    fn equal_limits_one_inside_the_other_are_a_timeout() {
        let limit = Duration::from_secs(5);
        let now = epoch() + Duration::from_nanos(80);
        let allowance =
            Allowance::new(limit, Some(Deadline::at(epoch() + limit)), now).expect("there is time");
        assert_eq!(
            (allowance.until(), allowance.reason(false)),
            (epoch() + limit, Reason::Timeout { limit })
        );
    }

    #[test]
    fn no_time_is_allowed_after_the_deadline() {
        assert_eq!(allowed(5, Some(1)), None);
        assert_eq!(allowed(5, Some(0)), None);
    }

    #[test]
    fn the_longest_limit_does_not_overflow() {
        assert!(Allowance::new(Duration::MAX, None, epoch()).is_some());
    }

    #[test]
    fn case_66_progress_of_an_upload_moves_the_limit_and_never_the_deadline() {
        let mut allowance = allowance(5, Some(9)).expect("there is time");
        assert!(!allowance.extend(at(0)), "an upload that began before the call");
        assert_eq!(allowance.until(), at(6));
        assert!(allowance.extend(at(3)));
        assert_eq!(
            (allowance.until(), allowance.reason(false)),
            (at(8), Reason::Timeout { limit: Duration::from_secs(5) })
        );
        assert_eq!(allowance.reason(true), Reason::UploadStalled { limit: Duration::from_secs(5) });
        assert!(allowance.extend(at(7)));
        assert_eq!((allowance.until(), allowance.reason(true)), (at(9), Reason::DeadlineExceeded));
        assert!(!allowance.extend(at(8)));
    }
}
