//! How a request is sent more than once.

use crate::call::CallHistory;

/// What a layer that sends a request again has to know about requests of some protocol.
///
/// Retries and hedges ask it. [`CloneRequest`] clones every request; `http::HttpResend` knows methods, bodies and headers.
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
///         prior == PriorAttempts::Unprocessed || !copy.pay // paying twice does harm
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a `{Req}` again",
    note = "for a body that is not `Clone` put `http::ReplayLayer` outside, or name another `repeat(..)`"
)]
pub trait Resend<Req> {
    /// A copy for a further attempt, taken before the request is sent. `None` where it can be sent only once.
    ///
    /// It is not asked before the last attempt.
    fn copy(&self, request: &mut Req) -> Option<Req>;

    /// Whether this copy may be sent now, as far as that depends on the request and on its [earlier](PriorAttempts) attempts.
    ///
    /// A yes is no promise that it will be sent: a budget may be against it. Default: yes.
    fn may_resend(&self, _copy: &Req, _earlier: PriorAttempts) -> bool {
        true
    }

    /// Takes for this copy what the earlier attempts still hold, such as the rest of a body that they were streaming.
    /// `false` if there is no use in sending it then; it is not sent.
    ///
    /// It is called when it is certain that the copy will be sent, before the wait for that, and never while an earlier
    /// attempt is [running](PriorAttempts::Running). The transport may not have noticed yet that an attempt is over.
    /// Default: there is nothing to take.
    fn take_over(&self, _copy: &mut Req) -> bool {
        true
    }

    /// Leaves in a request what those below should know: the number of the attempt, from 1, and the call's trail.
    ///
    /// It is asked before every attempt. A protocol that has a place for a [`CallHistory`] in its requests puts one there,
    /// [below](CallHistory::below) the one that is there already, and leaves it in `trail` for the attempts to come: they
    /// get the same. Default: nothing.
    fn prepare(&self, _request: &mut Req, _attempt: u32, _trail: &mut Option<CallHistory>) {}
}

/// What is known of the earlier attempts of a request that would be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorAttempts {
    /// They are over, and no peer has seen them, or has begun: even what must not be done twice may be sent.
    Unprocessed,
    /// They are over. A peer may have done what they ask.
    Ended,
    /// One of them is running, and goes on beside the copy.
    Running,
}

/// Clones every request and takes all of them for harmless to repeat. The default.
///
/// **Not for HTTP:** it takes a POST for harmless, and an order that timed out is placed twice. Around HTTP take
/// `http::stack()`, or name `http::HttpResend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneRequest;

impl<Req: Clone> Resend<Req> for CloneRequest {
    fn copy(&self, request: &mut Req) -> Option<Req> {
        Some(request.clone())
    }
}
