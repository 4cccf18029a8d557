//! The builder of a server stack: behaviour that the stages share, and the check of all numbers together.

use std::sync::Arc;

use super::{
    config::ServerConfig, deadline::DeadlineGateLayer, layer::ServerStack, plan::ServerPlan,
    slots::ServerSlots,
};
use crate::{
    call::{CloneRequest, ConfigError, NoPriority, Protocol},
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    panic_guard::PanicGuardLayer,
    rate_limit::RateLimitConfig,
    stack::{
        plan::Plan,
        stage::{Common, Stage},
    },
    telemetry::{Listener, Name},
    timeout::TimeoutConfig,
};

/// Builds a [`ServerStack`]. Made by `http::server()` and `grpc::server()`.
///
/// `Edge` makes the answers to rejections, `P` is the protocol of all stages, `S` holds one [slot](ServerSlots) per
/// stage, and `Q` reads priorities. The setters come in any order; the last call of a setter wins.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` makes the stack"]
pub struct ServerBuilder<Edge, P, S = ServerSlots, Q = NoPriority> {
    edge: Edge,
    common: Common<P, Q>,
    slots: S,
}

impl<Edge, C, D> ServerBuilder<Edge, Protocol<C, CloneRequest, D>> {
    /// A builder without stages. The classifier says which responses hold their place until they end.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the leaves make it"))]
    pub(crate) fn new(edge: Edge, classifier: C, deadlines: D) -> Self {
        let common = Common::new(Protocol { classifier, resend: CloneRequest, deadlines });
        Self { edge, common, slots: ServerSlots::default() }
    }

    /// The same builder with the stages of a config.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the leaves call it"))]
    pub(crate) fn config(
        self,
        config: ServerConfig,
    ) -> ServerBuilder<Edge, Protocol<C, CloneRequest, D>, ServerConfigSlots> {
        let ServerConfig { drain, rate_limit, concurrency_limit, timeout } = config;
        let slots = ServerSlots { drain, rate_limit, concurrency_limit, timeout };
        self.change_slots(|_| slots)
    }
}

/// The slots of a builder that is made from a [`ServerConfig`]: each stage is optional.
pub type ServerConfigSlots = ServerSlots<
    Option<DrainConfig>,
    Option<RateLimitConfig>,
    Option<ConcurrencyLimitConfig>,
    Option<TimeoutConfig>,
>;

impl<Edge, C, R, D, S, Q> ServerBuilder<Edge, Protocol<C, R, D>, S, Q> {
    /// Reads the deadline of each request from `deadlines`, such as `http::TimeoutHeader`.
    ///
    /// The stack rejects a request whose deadline has passed, before the request takes a token or a permit. A request
    /// does not wait beyond its deadline. Default: the source of the protocol.
    pub fn deadlines<D2>(self, deadlines: D2) -> ServerBuilder<Edge, Protocol<C, R, D2>, S, Q> {
        let common = self.common.change(|protocol, priorities| (protocol.deadlines(deadlines), priorities));
        ServerBuilder { edge: self.edge, common, slots: self.slots }
    }
}

impl<Edge, P, S, Q> ServerBuilder<Edge, P, S, Q> {
    /// Reads the priority of each request from `source`: a closure or a [`PrioritySource`](crate::PrioritySource), such
    /// as `http::PriorityHeader`.
    ///
    /// The queues of both limits serve waiting requests by it. Only a request that has to wait is asked. Default:
    /// [`NoPriority`].
    pub fn priority<Q2>(self, source: Q2) -> ServerBuilder<Edge, P, S, Q2> {
        let common = self.common.change(|protocol, _| (protocol, source));
        ServerBuilder { edge: self.edge, common, slots: self.slots }
    }

    /// Names the stack. Rejections and events then carry the name `name.stage`.
    ///
    /// Default: no name; rejections and events carry the name of the stage alone.
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.common.name = Some(name.into());
        self
    }

    /// Calls a listener with every [`Event`](crate::Event) of every stage.
    ///
    /// The [page of the module](super#telemetry) lists the events. Each call of this setter adds a listener. Default:
    /// none.
    pub fn listen(mut self, listener: impl Listener) -> Self {
        self.common.listeners.push(Arc::new(listener));
        self
    }

    /// The same builder with another edge.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the leaves call it"))]
    pub(crate) fn edge<Edge2>(self, edge: Edge2) -> ServerBuilder<Edge2, P, S, Q> {
        ServerBuilder { edge, common: self.common, slots: self.slots }
    }

    pub(super) fn change_slots<S2>(self, change: impl FnOnce(S) -> S2) -> ServerBuilder<Edge, P, S2, Q> {
        let slots = change(self.slots);
        ServerBuilder { edge: self.edge, common: self.common, slots }
    }
}

impl<Edge, C, R, D, Q, S> ServerBuilder<Edge, Protocol<C, R, D>, S, Q> {
    /// Checks all numbers, each stage by itself and all of them together, and makes the stack.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. If two fields conflict, the rule names the other one.
    pub fn build<Layers>(self) -> Result<ServerStack<Edge, D, Layers>, ConfigError>
    where
        D: Clone,
        S: ServerStages<Protocol<C, R, D>, Q, Layers = Layers>,
    {
        let Self { edge, common, slots } = self;
        let panic_guard = PanicGuardLayer::new().joined(common.name("panic_guard"), &common.listeners);
        let deadlines = common.protocol.deadlines.clone();
        let deadlines = DeadlineGateLayer::new(deadlines, common.name("deadline"), &common.listeners);
        Ok(ServerStack { edge, panic_guard, deadlines, layers: slots.assemble(common)? })
    }
}

/// The [`ServerSlots`] of a builder, each of which holds a [`Stage`]. Not for implementation outside this crate.
pub trait ServerStages<P, Q> {
    /// The [`ServerSlots`] of the built stack, each of which holds a layer.
    type Layers;

    #[doc(hidden)]
    fn assemble(self, common: Common<P, Q>) -> Result<Self::Layers, ConfigError>;
}

impl<P, Q, Drain, RateLimit, ConcurrencyLimit, Timeout> ServerStages<P, Q>
    for ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>
where
    Drain: Stage<DrainConfig, P, Q>,
    RateLimit: Stage<RateLimitConfig, P, Q>,
    ConcurrencyLimit: Stage<ConcurrencyLimitConfig, P, Q>,
    Timeout: Stage<TimeoutConfig, P, Q>,
{
    type Layers = ServerSlots<Drain::Layer, RateLimit::Layer, ConcurrencyLimit::Layer, Timeout::Layer>;

    fn assemble(self, mut common: Common<P, Q>) -> Result<Self::Layers, ConfigError> {
        let ServerPlan { drain, timeout, .. } = ServerPlan {
            drain: self.drain.config(),
            rate_limit: self.rate_limit.config(),
            concurrency_limit: self.concurrency_limit.config(),
            timeout: self.timeout.config(),
            is_rate_keyed: self.rate_limit.key().is_some(),
        }
        .checked()?;
        // The plan adapts the drain and the timeout, and no other number.
        common.drain = drain;
        common.plan = Plan { timeout, ..Plan::default() };
        Ok(ServerSlots {
            drain: self.drain.assemble("drain", &common),
            rate_limit: self.rate_limit.assemble("rate_limit", &common),
            concurrency_limit: self.concurrency_limit.assemble("concurrency_limit", &common),
            timeout: self.timeout.assemble("timeout", &common),
        })
    }
}
