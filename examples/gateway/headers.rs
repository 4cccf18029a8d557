//! The headers that a proxy removes and adds.

use std::net::SocketAddr;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Prepares the headers of a request for the next hop. The `X-Forwarded` headers name the client and the host that it
/// asked for. The next hop gets its own `Host`.
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

/// Removes the headers for this hop only (RFC 9110, 7.6.1): those that `Connection` names, and the well-known ones.
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

/// Appends to a list that an earlier proxy may have begun.
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

// With `Upgrade` among them, WebSockets do not pass this proxy.
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
    fn headers_for_this_hop_only_are_removed() {
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
    fn the_upstream_learns_the_client_and_the_host_that_it_asked_for() {
        let mut headers = headers(&[("host", "shop.example"), ("x-forwarded-for", "10.0.0.7")]);
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        forward(&mut headers, Some(peer));
        assert!(!headers.contains_key("host"));
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.7, 192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }
}
