//! The gateway: it chooses the upstream of each request.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower_reliability::{Event, circuit_breaker::CircuitBreakerHandle, hedge::HedgeHandle};

use crate::{
    config::{BadConfig, Config},
    headers::Peer,
    problem,
    upstream::{Handles, Upstream},
};

/// The routes and the upstreams behind them.
pub(crate) struct Gateway {
    /// The longest prefix first, so that the first match is the best.
    routes: Vec<(String, Upstream)>,
    upstreams: BTreeMap<String, Upstream>,
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
        let target = |name: &String| upstreams.get(name).cloned();
        let mut routes: Vec<_> = config
            .routes
            .iter()
            .filter_map(|route| Some((route.prefix.clone(), target(&route.upstream)?)))
            .collect();
        routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Self { routes, upstreams })
    }

    /// The gateway, to be shared by its connections.
    pub(crate) fn app(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Answers a request. Paths below `/-/` are about the gateway itself.
    pub(crate) async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response {
        let path = request.uri().path();
        if path == "/-/status" {
            return match *request.method() {
                Method::GET | Method::HEAD => self.status(),
                _ => problem::answer(StatusCode::METHOD_NOT_ALLOWED, "The status can only be read."),
            };
        }
        match self.target(path) {
            Some(upstream) => upstream.call(peer, request).await,
            None => problem::answer(StatusCode::NOT_FOUND, "No route matches this path."),
        }
    }

    fn target(&self, path: &str) -> Option<&Upstream> {
        self.routes.iter().find(|(prefix, _)| is_within(path, prefix)).map(|(_, upstream)| upstream)
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

/// Whether the prefix contains the path: `/a` contains `/a` and `/a/b`, but not `/ab`.
fn is_within(path: &str, prefix: &str) -> bool {
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
