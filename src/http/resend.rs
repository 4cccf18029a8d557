//! Which HTTP requests may be sent again, and how.

use ::http::{Extensions, HeaderMap, Method, Request};
use http_body::Body;

use super::{Attempt, Idempotent, replay::ReplayBody, retry_attempt};
use crate::call::{CallHistory, PriorAttempts, Resend};

/// Sends an HTTP request again if that does no harm, and if its body is still to be had.
///
/// Harmless are GET, HEAD, OPTIONS, TRACE, PUT and DELETE, which HTTP declares idempotent; POST and PATCH with an
/// `Idempotency-Key`; and all others when the peer [has not seen](crate::Retryable::Unprocessed) them. [`Idempotent`] in a
/// request's extensions overrides that for the one request.
///
/// An attempt has in its extensions its number, [`Attempt`], and the call's [`CallHistory`], which lies
/// [below](CallHistory::inner) that of a layer further out if there is one. From the second on it has the header
/// `x-retry-attempt`, the number of attempts that were made before it: 1 in the second. The first attempt keeps that
/// header as it came, for a proxy passes its caller's on.
///
/// It copies requests whose body is a [`ReplayBody`] and, with the feature `reqwest`, those of reqwest whose body
/// reqwest can clone. A body that an earlier attempt was streaming is [taken over](ReplayBody::take_over) from it when
/// that is over; beside one that runs, only a body that was sent to its end is sent again. Requests of reqwest have no extensions for others to use: only the header tells their attempts apart.
///
/// A reqwest client that follows redirects does not say, when it fails to connect, whether it was to the peer or to
/// where the peer has sent it. A POST that was done and answered with a redirect would then pass for unprocessed, and be
/// done again. So with reqwest it does not count that a request is unprocessed, unless
/// [`no_redirects`](Self::no_redirects) says that it can be believed.
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
/// assert!(!resend.may_resend(&order, PriorAttempts::Ended)); // it may have been placed
/// assert!(resend.may_resend(&order, PriorAttempts::Unprocessed)); // nobody has seen it
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
    /// Repeats what HTTP declares idempotent.
    #[must_use]
    pub const fn new() -> Self {
        Self { all_methods: false, no_redirects: false }
    }

    /// Takes every request for harmless to repeat, whatever its method, unless its [`Idempotent`] says otherwise.
    /// Default: off.
    #[must_use]
    pub const fn all_methods(mut self) -> Self {
        self.all_methods = true;
        self
    }

    /// The reqwest client below follows no redirects, so that a failed connect means that the peer has not seen the
    /// request. A POST that is unprocessed is then sent again. It is for a client with `redirect::Policy::none()`.
    ///
    /// Requests of other clients are not concerned: what a client answers with is what one peer has said. Default: off.
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
        copy(request)
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

/// A copy of a request, whatever protocol it is of, if its body can be copied.
pub(crate) fn copy<B: Body>(request: &mut Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
    let mut copy = Request::new(request.body_mut().copy()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

/// Whether a copy may be sent: `harmless` is what its protocol says, if the request itself says nothing.
pub(crate) fn may_resend<B>(
    copy: &Request<ReplayBody<B>>,
    prior: PriorAttempts,
    idempotent: impl FnOnce() -> bool,
) -> bool {
    let is_idempotent = || match copy.extensions().get() {
        Some(Idempotent(idempotent)) => *idempotent,
        None => idempotent(),
    };
    let is_there = match prior {
        // What runs keeps what it streams.
        PriorAttempts::Running => copy.body().can_replay(),
        PriorAttempts::Unprocessed | PriorAttempts::Ended => copy.body().can_take_over(),
    };
    (prior == PriorAttempts::Unprocessed || is_idempotent()) && is_there
}

/// Leaves the number of the attempt and the call's trail in its extensions. Returns that number, which counts on from that
/// of a layer further out: the hedge of a second attempt is no second attempt again.
pub(crate) fn leave(extensions: &mut Extensions, attempt: u32, history: &mut Option<CallHistory>) -> u32 {
    // That of a layer further out stays its own: in its second attempt, its retry would look here like one that
    // somebody below has made. A copy has the outer one too, taken before the first attempt, and has to get ours.
    let history = history.get_or_insert_with(|| nested_history(extensions));
    extensions.insert(history.clone());
    let before = extensions.get().map_or(0, |Attempt(outer)| outer.saturating_sub(1));
    let attempt = attempt.saturating_add(before);
    extensions.insert(Attempt(attempt));
    attempt
}

/// A trail for a layer of its own: below that of a layer further out, if there is one.
pub(crate) fn nested_history(extensions: &Extensions) -> CallHistory {
    extensions.get::<CallHistory>().map(CallHistory::inner).unwrap_or_default()
}

/// Whether the server can tell a repetition from a second request by its key.
fn has_key(method: &Method, headers: &HeaderMap) -> bool {
    let key = headers.get("idempotency-key");
    matches!(*method, Method::POST | Method::PATCH) && key.is_some_and(|key| !key.is_empty())
}

fn number(headers: &mut HeaderMap, attempt: u32) {
    // What a caller said of its own attempts holds for our first; from then on it is our number that counts, and
    // that an earlier attempt of ours would have said.
    if attempt > 1 {
        retry_attempt::set(headers, u64::from(attempt - 1));
    }
}

#[cfg(test)]
mod tests;
