//! The state that all clones of a scripted service share.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::step::{Action, Step};
use crate::{
    algo::after,
    rt::sync::{AtomicU64, Ordering},
};

/// The steps that are left, and the calls so far.
#[derive(Debug)]
pub(super) struct Script<Req, Res, Err> {
    pub(super) steps: VecDeque<Step<Res, Err>>,
    pub(super) requests: Vec<Req>,
    pub(super) times: Vec<Instant>,
    /// The end of the `not_ready` step in front.
    ready_at: Option<Instant>,
}

impl<Req, Res, Err> Script<Req, Res, Err> {
    /// The instant until which the script is not ready; `None` if it is.
    pub(super) fn not_ready_until(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Step { delay, action: Action::NotReady }) = self.steps.front() {
            let until = *self.ready_at.get_or_insert_with(|| after(now, *delay));
            if now < until {
                return Some(until);
            }
            self.ready_at = None;
            self.steps.pop_front();
        }
        None
    }

    /// The step of a call.
    pub(super) fn take(&mut self) -> Option<Step<Res, Err>> {
        let next = self.steps.iter().position(|step| !matches!(step.action, Action::NotReady))?;
        self.steps.remove(next)
    }
}

impl<Req, Res, Err> Default for Script<Req, Res, Err> {
    fn default() -> Self {
        Self { steps: VecDeque::new(), requests: Vec::new(), times: Vec::new(), ready_at: None }
    }
}

/// The calls that have begun and not ended, and those whose caller gave up.
// Relaxed: each is a number of its own, and no other memory depends on it.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) in_flight: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// One call in flight. Dropped before its end, it counts as dropped.
#[derive(Debug)]
pub(super) struct Call {
    running: Arc<Running>,
    ended: bool,
}

impl Call {
    pub(super) fn begin(running: &Arc<Running>) -> Self {
        running.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { running: Arc::clone(running), ended: false }
    }

    /// The call has an end of its own: an answer, an error or a panic.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.running.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.running.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.running.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The times of the calls, counted from the first.
pub(super) fn since_first(times: &[Instant]) -> Vec<Duration> {
    let first = times.first();
    times.iter().filter_map(|at| Some(at.saturating_duration_since(*first?))).collect()
}
