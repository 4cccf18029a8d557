//! The operator's access: endpoints that come, go and change their weight, and the counts.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::Notify;

use super::{
    config::BalanceConfig,
    load::EndpointLoad,
    set::Endpoint,
    shared::{BalanceShared, EndpointKey},
    snapshot::{BalanceSnapshot, EndpointSnapshot},
};
use crate::{
    call::ConfigError,
    telemetry::{Listener, Name},
};

/// Adds, removes and weighs the endpoints of a balancer, and reads its counts.
///
/// Each change makes a new set of all endpoints. So a change of many endpoints is one [`replace`](Self::replace).
///
/// # Clone
///
/// Clones, and all services of one balancer, share the endpoints.
pub struct BalanceHandle<K, S> {
    pub(super) shared: Arc<BalanceShared<K, S>>,
}

/// Endpoints that were removed, and whose calls end.
///
/// Dropping it ends no call: the removal goes on. Clones refer to the same endpoints.
#[derive(Clone, Debug, Default)]
#[must_use = "the calls in flight go on; wait for them with `.drained()`, or drop this value"]
pub struct Removed {
    loads: Vec<Arc<EndpointLoad>>,
    drained: Arc<Notify>,
}

impl<K: EndpointKey, S> BalanceHandle<K, S> {
    /// The name of the balancer.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.core.emitter.name()
    }

    /// Adds an endpoint with the weight 1. An endpoint with this key is removed before.
    ///
    /// The new endpoint [starts slowly](BalanceConfig::slow_start), unless it is the only one.
    pub fn insert(&self, key: K, service: S) -> Removed {
        self.apply([(key, Some(service))])
    }

    /// Removes an endpoint: no further call goes to it, and its calls in flight end as they would.
    pub fn remove(&self, key: &K) -> Removed {
        self.apply([(key.clone(), None)])
    }

    /// Adds the endpoints that have a service, and removes the others, in this order.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = (K, Option<S>)>) -> Removed {
        let former = self.shared.change(|state, now| {
            let starts_slowly = !state.members().is_empty();
            let mut former = Vec::new();
            for (key, service) in changes {
                former.extend(state.remove(&key));
                if let Some(service) = service {
                    let endpoint = Endpoint::new(&self.shared.core, key.clone(), service, 1);
                    if starts_slowly {
                        endpoint.load.start_slowly(self.shared.core.millis(now));
                    }
                    state.insert(key, Arc::new(endpoint), 1);
                }
            }
            former
        });
        self.removed(former)
    }

    /// Makes the endpoints those with these keys. `make` makes the service of each new one.
    ///
    /// Endpoints that stay keep their state. The others are removed.
    pub fn replace(&self, keys: impl IntoIterator<Item = K>, mut make: impl FnMut(&K) -> S) -> Removed {
        let wanted: Vec<K> = keys.into_iter().collect();
        let known: HashSet<K> =
            self.shared.read(|state| state.members().iter().map(|it| it.key.clone()).collect());
        // Without the lock, because `make` runs code of the user.
        let mut seen = HashSet::new();
        let mut new = Vec::new();
        for key in &wanted {
            if seen.insert(key) && !known.contains(key) {
                new.push(Endpoint::new(&self.shared.core, key.clone(), make(key), 1));
            }
        }
        let former = self.shared.change(|state, now| {
            let is_first = state.members().is_empty();
            let mut former = state.retain(|key| seen.contains(key));
            state.reserve(new.len());
            for endpoint in new {
                if !is_first {
                    endpoint.load.start_slowly(self.shared.core.millis(now));
                }
                former.extend(state.insert(endpoint.key.clone(), Arc::new(endpoint), 1));
            }
            former
        });
        self.removed(former)
    }

    /// Sets the weight of an endpoint. `false` without such an endpoint.
    ///
    /// An endpoint with twice the weight gets twice the calls, by the strategies that weigh. A weight of 0 gets no further
    /// call.
    #[must_use = "`false` says that there is no such endpoint"]
    pub fn weigh(&self, key: &K, weight: u32) -> bool {
        self.shared.change(|state, _| {
            let found = state.weigh(key, weight);
            if found {
                let member = state.members().iter().find(|member| member.key == *key);
                member.inspect(|member| member.it.load.set_weight(weight));
            }
            found
        })
    }

    /// The endpoints and the counts.
    #[must_use]
    pub fn snapshot(&self) -> BalanceSnapshot<K> {
        let core = &self.shared.core;
        let endpoints = self.shared.read(|state| state.members().iter().map(EndpointSnapshot::of).collect());
        BalanceSnapshot {
            endpoints,
            is_panic: self.shared.set.load().is_panic,
            failovers: core.failovers.load(Ordering::Relaxed),
            ejections: core.ejections.load(Ordering::Relaxed),
            rejected: core.rejected.load(Ordering::Relaxed),
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> BalanceConfig {
        self.shared.core.config()
    }

    /// Replaces all numbers at once. The endpoints keep their state, and an ejection keeps its end.
    ///
    /// A [strategy of your own](super::BalanceBuilder::strategy) stays.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: BalanceConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.update(config);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.core.emitter.add(listener);
    }

    /// No further call enters these endpoints, which the set does not have any more.
    fn removed(&self, former: impl IntoIterator<Item = Arc<Endpoint<K, S>>>) -> Removed {
        let loads: Vec<_> = former.into_iter().map(|former| Arc::clone(&former.load)).collect();
        for load in &loads {
            load.remove();
        }
        Removed { loads, drained: Arc::clone(&self.shared.core.drained) }
    }
}

impl Removed {
    /// How many endpoints were removed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.loads.len()
    }

    /// The calls that are still in flight at these endpoints.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.loads.iter().map(|load| u64::from(load.in_flight())).sum()
    }

    /// Waits until no call is in flight at these endpoints.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait only.
    pub async fn drained(&self) {
        loop {
            // Made before the look: it hears of each end from then on.
            let ended = self.drained.notified();
            if self.loads.iter().all(|load| load.is_drained()) {
                return;
            }
            ended.await;
        }
    }
}

impl<K, S> Clone for BalanceHandle<K, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, S> fmt::Debug for BalanceHandle<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceHandle")
            .field("name", self.shared.core.emitter.name())
            .field("endpoints", &self.shared.set.load().endpoints.len())
            .finish_non_exhaustive()
    }
}
