//! Copies of gRPC calls for further attempts.

use ::http::{HeaderValue, Request};
use http_body::Body;

use super::{pushback::PREVIOUS_ATTEMPTS, timeout};
use crate::{
    call::{CallHistory, PriorAttempts, Resend},
    http::{
        ReplayBody,
        resend::{copy, leave, may_resend},
    },
};

/// Decides which gRPC calls may be sent again, and numbers the attempts.
///
/// | call | sent again after a failure |
/// |---|---|
/// | unprocessed: no server has begun it | always |
/// | [`Idempotent`](crate::http::Idempotent) in its extensions | as the value says |
/// | any other | if [`idempotent`](Self::idempotent) or [`idempotent_if`](Self::idempotent_if) covers it |
///
/// gRPC does not tell idempotent calls from others, because every call is a POST. So by default no call counts as
/// idempotent, also not after `UNAVAILABLE`;
/// [`unavailable_is_unprocessed`](super::GrpcClassifier::unavailable_is_unprocessed) relaxes that.
///
/// Each attempt carries its number, [`Attempt`](crate::http::Attempt), and the [`CallHistory`] of the call in its
/// extensions; the history is [inside](CallHistory::inner) that of an outer layer. From the second attempt on,
/// `grpc-previous-rpc-attempts` counts the attempts before, and `grpc-timeout` carries the rest of the time. With
/// [`GrpcTimeout`](super::GrpcTimeout) as its deadlines, a retry also stops when that time is over.
///
/// The body must be a [`ReplayBody`], which an outer [`ReplayLayer`](crate::http::ReplayLayer) makes. A client stream
/// is sent again from its beginning, as far as it was kept. If a server answers before the end, the next attempt
/// [takes over](ReplayBody::take_over) the rest. A hedge sends it beside a running attempt only after its end.
///
/// Clones share the closure of `idempotent_if` as its own `Clone` does, and nothing else.
///
/// ```
/// use tower_reliability::grpc::GrpcResend;
///
/// let is_read = |path: &str| path.starts_with("/shop.Catalogue/");
/// let reads = GrpcResend::new().idempotent_if(is_read);
/// # let _ = reads;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GrpcResend<F = fn(&str) -> bool> {
    idempotent: F,
}

impl GrpcResend {
    /// Sends only unprocessed calls again.
    #[must_use]
    pub const fn new() -> Self {
        Self { idempotent: |_| false }
    }

    /// Treats every call as idempotent.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self { idempotent: |_| true }
    }
}

impl<F> GrpcResend<F> {
    /// Treats a call as idempotent if `is_idempotent` accepts its path, `/package.Service/Method`.
    ///
    /// A retry or a hedge may run such a call twice on the server. Default: no call.
    pub fn idempotent_if<G: Fn(&str) -> bool>(self, is_idempotent: G) -> GrpcResend<G> {
        GrpcResend { idempotent: is_idempotent }
    }
}

impl Default for GrpcResend {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Body, F: Fn(&str) -> bool> Resend<Request<ReplayBody<B>>> for GrpcResend<F> {
    fn copy(&self, request: &mut Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        timeout::start(request);
        // A server may answer that it has not begun although it has read the messages, so they are always recorded.
        copy(request, ReplayBody::copy)
    }

    fn may_resend(&self, copy: &Request<ReplayBody<B>>, prior: PriorAttempts) -> bool {
        may_resend(copy, prior, || (self.idempotent)(copy.uri().path()))
    }

    fn take_over(&self, copy: &mut Request<ReplayBody<B>>) -> bool {
        copy.body_mut().take_over()
    }

    fn prepare(&self, request: &mut Request<ReplayBody<B>>, attempt: u32, history: &mut Option<CallHistory>) {
        let attempt = leave(request.extensions_mut(), attempt, history);
        // The first attempt keeps its header: it may be the second attempt of an earlier hop.
        if attempt > 1 {
            request.headers_mut().insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt - 1));
            timeout::shorten(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::http::{Attempt, Idempotent};

    type Body = ReplayBody<Full<Bytes>>;

    fn request() -> Request<Body> {
        let body = ReplayBody::new(Full::new(Bytes::from_static(b"a message")));
        Request::post("http://shop/shop.Catalogue/Find").body(body).expect("it is a request")
    }

    fn with(idempotent: bool) -> Request<Body> {
        let mut request = request();
        request.extensions_mut().insert(Idempotent(idempotent));
        request
    }

    #[test]
    fn only_an_unprocessed_or_idempotent_call_is_sent_again() {
        let copy = request();
        assert!(GrpcResend::new().may_resend(&copy, PriorAttempts::Unprocessed));
        assert!(!GrpcResend::new().may_resend(&copy, PriorAttempts::Ended));
        assert!(GrpcResend::new().idempotent().may_resend(&copy, PriorAttempts::Ended));
        let of = |service: &'static str| {
            GrpcResend::new().idempotent_if(move |path: &str| path.starts_with(service))
        };
        assert!(of("/shop.Catalogue/").may_resend(&copy, PriorAttempts::Ended));
        assert!(!of("/shop.Orders/").may_resend(&copy, PriorAttempts::Ended));
    }

    #[test]
    fn the_extension_of_a_request_overrides_the_layer() {
        assert!(GrpcResend::new().may_resend(&with(true), PriorAttempts::Ended));
        assert!(!GrpcResend::new().idempotent().may_resend(&with(false), PriorAttempts::Ended));
        assert!(
            GrpcResend::new().may_resend(&with(false), PriorAttempts::Unprocessed),
            "no server has begun it"
        );
    }

    #[test]
    fn a_body_that_is_streaming_or_too_large_is_not_sent_again() {
        let mut first = request();
        let copy = GrpcResend::new().copy(&mut first).expect("a copy");
        let reads = GrpcResend::new().idempotent();
        assert!(!reads.may_resend(&copy, PriorAttempts::Running));
        assert!(
            reads.may_resend(&copy, PriorAttempts::Ended)
                && GrpcResend::new().may_resend(&copy, PriorAttempts::Unprocessed)
        );
        drop(first);
        assert!(reads.may_resend(&copy, PriorAttempts::Running));
        let mut large = request().map(|body| body.max_bytes(3));
        assert!(GrpcResend::new().copy(&mut large).is_none());
    }

    #[test]
    fn attempts_are_numbered_from_the_second_on_and_share_a_history() {
        let mut history = None;
        let mut first = request();
        first.headers_mut().insert(PREVIOUS_ATTEMPTS, HeaderValue::from_static("7"));
        let mut second = GrpcResend::new().copy(&mut first).expect("a copy");
        GrpcResend::new().prepare(&mut first, 1, &mut history);
        GrpcResend::new().prepare(&mut second, 3, &mut history);
        assert_eq!(
            (&first.headers()[PREVIOUS_ATTEMPTS], first.extensions().get()),
            (&"7".parse().expect("ascii"), Some(&Attempt(1)))
        );
        assert_eq!(
            (&second.headers()[PREVIOUS_ATTEMPTS], second.extensions().get()),
            (&"2".parse().expect("ascii"), Some(&Attempt(3)))
        );
        first.extensions().get::<CallHistory>().expect("a history").visit("a");
        assert!(second.extensions().get::<CallHistory>().expect("a history").has_visited("a"));
    }

    #[test]
    fn an_outer_history_learns_of_inner_retries_but_not_the_reverse() {
        let (outer, mut history) = (CallHistory::new(), None);
        let mut first = request();
        first.extensions_mut().insert(outer.clone());
        let mut second = GrpcResend::new().copy(&mut first).expect("a copy");
        outer.retried();
        GrpcResend::new().prepare(&mut first, 1, &mut history);
        GrpcResend::new().prepare(&mut second, 2, &mut history);
        let own = second.extensions().get::<CallHistory>().expect("a history of its own");
        assert_eq!(own.retries(), 0, "no inner layer has retried");
        own.retried();
        assert_eq!((outer.retries(), history.map(|history| history.retries())), (2, Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_caller_is_for_all_attempts() {
        let mut first = request();
        first.headers_mut().insert("grpc-timeout", HeaderValue::from_static("3S"));
        let mut second = GrpcResend::new().copy(&mut first).expect("a copy");
        GrpcResend::new().prepare(&mut first, 1, &mut None);
        tokio::time::advance(Duration::from_secs(2)).await;
        GrpcResend::new().prepare(&mut second, 2, &mut None);
        assert_eq!(first.headers()["grpc-timeout"], "3S");
        assert_eq!(second.headers()["grpc-timeout"], "1000000u");
    }
}
