//! The right to one call in flight, and the measurement of the call.

use std::{sync::Arc, thread, time::Instant};

use super::{
    adaptive::{Ended, Vote},
    handle::ConcurrencyLimitShared,
    permits::Admitted,
};
use crate::{
    algo::{AT_THE_DEADLINE, after},
    call::{Deadline, DeadlineSource, Outcome, Upload},
    rt::{clock, descent},
};

/// The right to one call in flight. Dropping it returns the permit.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit {
    shared: Arc<ConcurrencyLimitShared>,
    measurement: Measurement,
}

/// How far the measurement of a call is.
#[derive(Debug)]
enum Measurement {
    /// The call is not measured, or its vote is taken.
    None,
    /// The call will be measured. It was admitted among so many calls in flight.
    Chosen {
        in_flight: u32,
    },
    Running(Measured),
}

/// A call that is measured, in the inner service.
#[derive(Debug)]
struct Measured {
    in_flight: u32,
    began: Instant,
    times: CallTimes,
    /// Whether the call waits for the inner service. From then on, dropping it cuts it.
    waits: bool,
}

/// The times that a request says about itself.
#[derive(Debug, Default)]
pub(super) struct CallTimes {
    deadline: Option<Deadline>,
    upload: Option<Upload>,
}

impl Permit {
    #[inline]
    pub(super) fn new(shared: &Arc<ConcurrencyLimitShared>, admitted: Admitted) -> Self {
        let measurement =
            admitted.in_flight.map_or(Measurement::None, |in_flight| Measurement::Chosen { in_flight });
        Self { shared: Arc::clone(shared), measurement }
    }

    /// Whether the call is to be measured.
    #[inline]
    pub(super) fn is_chosen(&self) -> bool {
        matches!(self.measurement, Measurement::Chosen { .. })
    }

    /// Whether the call is being measured.
    #[inline]
    pub(super) fn is_measured(&self) -> bool {
        matches!(self.measurement, Measurement::Running(_))
    }

    /// The inner service is called next.
    // Cold: one call in a few is measured where there are many.
    #[cold]
    pub(super) fn begin(&mut self, times: CallTimes) {
        if let Measurement::Chosen { in_flight } = self.measurement {
            let began = descent::now();
            self.measurement = Measurement::Running(Measured { in_flight, began, times, waits: false });
        }
    }

    /// The call waits for the inner service.
    #[inline]
    pub(super) fn wait(&mut self) {
        if let Measurement::Running(measured) = &mut self.measurement {
            measured.waits = true;
        }
    }

    /// The call has ended, or its response has begun.
    #[cold]
    pub(super) fn finish(&mut self, outcome: Outcome, is_error: bool) {
        let now = clock::now();
        self.count(now, |times| Vote::of(outcome, is_error, times.is_due(now)));
    }

    /// The call is dropped.
    #[cold]
    fn cut(&mut self) {
        // A panic says nothing about the time that the call would have taken.
        let is_cut = |measured: &Measured| measured.waits && !thread::panicking();
        if matches!(&self.measurement, Measurement::Running(measured) if is_cut(measured)) {
            self.count(clock::now(), |_| Some(Vote::AtLeast));
        }
    }

    fn count(&mut self, now: Instant, vote: impl FnOnce(&CallTimes) -> Option<Vote>) {
        let taken = std::mem::replace(&mut self.measurement, Measurement::None);
        let Measurement::Running(Measured { in_flight, began, times, .. }) = taken else { return };
        let began = times.began(began);
        let vote = if began.is_some() { vote(&times) } else { None };
        self.shared.record(Ended { began: began.unwrap_or(now), in_flight, vote }, now);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.is_measured() {
            self.cut();
        }
        self.shared.release();
    }
}

impl CallTimes {
    pub(super) fn of<Req>(deadlines: &impl DeadlineSource<Req>, request: &Req) -> Self {
        Self { deadline: deadlines.deadline(request), upload: deadlines.upload(request) }
    }

    /// When the backend could begin. `None` if it still waits for the caller to send the request.
    fn began(&self, called: Instant) -> Option<Instant> {
        match &self.upload {
            Some(upload) if upload.waits_for_caller() => None,
            Some(upload) => Some(called.max(upload.last_progress())),
            None => Some(called),
        }
    }

    /// Whether the deadline of the caller has come.
    fn is_due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| after(now, AT_THE_DEADLINE) >= deadline.instant())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn case_66_the_time_in_which_the_caller_sends_the_request_does_not_count() {
        let (called, upload) = (clock::now(), Upload::new());
        let times = CallTimes { deadline: None, upload: Some(upload.clone()) };
        assert_eq!(times.began(called), Some(called), "the backend does not read");
        tokio::time::advance(SECOND).await;
        upload.progress();
        assert_eq!(times.began(called), Some(called + SECOND));
        upload.wait_for_caller();
        assert_eq!(times.began(called), None);
        upload.complete();
        assert_eq!(times.began(called), Some(called + SECOND));
        assert_eq!(CallTimes::default().began(called), Some(called));
    }

    #[test]
    fn a_deadline_has_come_a_moment_before_it() {
        let deadline = clock::now() + SECOND;
        let times = |deadline| CallTimes { deadline: Some(Deadline::at(deadline)), upload: None };
        assert!(times(deadline).is_due(deadline) && times(deadline + AT_THE_DEADLINE).is_due(deadline));
        assert!(!times(deadline + 2 * AT_THE_DEADLINE).is_due(deadline));
        assert!(!CallTimes::default().is_due(deadline));
    }
}
