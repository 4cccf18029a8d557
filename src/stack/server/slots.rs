//! One slot per stage, and the setters that fill them.

use super::builder::ServerBuilder;
use crate::{
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    rate_limit::RateLimitConfig,
    stack::stage::{Stage, Unused},
    timeout::TimeoutConfig,
};

/// The stages of a server stack, outermost first. Each is [`Unused`], or a config, or a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSlots<Drain = Unused, RateLimit = Unused, ConcurrencyLimit = Unused, Timeout = Unused> {
    pub(super) drain: Drain,
    pub(super) rate_limit: RateLimit,
    pub(super) concurrency_limit: ConcurrencyLimit,
    pub(super) timeout: Timeout,
}

impl<Edge, P, Q, Drain, RateLimit, ConcurrencyLimit, Timeout>
    ServerBuilder<Edge, P, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>, Q>
{
    /// Finishes the calls in flight before the server stops. [`ServerStack::drain`](super::ServerStack::drain) begins
    /// it.
    ///
    /// A call is in flight until the end of its response body. The limit of the drain is at least
    /// [`timeout`](Self::timeout) and the longest waits of the limits together; its default grows to that. Default: no
    /// drain.
    pub fn drain<New>(
        self,
        stage: New,
    ) -> ServerBuilder<Edge, P, ServerSlots<New, RateLimit, ConcurrencyLimit, Timeout>, Q>
    where
        New: Stage<DrainConfig, P, Q>,
    {
        self.change_slots(|ServerSlots { rate_limit, concurrency_limit, timeout, .. }| ServerSlots {
            drain: stage,
            rate_limit,
            concurrency_limit,
            timeout,
        })
    }

    /// Limits how many requests pass per second: of all clients together, or of each with `per_header` or
    /// [`per_key`](RateLimitConfig::per_key).
    ///
    /// A rejected request takes no permit of the concurrency limit. The longest wait is below
    /// [`timeout`](Self::timeout); a limit per key lets no call wait. Default: no limit.
    pub fn rate_limit<New>(
        self,
        stage: New,
    ) -> ServerBuilder<Edge, P, ServerSlots<Drain, New, ConcurrencyLimit, Timeout>, Q>
    where
        New: Stage<RateLimitConfig, P, Q>,
    {
        self.change_slots(|ServerSlots { drain, concurrency_limit, timeout, .. }| ServerSlots {
            drain,
            rate_limit: stage,
            concurrency_limit,
            timeout,
        })
    }

    /// Limits how many requests are in flight at once. Further requests wait by [`priority`](Self::priority) and
    /// deadline, or are rejected.
    ///
    /// The permit returns at the end of the response body. A chosen `max_wait` is below [`timeout`](Self::timeout).
    /// Default: no limit.
    pub fn concurrency_limit<New>(
        self,
        stage: New,
    ) -> ServerBuilder<Edge, P, ServerSlots<Drain, RateLimit, New, Timeout>, Q>
    where
        New: Stage<ConcurrencyLimitConfig, P, Q>,
    {
        self.change_slots(|ServerSlots { drain, rate_limit, timeout, .. }| ServerSlots {
            drain,
            rate_limit,
            concurrency_limit: stage,
            timeout,
        })
    }

    /// Limits the time of the handler, until the head of its response. Takes a `Duration` or a [`TimeoutConfig`].
    ///
    /// The wait in the queues of the limits does not count. A request with an earlier deadline ends at that. Above 0.
    /// Default: no limit; then a deadline is checked on arrival and in the queues, and does not end a running handler.
    pub fn timeout<New>(
        self,
        stage: New,
    ) -> ServerBuilder<Edge, P, ServerSlots<Drain, RateLimit, ConcurrencyLimit, New>, Q>
    where
        New: Stage<TimeoutConfig, P, Q>,
    {
        self.change_slots(|ServerSlots { drain, rate_limit, concurrency_limit, .. }| ServerSlots {
            drain,
            rate_limit,
            concurrency_limit,
            timeout: stage,
        })
    }
}
