//! How a request is sent more than once.

use crate::Trail;

/// What a layer that sends a request again has to know about requests of some protocol.
///
/// Retries and hedges ask it. [`Cloned`] clones every request; `http::HttpRepeat` knows methods, bodies and headers.
///
/// ```
/// use tower_reliability::Repeat;
///
/// struct Order { id: u64, pay: bool }
///
/// struct Orders;
/// impl Repeat<Order> for Orders {
///     fn copy(&self, order: &mut Order) -> Option<Order> {
///         Some(Order { ..*order })
///     }
///     fn may_repeat(&self, copy: &Order, unseen: bool) -> bool {
///         unseen || !copy.pay // paying twice does harm
///     }
/// }
/// ```
pub trait Repeat<Req> {
    /// A copy for a further attempt, taken before the request is sent. `None` where it can be sent only once.
    ///
    /// It is not asked before the last attempt.
    fn copy(&self, request: &mut Req) -> Option<Req>;

    /// Whether this copy may be sent now, after an attempt failed or while one is still running.
    ///
    /// `unseen` says that no peer has seen an earlier attempt, so that even what must not be done twice may be sent.
    /// Default: yes.
    fn may_repeat(&self, _copy: &Req, _unseen: bool) -> bool {
        true
    }

    /// Leaves in a request what those below should know: the number of the attempt, from 1, and the call's trail.
    ///
    /// It is asked before every attempt. A protocol that has a place for a [`Trail`] in its requests puts one there,
    /// [below](Trail::below) the one that is there already, and leaves it in `trail` for the attempts to come: they
    /// get the same. Default: nothing.
    fn prepare(&self, _request: &mut Req, _attempt: u32, _trail: &mut Option<Trail>) {}
}

/// Clones every request and takes all of them for harmless to repeat. The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cloned;

impl<Req: Clone> Repeat<Req> for Cloned {
    fn copy(&self, request: &mut Req) -> Option<Req> {
        Some(request.clone())
    }
}
