//! Which HTTP requests may be sent again, and how.

use ::http::{Extensions, HeaderMap, Method, Request};
use http_body::Body;

use super::{
    Attempt, Idempotent,
    extensions::put,
    replay::{ReplayBody, watch_upload},
    retry_attempt,
};
use crate::call::{CallHistory, PriorAttempts, Resend};

/// Decides which HTTP requests may be sent again, and copies them.
///
/// | request | sent again |
/// |---|---|
/// | GET, HEAD, OPTIONS, TRACE, PUT, DELETE | yes: HTTP declares them idempotent |
/// | POST or PATCH with an `Idempotency-Key` | yes |
/// | any other | only if it is [unprocessed](crate::Retryable::Unprocessed) |
/// | with [`Idempotent`] in its extensions | as the extension says |
///
/// An idempotent request records its body. Any other request records nothing: its copy can be sent while its body
/// is untouched, as after a refused connection.
///
/// Each attempt has its number in its extensions, as [`Attempt`], and the call's [`CallHistory`]. The history is
/// [nested](CallHistory::inner) in that of an outer layer. From the second attempt on, the header `x-retry-attempt`
/// counts the earlier attempts. The first attempt keeps the header that it came with, because a proxy passes its
/// caller's header on.
///
/// It copies requests without a body, `Request<()>`, and requests whose body is a [`ReplayBody`]. When the earlier
/// attempt is over, the copy [takes over](ReplayBody::take_over) the rest of its body. Beside a running attempt, as under
/// a hedge, only a body that was sent to its end is sent again.
///
/// # reqwest
///
/// With the feature `reqwest` it also copies reqwest's requests, if reqwest can clone the body. Their extensions
/// are private to reqwest, so only the header numbers their attempts.
///
/// A reqwest client that follows redirects does not tell which connection failed. A POST that was processed, and
/// answered with a redirect to a dead host, would look unprocessed and be processed twice. With reqwest such a
/// request is therefore sent once, unless [`no_redirects`](Self::no_redirects) is set.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower_reliability::{
///     PriorAttempts, Resend,
///     http::{HttpResend, Idempotent, ReplayBody},
/// };
///
/// let body = || ReplayBody::new(Full::new(Bytes::from("{}")));
/// let resend = HttpResend::new();
///
/// let order = Request::post("/orders").body(body())?;
/// // The order may have been placed …
/// assert!(!resend.may_resend(&order, PriorAttempts::Ended));
/// // … unless no server has seen it.
/// assert!(resend.may_resend(&order, PriorAttempts::Unprocessed));
///
/// let search = Request::post("/search").extension(Idempotent(true)).body(body())?;
/// assert!(resend.may_resend(&search, PriorAttempts::Ended));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpResend {
    all_methods: bool,
    no_redirects: bool,
}

impl HttpResend {
    /// Sends again the requests that HTTP declares idempotent.
    #[must_use]
    pub const fn new() -> Self {
        Self { all_methods: false, no_redirects: false }
    }

    /// Treats every method as idempotent. An [`Idempotent`] in a request's extensions still overrides it.
    ///
    /// More requests survive a failure, and a POST may be processed twice. Default: off.
    #[must_use]
    pub const fn all_methods(mut self) -> Self {
        self.all_methods = true;
        self
    }

    /// Declares that the inner reqwest client follows no redirects, as with `redirect::Policy::none()`.
    ///
    /// A refused connection then means that no server has seen the request, and a POST is sent again. Set on a
    /// client that does follow redirects, a POST may be processed twice. Other clients are not affected.
    /// Default: off.
    #[must_use]
    pub const fn no_redirects(mut self) -> Self {
        self.no_redirects = true;
        self
    }

    fn is_idempotent(self, method: &Method, headers: &HeaderMap) -> bool {
        self.all_methods || method.is_idempotent() || has_key(method, headers)
    }
}

impl<B: Body> Resend<Request<ReplayBody<B>>> for HttpResend {
    fn copy(&self, request: &mut Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        let idempotent = is_idempotent(request, || self.is_idempotent(request.method(), request.headers()));
        copy(request, if idempotent { ReplayBody::copy } else { ReplayBody::copy_unread })
    }

    fn may_resend(&self, copy: &Request<ReplayBody<B>>, prior: PriorAttempts) -> bool {
        may_resend(copy, prior, || self.is_idempotent(copy.method(), copy.headers()))
    }

    fn take_over(&self, copy: &mut Request<ReplayBody<B>>) -> bool {
        copy.body_mut().take_over()
    }

    fn prepare(&self, request: &mut Request<ReplayBody<B>>, attempt: u32, history: &mut Option<CallHistory>) {
        let attempt = leave(request.extensions_mut(), attempt, history);
        number(request.headers_mut(), attempt);
    }
}

// A request without a body is its own copy. With one impl alone, the compiler would ask for a `ReplayBody` before it
// looks for an impl, and so never print the message of `Resend`.
impl Resend<Request<()>> for HttpResend {
    fn copy(&self, request: &mut Request<()>) -> Option<Request<()>> {
        Some(request.clone())
    }

    fn may_resend(&self, copy: &Request<()>, prior: PriorAttempts) -> bool {
        let idempotent = || self.is_idempotent(copy.method(), copy.headers());
        prior == PriorAttempts::Unprocessed || is_idempotent(copy, idempotent)
    }

    fn prepare(&self, request: &mut Request<()>, attempt: u32, history: &mut Option<CallHistory>) {
        let attempt = leave(request.extensions_mut(), attempt, history);
        number(request.headers_mut(), attempt);
    }
}

#[cfg(feature = "reqwest")]
impl Resend<reqwest::Request> for HttpResend {
    fn copy(&self, request: &mut reqwest::Request) -> Option<reqwest::Request> {
        request.try_clone()
    }

    fn may_resend(&self, copy: &reqwest::Request, prior: PriorAttempts) -> bool {
        (prior == PriorAttempts::Unprocessed && self.no_redirects)
            || self.is_idempotent(copy.method(), copy.headers())
    }

    fn prepare(&self, request: &mut reqwest::Request, attempt: u32, _: &mut Option<CallHistory>) {
        number(request.headers_mut(), attempt);
    }
}

/// A copy of a request for a further attempt, with this copy of its body and an upload of its own.
pub(crate) fn copy<B: Body>(
    request: &mut Request<ReplayBody<B>>,
    body: impl FnOnce(&mut ReplayBody<B>) -> Option<ReplayBody<B>>,
) -> Option<Request<ReplayBody<B>>> {
    let mut copy = duplicate(request, body)?;
    watch_upload(&mut copy);
    Some(copy)
}

/// A copy of a request for the same attempt. The layers that wait for its upload see one upload.
pub(crate) fn copy_within_attempt<B: Body>(
    request: &mut Request<ReplayBody<B>>,
) -> Option<Request<ReplayBody<B>>> {
    let mut copy = duplicate(request, ReplayBody::copy)?;
    let upload = copy.extensions().get().cloned();
    copy.body_mut().report_to(upload);
    Some(copy)
}

fn duplicate<B: Body>(
    request: &mut Request<ReplayBody<B>>,
    body: impl FnOnce(&mut ReplayBody<B>) -> Option<ReplayBody<B>>,
) -> Option<Request<ReplayBody<B>>> {
    let mut copy = Request::new(body(request.body_mut())?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

/// Whether a copy may be sent. Its own extensions override the answer of its protocol.
pub(crate) fn may_resend<B>(
    copy: &Request<ReplayBody<B>>,
    prior: PriorAttempts,
    idempotent: impl FnOnce() -> bool,
) -> bool {
    let has_body = match prior {
        // A running attempt keeps the body that it streams.
        PriorAttempts::Running => copy.body().can_replay(),
        PriorAttempts::Unprocessed | PriorAttempts::Ended => copy.body().can_take_over(),
    };
    (prior == PriorAttempts::Unprocessed || is_idempotent(copy, idempotent)) && has_body
}

/// Whether the server may process a request twice. Its own extensions override the answer of its protocol.
pub(crate) fn is_idempotent<B>(request: &Request<B>, by_protocol: impl FnOnce() -> bool) -> bool {
    match request.extensions().get() {
        Some(Idempotent(idempotent)) => *idempotent,
        None => by_protocol(),
    }
}

/// Puts the attempt's number and the call's history into the extensions. Returns the number.
///
/// It counts on from an outer layer's number: the hedge of a second attempt is a third one.
pub(crate) fn leave(extensions: &mut Extensions, attempt: u32, history: &mut Option<CallHistory>) -> u32 {
    // An outer layer keeps its own history: in its second attempt, its retry would look like a retry of an inner
    // layer. A copy was taken before the first attempt and holds the outer history, so it is replaced here.
    let history = history.get_or_insert_with(|| nested_history(extensions));
    put(extensions, history.clone());
    let before = extensions.get().map_or(0, |Attempt(outer)| outer.saturating_sub(1));
    let attempt = attempt.saturating_add(before);
    put(extensions, Attempt(attempt));
    attempt
}

/// A history for one layer, nested in that of an outer layer if there is one.
pub(crate) fn nested_history(extensions: &Extensions) -> CallHistory {
    extensions.get::<CallHistory>().map(CallHistory::inner).unwrap_or_default()
}

/// Whether the server can recognise a repeated request by its key.
fn has_key(method: &Method, headers: &HeaderMap) -> bool {
    let key = headers.get("idempotency-key");
    matches!(*method, Method::POST | Method::PATCH) && key.is_some_and(|key| !key.is_empty())
}

fn number(headers: &mut HeaderMap, attempt: u32) {
    // The first attempt passes on the caller's count. From the second on, this layer's count replaces it.
    if attempt > 1 {
        retry_attempt::set(headers, u64::from(attempt - 1));
    }
}

#[cfg(test)]
mod tests;
