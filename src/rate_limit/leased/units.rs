//! The units of one lease, which calls take without a lock, and the task that asks for more.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{runtime, task::AbortHandle, time::timeout};

use super::{
    handle::LeasedShared,
    source::{Grant, QuotaRequest},
    state::{Ask, Lease},
};
use crate::{
    call::{BoxError, Reason, Rejected},
    keyed::KeyedState,
    rt::{
        clock, descent,
        sync::{AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::TARGET,
};

/// The units of one key at one instance.
pub(super) struct Units {
    left: AtomicU64,
    /// The bucket at the source.
    bucket: Arc<str>,
    shared: Arc<LeasedShared>,
    state: Mutex<State>,
}

struct State {
    lease: Lease,
    /// The last question.
    task: Option<AbortHandle>,
}

impl Units {
    pub(super) fn new(bucket: Arc<str>, shared: Arc<LeasedShared>) -> Self {
        let state = State { lease: Lease::new(clock::now()), task: None };
        Self { left: AtomicU64::new(0), bucket, shared, state: Mutex::new(state) }
    }

    /// Takes the cost of a call.
    #[inline]
    pub(super) fn admit(self: &Arc<Self>, cost: u32) -> Result<(), Rejected> {
        let Some(left) = self.take(cost) else { return self.give(cost) };
        // Relaxed: the mark guards no other memory. Exactly one call passes it on the way down.
        let refill_at = self.shared.refill_at.load(Ordering::Relaxed);
        if left > refill_at && left - u64::from(cost) <= refill_at {
            self.refill();
        }
        Ok(())
    }

    /// Takes units, if there are enough of them. Returns how many there were.
    #[inline]
    fn take(&self, cost: u32) -> Option<u64> {
        let rest = |left: u64| left.checked_sub(cost.into());
        // Relaxed: the units guard no other memory.
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok()
    }

    /// A call found too few units.
    // Cold: most calls find their units.
    #[cold]
    fn give(self: &Arc<Self>, cost: u32) -> Result<(), Rejected> {
        let (now, numbers) = (descent::now(), self.shared.numbers());
        let lost_since = self.shared.lost_since();
        let mut state = lock(&self.state);
        // Another call may have got units meanwhile.
        if self.take(cost).is_some() {
            return Ok(());
        }
        let is_possible = cost <= numbers.most;
        let given = if is_possible {
            state.lease.give(&numbers, cost, self.left(), lost_since, now).map_err(Some)
        } else {
            Err(None)
        };
        if let Ok(units) = given {
            self.left.fetch_add(units.saturating_sub(cost).into(), Ordering::Relaxed);
        }
        let is_on_share = state.lease.is_on_share();
        let ask = state.lease.ask(&numbers, self.left(), now);
        drop(state);
        if let Some(ask) = ask {
            self.send(ask, now);
        }
        let counts = &self.shared.counts;
        match given {
            Ok(_) => {
                if is_on_share {
                    counts.count(|counts| &counts.on_share);
                }
                Ok(())
            }
            Err(_) if numbers.is_shadow => {
                counts.count(|counts| &counts.would_limit);
                Ok(())
            }
            Err(retry_at) => {
                counts.count(|counts| &counts.rejected);
                let too_high = Reason::CostTooHigh { cost, most: numbers.most };
                let reason = if is_possible { Reason::RateLimited } else { too_high };
                Err(Rejected::new(self.shared.emitter.name().clone(), reason).at(retry_at))
            }
        }
    }

    /// Half of the lease is spent.
    // Cold: it happens once per lease.
    #[cold]
    fn refill(self: &Arc<Self>) {
        let (now, numbers) = (descent::now(), self.shared.numbers());
        let ask = lock(&self.state).lease.ask(&numbers, self.left(), now);
        if let Some(ask) = ask {
            self.send(ask, now);
        }
    }

    /// Asks on a task of its own: no call waits for the source.
    fn send(self: &Arc<Self>, ask: Ask, now: Instant) {
        let runtime = runtime::Handle::try_current().ok().filter(|_| self.shared.may_ask(now));
        let Some(runtime) = runtime else {
            lock(&self.state).lease.failed(now);
            return;
        };
        let rate = self.shared.numbers().source;
        let request = QuotaRequest::new(
            Arc::clone(&self.bucket),
            Duration::from_nanos(rate.interval),
            rate.burst.get(),
        )
        .owed(ask.owed)
        .wanted(ask.wanted);
        let shared = Arc::clone(&self.shared);
        let limit = shared.config().source_timeout();
        let question = Question { units: Arc::downgrade(self), shared: Arc::clone(&shared), answer: None };
        let task = runtime.spawn(async move {
            let mut question = question;
            // The source runs within the task, so that its panic is no panic of a call.
            question.answer = match timeout(limit, async { shared.source.lease(request).await }).await {
                Ok(Ok(grant)) => Some(grant),
                Ok(Err(error)) => question.unanswered(&error),
                Err(elapsed) => question.unanswered(&elapsed.into()),
            };
        });
        lock(&self.state).task = Some(task.abort_handle());
    }

    fn left(&self) -> u32 {
        u32::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }
}

/// Nothing asks on behalf of units that no service has.
impl Drop for Units {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.state).task.take() {
            task.abort();
        }
    }
}

impl KeyedState for Arc<Units> {
    fn is_in_use(&self) -> bool {
        // The registry holds one reference, and a call another.
        Arc::strong_count(self) > 1
    }

    fn is_evictable(&self, _idle: Duration) -> bool {
        lock(&self.state).lease.is_idle(clock::now())
    }
}

/// A question in flight. Its drop brings the answer, or tells that there is none: after a panic of the source, a timeout,
/// and with a runtime that shuts down.
struct Question {
    units: Weak<Units>,
    shared: Arc<LeasedShared>,
    answer: Option<Grant>,
}

impl Question {
    fn unanswered(&self, error: &BoxError) -> Option<Grant> {
        let (layer, error) = (self.shared.emitter.name(), error.to_string());
        tracing::debug!(target: TARGET, %layer, ?error, "the source of quotas did not answer");
        None
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let now = clock::now();
        if let Some(units) = self.units.upgrade() {
            let mut state = lock(&units.state);
            match &self.answer {
                Some(grant) => {
                    let granted = state.lease.granted(grant, now);
                    units.left.fetch_add(granted.into(), Ordering::Relaxed);
                }
                None => state.lease.failed(now),
            }
        }
        self.shared.answered(self.answer.is_some(), now);
    }
}
