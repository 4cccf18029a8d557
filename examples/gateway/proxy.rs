//! The gateway: it chooses the upstream of each request.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower_reliability::{
    Deadline, Event, Priority,
    circuit_breaker::CircuitBreakerHandle,
    drain::{DrainConfig, DrainHandle},
    hedge::HedgeHandle,
};

use crate::{
    admission::{Admission, Ticket},
    answer::{AnswerBody, LogLine},
    client_key::ClientKeys,
    clients::ClientsConfig,
    config::{BadConfig, Config},
    forwarded::Peer,
    problem, refusal,
    routes::{self, RESERVED, Route},
    socket::Activity,
    upstream::{Handles, Upstream},
};

/// The routes and the upstreams behind them.
pub(crate) struct Gateway {
    /// The longest prefix first, so that the first match is the best.
    routes: Vec<Target>,
    upstreams: BTreeMap<String, Upstream>,
    clients: ClientsConfig,
    client_keys: ClientKeys,
    admission: Admission,
    drain: DrainHandle,
}

struct Target {
    route: Route,
    upstream: Upstream,
}

/// A client's connection to the gateway.
pub(crate) struct Connection {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) peer: Peer,
    pub(crate) activity: Arc<Activity>,
}

impl Connection {
    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> hyper::Response<AnswerBody> {
        let open = self.activity.open(!request.body().is_end_stream());
        let logs = self.gateway.clients.access_log;
        let mut line = logs.then(|| Box::new(LogLine::new(self.peer.address, &request)));
        let answer = match refusal::host(&request) {
            Ok(host) => self.route(request, host, &mut line).await,
            Err(refusal) => refusal.answer(),
        };
        if let Some(line) = &mut line {
            line.status = Some(answer.status());
        }
        answer.map(|body| AnswerBody::new(body, line, open))
    }

    /// Paths below `/-/` are about the gateway itself, and no upstream sees them.
    async fn route(
        &self,
        request: Request<Incoming>,
        host: Option<HeaderValue>,
        line: &mut Option<Box<LogLine>>,
    ) -> Response {
        let path = request.uri().path();
        if matches!(path, "/-/ready" | "/-/status")
            && !matches!(*request.method(), Method::GET | Method::HEAD)
        {
            return problem::answer(StatusCode::METHOD_NOT_ALLOWED, "The state can only be read.");
        }
        match path {
            "/-/ready" if self.gateway.drain.is_draining() => {
                return problem::answer(StatusCode::SERVICE_UNAVAILABLE, "The gateway is about to stop.");
            }
            "/-/ready" => return Response::new(Body::from("ready\n")),
            "/-/status" => return self.gateway.status(),
            _ => {}
        }
        let mut targets = self.gateway.routes.iter();
        let target = targets.find(|target| routes::is_within(path, &target.route.prefix));
        let Some(Target { route, upstream }) = target.filter(|_| !routes::is_within(path, RESERVED)) else {
            return problem::answer(StatusCode::NOT_FOUND, "No route matches this path.");
        };
        if let Some(line) = line {
            line.upstream = Some(route.upstream.clone());
        }
        let ticket = self.ticket(route.priority, upstream.limit(), &request);
        self.activity.finish_by(ticket.deadline);
        // The limits get a pointer, so that a refusal does not copy the call.
        let answer = pin!(upstream.call(request, ticket, &self.peer, host));
        self.gateway.admission.admit(ticket, answer).await
    }

    /// The facts about a request by which the queues order it. Its time passes while it waits.
    fn ticket<B>(&self, base: Priority, limit: Duration, request: &Request<B>) -> Ticket {
        let Gateway { clients, client_keys, .. } = &*self.gateway;
        Ticket {
            priority: clients.priority_header.apply(base, request, self.peer.is_trusted()),
            client: client_keys.hash(&self.peer, request.headers()),
            deadline: Deadline::after(limit),
        }
    }
}

impl Gateway {
    /// Builds every upstream. The listener receives the events of all of them.
    pub(crate) fn new(
        config: &Config,
        listener: impl Fn(&Event) + Clone + Send + Sync + 'static,
    ) -> Result<Self, BadConfig> {
        let mut upstreams = BTreeMap::new();
        for (name, config) in &config.upstreams {
            let keys = (&*format!("upstreams.{name}."), &*format!("{name}."));
            let admission = Admission::new(keys, config.rate_limit, config.concurrency_limit)?;
            let upstream = Upstream::new(name, config, admission, listener.clone())
                .map_err(|error| BadConfig::upstream(name, &error))?;
            upstreams.insert(name.clone(), upstream);
        }
        let target = |route: &Route| {
            let upstream = upstreams.get(&route.upstream).cloned()?;
            Some(Target { route: route.clone(), upstream })
        };
        let mut routes: Vec<_> = config.routes.iter().filter_map(target).collect();
        routes.sort_by_key(|target| std::cmp::Reverse(target.route.prefix.len()));
        let clients = config.clients.clone();
        let admission = Admission::new(("", ""), config.rate_limit, config.concurrency_limit)?;
        let drain = DrainConfig::new().delay(config.drain_delay).limit(config.drain).build();
        let drain = drain.map_err(|error| BadConfig::new("drain", error.rule()))?;
        let (admission, drain) = (admission.per_client(&clients)?.drain(drain.clone()), drain.handle());
        let client_keys = ClientKeys::new(clients.key.clone(), clients.trust.clone());
        let client_keys = if clients.shared.is_some() { client_keys.shared() } else { client_keys };
        Ok(Self { routes, upstreams, clients, client_keys, admission, drain })
    }

    /// The gateway, to be shared by its connections.
    pub(crate) fn app(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Writes a line per request to the standard output.
    pub(crate) const fn log_access(&mut self, yes: bool) {
        self.clients.access_log = yes;
    }

    pub(crate) const fn drain(&self) -> &DrainHandle {
        &self.drain
    }

    pub(crate) const fn clients(&self) -> &ClientsConfig {
        &self.clients
    }

    /// The state of all protections, for an operator or a monitor.
    fn status(&self) -> Response {
        let upstreams = self.upstreams.iter().map(|(name, upstream)| (name.clone(), describe(upstream)));
        // The config refuses an upstream of this name.
        let own = (RESERVED.to_string(), self.admission.status());
        let all = Value::Object(upstreams.chain([own]).collect());
        let mut response = Response::new(Body::from(all.to_string()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn describe(upstream: &Upstream) -> Value {
    let mut status = upstream.handles().map_or_else(|| json!({}), protections);
    if let (Value::Object(status), Value::Object(limits)) = (&mut status, upstream.admission().status()) {
        status.extend(limits);
    }
    status
}

fn protections(handles: &Handles) -> Value {
    let circuit = |breaker: &CircuitBreakerHandle| {
        let snapshot = breaker.snapshot();
        json!({
            "name": breaker.name().as_str(),
            "state": snapshot.state.as_str(),
            "successes": snapshot.counts.successes,
            "failures": snapshot.counts.failures,
            "rejected": snapshot.counts.rejected,
            "trips": snapshot.counts.trips,
        })
    };
    let hedges = |hedge: &HedgeHandle| {
        let counts = hedge.snapshot().counts;
        json!({ "hedges": counts.hedges, "won_by_hedge": counts.won_by_hedge })
    };
    let retry = handles.retry.snapshot();
    json!({
        "circuit_breakers": handles.breakers.iter().map(circuit).collect::<Vec<_>>(),
        "retry": {
            "retries": retry.counts.retries,
            "recovered": retry.counts.recovered,
            "failed": retry.counts.failed,
            "credit": retry.budget.balance.floor(),
            "health_gate": retry.budget.health_gate,
        },
        "hedge": handles.hedge.as_ref().map(hedges),
        "fallback": handles.fallback.as_ref().map(|fallback| fallback.snapshot().answered()),
    })
}
