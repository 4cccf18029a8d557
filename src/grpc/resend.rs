//! How a gRPC call is sent more than once.

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

/// Says which gRPC calls may be sent again, and numbers the attempts.
///
/// A call that no server has seen is always sent again. Any other, be it answered `UNAVAILABLE`, only where it does no
/// harm twice, which gRPC itself does not know: every call is a POST. (Who vouches for what his servers mean by that code
/// tells so the [classifier](super::GrpcClassifier::unavailable_is_unprocessed).) By default none is taken for
/// harmless, so that nothing is done twice; [`idempotent`](Self::idempotent) takes all of them for harmless,
/// [`harmless`](Self::harmless) some by their path, and [`Idempotent`](crate::http::Idempotent) in a request's
/// extensions overrides both for the one request.
///
/// An attempt has in its extensions its number, [`Attempt`](crate::http::Attempt), and the call's [`CallHistory`], which lies
/// [below](CallHistory::inner) that of a layer further out if there is one. From the second on,
/// `grpc-previous-rpc-attempts` says how many came before it, and a `grpc-timeout` what is left of the time: with
/// [`GrpcTimeout`](super::GrpcTimeout) as its limits, a retry also stops when that has run out.
///
/// It copies requests whose body is a [`ReplayBody`]; a [`ReplayLayer`](crate::http::ReplayLayer) further out makes
/// them. What a client streams is sent again as long as it was kept, from its beginning; when a server answers before
/// the end, the next attempt [takes over](ReplayBody::take_over) the rest. Beside an attempt that runs, as a hedge does,
/// it is sent again only if it was sent to its end.
///
/// ```
/// use tower_reliability::grpc::GrpcResend;
///
/// let reads = GrpcResend::new().idempotent_if(|path: &str| path.starts_with("/shop.Catalogue/"));
/// # let _ = reads;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GrpcResend<F = fn(&str) -> bool> {
    idempotent: F,
}

impl GrpcResend {
    /// Sends again only what is unprocessed.
    #[must_use]
    pub const fn new() -> Self {
        Self { idempotent: |_| false }
    }

    /// Takes every call for harmless to repeat.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self { idempotent: |_| true }
    }
}

impl<F> GrpcResend<F> {
    /// Takes those calls for harmless to repeat whose path, `/package.Service/Method`, `is_idempotent` accepts.
    ///
    /// Default: none.
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
        copy(request)
    }

    fn may_resend(&self, copy: &Request<ReplayBody<B>>, prior: PriorAttempts) -> bool {
        may_resend(copy, prior, || (self.idempotent)(copy.uri().path()))
    }

    fn take_over(&self, copy: &mut Request<ReplayBody<B>>) -> bool {
        copy.body_mut().take_over()
    }

    fn prepare(&self, request: &mut Request<ReplayBody<B>>, attempt: u32, history: &mut Option<CallHistory>) {
        let attempt = leave(request.extensions_mut(), attempt, history);
        // The first says nothing of its own: it may be somebody else's second.
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
    fn only_what_is_unseen_or_harmless_is_sent_again() {
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
    fn a_request_speaks_for_itself() {
        assert!(GrpcResend::new().may_resend(&with(true), PriorAttempts::Ended));
        assert!(!GrpcResend::new().idempotent().may_resend(&with(false), PriorAttempts::Ended));
        assert!(GrpcResend::new().may_resend(&with(false), PriorAttempts::Unprocessed), "nobody has seen it");
    }

    #[test]
    fn a_body_is_not_sent_beside_the_attempt_that_streams_it_nor_when_it_is_too_large() {
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
    fn attempts_are_numbered_from_the_second_on_and_share_a_trail() {
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
        first.extensions().get::<CallHistory>().expect("a trail").visit("a");
        assert!(second.extensions().get::<CallHistory>().expect("a trail").has_visited("a"));
    }

    #[test]
    fn the_trail_of_a_layer_further_out_learns_of_retries_and_the_other_way_round_not() {
        let (outer, mut history) = (CallHistory::new(), None);
        let mut first = request();
        first.extensions_mut().insert(outer.clone());
        let mut second = GrpcResend::new().copy(&mut first).expect("a copy");
        outer.retried();
        GrpcResend::new().prepare(&mut first, 1, &mut history);
        GrpcResend::new().prepare(&mut second, 2, &mut history);
        let own = second.extensions().get::<CallHistory>().expect("one of its own");
        assert_eq!(own.retries(), 0, "nobody below has tried again");
        own.retried();
        assert_eq!((outer.retries(), history.map(|history| history.retries())), (2, Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_caller_gives_is_for_all_attempts() {
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
