//! What a proxy takes out of the headers, and what it adds.

use std::net::SocketAddr;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Fits the headers of a request for the next hop: whom the request came from and what it asked for is in the
/// `X-Forwarded` ones. Its `Host` is for the next hop to say.
pub(crate) fn forward(headers: &mut HeaderMap, peer: Option<SocketAddr>) {
    strip(headers);
    if let Some(peer) = peer {
        append(headers, X_FORWARDED_FOR, &peer.ip().to_string());
    }
    if let Some(asked) = headers.remove(HOST) {
        headers.insert(X_FORWARDED_HOST, asked);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
}

/// Takes out what was meant for this hop only (RFC 9110, 7.6.1): the headers that `Connection` names, and those that
/// it should have named.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Adds to a list that proxies before this one may have begun.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let before = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
    let list: Vec<&str> = before.chain([value]).collect();
    if let Ok(value) = HeaderValue::try_from(list.join(", ")) {
        headers.insert(name, value);
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

// Upgrade is among them: WebSockets do not get through this proxy.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_for_this_hop_only_stays_here() {
        let mut headers = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("accept", "text/plain"),
        ]);
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["accept"], "text/plain");
    }

    #[test]
    fn the_upstream_learns_whom_it_came_from_and_what_was_asked_for() {
        let mut headers = headers(&[("host", "shop.example"), ("x-forwarded-for", "10.0.0.7")]);
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        forward(&mut headers, Some(peer));
        assert!(!headers.contains_key("host"));
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.7, 192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }
}
