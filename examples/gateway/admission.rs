//! Limits in front of the gateway or of an upstream: on the rate of each client, on the rate of all, and on the requests
//! in flight.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use serde_json::{Value, json};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    Deadline, DeadlineSource, Error, Priority, PrioritySource,
    concurrency_limit::{ConcurrencyLimitConfig, ConcurrencyLimitLayer, ConcurrencyLimitSnapshot},
    drain::DrainLayer,
    http::{BodyOutcomeLayer, OutcomeBody, RejectionLayer, ReportQuotasLayer, UntilBodyEnd},
    rate_limit::{
        RateLimitConfig, RateLimitLayer, RateLimitSnapshot,
        keyed::{KeyedRateLimitLayer, KeyedRateLimitSnapshot},
        leased::{LeasePerKey, LeasedRateLimitLayer, LeasedRateLimitSnapshot},
    },
    redis::RedisQuota,
};

use crate::{clients::ClientsConfig, config::BadConfig};

/// The limits of the gateway or of an upstream. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    drain: Option<DrainLayer<UntilBodyEnd>>,
    per_client: Option<PerClient>,
    /// Tells each client what is left of its rate.
    quotas: Option<ReportQuotasLayer<PerClient>>,
    /// The limit of each client that other gateways keep too.
    shared_per_client: Option<SharedPerClient>,
    rate: Option<RateLimitLayer<ByTicket, ByTicket>>,
    concurrency: Option<ConcurrencyLimitLayer<UntilBodyEnd, ByTicket, ByTicket>>,
}

type PerClient = KeyedRateLimitLayer<u64, fn(&Admitted<'_>) -> u64>;
type SharedPerClient = LeasedRateLimitLayer<LeasePerKey<u64, fn(&Admitted<'_>) -> u64>>;

/// The facts about a request by which a limit judges it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) priority: Priority,
    /// The hash of its client.
    pub(crate) client: u64,
    pub(crate) deadline: Deadline,
}

impl Admission {
    /// The limits with these keys in the config. In logs, they have the name as a prefix.
    pub(crate) fn new(
        (path, name): (&str, &str),
        rate: Option<RateLimitConfig>,
        concurrency: Option<ConcurrencyLimitConfig>,
    ) -> Result<Self, BadConfig> {
        let key = |limit| format!("{path}{limit}");
        let bad = |limit| move |error| BadConfig::limit(&key(limit), &error);
        let rate = rate.map(|config| config.build().map_err(bad("rate_limit"))).transpose()?;
        let concurrency =
            concurrency.map(|config| config.build().map_err(bad("concurrency_limit"))).transpose()?;
        Ok(Self {
            drain: None,
            per_client: None,
            quotas: None,
            shared_per_client: None,
            rate: rate
                .map(|layer| layer.priority(ByTicket).deadlines(ByTicket).named(format!("{name}rate_limit"))),
            concurrency: concurrency.map(|layer| {
                let layer = layer.classify(UntilBodyEnd).priority(ByTicket).deadlines(ByTicket);
                layer.named(format!("{name}concurrency_limit"))
            }),
        })
    }

    /// Adds the limit on the rate of each client.
    pub(crate) fn per_client(mut self, config: &ClientsConfig) -> Result<Self, BadConfig> {
        const KEY: &str = "clients.rate_limit";
        let Some(limit) = config.rate_limit else { return Ok(self) };
        let client: fn(&Admitted<'_>) -> u64 = |request| request.ticket.client;
        let bad = |error| BadConfig::limit(KEY, &error);
        if let Some(shared) = &config.shared {
            let redis = RedisQuota::open(&*shared.redis.0).map_err(|_| {
                BadConfig::new("clients.shared.redis", "must be an address such as redis://host:6379")
            })?;
            let layer = shared.limit(limit).build(KEY, redis).map_err(bad)?;
            self.shared_per_client = Some(layer.keyed(client).max_keys(config.max_keys));
        } else {
            let layer = limit.build().map_err(bad)?.named(KEY);
            let layer = layer.keyed(client).max_keys(config.max_keys);
            self.quotas = config.rate_limit_fields.then(|| ReportQuotasLayer::new(layer.clone()));
            self.per_client = Some(layer);
        }
        Ok(self)
    }

    /// Counts the requests in flight, and refuses further ones once the drain has closed its gate.
    pub(crate) fn drain(self, layer: DrainLayer) -> Self {
        Self { drain: Some(layer.classify(UntilBodyEnd)), ..self }
    }

    /// Answers a request as soon as the limits allow it, or refuses it with 429 or 503.
    pub(crate) async fn admit<F>(&self, ticket: Ticket, answer: F) -> Response
    where
        F: Future<Output = Response> + Send,
    {
        let Self { drain, per_client, quotas, shared_per_client, rate, concurrency } = self;
        let has_client_limit = per_client.is_some() || shared_per_client.is_some();
        if drain.is_none() && !has_client_limit && rate.is_none() && concurrency.is_none() {
            return answer.await;
        }
        // The layers move a call from one place to the next, and a pointer is cheaper to move than the call.
        let answer = pin!(async { Ok(answer.await) });
        let limits = ServiceBuilder::new()
            // Each answer holds its place among the requests in flight until its body has ended.
            .map_response(|answer: hyper::Response<OutcomeBody<Body>>| answer.map(Body::new))
            .layer(BodyOutcomeLayer)
            .option_layer(quotas.as_ref())
            .layer(RejectionLayer::new())
            .option_layer(drain.as_ref())
            // A client that is beyond its rate takes nothing of the rate of all, and waits in no queue.
            .option_layer(per_client.as_ref())
            .option_layer(shared_per_client.as_ref())
            .option_layer(rate.as_ref())
            .option_layer(concurrency.as_ref())
            .service(Serve);
        limits.oneshot(Admitted { ticket, answer }).await.unwrap_or_else(|never| match never {})
    }

    /// The state of the limits, for an operator.
    pub(crate) fn status(&self) -> Value {
        let Self { per_client, shared_per_client, rate, concurrency, .. } = self;
        let shared = shared_per_client.as_ref().map(|limit| of_shared(&limit.handle().snapshot()));
        json!({
            "rate_limit_per_client":
                shared.or_else(|| per_client.as_ref().map(|limit| of_clients(limit.handle().snapshot()))),
            "rate_limit": rate.as_ref().map(|limit| of_rate(&limit.handle().snapshot())),
            "concurrency_limit": concurrency.as_ref().map(|limit| of_concurrency(&limit.handle().snapshot())),
        })
    }
}

/// A request and its answer to be.
struct Admitted<'a> {
    ticket: Ticket,
    answer: Answer<'a>,
}

type Answer<'a> = Pin<&'a mut (dyn Future<Output = Result<Response, Error<Infallible>>> + Send + 'a)>;

/// Answers a request. A closure would not do: its future could not be sent to another thread.
#[derive(Clone, Copy, Debug)]
struct Serve;

impl<'a> Service<Admitted<'a>> for Serve {
    type Response = Response;
    type Error = Error<Infallible>;
    type Future = Answer<'a>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Admitted<'a>) -> Answer<'a> {
        request.answer
    }
}

#[derive(Clone, Copy, Debug)]
struct ByTicket;

impl PrioritySource<Admitted<'_>> for ByTicket {
    fn priority(&self, request: &Admitted<'_>) -> Priority {
        request.ticket.priority
    }

    fn queue_key(&self, request: &Admitted<'_>) -> Option<u64> {
        Some(request.ticket.client)
    }
}

impl DeadlineSource<Admitted<'_>> for ByTicket {
    fn deadline(&self, request: &Admitted<'_>) -> Option<Deadline> {
        Some(request.ticket.deadline)
    }
}

fn of_clients(snapshot: KeyedRateLimitSnapshot) -> Value {
    json!({
        "clients": snapshot.keys,
        "max_clients": snapshot.max_keys,
        "rejected": snapshot.rejected,
        "would_limit": snapshot.would_limit,
        "without_room": snapshot.without_room,
    })
}

fn of_shared(snapshot: &LeasedRateLimitSnapshot) -> Value {
    json!({
        "store_lost_for_ms": snapshot.lost_for.map(|time| time.as_millis()),
        "rejected": snapshot.rejected,
        "would_limit": snapshot.would_limit,
    })
}

fn of_rate(snapshot: &RateLimitSnapshot) -> Value {
    let counts = snapshot.counts;
    json!({
        "tokens": snapshot.tokens,
        "left_in_window": snapshot.left_in_window,
        "waiting": waiting(snapshot.waiting_by_class),
        "waited": counts.limited,
        "rejected": counts.rejected_full + counts.rejected_shed + counts.rejected_max_wait
            + counts.rejected_deadline,
        "would_limit": counts.would_limit,
    })
}

fn of_concurrency(snapshot: &ConcurrencyLimitSnapshot) -> Value {
    let counts = snapshot.counts;
    json!({
        "limit": snapshot.limit,
        "in_flight": snapshot.in_flight,
        "waiting": waiting(snapshot.waiting_by_class),
        "waited": counts.limited,
        "rejected": counts.rejected_full + counts.rejected_shed + counts.rejected_max_wait
            + counts.rejected_deadline,
        "would_wait": counts.would_wait,
    })
}

fn waiting(by_class: [(Priority, u32); Priority::ALL.len()]) -> Value {
    by_class.into_iter().map(|(priority, calls)| (priority.as_str(), Value::from(calls))).collect()
}
