//! The service below: ready at once, so that all that is measured is what stands around it.

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower::Service;

/// Answers with the request; [`FAIL`] makes it fail.
///
/// Every contender is given its own error type around [`Down`], so that none is measured with the width of
/// another's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bare<E>(std::marker::PhantomData<fn() -> E>);

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

/// The failure of a peer.
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
