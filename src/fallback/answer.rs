//! The sources of answers: the traits, a value, and a function.

use std::{
    fmt,
    future::{Future, Ready, ready},
    sync::Arc,
};

use super::handle::FallbackHandle;
use crate::call::PriorAttempts;

/// A source of answers, as the layer holds it. Its clones share its memory.
pub(crate) trait Source: Clone {
    /// The same source with nothing remembered.
    fn fresh(&self) -> Self {
        self.clone()
    }
}

/// A source that has answers for these requests, responses and errors.
///
/// For each call it is cloned and keeps something of the request. Then it either learns from the good response or
/// gives another one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no answers of type `{Res}` to requests of type `{Req}`",
    note = "a value, a function, another service and the last good answer must give the inner service's response",
    note = "a value and the last good answer must be `Clone`, and a key must be `Hash + Eq`"
)]
pub(crate) trait Answer<Req, Res, Err>: Source {
    /// The part of a request that is kept while its call runs.
    type Kept;
    /// The wait for the answer; it returns `None` if there is none.
    type Future: Future<Output = Option<Res>>;

    /// Keeps a part of the request before it is sent.
    fn keep(&self, request: &mut Req) -> Self::Kept;

    /// Sees the response of a call that succeeded.
    fn learn(self, _kept: Self::Kept, _response: &Res, _handle: &FallbackHandle) {}

    /// Gives another answer. The future of the call holds the original result meanwhile.
    fn answer(self, kept: Self::Kept, ended: Ended<'_, Res, Err>) -> Self::Future;
}

/// The call that gets another answer.
pub(crate) struct Ended<'a, Res, Err> {
    pub(super) result: Result<&'a Res, &'a Err>,
    pub(super) prior: PriorAttempts,
    pub(super) handle: &'a FallbackHandle,
}

/// Answers with a clone of a value.
impl<Res> Source for Arc<Res> {}

impl<Req, Res: Clone, Err> Answer<Req, Res, Err> for Arc<Res> {
    type Kept = ();
    type Future = Ready<Option<Res>>;

    fn keep(&self, _: &mut Req) {}

    fn answer(self, (): (), _: Ended<'_, Res, Err>) -> Self::Future {
        ready(Some(Res::clone(&self)))
    }
}

/// The answer of a function. Made by [`FallbackLayer::with`](super::FallbackBuilder::with).
///
/// # Clone
///
/// Clones share the function.
pub struct With<F>(pub(super) Arc<F>);

impl<F> Source for With<F> {}

impl<Req, Res, Err, F> Answer<Req, Res, Err> for With<F>
where
    F: Fn(Result<&Res, &Err>) -> Option<Res>,
{
    type Kept = ();
    type Future = Ready<Option<Res>>;

    fn keep(&self, _: &mut Req) {}

    fn answer(self, (): (), ended: Ended<'_, Res, Err>) -> Self::Future {
        ready((self.0)(ended.result))
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
