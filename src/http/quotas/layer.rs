//! The layer and its service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{HeaderMap, Response};
use tower_layer::{Layer, Stack};
use tower_service::Service;

use super::{
    fields::{QuotaPolicy, RateLimitFields},
    future::ResponseFuture,
};
use crate::{
    call::QuotaState,
    rate_limit::{Quota, QuotaSource, Quotas},
    stack::{
        HasHandle,
        server::{ServerSlots, ServerStack},
    },
};

/// Tells clients the quotas of a rate limit, and what is left of them: the fields `RateLimit-Policy` and `RateLimit`.
///
/// The layer stands outside of the answers to rejections, and gets the layer of the limit. So served and rejected requests
/// carry the fields:
///
/// ```
/// use ::http::HeaderName;
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     Error,
///     http::{ReportQuotasLayer, RejectionLayer},
///     rate_limit::RateLimitConfig,
/// };
///
/// const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// let limit = RateLimitConfig::per_second(10).burst(50).build()?.per_header(API_KEY);
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
///     ServiceBuilder::new()
///         .layer(ReportQuotasLayer::new(limit.clone()))
///         .layer(RejectionLayer::new())
///         .layer(limit)
///         .map_err(Error::inner),
/// );
/// # let _ = app;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// A server stack has [`report_quotas`](ServerStack::report_quotas).
///
/// # Fields
///
/// A client of the limit above gets, with its first response:
///
/// ```text
/// RateLimit-Policy: "burst";q=50;w=5
/// RateLimit: "burst";r=49;t=1
/// ```
///
/// The quota `burst` is the bucket: `w` is the time in which it fills up, and is left out below 1 s. The quota `window` is
/// the sliding window. A limit with both has both quotas. `r` is the number of requests that would pass at the moment of
/// the response, and `t` the time until one more would. `t` is left out if the whole quota is left. Times are whole
/// seconds, rounded up. `Retry-After` of a rejection is no shorter than `t`.
///
/// The numbers are those of a request of cost 1. A limit in [shadow mode](crate::rate_limit::RateLimitConfig::shadow)
/// writes no fields. Fields of the inner service are replaced.
///
/// # Disclosure
///
/// A client sees the numbers of the limit, and what its own key has left. Keys that share a limit see each other's
/// requests in it: all clients of a limit without keys, and new keys beyond
/// [`max_keys`](crate::rate_limit::keyed::KeyedRateLimitLayer::max_keys).
///
/// # Clone
///
/// Clones, and the services that they make, read one limit.
///
/// # Panics
///
/// It does not panic, and it needs no runtime.
pub struct ReportQuotasLayer<L> {
    limit: Arc<L>,
}

impl<L> ReportQuotasLayer<L> {
    /// Tells the quotas of this limit: a [`RateLimitLayer`](crate::rate_limit::RateLimitLayer) or a
    /// [`KeyedRateLimitLayer`](crate::rate_limit::keyed::KeyedRateLimitLayer).
    #[must_use]
    pub fn new(limit: L) -> Self {
        Self { limit: Arc::new(limit) }
    }
}

/// The edge of a server stack that [reports quotas](ServerStack::report_quotas), around its former edge.
pub type QuotaEdge<Edge, RateLimit> = Stack<Edge, ReportQuotasLayer<RateLimit>>;

impl<Edge, D, Drain, RateLimit: HasHandle + Clone, ConcurrencyLimit, Timeout>
    ServerStack<Edge, D, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>>
{
    /// Tells clients the quotas of the stage `rate_limit`, in every response of the stack. The stage may have a limit per
    /// key. A stack without the stage has no quotas, and the compiler says so.
    ///
    /// [`ReportQuotasLayer`] describes the fields. They tell clients the numbers of the limit, so the default is off.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use tower_reliability::{http, rate_limit::RateLimitConfig};
    ///
    /// let server = http::server()
    ///     .rate_limit(RateLimitConfig::per_second(100))
    ///     .build()?
    ///     .report_quotas();
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(server);
    /// # let _ = app;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn report_quotas(
        self,
    ) -> ServerStack<QuotaEdge<Edge, RateLimit>, D, ServerSlots<Drain, RateLimit, ConcurrencyLimit, Timeout>>
    {
        self.change_edge(|edge, limit| Stack::new(edge, ReportQuotasLayer::new(limit.clone())))
    }
}

impl<S, L> Layer<S> for ReportQuotasLayer<L> {
    type Service = ReportQuotas<S, L>;

    fn layer(&self, inner: S) -> ReportQuotas<S, L> {
        ReportQuotas { inner, limit: Arc::clone(&self.limit) }
    }
}

impl<L> Clone for ReportQuotasLayer<L> {
    fn clone(&self) -> Self {
        Self { limit: Arc::clone(&self.limit) }
    }
}

impl<L> fmt::Debug for ReportQuotasLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportQuotasLayer").finish_non_exhaustive()
    }
}

/// A service whose responses tell the quotas of a limit. Made by [`ReportQuotasLayer`].
///
/// # Clone
///
/// Clones read one limit.
pub struct ReportQuotas<S, L> {
    inner: S,
    limit: Arc<L>,
}

impl<S, L> ReportQuotas<S, L> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, L, Req, B> Service<Req> for ReportQuotas<S, L>
where
    S: Service<Req, Response = Response<B>>,
    L: QuotaSource<Req>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, L, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (limit, key) = (Arc::clone(&self.limit), self.limit.key(&request));
        ResponseFuture { inner: self.inner.call(request), limit, key }
    }
}

impl<S: Clone, L> Clone for ReportQuotas<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: Arc::clone(&self.limit) }
    }
}

impl<S: fmt::Debug, L> fmt::Debug for ReportQuotas<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportQuotas").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Writes the quotas into the headers of a response.
pub(super) fn write(quotas: &Quotas, headers: &mut HeaderMap) {
    let Quotas { bucket, window, shadow, .. } = *quotas;
    if shadow {
        return;
    }
    let all = || [(BURST, bucket), (WINDOW, window)].into_iter().filter_map(|(name, it)| Some((name, it?)));
    let policies = all().map(|(name, Quota { limit, period, .. })| {
        let policy = QuotaPolicy::new(name, limit.into());
        // A shorter time rounded up to a second would promise fewer requests than pass.
        if period.as_secs() > 0 { policy.window(period) } else { policy }
    });
    let states = all().map(|(_, Quota { remaining, next_in, .. })| QuotaState {
        remaining: remaining.into(),
        reset: next_in,
    });
    let fields = RateLimitFields::new(policies).expect("the names are ASCII, and a limit has a quota");
    fields.write(headers, &states.collect::<Vec<_>>());
}

const BURST: &str = "burst";
const WINDOW: &str = "window";
