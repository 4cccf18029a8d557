//! Which requests are tried again otherwise than the rest.

use super::config::RetryPolicy;

/// Chooses the numbers for a request, where it shall have others than the layer's.
///
/// A closure `Fn(&Req) -> Option<RetryPolicy>` will do; see [`RetryLayer::policy`](super::RetryLayer::policy). It is
/// asked once for each call, and once more when an attempt has failed, of the copy.
pub trait Policies<Req> {
    /// The numbers for this request; `None` for those of the layer.
    fn policy(&self, request: &Req) -> Option<RetryPolicy>;
}

/// Every request has the numbers of the layer. The default.
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
