//! The shared state: the numbers, the random numbers and the counts.

use std::{fmt, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::config::FaultConfig;
use crate::{
    call::ConfigError,
    rt::sync::{Mutex, lock},
};

/// Switches the faults of a layer at run time, and counts them.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers, the random numbers and the counts.
#[derive(Clone)]
pub struct FaultHandle {
    /// Whether the layer knows how calls fail.
    fails: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    config: FaultConfig,
    rng: StdRng,
    enabled: bool,
    counts: FaultSnapshot,
}

/// The calls through a layer, since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FaultSnapshot {
    /// All calls.
    pub calls: u64,
    /// Calls that were failed.
    pub failed: u64,
    /// Calls that hang.
    pub hung: u64,
    /// Calls with an additional latency, failed ones included.
    pub delayed: u64,
}

/// The fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The call passes, and its answer is delayed.
    Pass(Duration),
    /// The call fails after this time.
    Fail(Duration),
    Hang,
}

impl FaultHandle {
    /// The config has been checked.
    pub(super) fn new(config: FaultConfig, fails: bool) -> Self {
        let state = State {
            config,
            rng: StdRng::seed_from_u64(config.seed),
            enabled: true,
            counts: FaultSnapshot::default(),
        };
        Self { fails, state: Arc::new(Mutex::new(state)) }
    }

    /// Injects faults again. A layer begins enabled.
    pub fn enable(&self) {
        lock(&self.state).enabled = true;
    }

    /// Injects no fault into the calls that begin from now on. They draw no random numbers.
    pub fn disable(&self) {
        lock(&self.state).enabled = false;
    }

    /// Sets other numbers for the calls that begin from now on. The random numbers begin again, from the seed.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers then stay in force.
    pub fn update(&self, config: FaultConfig) -> Result<(), ConfigError> {
        config.check(self.fails)?;
        let mut state = lock(&self.state);
        (state.config, state.rng) = (config, StdRng::seed_from_u64(config.seed));
        Ok(())
    }

    /// The current numbers.
    #[must_use]
    pub fn config(&self) -> FaultConfig {
        lock(&self.state).config
    }

    /// The counts.
    #[must_use]
    pub fn snapshot(&self) -> FaultSnapshot {
        lock(&self.state).counts
    }

    /// The fault of the next call.
    pub(super) fn draw(&self) -> Fault {
        let mut state = lock(&self.state);
        let State { config, rng, enabled, counts } = &mut *state;
        counts.calls += 1;
        if !*enabled {
            return Fault::Pass(Duration::ZERO);
        }
        // Always three numbers, so that another rate leaves the latencies of a seed as they are.
        let [kind, first, second]: [f64; 3] = rng.random();
        let fails = kind < config.failure_rate;
        if !fails && kind < config.failure_rate + config.hang_rate {
            counts.hung += 1;
            return Fault::Hang;
        }
        let latency = config.latency.sample([first, second]);
        counts.delayed += u64::from(!latency.is_zero());
        counts.failed += u64::from(fails);
        if fails { Fault::Fail(latency) } else { Fault::Pass(latency) }
    }
}

impl fmt::Debug for FaultHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("FaultHandle")
            .field("config", &state.config)
            .field("enabled", &state.enabled)
            .field("counts", &state.counts)
            .finish_non_exhaustive()
    }
}
