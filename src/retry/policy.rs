//! Numbers for single requests.

use super::config::RetryPolicy;

/// Chooses the numbers for a request.
///
/// Implemented by closures `Fn(&Req) -> Option<RetryPolicy>`; see [`RetryLayer::policy`](super::RetryLayer::policy). The
/// layer asks once for each call, and once more, with the copy, when the first attempt has failed.
pub trait Policies<Req> {
    /// The numbers for this request; `None` for the layer's.
    fn policy(&self, request: &Req) -> Option<RetryPolicy>;
}

/// Every request has the layer's numbers. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnePolicy;

impl<Req> Policies<Req> for OnePolicy {
    fn policy(&self, _: &Req) -> Option<RetryPolicy> {
        None
    }
}

impl<Req, F> Policies<Req> for F
where
    F: Fn(&Req) -> Option<RetryPolicy>,
{
    fn policy(&self, request: &Req) -> Option<RetryPolicy> {
        self(request)
    }
}
