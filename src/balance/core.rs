//! The state that all calls of a balancer share, whatever their endpoints are.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    config::BalanceConfig,
    load::{EndpointLoad, Millis, millis_of},
    random::Random,
};
use crate::{
    rt::{
        clock,
        sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::Emitter,
};

// Relaxed except where noted: each number stands for itself.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) epoch: Instant,
    pub(super) emitter: Arc<Emitter>,
    pub(super) random: Random,
    /// The numbers in force. Successful calls do not read them.
    config: Mutex<BalanceConfig>,
    /// The bits of the decay in milliseconds.
    decay: AtomicU32,
    /// Whether each call reads the clock when it begins and when it ends.
    is_timed: AtomicBool,
    /// The millisecond in which the machine has something to do.
    due: AtomicU64,
    /// Endpoints that failed too often in a row. The next pick judges them. Weak, because each load refers to this state.
    pub(super) suspects: Mutex<Vec<Weak<EndpointLoad>>>,
    /// Notified when the last call of a removed endpoint ends.
    pub(super) drained: Arc<Notify>,
    /// Notified when the endpoints change.
    pub(super) changed: Arc<Notify>,
    pub(super) failovers: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) rejected: AtomicU64,
}

impl Core {
    pub(super) fn new(config: BalanceConfig, is_timed: bool, emitter: Emitter, seed: u64) -> Self {
        Self {
            epoch: clock::now(),
            emitter: Arc::new(emitter),
            random: Random::new(seed),
            config: Mutex::new(config),
            decay: AtomicU32::new(millis_of(config.decay).to_bits()),
            is_timed: AtomicBool::new(is_timed),
            due: AtomicU64::new(NEVER),
            suspects: Mutex::default(),
            drained: Arc::default(),
            changed: Arc::default(),
            failovers: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    pub(super) fn config(&self) -> BalanceConfig {
        *lock(&self.config)
    }

    pub(super) fn set_config(&self, config: BalanceConfig, is_timed: bool) {
        *lock(&self.config) = config;
        self.decay.store(millis_of(config.decay).to_bits(), Ordering::Relaxed);
        self.is_timed.store(is_timed, Ordering::Relaxed);
    }

    pub(super) fn decay(&self) -> f32 {
        f32::from_bits(self.decay.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.is_timed.load(Ordering::Relaxed)
    }

    pub(super) fn millis(&self, at: Instant) -> Millis {
        Millis::new(at, self.epoch)
    }

    /// Whether the machine has something to do at `now`, which is read only then.
    #[inline]
    pub(super) fn is_due(&self, now: impl FnOnce() -> Millis) -> bool {
        // Acquire: the suspects are there by then.
        match self.due.load(Ordering::Acquire) {
            NEVER => false,
            AT_ONCE => true,
            due => now() >= Millis(due),
        }
    }

    /// The machine begins its work. Its next time is set when it is done.
    pub(super) fn begin_due(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }

    /// The machine has something to do at `at`, or earlier if a suspect came meanwhile.
    pub(super) fn set_due(&self, at: Option<Instant>) {
        // A millisecond later: the machine compares exact times.
        let due = at.map_or(NEVER, |at| self.millis(at).0.saturating_add(1));
        self.due.fetch_min(due, Ordering::Relaxed);
    }

    /// The endpoint has failed too often in a row.
    #[cold]
    pub(super) fn suspect(&self, load: &Arc<EndpointLoad>) {
        let mut suspects = lock(&self.suspects);
        if !suspects.iter().any(|it| it.as_ptr() == Arc::as_ptr(load)) {
            suspects.push(Arc::downgrade(load));
        }
        drop(suspects);
        self.due.store(AT_ONCE, Ordering::Release);
    }
}

const NEVER: u64 = u64::MAX;
const AT_ONCE: u64 = 0;
