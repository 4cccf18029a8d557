//! The headers that a proxy removes and adds.

use std::net::SocketAddr;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, Entry, HOST},
};

/// A client's connection.
pub(crate) struct Peer {
    address: HeaderValue,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let address = HeaderValue::try_from(address.ip().to_string());
        Self { address: address.expect("an address consists of visible ASCII") }
    }
}

/// Prepares the headers of a request for the next hop. The `X-Forwarded` headers name the client and the host that it
/// asked for. The next hop gets its own `Host`.
pub(crate) fn forward(headers: &mut HeaderMap, peer: &Peer) {
    strip(headers);
    append(headers, X_FORWARDED_FOR, &peer.address);
    if let Some(asked) = headers.remove(HOST) {
        headers.insert(X_FORWARDED_HOST, asked);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
}

/// Removes the headers for this hop only (RFC 9110, 7.6.1): those that `Connection` names, and the well-known ones.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most messages have at most one of these headers, so one look at each name is cheaper than a removal of each.
    let well_known = headers.keys().filter(|name| is_hop_by_hop(name)).cloned();
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .filter(|option| !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close"))
        .filter_map(|name| name.parse().ok());
    for name in well_known.chain(named).collect::<Vec<_>>() {
        headers.remove(name);
    }
}

// With `Upgrade` among them, WebSockets do not pass this proxy.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Appends to a list that an earlier proxy may have begun.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value.clone())),
        Entry::Occupied(mut entry) => {
            let list =
                entry.iter().chain([value]).map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
            entry.insert(HeaderValue::try_from(list).expect("the values of the list are valid"));
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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
        let peer = Peer::new(SocketAddr::from(([192, 0, 2, 1], 4711)));
        forward(&mut headers, &peer);
        assert!(!headers.contains_key("host"));
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.7, 192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }
}
