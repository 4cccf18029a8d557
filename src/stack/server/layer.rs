//! The server stack: one layer made of layers.

use tower_layer::Layer;

use super::{
    deadline::{DeadlineGate, DeadlineGateLayer},
    slots::ServerSlots,
};
use crate::{
    panic_guard::{PanicGuard, PanicGuardHandle, PanicGuardLayer},
    stack::{boundary::Boundary, stage::HasHandle, wrap::Wrap},
};

/// One layer for a server, made of layers in the one order in which they work together.
///
/// `Edge` makes the answers to rejections, `D` reads deadlines, and `S` holds the [layers](ServerSlots) of the stages.
/// Made by [`ServerBuilder::build`](super::ServerBuilder::build).
///
/// # Runtime and panics
///
/// The stack needs a tokio runtime with time if a limit or a timeout has to wait. It does not panic. A panic of the
/// inner service becomes a rejection.
///
/// # Clone
///
/// All services made by a stack and by its clones share the state of every stage: on every route, on every connection.
#[derive(Clone, Debug)]
pub struct ServerStack<Edge, D, S> {
    pub(super) edge: Edge,
    pub(super) panic_guard: PanicGuardLayer,
    pub(super) deadlines: DeadlineGateLayer<D>,
    pub(super) layers: S,
}

impl<Svc, Edge, D, Drain, RateLimit, ConcurrencyLimit, Timeout> Layer<Svc>
    for ServerStack<Edge, D, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>>
where
    Timeout: Layer<Wrap<Boundary<Svc, false>>>,
    ConcurrencyLimit: Layer<Timeout::Service>,
    RateLimit: Layer<ConcurrencyLimit::Service>,
    D: Clone,
    Drain: Layer<DeadlineGate<RateLimit::Service, D>>,
    Edge: Layer<Boundary<PanicGuard<Drain::Service>, true>>,
{
    type Service = Edge::Service;

    fn layer(&self, inner: Svc) -> Edge::Service {
        let inner = Wrap::new(Boundary::new(inner));
        let inner = self.layers.timeout.layer(inner);
        let inner = self.layers.concurrency_limit.layer(inner);
        let inner = self.layers.rate_limit.layer(inner);
        let inner = self.deadlines.layer(inner);
        let inner = self.layers.drain.layer(inner);
        let inner = self.panic_guard.layer(inner);
        self.edge.layer(Boundary::new(inner))
    }
}

impl<Edge, D, Drain, RateLimit, ConcurrencyLimit, Timeout>
    ServerStack<Edge, D, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>>
{
    /// The same stack with another edge, which may know the rate limit.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the leaves call it"))]
    pub(crate) fn change_edge<Edge2>(
        self,
        change: impl FnOnce(Edge, &RateLimit) -> Edge2,
    ) -> ServerStack<Edge2, D, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>> {
        let Self { edge, panic_guard, deadlines, layers } = self;
        ServerStack { edge: change(edge, &layers.rate_limit), panic_guard, deadlines, layers }
    }
}

impl<Edge, D, S> ServerStack<Edge, D, S> {
    /// The handle of the panic guard.
    #[must_use]
    pub fn panic_guard(&self) -> PanicGuardHandle {
        self.panic_guard.handle()
    }

    /// The number of requests that were rejected because their deadline had passed when they came.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.deadlines.expired()
    }
}

/// Writes the accessor of each handle.
macro_rules! accessors {
    ($($slot:ident: $Slot:ident,)+) => {
        impl<Edge, D, $($Slot,)+> ServerStack<Edge, D, ServerSlots<$($Slot,)+>> {
            $(
                #[doc = concat!("The handle of the stage `", stringify!($slot), "`.")]
                ///
                /// The method exists exactly when the stack has this stage. An optional stage has an `Option` of its
                /// handle.
                pub fn $slot<Handle>(&self) -> Handle
                where
                    $Slot: HasHandle<Handle = Handle>,
                {
                    self.layers.$slot.handle()
                }
            )+
        }
    };
}

accessors! {
    drain: Drain,
    rate_limit: RateLimit,
    concurrency_limit: ConcurrencyLimit,
    timeout: Timeout,
}
