//! The endpoints and the counts, for operators.

use std::{sync::Arc, time::Duration};

use super::{
    set::Endpoint,
    state::{Member, Standing},
};

/// The endpoints of a balancer, and its counts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BalanceSnapshot<K> {
    /// The endpoints, in the order in which they came.
    pub endpoints: Vec<EndpointSnapshot<K>>,
    /// Whether too few endpoints are healthy, so that all get calls.
    pub is_panic: bool,
    /// The calls that went to another endpoint than the first one: it was not ready, or the call had tried it before.
    pub failovers: u64,
    /// The ejections.
    pub ejections: u64,
    /// The calls that were rejected because there was no endpoint.
    pub rejected: u64,
}

/// One endpoint of a balancer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointSnapshot<K> {
    /// The key.
    pub key: K,
    /// The weight.
    pub weight: u32,
    /// Whether it is ejected. In a panic it gets calls nevertheless.
    pub is_ejected: bool,
    /// Whether [active checks](super::HealthChecks) say that it is down. In a panic it gets calls nevertheless.
    pub is_down: bool,
    /// The calls that it got: those in flight, and those that ended.
    pub picks: u64,
    /// The calls in flight.
    pub in_flight: u32,
    /// The calls that ended as a success.
    pub succeeded: u64,
    /// The calls that ended as a failure.
    pub failed: u64,
    /// The calls that ended without a vote: the caller cut them, or a layer on this side rejected them.
    pub unjudged: u64,
    /// The latency that [`PeakEwma`](super::BuiltIn::PeakEwma) knew after the last call. `None` before the first answer, or
    /// if no strategy or rule needs latencies.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub latency: Option<Duration>,
}

impl<K: Clone> EndpointSnapshot<K> {
    pub(super) fn of<S>(member: &Member<K, Arc<Endpoint<K, S>>>) -> Self {
        let load = &member.it.load;
        let (counts, unjudged, in_flight) = (load.counts(), load.unjudged(), load.in_flight());
        let latency = load.latency();
        Self {
            key: member.key.clone(),
            weight: member.weight,
            is_ejected: matches!(member.standing, Standing::Ejected { .. }),
            is_down: member.is_down,
            picks: counts.succeeded + counts.failed + unjudged + u64::from(in_flight),
            in_flight,
            succeeded: counts.succeeded,
            failed: counts.failed,
            unjudged,
            latency: latency.last().and_then(|seconds| Duration::try_from_secs_f32(seconds).ok()),
        }
    }
}
