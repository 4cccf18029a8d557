//! Which calls are of one kind, so that they are expected to take about as long.

/// Says of which class of calls a request is. The delay of each class is learnt by itself.
///
/// A closure `Fn(&Req) -> usize` will do; see [`HedgeLayer::class_of`](super::HedgeLayer::class_of).
pub trait CallClass<Req> {
    /// The class of this request, as a small number.
    fn class(&self, request: &Req) -> usize;
}

/// All calls are of one class, of number 0. The default.
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
