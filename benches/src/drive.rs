//! One call at a time, without a task: `poll_ready`, `call` and `poll`.

use std::{
    fmt,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tower::Service;

/// Makes one call, which must be ready at once.
///
/// # Errors
///
/// The service's own.
#[allow(clippy::inline_always, reason = "handing the result out of here is no part of what is measured")]
#[inline(always)]
pub fn drive<S: Service<u64>>(service: &mut S, request: u64) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("the service is always ready") };
    let future = pin!(service.call(black_box(request)));
    let Poll::Ready(result) = future.poll(&mut cx) else { panic!("the answer is always ready") };
    result
}

/// Makes that many calls.
#[inline]
pub fn drive_many<S: Service<u64>>(service: &mut S, calls: u64) {
    for request in 0..calls {
        drop(black_box(drive(service, request)));
    }
}

/// Makes that many calls, each on a clone of its own, and each pending once.
#[inline]
pub fn drive_clones<S: Service<u64> + Clone>(service: &mut S, calls: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    for request in 0..calls {
        let mut clone = service.clone();
        let Poll::Ready(Ok(())) = clone.poll_ready(&mut cx) else { panic!("the service is always ready") };
        let mut future = pin!(clone.call(black_box(request)));
        assert!(future.as_mut().poll(&mut cx).is_pending(), "the first poll is pending");
        let Poll::Ready(result) = future.poll(&mut cx) else { panic!("the second poll has the answer") };
        drop(black_box(result));
    }
}

/// A row of the tables.
pub struct Contender {
    /// What the tables call it.
    pub name: &'static str,
    run: Box<dyn FnMut(u64)>,
}

impl Contender {
    /// A service around the bare one.
    pub fn new<S: Service<u64> + 'static>(name: &'static str, mut service: S) -> Self {
        Self { name, run: Box::new(move |calls| drive_many(&mut service, calls)) }
    }

    /// Anything else that can be done many times.
    pub fn step<T>(name: &'static str, mut step: impl FnMut() -> T + 'static) -> Self {
        Self { name, run: Box::new(move |calls| (0..calls).for_each(|_| drop(black_box(step())))) }
    }

    /// Makes that many calls.
    pub fn run(&mut self, calls: u64) {
        (self.run)(calls);
    }

    /// The time that many calls take.
    pub fn time(&mut self, calls: u64) -> Duration {
        let start = Instant::now();
        self.run(calls);
        start.elapsed()
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}
