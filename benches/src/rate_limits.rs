//! Rate limits whose quota no bench uses up, on tokio's clock.

use std::{
    num::NonZeroU32,
    ops::Add,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use tokio::time::Instant;
use tower::{
    BoxError, Layer, Service,
    buffer::Buffer,
    limit::{RateLimit, rate::Rate},
};
use tower_reliability::{ReliabilityStack, rate_limit::RateLimitConfig};

use crate::{
    backend::{Backend, Down, OurError},
    breakers::VALID,
    row::Table,
};

/// Ours, governor's check with a reading of the clock, and tower's in the form that can be shared.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let bare = Backend::<Down, PENDING>::new();
    let inner = Backend::<OurError, PENDING>::new();
    table.row("ours, rate limit", quota().build().expect(VALID).layer(inner));
    let limiter = Arc::new(RateLimiter::direct_with_clock(governors_quota(), TokioClock));
    table.row("governor, check and clock", Checked { inner: bare, limiter });
    let limiter = Arc::new(RateLimiter::direct_with_clock(governors_quota(), StoppedClock));
    table.row("governor, check alone", Checked { inner: bare, limiter });
    let limit =
        RateLimit::new(Backend::<BoxError, PENDING>::new(), Rate::new(u64::MAX, Duration::from_secs(1)));
    table.row("tower, rate limit behind a buffer", Buffer::new(limit, 1_024));

    let keyed = |keys| quota().build().expect(VALID).keyed(move |request: &u64| key(*request, keys));
    let checked = |keys| {
        let limiter = Arc::new(RateLimiter::dashmap_with_clock(governors_quota(), TokioClock));
        CheckedByKey { inner: bare, limiter, keys }
    };
    table.row("ours, keyed rate limit, 1 000 keys", keyed(1_000).layer(inner));
    table.row("governor, keyed, 1 000 keys", checked(1_000));
    table.row("ours, keyed rate limit, 100 000 keys", keyed(100_000).max_keys(200_000).layer(inner));
    table.row("governor, keyed, 100 000 keys", checked(100_000));
}

/// A rate limit in a stack, over the same stack without it. The timeout has read the clock for both.
pub fn add_in_a_stack<const PENDING: bool>(table: &mut Table<PENDING>) {
    let bare = Backend::<Down, PENDING>::new();
    let stack = || ReliabilityStack::builder().timeout(Duration::from_secs(30));
    table.floor("ours, stack with a timeout", stack().build().expect(VALID).layer(bare));
    let limited = stack().rate_limit(quota()).build().expect(VALID);
    table.row("ours, rate limit in a stack", limited.layer(bare));
}

/// The fastest rate. Between its rounds, the bucket refills.
#[must_use]
pub const fn quota() -> RateLimitConfig {
    RateLimitConfig::per_second(1_000_000).burst(1_000_000)
}

fn governors_quota() -> Quota {
    let interval = Duration::from_nanos(1);
    Quota::with_period(interval).expect("above 0").allow_burst(NonZeroU32::MAX)
}

/// The keys in an order in which they do not lie in memory.
#[inline]
fn key(request: u64, keys: u64) -> u64 {
    (request.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % keys
}

/// Checks a limiter of governor before each call, which always passes.
#[derive(Clone, Debug)]
pub struct Checked<S, C: Clock> {
    inner: S,
    limiter: Arc<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
}

impl<S: Service<u64>, C: Clock> Service<u64> for Checked<S, C> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        assert!(self.limiter.check().is_ok(), "the quota lasts");
        self.inner.call(request)
    }
}

/// The same with governor's limiter per key.
#[derive(Clone, Debug)]
pub struct CheckedByKey<S> {
    inner: S,
    limiter: Arc<RateLimiter<u64, DashMapStateStore<u64>, TokioClock, NoOpMiddleware<TokioInstant>>>,
    keys: u64,
}

impl<S: Service<u64>> Service<u64> for CheckedByKey<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        assert!(self.limiter.check_key(&key(request, self.keys)).is_ok(), "the quota lasts");
        self.inner.call(request)
    }
}

/// A clock that stands still, so that reading it costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::new(0)
    }
}

/// tokio's clock for governor, whose own is another one.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock;

/// An instant of tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokioInstant(Instant);

impl Clock for TokioClock {
    type Instant = TokioInstant;

    #[inline]
    fn now(&self) -> TokioInstant {
        TokioInstant(Instant::now())
    }
}

impl Reference for TokioInstant {
    #[inline]
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    #[inline]
    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Add<Nanos> for TokioInstant {
    type Output = Self;

    #[inline]
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}
