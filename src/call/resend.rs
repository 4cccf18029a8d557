//! How a request is sent more than once.

use crate::call::CallHistory;

/// How the requests of a protocol are sent more than once.
///
/// Retries and hedges ask it. [`CloneRequest`] clones every request. `http::HttpResend` knows methods, bodies and
/// headers.
///
/// ```
/// use tower_reliability::{PriorAttempts, Resend};
///
/// struct Order { id: u64, pay: bool }
///
/// struct Orders;
/// impl Resend<Order> for Orders {
///     fn copy(&self, order: &mut Order) -> Option<Order> {
///         Some(Order { ..*order })
///     }
///     fn may_resend(&self, copy: &Order, prior: PriorAttempts) -> bool {
///         // A payment is not idempotent.
///         prior == PriorAttempts::Unprocessed || !copy.pay
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a retry or a hedge cannot copy `{Req}`: make it `Clone`, or for HTTP use `http::stack()` and `http::ReplayLayer`",
    label = "`{Self}` cannot copy this request",
    note = "around a stack, write `.layer(ReplayLayer::new()).layer(stack)`, with `tower_reliability::http::ReplayLayer`",
    note = "`stack.client(..)` and `stack.channel(..)` replay bodies by themselves; start with `http::stack()` or `grpc::stack()`",
    note = "for requests of another protocol, name a `.resend(..)` that copies them"
)]
pub trait Resend<Req> {
    /// Copies a request for a further attempt, before the request is sent. `None` if it can be sent only once.
    ///
    /// A layer makes no copy before the last attempt.
    fn copy(&self, request: &mut Req) -> Option<Req>;

    /// Whether this copy may be sent now, after these [prior attempts](PriorAttempts).
    ///
    /// A budget may still reject the attempt. Default: yes.
    fn may_resend(&self, _copy: &Req, _prior: PriorAttempts) -> bool {
        true
    }

    /// Moves the parts that earlier attempts still hold into this copy, such as the rest of a body that they were
    /// streaming. `false` if the copy is of no use then; it is not sent.
    ///
    /// A layer calls it once the attempt is granted, before its delay, and never while an earlier attempt is
    /// [running](PriorAttempts::Running). The transport may not know yet that the earlier attempt is over. Default:
    /// `true`, for copies that are complete.
    fn take_over(&self, _copy: &mut Req) -> bool {
        true
    }

    /// Marks a request for inner layers, with the number of the attempt, from 1, and the history of the call.
    ///
    /// A layer calls it before every attempt. A protocol with a place for a [`CallHistory`] puts one into the first
    /// request: the [`inner`](CallHistory::inner) history of the one that is already there, or a new one. It leaves the
    /// same history in `history`, and in all later attempts. Default: no mark.
    fn prepare(&self, _request: &mut Req, _attempt: u32, _history: &mut Option<CallHistory>) {}
}

/// The earlier attempts of a request that may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorAttempts {
    /// They are over, and no backend has processed them. Even a request that is not idempotent may be sent.
    Unprocessed,
    /// They are over. A backend may have processed one of them.
    Ended,
    /// One of them is running, beside the copy.
    Running,
}

/// Clones every request, and takes every request for idempotent. The default.
///
/// **Not for HTTP:** it takes a POST for idempotent, and an order that timed out is placed twice. Around HTTP use
/// `http::stack()`, or name `http::HttpResend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneRequest;

// Without the attribute, the compiler reports the missing `Clone` of a part of the request, and no other remedy.
#[diagnostic::do_not_recommend]
impl<Req: Clone> Resend<Req> for CloneRequest {
    fn copy(&self, request: &mut Req) -> Option<Req> {
        Some(request.clone())
    }
}
