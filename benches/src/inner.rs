//! The innermost services: one answers at once, one after it was pending once.

use std::{
    error::Error,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;

/// Answers with the request; [`FAIL`] makes it fail.
///
/// Each row has its own error type around [`Down`], so that it is not measured with the width of another error.
#[derive(Debug, Default)]
pub struct Bare<E>(std::marker::PhantomData<fn() -> E>);

// Without the bound `E: Clone` of a derived one.
impl<E> Clone for Bare<E> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Bare<E> {}

impl<E> Bare<E> {
    /// A service that is always ready.
    #[must_use]
    pub const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<E: From<Down>> Service<u64> for Bare<E> {
    type Response = u64;
    type Error = E;
    type Future = Ready<Result<u64, E>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(if request == FAIL { Err(Down.into()) } else { Ok(request) })
    }
}

/// Answers like [`Bare`], and is pending once before, as every call over a network is.
#[derive(Debug, Default)]
pub struct Later<E>(Bare<E>);

impl<E> Clone for Later<E> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Later<E> {}

impl<E> Later<E> {
    /// A service that is always ready.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bare::new())
    }
}

impl<E: From<Down> + Unpin> Service<u64> for Later<E> {
    type Response = u64;
    type Error = E;
    type Future = Answer<E>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        Answer { pending: true, answer: self.0.call(request) }
    }
}

/// The answer of [`Later`]. It wakes nothing: the bench polls again by itself.
#[derive(Debug)]
pub struct Answer<E> {
    pending: bool,
    answer: Ready<Result<u64, E>>,
}

impl<E: Unpin> Future for Answer<E> {
    type Output = Result<u64, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pending) { Poll::Pending } else { Pin::new(&mut self.answer).poll(cx) }
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
