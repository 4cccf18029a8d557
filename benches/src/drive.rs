//! One call at a time, without a task: `poll_ready`, `call` and `poll`.
//!
//! A call that waits for another thread is polled again until it is ready.

use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tower::Service;

/// Makes one call, and returns the result.
///
/// # Errors
///
/// The service's own.
#[allow(clippy::inline_always, reason = "handing the result out of here is no part of what is measured")]
#[inline(always)]
pub fn drive<R, S: Service<R>>(service: &mut S, request: R) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    make_ready(service, &mut cx);
    let future = pin!(service.call(black_box(request)));
    finish(future, &mut cx)
}

/// Makes one call, which must be pending at the first poll, on a clone of the service.
///
/// # Errors
///
/// The service's own.
#[allow(clippy::inline_always, reason = "handing the result out of here is no part of what is measured")]
#[inline(always)]
pub fn drive_clone<R, S: Service<R> + Clone>(service: &S, request: R) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut clone = service.clone();
    make_ready(&mut clone, &mut cx);
    let mut future = pin!(clone.call(black_box(request)));
    assert!(future.as_mut().poll(&mut cx).is_pending(), "the first poll is pending");
    finish(future, &mut cx)
}

/// Makes that many calls on one service.
#[inline]
pub fn drive_many<S: Service<u64>>(service: &mut S, calls: u64) {
    for request in 0..calls {
        drop(black_box(drive(service, request)));
    }
}

/// Makes that many calls, each on a clone of its own, and each pending once.
#[inline]
pub fn drive_clones<S: Service<u64> + Clone>(service: &mut S, calls: u64) {
    for request in 0..calls {
        drop(black_box(drive_clone(service, request)));
    }
}

/// Makes that many clones, and no call.
#[inline]
pub fn clone_many<S: Clone>(service: &mut S, clones: u64) {
    for _ in 0..clones {
        drop(black_box(service.clone()));
    }
}

#[inline]
fn make_ready<R, S: Service<R>>(service: &mut S, cx: &mut Context<'_>) {
    loop {
        match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => return,
            Poll::Ready(Err(_)) => panic!("the service is always ready"),
            Poll::Pending => {}
        }
    }
}

#[allow(clippy::inline_always, reason = "handing the result out of here is no part of what is measured")]
#[inline(always)]
fn finish<F: Future>(mut future: Pin<&mut F>, cx: &mut Context<'_>) -> F::Output {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return output;
        }
    }
}
