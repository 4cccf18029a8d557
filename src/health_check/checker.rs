//! The maker of checks: the numbers, the name and the listeners that the checks of all endpoints share.

use std::{sync::Arc, time::Duration};

use super::{check::HealthCheck, config::HealthCheckConfig, probe::Probe};
use crate::{
    call::ConfigError,
    rt::sync::{AtomicU64, Mutex, Ordering, lock},
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Starts the checks of endpoints. Made by [`HealthCheckConfig::build`].
///
/// # Clone
///
/// Clones share the numbers and the listeners.
#[derive(Clone, Debug)]
pub struct HealthChecker {
    shared: Arc<CheckerShared>,
}

#[derive(Debug)]
pub(super) struct CheckerShared {
    emitter: Arc<Emitter>,
    config: Mutex<HealthCheckConfig>,
    /// The endpoints that are checked. Relaxed everywhere: a number of its own.
    endpoints: AtomicU64,
}

impl HealthCheckConfig {
    /// Checks every number and makes the checker.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<HealthChecker, ConfigError> {
        self.check()?;
        Ok(HealthChecker::new(self, Emitter::new("health_check")))
    }
}

impl HealthChecker {
    fn new(config: HealthCheckConfig, emitter: Emitter) -> Self {
        let (emitter, config) = (Arc::new(emitter), Mutex::new(config));
        Self { shared: Arc::new(CheckerShared { emitter, config, endpoints: AtomicU64::new(0) }) }
    }

    /// Names the checker in its events, and separates it from its clones. Default: `health_check`.
    ///
    /// Checks that run keep the former name and numbers of their own.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        Self::new(self.config(), self.shared.emitter.joined(name.into(), &[]))
    }

    /// Starts to check an endpoint, until the [`HealthCheck`] is dropped.
    ///
    /// The first check comes at once. Beside many other endpoints it comes at a random time within an interval, a
    /// millisecond per endpoint. `endpoint` names it in events and logs, after the name of the checker:
    /// `health_check:10.0.0.1:80`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in a runtime without time.
    pub fn start(&self, endpoint: impl AsRef<str>, probe: impl Probe) -> HealthCheck {
        HealthCheck::start(self.emitter_of(endpoint.as_ref()), Arc::clone(&self.shared), probe)
    }

    /// The same, with a listener of this endpoint alone, which misses no event.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in a runtime without time.
    pub fn start_heard(
        &self,
        endpoint: impl AsRef<str>,
        probe: impl Probe,
        listener: impl Listener,
    ) -> HealthCheck {
        let emitter = self.emitter_of(endpoint.as_ref());
        emitter.add(listener);
        HealthCheck::start(emitter, Arc::clone(&self.shared), probe)
    }

    /// The name of the checker.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> HealthCheckConfig {
        self.shared.config()
    }

    /// Replaces the numbers of all endpoints, from the next check of each.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The former numbers stay in force then.
    pub fn update(&self, config: HealthCheckConfig) -> Result<(), ConfigError> {
        config.check()?;
        *lock(&self.shared.config) = config;
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) of all endpoints from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    fn emitter_of(&self, endpoint: &str) -> Emitter {
        self.shared.emitter.of_key(Name::from(format!("{}:{endpoint}", self.name().as_str())))
    }
}

impl CheckerShared {
    pub(super) fn config(&self) -> HealthCheckConfig {
        *lock(&self.config)
    }

    /// Counts one more endpoint. Returns the longest pause before its first check.
    pub(super) fn enter(&self) -> Duration {
        let others = self.endpoints.fetch_add(1, Ordering::Relaxed);
        self.config().longest_start(others)
    }

    /// Counts one endpoint less.
    pub(super) fn leave(&self) {
        self.endpoints.fetch_sub(1, Ordering::Relaxed);
    }
}
