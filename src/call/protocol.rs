//! The classifier, the resend rule and the deadlines of a protocol, in one bundle.

use super::{CloneRequest, NoDeadline, StandardClassifier};

/// A protocol, as far as layers need to know it: how results are classified, how requests are sent again, and where
/// requests carry their deadline.
///
/// `http::stack()` and `grpc::stack()` begin with their protocol. A stack hands its protocol to each of its stages.
/// Clones are independent values.
///
/// ```
/// use tower_reliability::{BoxErrorClassifier, Protocol};
///
/// let protocol = Protocol::new().classify(BoxErrorClassifier);
/// # let _ = protocol;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol<C = StandardClassifier, R = CloneRequest, D = NoDeadline> {
    pub(crate) classifier: C,
    pub(crate) resend: R,
    pub(crate) deadlines: D,
}

impl Protocol {
    /// Takes every `Ok` for a success, clones every request, and knows no deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self { classifier: StandardClassifier, resend: CloneRequest, deadlines: NoDeadline }
    }
}

impl<C, R, D> Protocol<C, R, D> {
    /// Classifies results with `classifier`. Default: [`StandardClassifier`].
    pub fn classify<C2>(self, classifier: C2) -> Protocol<C2, R, D> {
        Protocol { classifier, resend: self.resend, deadlines: self.deadlines }
    }

    /// Sends requests again as `resend` says. Default: [`CloneRequest`].
    pub fn resend<R2>(self, resend: R2) -> Protocol<C, R2, D> {
        Protocol { classifier: self.classifier, resend, deadlines: self.deadlines }
    }

    /// Reads the deadline of each request from `deadlines`. Default: [`NoDeadline`].
    pub fn deadlines<D2>(self, deadlines: D2) -> Protocol<C, R, D2> {
        Protocol { classifier: self.classifier, resend: self.resend, deadlines }
    }
}
