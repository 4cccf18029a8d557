//! How an endpoint is picked: the trait for strategies, and those of this crate.

use std::{fmt, sync::Arc, time::Instant};

use super::{
    config::{BalanceConfig, BuiltIn},
    load::{EndpointLoad, Millis, millis_of},
    pick::{Weighted, below, two_of},
    random::Random,
};
use crate::rt::{
    descent,
    sync::{AtomicU64, Ordering, OwnLine},
};

/// Makes a [`Picker`] for each set of endpoints.
///
/// The balancer asks for a new picker whenever an endpoint comes, goes, is ejected, returns, or gets another weight. So a
/// picker may prepare a table, such as the ring of consistent hashing:
///
/// ```
/// use std::sync::Arc;
/// use tower_reliability::balance::{Choice, EndpointLoad, Picker, Strategy};
///
/// /// Rendezvous hashing: a request goes to the endpoint with the highest hash of both.
/// #[derive(Debug)]
/// struct Rendezvous;
///
/// impl Strategy for Rendezvous {
///     fn picker(&self, _endpoints: &[Arc<EndpointLoad>]) -> Box<dyn Picker> {
///         Box::new(Self)
///     }
/// }
///
/// impl Picker for Rendezvous {
///     fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize {
///         let user = choice.affinity().unwrap_or_default();
///         let mix = |hash: u64| (hash ^ user).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
///         let mut order: Vec<usize> = (0..endpoints.len()).collect();
///         order.sort_by_key(|at| mix(endpoints[*at].key_hash()));
///         // The first endpoint may be avoided or not ready; then the next one is asked for.
///         order[choice.attempt() as usize % order.len()]
///     }
/// }
/// ```
pub trait Strategy: fmt::Debug + Send + Sync + 'static {
    /// A picker for these endpoints, of which there is at least one.
    fn picker(&self, endpoints: &[Arc<EndpointLoad>]) -> Box<dyn Picker>;

    /// Whether the pickers need latencies. Each call then reads the clock twice. Default: no.
    fn needs_latency(&self) -> bool {
        false
    }
}

/// Picks an endpoint for each call.
pub trait Picker: Send + Sync {
    /// The place of an endpoint in the list, which is the list that the picker was made for.
    ///
    /// A place that is too high counts from the start again.
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize;
}

/// The call for which an endpoint is picked.
#[derive(Debug)]
pub struct Choice<'a> {
    random: &'a Random,
    affinity: Option<u64>,
    attempt: u32,
    now: Clock,
}

/// Reads the time once, and only if it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Instant,
    now: Option<Instant>,
}

impl<'a> Choice<'a> {
    pub(super) const fn new(random: &'a Random, affinity: Option<u64>, now: Clock) -> Self {
        Self { random, affinity, attempt: 0, now }
    }

    /// A random number.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.random.draw()
    }

    /// The [affinity](crate::RouteSource::affinity) of the request, if it has one.
    #[must_use]
    pub const fn affinity(&self) -> Option<u64> {
        self.affinity
    }

    /// How many endpoints of this call the balancer has turned down, because they should not get the call.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) const fn next_attempt(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    pub(super) fn now(&self) -> Millis {
        self.now.millis()
    }
}

impl Clock {
    pub(super) const fn new(epoch: Instant) -> Self {
        Self { epoch, now: None }
    }

    /// The time, read now.
    pub(super) fn read(&mut self) -> Instant {
        *self.now.get_or_insert_with(descent::now)
    }

    pub(super) fn millis(&self) -> Millis {
        Millis::new(self.now.unwrap_or_else(descent::now), self.epoch)
    }
}

/// The strategy of this crate that the config names.
#[derive(Debug)]
pub(super) struct Chosen {
    config: BalanceConfig,
    next: Arc<Counter>,
}

/// The number of the next pick. Relaxed: only the sum of all picks counts.
type Counter = OwnLine<AtomicU64>;

impl Chosen {
    /// Turns begin with `first`: many clients that begin with the same endpoint would overload it.
    pub(super) fn new(config: BalanceConfig, first: u64) -> Self {
        Self { config, next: Arc::new(OwnLine(AtomicU64::new(first))) }
    }
}

impl Strategy for Chosen {
    fn picker(&self, endpoints: &[Arc<EndpointLoad>]) -> Box<dyn Picker> {
        match self.config.strategy {
            BuiltIn::PeakEwma => Box::new(PeakEwma { decay: millis_of(self.config.decay) }),
            BuiltIn::LeastConnections => Box::new(LeastConnections),
            BuiltIn::LeastConnectionsOfAll => Box::new(LeastConnectionsOfAll),
            BuiltIn::RoundRobin => Box::new(RoundRobin { next: Arc::clone(&self.next) }),
            BuiltIn::WeightedRoundRobin => {
                Box::new(WeightedRoundRobin::new(endpoints, Arc::clone(&self.next)))
            }
            BuiltIn::Random => Box::new(AnyOf::new(endpoints)),
        }
    }

    fn needs_latency(&self) -> bool {
        self.config.strategy == BuiltIn::PeakEwma
    }
}

struct PeakEwma {
    decay: f32,
}

impl Picker for PeakEwma {
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize {
        let now = choice.now().wrapped();
        better_of_two(endpoints, choice, |load| {
            load.latency().load(load.in_flight(), self.decay, now) / as_f32(load.weight())
        })
    }
}

struct LeastConnections;

impl Picker for LeastConnections {
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize {
        better_of_two(endpoints, choice, in_flight_per_weight)
    }
}

struct LeastConnectionsOfAll;

impl Picker for LeastConnectionsOfAll {
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize {
        // From a random place, so that equal endpoints share their calls.
        let first = below(endpoints.len(), choice.random());
        let loads = (first..endpoints.len()).chain(0..first);
        let least = loads.map(|at| (in_flight_per_weight(&endpoints[at]), at));
        least.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, at)| at)
    }
}

struct RoundRobin {
    next: Arc<Counter>,
}

impl Picker for RoundRobin {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a length")]
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], _: &Choice<'_>) -> usize {
        (self.next.0.fetch_add(1, Ordering::Relaxed) % endpoints.len() as u64) as usize
    }
}

struct WeightedRoundRobin {
    order: Weighted,
    next: Arc<Counter>,
}

impl WeightedRoundRobin {
    fn new(endpoints: &[Arc<EndpointLoad>], next: Arc<Counter>) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(|load| load.weight()).collect();
        Self { order: Weighted::new(&weights), next }
    }
}

impl Picker for WeightedRoundRobin {
    fn pick(&self, _: &[Arc<EndpointLoad>], _: &Choice<'_>) -> usize {
        self.order.pick(|| self.next.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Each endpoint as likely as its weight says.
struct AnyOf {
    /// The sums of the weights so far; `None` if all are equal.
    sums: Option<Box<[u64]>>,
}

impl AnyOf {
    fn new(endpoints: &[Arc<EndpointLoad>]) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(|load| load.weight()).collect();
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self { sums: None };
        }
        let sums = weights.iter().scan(0_u64, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self { sums: Some(sums.collect()) }
    }
}

impl Picker for AnyOf {
    fn pick(&self, endpoints: &[Arc<EndpointLoad>], choice: &Choice<'_>) -> usize {
        let random = choice.random();
        match &self.sums {
            None => below(endpoints.len(), random),
            Some(sums) => {
                let total = sums.last().copied().unwrap_or(1).max(1);
                sums.partition_point(|sum| *sum <= random % total)
            }
        }
    }
}

/// Picks two endpoints at random, and returns the one with the lower load.
#[inline]
fn better_of_two(
    endpoints: &[Arc<EndpointLoad>],
    choice: &Choice<'_>,
    load: impl Fn(&EndpointLoad) -> f32,
) -> usize {
    if endpoints.len() < 2 {
        return 0;
    }
    let (first, second) = two_of(endpoints.len(), choice.random());
    if load(&endpoints[second]) < load(&endpoints[first]) { second } else { first }
}

fn in_flight_per_weight(load: &EndpointLoad) -> f32 {
    (as_f32(load.in_flight()) + 1.0) / as_f32(load.weight())
}

#[expect(clippy::cast_precision_loss, reason = "a load needs no more than 24 bits")]
const fn as_f32(number: u32) -> f32 {
    number as f32
}

#[cfg(all(test, not(shuttle)))]
mod tests;
