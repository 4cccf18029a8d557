//! Assembly.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::{
    config::BalanceConfig,
    core::Core,
    service::Balance,
    shared::{BalanceShared, EndpointKey, is_timed},
    strategy::{Chosen, Strategy},
};
use crate::{
    call::{ConfigError, NoRoute, StandardClassifier},
    telemetry::{Emitter, Listener, Name},
};

/// Makes balancers. Made by [`BalanceConfig::build`].
///
/// # Clone
///
/// Each balancer has endpoints of its own.
#[derive(Clone, Debug)]
pub struct BalanceBuilder<C = StandardClassifier, R = NoRoute> {
    config: BalanceConfig,
    classifier: C,
    route: R,
    strategy: Option<Arc<dyn Strategy>>,
    seed: Option<u64>,
    emitter: Emitter,
}

impl BalanceConfig {
    /// Checks every number and makes the builder.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<BalanceBuilder, ConfigError> {
        self.check()?;
        Ok(BalanceBuilder {
            config: self,
            classifier: StandardClassifier,
            route: NoRoute,
            strategy: None,
            seed: None,
            emitter: Emitter::new("balance"),
        })
    }
}

impl<C, R> BalanceBuilder<C, R> {
    /// Classifies results with `classifier`. Default: [`StandardClassifier`].
    ///
    /// A call whose response it [defers](crate::Outcome::Deferred) is in flight until the response ends.
    pub fn classify<C2>(self, classifier: C2) -> BalanceBuilder<C2, R> {
        let Self { config, route, strategy, seed, emitter, .. } = self;
        BalanceBuilder { config, classifier, route, strategy, seed, emitter }
    }

    /// Reads from each request which endpoints it has tried, and which endpoint suits it. Default: [`NoRoute`].
    pub fn route<R2>(self, route: R2) -> BalanceBuilder<C, R2> {
        let Self { config, classifier, strategy, seed, emitter, .. } = self;
        BalanceBuilder { config, classifier, route, strategy, seed, emitter }
    }

    /// Picks endpoints by a strategy of your own, in place of that of the config.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Some(Arc::new(strategy));
        self
    }

    /// Makes the picks of one thread repeatable, for tests. Default: a random seed for each balancer.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Names the balancer in its rejections and events. Default: `balance`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        Self { emitter: self.emitter.joined(name.into(), &[]), ..self }
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the balancers.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.emitter.name().clone();
        Self { emitter: self.emitter.joined(name, &[Arc::new(listener)]), ..self }
    }

    /// A balancer over the endpoints with these keys. `make` makes the service of each.
    ///
    /// The list may be empty: the [handle](Balance::handle) adds endpoints later.
    pub fn endpoints<K: EndpointKey, S>(
        self,
        keys: impl IntoIterator<Item = K>,
        make: impl FnMut(&K) -> S,
    ) -> Balance<K, S, C, R> {
        let Self { config, classifier, route, strategy, seed, emitter } = self;
        let is_timed = match &strategy {
            Some(own) => is_timed(&config, &**own),
            None => is_timed(&config, &Chosen::new(config, 0)),
        };
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let core = Core::new(config, is_timed, emitter, seed);
        let shared = Arc::new(BalanceShared::new(core, config, strategy));
        let balance = Balance::new(shared, classifier, route);
        // The list was empty, so nothing is removed.
        drop(balance.handle().replace(keys, make));
        balance
    }
}
