//! The state that all leases of a layer share.

use std::{fmt, sync::Arc, time::Instant};

use super::{
    config::{LeasedRateLimitConfig, Numbers},
    health::Health,
    snapshot::LeasedRateLimitSnapshot,
    source::AnySource,
};
use crate::{
    call::ConfigError,
    rt::{
        clock,
        sync::{AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads a leased limit and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limit.
#[derive(Clone)]
pub struct LeasedRateLimitHandle {
    pub(super) shared: Arc<LeasedShared>,
}

pub(super) struct LeasedShared {
    pub(super) emitter: Emitter,
    pub(super) source: Box<dyn AnySource>,
    config: Mutex<LeasedRateLimitConfig>,
    /// A lease with so few units left asks for more. Changed with the config.
    pub(super) refill_at: AtomicU64,
    health: Mutex<Health>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) rejected: AtomicU64,
    pub(super) would_limit: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) on_share: AtomicU64,
}

impl LeasedRateLimitHandle {
    /// For a checked config.
    pub(super) fn new(config: LeasedRateLimitConfig, emitter: Emitter, source: Box<dyn AnySource>) -> Self {
        let shared = LeasedShared {
            emitter,
            source,
            config: Mutex::new(config),
            refill_at: AtomicU64::new(refill_at(&config)),
            health: Mutex::new(Health::new(clock::now())),
            counts: Counts::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name, which is the id of the limit at the source.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The state and the counts.
    #[must_use]
    pub fn snapshot(&self) -> LeasedRateLimitSnapshot {
        let Counts { rejected, would_limit, asked, unanswered, on_share } = &self.shared.counts;
        // Relaxed: the counts need not be of the same moment.
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let now = clock::now();
        LeasedRateLimitSnapshot {
            lost_for: self.shared.lost_since().map(|since| now.saturating_duration_since(since)),
            rejected: read(rejected),
            would_limit: read(would_limit),
            asked: read(asked),
            unanswered: read(unanswered),
            on_share: read(on_share),
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> LeasedRateLimitConfig {
        self.shared.config()
    }

    /// Replaces the numbers of this instance.
    ///
    /// The units at hand are spent first, and the source learns the numbers with the next question. Change them at all
    /// instances: two instances with different numbers share a bucket whose rate is that of the last question.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: LeasedRateLimitConfig) -> Result<(), ConfigError> {
        config.check()?;
        let mut current = lock(&self.shared.config);
        *current = config;
        // Relaxed: a call of the same moment may follow the old number.
        self.shared.refill_at.store(refill_at(&config), Ordering::Relaxed);
        drop(current);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }
}

impl LeasedShared {
    pub(super) fn config(&self) -> LeasedRateLimitConfig {
        *lock(&self.config)
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.config().numbers()
    }

    pub(super) fn lost_since(&self) -> Option<Instant> {
        lock(&self.health).lost_since()
    }

    /// Whether a question may be asked. Each that may ends in [`answered`](Self::answered).
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        let may = lock(&self.health).may_ask(now);
        if may {
            self.counts.count(|counts| &counts.asked);
        }
        may
    }

    pub(super) fn answered(&self, is_answer: bool, now: Instant) {
        let event = lock(&self.health).answered(is_answer, now);
        if !is_answer {
            self.counts.count(|counts| &counts.unanswered);
        }
        if let Some(event) = event {
            self.emitter.emit(event);
        }
    }
}

impl Counts {
    pub(super) fn count(&self, which: impl FnOnce(&Self) -> &AtomicU64) {
        // Relaxed: no count guards other memory.
        which(self).fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for LeasedRateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedRateLimitHandle")
            .field("name", self.name())
            .field("config", &self.config())
            .finish_non_exhaustive()
    }
}

fn refill_at(config: &LeasedRateLimitConfig) -> u64 {
    u64::from(config.numbers().lease / 2)
}
