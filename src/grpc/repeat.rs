//! How a gRPC call is sent more than once.

use ::http::{HeaderValue, Request};

use super::pushback::PREVIOUS_ATTEMPTS;
use crate::{Repeat, Trail};

/// Says which gRPC calls may be sent again, and numbers the attempts.
///
/// A call that no server has seen, or that one says it has not begun, is always sent again; see
/// [`unavailable_is_unseen`](super::GrpcClassifier::unavailable_is_unseen). Any other only where it does no harm twice,
/// which gRPC itself does not know: every call is a POST.
///
/// From the second attempt on, `grpc-previous-rpc-attempts` says how many came before. The call's [`Trail`] is in the
/// request's extensions.
///
/// ```
/// use tower_reliability::grpc::GrpcRepeat;
///
/// let reads = GrpcRepeat::new().harmless(|path: &str| path.starts_with("/shop.Catalogue/"));
/// # let _ = reads;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GrpcRepeat<F = fn(&str) -> bool> {
    harmless: F,
}

impl GrpcRepeat {
    /// Sends again only what is unseen.
    #[must_use]
    pub const fn new() -> Self {
        Self { harmless: |_| false }
    }

    /// Takes every call for harmless to repeat.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self { harmless: |_| true }
    }
}

impl<F> GrpcRepeat<F> {
    /// Takes those calls for harmless to repeat whose path, `/package.Service/Method`, `is_harmless` accepts.
    ///
    /// Default: none.
    pub fn harmless<G: Fn(&str) -> bool>(self, is_harmless: G) -> GrpcRepeat<G> {
        GrpcRepeat { harmless: is_harmless }
    }
}

impl Default for GrpcRepeat {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Clone, F: Fn(&str) -> bool> Repeat<Request<B>> for GrpcRepeat<F> {
    fn copy(&self, request: &mut Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn may_repeat(&self, copy: &Request<B>, unseen: bool) -> bool {
        unseen || (self.harmless)(copy.uri().path())
    }

    fn prepare(&self, request: &mut Request<B>, attempt: u32, trail: &mut Option<Trail>) {
        number(request, attempt);
        share(request, trail);
    }
}

/// Says how many attempts came before this one. The first says nothing: it may be somebody else's second.
fn number<B>(request: &mut Request<B>, attempt: u32) {
    if attempt > 1 {
        request.headers_mut().insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempt - 1));
    }
}

/// One trail for all attempts: the call's, which began as the one in its first request, or as a new one.
fn share<B>(request: &mut Request<B>, trail: &mut Option<Trail>) {
    // A copy taken before the first attempt has no trail yet, and has to get the same one.
    let trail = trail.get_or_insert_with(|| request.extensions().get::<Trail>().cloned().unwrap_or_default());
    request.extensions_mut().insert(trail.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        Request::post("http://shop/shop.Catalogue/Find").body(()).expect("it is a request")
    }

    #[test]
    fn only_what_is_unseen_or_harmless_is_sent_again() {
        let copy = request();
        assert!(GrpcRepeat::new().may_repeat(&copy, true));
        assert!(!GrpcRepeat::new().may_repeat(&copy, false));
        assert!(GrpcRepeat::new().idempotent().may_repeat(&copy, false));
        let of =
            |service: &'static str| GrpcRepeat::new().harmless(move |path: &str| path.starts_with(service));
        assert!(of("/shop.Catalogue/").may_repeat(&copy, false));
        assert!(!of("/shop.Orders/").may_repeat(&copy, false));
    }

    #[test]
    fn attempts_are_numbered_from_the_second_on_and_share_a_trail() {
        let mut trail = None;
        let mut first = request();
        let mut second = GrpcRepeat::new().copy(&mut first).expect("a copy");
        GrpcRepeat::new().prepare(&mut first, 1, &mut trail);
        GrpcRepeat::new().prepare(&mut second, 3, &mut trail);
        assert!(!first.headers().contains_key(PREVIOUS_ATTEMPTS));
        assert_eq!(second.headers()[PREVIOUS_ATTEMPTS], "2");
        first.extensions().get::<Trail>().expect("a trail").visit("a");
        assert!(second.extensions().get::<Trail>().expect("a trail").has_visited("a"));
    }
}
