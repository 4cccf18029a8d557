//! The checks of one endpoint: their owner, their shared state, and their task.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Sleep,
};

use super::{
    checker::CheckerShared,
    probe::Probe,
    snapshot::HealthSnapshot,
    state::{Failure, State},
};
use crate::{
    algo::after,
    call::{BoxError, short_report},
    rt::{
        clock,
        sync::{Mutex, lock},
    },
    telemetry::{CheckFailure, Emitter, EventKind, HealthStatus, Listener, Name},
};

/// The running checks of one endpoint. Made by [`HealthChecker::start`](super::HealthChecker::start).
///
/// # Drop
///
/// The drop ends the checks: a running probe is dropped, and no further check begins. Subscriptions then see that their
/// sender is gone. The end of the runtime ends the checks too, and the status stays as it was.
#[derive(Debug)]
#[must_use = "the checks end when this is dropped"]
pub struct HealthCheck {
    shared: Arc<CheckShared>,
    /// The task of the checks. A set aborts its tasks when it is dropped.
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct CheckShared {
    checker: Arc<CheckerShared>,
    emitter: Emitter,
    state: Mutex<State>,
    status: watch::Sender<HealthStatus>,
}

impl HealthCheck {
    pub(super) fn start(emitter: Emitter, checker: Arc<CheckerShared>, probe: impl Probe) -> Self {
        let pause = checker.enter().mul_f64(rand::random());
        // Made here, so that a runtime without time is a panic of `start`, and not of a task without a watcher.
        let first = clock::alarm(after(clock::now(), pause));
        let (state, status) = (Mutex::default(), watch::Sender::default());
        let shared = Arc::new(CheckShared { checker, emitter, state, status });
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&shared), Arc::new(probe), first));
        Self { shared, _task: task }
    }

    /// The name of the checker and of the endpoint.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> HealthStatus {
        *self.shared.status.borrow()
    }

    /// The status and the counts.
    #[must_use]
    pub fn snapshot(&self) -> HealthSnapshot {
        lock(&self.shared.state).snapshot()
    }

    /// A subscription to the status. `changed().await` waits for the next change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<HealthStatus> {
        self.shared.status.subscribe()
    }

    /// Adds a listener, which hears every [event](super#telemetry) of this endpoint from now on.
    ///
    /// A check may have ended before. [`start_heard`](super::HealthChecker::start_heard) misses none.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }
}

impl CheckShared {
    fn record(&self, result: Result<(), Failure>) {
        let config = self.checker.config();
        let transition = lock(&self.state).record(result, config);
        if let Some(transition) = transition {
            self.status.send_replace(transition.to);
            self.emitter.emit(EventKind::HealthChanged(transition));
        }
    }
}

impl Drop for CheckShared {
    fn drop(&mut self) {
        self.checker.leave();
    }
}

/// Checks an endpoint again and again.
async fn run(check: Arc<CheckShared>, probe: Arc<impl Probe>, first: Sleep) {
    first.await;
    // The set has one task at most. Dropping the set aborts it.
    let mut probes = JoinSet::new();
    loop {
        // A task of its own: a probe that panics does not stop the checks.
        let probe = Arc::clone(&probe);
        probes.spawn(async move { probe.probe().await });
        let result = end_of(&mut probes, check.checker.config().timeout).await;
        check.record(result);
        // Waits until a late probe has been dropped, so that two checks never overlap.
        probes.shutdown().await;
        let pause = check.checker.config().pause(rand::random());
        clock::alarm(after(clock::now(), pause)).await;
    }
}

/// The result of the running probe, or the failure that it is late.
async fn end_of(probes: &mut JoinSet<Result<(), BoxError>>, timeout: Duration) -> Result<(), Failure> {
    let (ends_at, mut timer) = (after(clock::now(), timeout), pin!(None));
    let end = poll_fn(|cx| {
        // The time first: a probe may have blocked the thread that fires the timers, and its result comes too late.
        if clock::poll_alarm(timer.as_mut(), ends_at, cx).is_ready() {
            return Poll::Ready(None);
        }
        probes.poll_join_next(cx)
    });
    match end.await {
        Some(Ok(result)) => {
            result.map_err(|error| Failure { kind: CheckFailure::Failed, text: short_report(error.as_ref()) })
        }
        Some(Err(error)) => Err(failure_of(&error)),
        None => Err(Failure { kind: CheckFailure::TimedOut, text: format!("no result within {timeout:?}") }),
    }
}

/// The failure of a probe whose task came to no end.
fn failure_of(error: &JoinError) -> Failure {
    // The only other cause is the end of the runtime, which ends the checks too.
    let kind = if error.is_panic() { CheckFailure::Panicked } else { CheckFailure::Failed };
    Failure { kind, text: short_report(error) }
}
