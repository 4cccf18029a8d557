//! The scripted service.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Sleep;
use tower_service::Service;

use super::{
    future::{ResponseFuture, panic_quietly},
    script::{Call, Running, Script, since_first},
    step::{Action, Step},
};
use crate::rt::{
    clock,
    sync::{Mutex, Ordering, lock},
};

/// A backend for tests. Each request takes the next [`Step`] of the script. Once no step is left, a rule gives the step.
///
/// ```
/// use tower::ServiceExt;
/// use tower_reliability::testing::{Scripted, Step};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let backend = Scripted::new(|n: &u32| Step::answer(n + 1));
/// backend.play([Step::fail("down")]);
/// assert_eq!(backend.clone().oneshot(1).await, Err("down"));
/// assert_eq!(backend.clone().oneshot(1).await, Ok(2));
/// assert_eq!((backend.calls(), backend.take_requests()), (2, vec![1, 1]));
/// # }
/// ```
///
/// The service records every request and the time of each call, so its memory grows with the calls.
/// [`take_requests`](Self::take_requests) frees the requests. It does not read the body of a recorded request.
///
/// # Clone
///
/// Clones share the script, the rule, the recorded requests and the counts. Keep a clone to look at.
///
/// # Panics
///
/// A `poll_ready` that has to wait, and the future of a call with a delay, panic outside a tokio runtime with time
/// enabled.
pub struct Scripted<Req, Res, Err> {
    shared: Arc<Shared<Req, Res, Err>>,
    /// The timer of a `poll_ready` that waits.
    ready: Option<Pin<Box<Option<Sleep>>>>,
}

struct Shared<Req, Res, Err> {
    rule: Rule<Req, Res, Err>,
    script: Mutex<Script<Req, Res, Err>>,
    running: Arc<Running>,
}

type Rule<Req, Res, Err> = Box<dyn Fn(&Req) -> Step<Res, Err> + Send + Sync>;

impl<Req, Res, Err> Scripted<Req, Res, Err> {
    /// A backend without a script: the rule gives the step of each request.
    ///
    /// The backend is ready, so a rule that returns [`Step::not_ready`] hangs instead.
    pub fn new(rule: impl Fn(&Req) -> Step<Res, Err> + Send + Sync + 'static) -> Self {
        let (script, running) = (Mutex::new(Script::default()), Arc::default());
        Self { shared: Arc::new(Shared { rule: Box::new(rule), script, running }), ready: None }
    }

    /// Appends steps to the script. The next requests take them, in this order.
    pub fn play(&self, steps: impl IntoIterator<Item = Step<Res, Err>>) {
        lock(&self.shared.script).steps.extend(steps);
    }

    /// The steps that no request has taken.
    #[must_use]
    pub fn remaining(&self) -> usize {
        lock(&self.shared.script).steps.len()
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        lock(&self.shared.script).times.len()
    }

    /// The times of the calls, counted from the first.
    #[must_use]
    pub fn call_times(&self) -> Vec<Duration> {
        since_first(&lock(&self.shared.script).times)
    }

    /// Takes out the requests that were recorded since the last time, in the order of the calls.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Req> {
        std::mem::take(&mut lock(&self.shared.script).requests)
    }

    /// The calls that have begun and not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.running.in_flight.load(Ordering::Relaxed)
    }

    /// The calls whose caller dropped the future before the end.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.running.dropped.load(Ordering::Relaxed)
    }
}

impl<Req, Res, Err> Service<Req> for Scripted<Req, Res, Err> {
    type Response = Res;
    type Error = Err;
    type Future = ResponseFuture<Res, Err>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err>> {
        loop {
            let until = lock(&self.shared.script).not_ready_until(clock::now());
            let Some(until) = until else {
                self.ready = None;
                return Poll::Ready(Ok(()));
            };
            let timer = self.ready.get_or_insert_with(|| Box::pin(None));
            ready!(clock::poll_alarm(timer.as_mut(), until, cx)).expect("a delay has a tokio runtime");
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let now = clock::now();
        // The rule is the test's own code, so it runs outside the lock.
        let step = lock(&self.shared.script).take();
        let step = step.unwrap_or_else(|| (self.shared.rule)(&request));
        let mut script = lock(&self.shared.script);
        script.times.push(now);
        script.requests.push(request);
        drop(script);
        if matches!(step.action, Action::PanicInCall) {
            panic_quietly();
        }
        ResponseFuture::new(step, now, Call::begin(&self.shared.running))
    }
}

impl<Req, Res, Err> Clone for Scripted<Req, Res, Err> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), ready: None }
    }
}

impl<Req, Res, Err> fmt::Debug for Scripted<Req, Res, Err> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("calls", &self.calls())
            .field("remaining", &self.remaining())
            .field("running", &self.shared.running)
            .finish_non_exhaustive()
    }
}
