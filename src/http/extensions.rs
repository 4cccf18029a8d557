//! The extensions of an HTTP request that layers read and write.

use std::time::Duration;

use ::http::{Extensions, Request};

use crate::call::{CallHistory, Deadline, DeadlineSource, RouteSource, Upload};

/// Reads a request's [`Deadline`], [`RequestTimeout`], [`Upload`] and [`CallHistory`] from its extensions, and puts the
/// deadline there for inner layers.
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

/// A limit for one request, in place of the configured limit of every timeout that it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTimeout(pub Duration);

/// Whether the server may process a request twice, whatever its method says.
///
/// `true` suits a POST that only searches, `false` a DELETE of the newest entry. [`HttpResend`](super::HttpResend) reads
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotent(pub bool);

/// The number of a request's attempt, from 1. [`HttpResend`](super::HttpResend) puts it there for inner layers.
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
        put(request.extensions_mut(), deadline);
    }
}

impl<B> RouteSource<Request<B>> for RequestExtensions {
    fn history<'r>(&self, request: &'r Request<B>) -> Option<&'r CallHistory> {
        request.extensions().get()
    }
}

/// Puts a value into extensions. An earlier value is overwritten in place, because `insert` allocates.
pub(crate) fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut() {
        Some(place) => *place = value,
        None => drop(extensions.insert(value)),
    }
}

/// reqwest keeps the extensions of its requests private, so they carry no deadline and no history. `http::stack()` works
/// for them too.
#[cfg(feature = "reqwest")]
impl DeadlineSource<reqwest::Request> for RequestExtensions {}

#[cfg(feature = "reqwest")]
impl RouteSource<reqwest::Request> for RequestExtensions {}
