//! Whether the source answers. All keys of a limit share it.

use std::time::{Duration, Instant};

use crate::{algo::after, telemetry::EventKind};

/// Which questions may be asked. While the source is lost, only a few of them are: each may wait for its whole timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    lost_since: Option<Instant>,
    /// While the source is lost: the next question.
    probe_at: Instant,
    in_flight: u32,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self { lost_since: None, probe_at: now, in_flight: 0 }
    }

    pub(super) fn lost_since(&self) -> Option<Instant> {
        self.lost_since
    }

    /// Whether a question may be asked now. Each that may ends in [`answered`](Self::answered).
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        let is_due = self.lost_since.is_none() || now >= self.probe_at;
        let may = is_due && self.in_flight < MAX_IN_FLIGHT;
        if may {
            self.in_flight += 1;
            self.probe_at = after(now, RETRY);
        }
        may
    }

    /// A question has its answer, or none in time.
    pub(super) fn answered(&mut self, is_answer: bool, now: Instant) -> Option<EventKind> {
        self.in_flight = self.in_flight.saturating_sub(1);
        match (is_answer, self.lost_since) {
            (true, Some(since)) => {
                self.lost_since = None;
                Some(EventKind::QuotaSourceRecovered { lost_for: now.saturating_duration_since(since) })
            }
            (true, None) => None,
            (false, since) => {
                self.probe_at = after(now, RETRY);
                self.lost_since = since.or(Some(now));
                since.is_none().then_some(EventKind::QuotaSourceLost)
            }
        }
    }
}

/// While the source is lost, a question is asked so often. It is a small load for a store that has just started.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// Each question is a task. More keys than this that ask at the same moment take their shares meanwhile.
const MAX_IN_FLIGHT: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    #[test]
    fn a_lost_source_is_asked_now_and_then_and_each_change_is_told_once() {
        let (mut health, begin) = (Health::new(epoch()), epoch());
        let at = |millis| begin + Duration::from_millis(millis);
        assert!(health.may_ask(begin) && health.may_ask(begin) && health.may_ask(begin));
        assert_eq!(health.answered(false, at(10)), Some(EventKind::QuotaSourceLost));
        assert_eq!(health.answered(false, at(20)), None);
        assert!(!health.may_ask(at(269)));
        assert!(health.may_ask(at(270)) && !health.may_ask(at(270)), "one at a time");
        let lost_for = Duration::from_millis(290);
        assert_eq!(health.answered(true, at(300)), Some(EventKind::QuotaSourceRecovered { lost_for }));
        assert_eq!((health.answered(true, at(310)), health.lost_since(), health.in_flight), (None, None, 0));
    }

    #[test]
    fn the_questions_in_flight_are_bounded() {
        let mut health = Health::new(epoch());
        let asked = (0..5_000).filter(|_| health.may_ask(epoch())).count();
        assert_eq!(asked, 1_024);
        health.answered(true, epoch());
        assert!(health.may_ask(epoch()) && !health.may_ask(epoch()));
    }
}
