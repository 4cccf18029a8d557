//! The routes: which upstream gets a request, and how important it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tower_reliability::Priority;

use crate::config::{BadConfig, UpstreamConfig};

/// Sends requests whose path begins with `prefix` to `upstream`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) prefix: String,
    pub(crate) upstream: String,
    /// The priority of its requests while they wait for a limit.
    #[serde(default)]
    pub(crate) priority: Priority,
}

/// Checks that each route can be taken and leads to an upstream, and that each upstream has a route.
pub(crate) fn check(routes: &[Route], upstreams: &BTreeMap<String, UpstreamConfig>) -> Result<(), BadConfig> {
    let mut prefixes = BTreeSet::new();
    for (n, Route { prefix, upstream, .. }) in routes.iter().enumerate() {
        let (key, rule) = if prefix != "/" && (!prefix.starts_with('/') || prefix.ends_with('/')) {
            ("prefix", format!("must be \"/\", or begin with \"/\" and not end with it: {prefix}"))
        } else if is_within(prefix, RESERVED) {
            ("prefix", format!("{RESERVED} is for the gateway's own paths"))
        } else if !prefixes.insert(prefix) {
            ("prefix", format!("{prefix} has a route already"))
        } else if !upstreams.contains_key(upstream) {
            ("upstream", format!("there is no upstream {upstream}"))
        } else {
            continue;
        };
        return Err(BadConfig::new(format!("routes[{n}].{key}"), rule));
    }
    if upstreams.contains_key(RESERVED) {
        return Err(BadConfig::new(
            format!("upstreams.{RESERVED}"),
            "is the gateway's own name in the status",
        ));
    }
    let is_used = |name: &String| routes.iter().any(|route| route.upstream == *name);
    match upstreams.keys().find(|name| !is_used(name)) {
        Some(unused) => Err(BadConfig::new(format!("upstreams.{unused}"), "no route leads to it")),
        None => Ok(()),
    }
}

/// Whether the prefix contains the path: `/a` contains `/a` and `/a/b`, but not `/ab`.
pub(crate) fn is_within(path: &str, prefix: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The prefix of the gateway's own paths.
pub(crate) const RESERVED: &str = "/-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn complaint(lines: &str) -> String {
        Config::parse(&format!("listen = '127.0.0.1:0'\n{lines}")).expect_err(lines).to_string()
    }

    #[test]
    fn a_prefix_contains_whole_segments_only() {
        for path in ["/a", "/a/", "/a/b"] {
            assert!(is_within(path, "/a") && is_within(path, "/"), "{path}");
        }
        assert!(!is_within("/ab", "/a"));
        assert!(!is_within("/", "/a"));
    }

    #[test]
    fn an_upstream_without_a_route_is_refused() {
        let route = "routes = [{ prefix = '/', upstream = 'a' }]";
        let lines = format!("{route}\n[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'");
        assert_eq!(complaint(&lines), "upstreams.b: no route leads to it");
        let lines = "routes = [{ prefix = '/', upstream = '/-' }]\nupstreams.'/-' = { url = 'http://a' }";
        assert_eq!(complaint(lines), "upstreams./-: is the gateway's own name in the status");
    }

    #[test]
    fn a_route_that_leads_nowhere_is_refused() {
        let route = |prefix: &str| {
            let route = format!("routes = [{{ prefix = '/a', upstream = 'a' }}, {prefix}]");
            complaint(&format!("{route}\nupstreams.a = {{ url = 'http://a' }}"))
        };
        for (second, expected) in [
            ("{ prefix = '/', upstream = 'b' }", "routes[1].upstream: there is no upstream b"),
            ("{ prefix = '/-/x', upstream = 'a' }", "routes[1].prefix: /- is for the gateway's own paths"),
            ("{ prefix = '/a', upstream = 'a' }", "routes[1].prefix: /a has a route already"),
            (
                "{ prefix = 'b', upstream = 'a' }",
                "routes[1].prefix: must be \"/\", or begin with \"/\" and not end with it: b",
            ),
            (
                "{ prefix = '/', upstream = 'a', priority = 'top' }",
                "routes[1].priority: unknown variant `top`, expected one of `low`, `normal`, `high`, `critical`",
            ),
        ] {
            assert_eq!(route(second), expected);
        }
    }
}
