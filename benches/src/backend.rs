//! The innermost service, and adapters around services that change a call.

use std::{
    error::Error,
    fmt,
    future::{Future, Ready, ready},
    hint::black_box,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower::Service;

/// Answers with the request; [`FAIL`] makes it fail. A `PENDING` one is pending once before.
///
/// Each row has its own error type around [`Down`], so that it is not measured with the width of another error.
#[derive(Debug, Default)]
pub struct Backend<E, const PENDING: bool>(PhantomData<fn() -> E>);

/// A backend that answers at once.
pub type Bare<E> = Backend<E, false>;

impl<E, const PENDING: bool> Backend<E, PENDING> {
    /// A service that is always ready.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

// Without the bound `E: Clone` of a derived one.
impl<E, const PENDING: bool> Clone for Backend<E, PENDING> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, const PENDING: bool> Copy for Backend<E, PENDING> {}

impl<E: From<Down> + Unpin, const PENDING: bool> Service<u64> for Backend<E, PENDING> {
    type Response = u64;
    type Error = E;
    type Future = Answer<E>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        let result = if request == FAIL { Err(Down.into()) } else { Ok(request) };
        Answer { once: Once(PENDING), result: ready(result) }
    }
}

/// The future of a [`Backend`].
#[derive(Debug)]
pub struct Answer<E> {
    once: Once,
    result: Ready<Result<u64, E>>,
}

impl<E: Unpin> Future for Answer<E> {
    type Output = Result<u64, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.once.is_pending(cx) { Poll::Pending } else { Pin::new(&mut self.result).poll(cx) }
    }
}

/// Whether a future has still to be pending.
#[derive(Clone, Copy, Debug)]
pub struct Once(pub bool);

impl Once {
    /// Whether it is now. It wakes the task, because some futures poll only an inner future that woke them.
    #[inline]
    pub fn is_pending(&mut self, cx: &Context<'_>) -> bool {
        let pending = std::mem::take(&mut self.0);
        if pending {
            cx.waker().wake_by_ref();
        }
        pending
    }
}

impl Future for Once {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_pending(cx) { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Makes each call one that fails.
#[derive(Clone, Debug)]
pub struct Failing<S>(pub S);

impl<S: Service<u64>> Service<u64> for Failing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, _: u64) -> S::Future {
        self.0.call(black_box(FAIL))
    }
}

/// Reads tokio's clock once with each call.
#[derive(Clone, Debug)]
pub struct ReadingClock<S>(pub S);

impl<S: Service<u64>> Service<u64> for ReadingClock<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        black_box(Instant::now());
        self.0.call(request)
    }
}

/// The failure of the service.
#[derive(Clone, Copy, Debug)]
pub struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("down")
    }
}

impl Error for Down {}

/// [`Down`] as the error of a service of ours.
pub type OurError = tower_reliability::Error<Down>;

impl From<Down> for OurError {
    #[inline]
    fn from(down: Down) -> Self {
        Self::Inner(down)
    }
}

/// The request that fails.
pub const FAIL: u64 = u64::MAX;
