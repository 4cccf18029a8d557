//! The gateway: it chooses the upstream of each request.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower_reliability::{Event, circuit_breaker::CircuitBreakerHandle, hedge::HedgeHandle};

use crate::{
    answer::{AnswerBody, LogLine},
    clients::ClientsConfig,
    config::{self, BadConfig, Config},
    forwarded::Peer,
    problem, refusal,
    socket::Activity,
    upstream::{Handles, Upstream},
};

/// The routes and the upstreams behind them.
pub(crate) struct Gateway {
    /// The longest prefix first, so that the first match is the best.
    routes: Vec<Route>,
    upstreams: BTreeMap<String, Upstream>,
    clients: ClientsConfig,
}

struct Route {
    prefix: String,
    name: String,
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
        if path == "/-/status" {
            return match *request.method() {
                Method::GET | Method::HEAD => self.gateway.status(),
                _ => problem::answer(StatusCode::METHOD_NOT_ALLOWED, "The status can only be read."),
            };
        }
        let routes = &self.gateway.routes;
        let route = routes.iter().find(|route| is_within(path, &route.prefix));
        let Some(route) = route.filter(|_| !is_within(path, RESERVED)) else {
            return problem::answer(StatusCode::NOT_FOUND, "No route matches this path.");
        };
        if let Some(line) = line {
            line.upstream = Some(route.name.clone());
        }
        self.activity.finish_within(route.upstream.limit());
        route.upstream.call(request, &self.peer, host).await
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
            let upstream = Upstream::new(name, config, listener.clone())
                .map_err(|error| BadConfig::upstream(name, &error))?;
            upstreams.insert(name.clone(), upstream);
        }
        let route = |route: &config::Route| {
            let (prefix, name) = (route.prefix.clone(), route.upstream.clone());
            let upstream = upstreams.get(&name).cloned()?;
            Some(Route { prefix, name, upstream })
        };
        let mut routes: Vec<_> = config.routes.iter().filter_map(route).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        Ok(Self { routes, upstreams, clients: config.clients.clone() })
    }

    /// The gateway, to be shared by its connections.
    pub(crate) fn app(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Writes a line per request to the standard output.
    pub(crate) const fn log_access(&mut self, yes: bool) {
        self.clients.access_log = yes;
    }

    pub(crate) const fn clients(&self) -> &ClientsConfig {
        &self.clients
    }

    /// The state of all protections, for an operator or a monitor.
    fn status(&self) -> Response {
        let describe = |upstream: &Upstream| upstream.handles().map_or(Value::Null, describe);
        let upstreams = self.upstreams.iter().map(|(name, upstream)| (name.clone(), describe(upstream)));
        let mut response = Response::new(Body::from(Value::Object(upstreams.collect()).to_string()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn describe(handles: &Handles) -> Value {
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

/// The prefix of the gateway's own paths.
pub(crate) const RESERVED: &str = "/-";

/// Whether the prefix contains the path: `/a` contains `/a` and `/a/b`, but not `/ab`.
pub(crate) fn is_within(path: &str, prefix: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_whole_segments_only() {
        for path in ["/a", "/a/", "/a/b"] {
            assert!(is_within(path, "/a") && is_within(path, "/"), "{path}");
        }
        assert!(!is_within("/ab", "/a"));
        assert!(!is_within("/", "/a"));
    }
}
