//! Classes of calls that take about the same time.

/// Names the class of a request. The layer learns the delay of each class by itself.
///
/// Implemented by closures `Fn(&Req) -> usize`; see [`HedgeLayer::class_of`](super::HedgeLayer::class_of).
pub trait CallClass<Req> {
    /// The class of this request, as a small number.
    fn class(&self, request: &Req) -> usize;
}

/// Puts all calls into one class, number 0. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneClass;

impl<Req> CallClass<Req> for OneClass {
    fn class(&self, _: &Req) -> usize {
        0
    }
}

impl<Req, F> CallClass<Req> for F
where
    F: Fn(&Req) -> usize,
{
    fn class(&self, request: &Req) -> usize {
        self(request)
    }
}
