//! Where other answers come from: the trait, and the two sources that have theirs at hand.

use std::{
    fmt,
    future::{Future, Ready, ready},
    sync::Arc,
};

use super::{cause::Failed, handle::FallbackHandle};

/// Where the answer comes from when a call was turned away or failed.
///
/// There are four in this module, each with a setter on [`FallbackLayer`](super::FallbackLayer). One of your own, such
/// as a cache that many processes share, is attached with [`source`](super::FallbackLayer::source). For each call it
/// is cloned, and asked to keep something of the request; then either it learns from the good answer, or it is asked
/// for another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no other answers of type `{Res}`",
    note = "say what to answer with: `.value(..)`, `.with(..)`, `.service(..)` or `.last_good(..)`"
)]
pub trait Source<Req, Res, Err>: Clone {
    /// What is kept of a request while its call runs.
    type Kept;
    /// How the other answer is waited for; it gives `None` where there is none.
    type Future: Future<Output = Option<Res>>;

    /// Keeps what is needed of a request, before it is sent.
    fn keep(&self, request: &mut Req) -> Self::Kept;

    /// Sees the answer of a call that succeeded. Default: nothing.
    fn learn(self, _kept: Self::Kept, _response: &Res) {}

    /// Gives another answer. The result that it stands in for is held meanwhile.
    fn answer(self, kept: Self::Kept, failed: Failed<'_, Res, Err>) -> Self::Future;
}

/// What a source remembers across calls, made anew for a layer that shares nothing.
pub trait Isolate {
    /// The same source with nothing remembered, for the layer with this handle.
    #[must_use]
    fn isolated(&self, handle: &FallbackHandle) -> Self;
}

/// No source yet: a service made by such a layer cannot be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

impl Isolate for Unset {
    fn isolated(&self, _: &FallbackHandle) -> Self {
        Self
    }
}

/// A clone of a value. Made by [`FallbackLayer::value`](super::FallbackLayer::value).
#[derive(Debug)]
pub struct Value<Res>(Arc<Res>);

impl<Res> Value<Res> {
    pub(super) fn new(value: Res) -> Self {
        Self(Arc::new(value))
    }
}

impl<Req, Res: Clone, Err> Source<Req, Res, Err> for Value<Res> {
    type Kept = ();
    type Future = Ready<Option<Res>>;

    fn keep(&self, _: &mut Req) {}

    fn answer(self, (): (), _: Failed<'_, Res, Err>) -> Self::Future {
        ready(Some(Res::clone(&self.0)))
    }
}

impl<Res> Isolate for Value<Res> {
    fn isolated(&self, _: &FallbackHandle) -> Self {
        self.clone()
    }
}

impl<Res> Clone for Value<Res> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A function of what went wrong. Made by [`FallbackLayer::with`](super::FallbackLayer::with).
pub struct With<F>(Arc<F>);

impl<F> With<F> {
    pub(super) fn new(function: F) -> Self {
        Self(Arc::new(function))
    }
}

impl<Req, Res, Err, F> Source<Req, Res, Err> for With<F>
where
    F: Fn(Failed<'_, Res, Err>) -> Option<Res>,
{
    type Kept = ();
    type Future = Ready<Option<Res>>;

    fn keep(&self, _: &mut Req) {}

    fn answer(self, (): (), failed: Failed<'_, Res, Err>) -> Self::Future {
        ready((self.0)(failed))
    }
}

impl<F> Isolate for With<F> {
    fn isolated(&self, _: &FallbackHandle) -> Self {
        self.clone()
    }
}

impl<F> Clone for With<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for With<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").finish_non_exhaustive()
    }
}
