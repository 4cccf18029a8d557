//! What travels in the extensions of an HTTP request: deadlines and limits, whether it may be repeated, its number.

use std::time::Duration;

use ::http::Request;

use crate::call::{Deadline, DeadlineSource, Upload};

/// Reads a request's [`Deadline`] and [`RequestTimeout`] from its extensions, and leaves the deadline there for the
/// layers below.
///
/// ```
/// use std::time::Duration;
/// use ::http::Request;
/// use tower_reliability::{http::RequestTimeout, Deadline};
///
/// let mut request = Request::new(());
/// request.extensions_mut().insert(RequestTimeout(Duration::from_secs(30)));
/// request.extensions_mut().insert(Deadline::after(Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestExtensions;

/// A limit for one request, in place of the configured one of every timeout that it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimeout(pub Duration);

/// Whether one request does no harm when it is done twice, whatever its method says: a POST that only searches, or a
/// DELETE that takes the newest. [`HttpResend`](super::HttpResend) asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotent(pub bool);

/// Which attempt of its call a request is, from 1. [`HttpResend`](super::HttpResend) leaves it for the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(pub u32);

impl<B> DeadlineSource<Request<B>> for RequestExtensions {
    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        request.extensions().get().copied()
    }

    fn timeout(&self, request: &Request<B>) -> Option<Duration> {
        request.extensions().get().map(|RequestTimeout(limit)| *limit)
    }

    fn upload(&self, request: &Request<B>) -> Option<Upload> {
        request.extensions().get().cloned()
    }

    fn propagate(&self, request: &mut Request<B>, deadline: Deadline) {
        request.extensions_mut().insert(deadline);
    }
}
