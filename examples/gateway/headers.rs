//! The headers for one hop, which a proxy does not pass on.

use axum::http::{HeaderMap, HeaderName, header::CONNECTION};

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

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn headers_for_this_hop_only_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("accept", "text/plain"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["accept"], "text/plain");
    }
}
