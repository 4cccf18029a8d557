//! The message for a router whose rejections no layer answers.

use std::convert::Infallible;

use crate::call::Error;

/// The error of a service behind an [`Error`], when a layer answers all rejections. No type implements it.
///
/// axum asks for errors that are `Into<Infallible>`. The impl below exists for the message of this bound: without the
/// impl, the compiler reports a missing `From` and names no remedy. The bound is on `E`, because the compiler prefers the
/// text of axum's own bound for a bound on the same type.
#[diagnostic::on_unimplemented(
    message = "no layer answers the rejections of this stack: add `http::RejectionLayer` outside of it",
    label = "a router needs a service without errors, and this one fails with `tower_reliability::Error<{Self}>`",
    note = "write `.layer((RejectionLayer::new(), stack))`, with `tower_reliability::http::RejectionLayer`"
)]
pub(crate) trait Answered: Sized {
    fn never(error: Error<Self>) -> Infallible;
}

impl<E: Answered> From<Error<E>> for Infallible {
    fn from(error: Error<E>) -> Self {
        E::never(error)
    }
}
