//! The decision: until when a call may run, and what it has met when it has not ended by then.

use std::time::{Duration, Instant};

use crate::{
    algo::after,
    call::{Deadline, Reason},
};

/// What one call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) until: Instant,
    /// Why it is turned away when the time is over.
    pub(super) reason: Reason,
}

/// The earlier of the limit and the deadline; nothing where the deadline has passed.
pub(super) fn allow(limit: Duration, deadline: Option<Deadline>, now: Instant) -> Option<Allowance> {
    let own = Allowance { until: after(now, limit), reason: Reason::Timeout { limit } };
    match deadline.map(Deadline::instant) {
        Some(deadline) if deadline <= now => None,
        Some(deadline) if after(deadline, SLACK) < own.until => {
            Some(Allowance { until: deadline, reason: Reason::DeadlineExceeded })
        }
        Some(deadline) => Some(Allowance { until: deadline.min(own.until), ..own }),
        None => Some(own),
    }
}

/// Two timeouts of one stack with the same limit read the clock one after the other, so the deadline of the outer one
/// comes a little before the limit of the inner one. The peer had all its time all the same.
const SLACK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    fn allowed(limit: u64, deadline: Option<u64>) -> Option<(u64, Reason)> {
        let deadline = deadline.map(|seconds| Deadline::at(epoch() + Duration::from_secs(seconds)));
        let now = epoch() + Duration::from_secs(1);
        allow(Duration::from_secs(limit), deadline, now).map(|it| ((it.until - now).as_secs(), it.reason))
    }

    #[test]
    fn the_earlier_of_limit_and_deadline_counts_and_says_which_it_was() {
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
        let allowance = allow(limit, Some(Deadline::at(epoch() + limit)), now).expect("there is time");
        assert_eq!((allowance.until, allowance.reason), (epoch() + limit, Reason::Timeout { limit }));
    }

    #[test]
    fn nothing_is_allowed_after_the_deadline() {
        assert_eq!(allowed(5, Some(1)), None);
        assert_eq!(allowed(5, Some(0)), None);
    }

    #[test]
    fn the_longest_limit_does_not_overflow() {
        assert!(allow(Duration::MAX, None, epoch()).is_some());
    }
}
