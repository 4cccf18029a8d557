//! Requests that the gateway refuses before it looks for an upstream.

use axum::{
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header},
    response::Response,
};

use crate::problem;

/// A request that no upstream may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    detail: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail }
    }

    pub(crate) fn answer(self) -> Response {
        let mut answer = problem::answer(self.status, self.detail);
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
        }
        answer
    }
}

/// The host that a request asks for. An HTTP/1.0 request may come without one.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
    let bad = |detail| Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
    if request.method() == Method::CONNECT {
        let detail = "This gateway opens no tunnels.";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail));
    }
    if asks_for_another_protocol(request.headers()) {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "This gateway does not change protocols."));
    }
    if has_dot_segment(request.uri().path()) {
        return bad("The path has dot segments.");
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.clone()),
        (None, _) if request.version() == Version::HTTP_10 => None,
        (None, _) => return bad("The request has no host."),
        (Some(_), Some(_)) => return bad("The request has several hosts."),
    };
    // The host of an absolute URL overrides the header (RFC 9112, 3.2.2).
    let absolute = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let host = absolute.or(host);
    if host.as_ref().is_some_and(|host| !host.as_bytes().iter().all(|&byte| is_of_host(byte))) {
        return bad("The host is not valid.");
    }
    Ok(host)
}

/// Whether a client asks to leave HTTP/1.1, as for a WebSocket.
///
/// A plain answer to its request would not be the answer that it expects. Only `h2c` asks for the same answer in another
/// version, so that the server may ignore it (RFC 9110, 7.8).
fn asks_for_another_protocol(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|value| {
        let mut protocols = value.as_bytes().split(|&byte| byte == b',');
        protocols.any(|protocol| !protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    })
}

/// Whether a server could read `.` or `..` in the path. Such a path leaves the prefix of its route.
fn has_dot_segment(path: &str) -> bool {
    // Most paths have neither, and need no closer look.
    if !path.bytes().any(|byte| matches!(byte, b'.' | b'%')) {
        return false;
    }
    let decoded;
    let path = if path.contains('%') {
        decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
        &decoded
    } else {
        path
    };
    // Some servers cut parameters off, as in `..;a=b`.
    let mut segments = path.split(['/', '\\']).map(|segment| segment.split(';').next());
    segments.any(|segment| matches!(segment, Some("." | "..")))
}

/// Whether a host or its port has this character (RFC 3986, 3.2.2). Passwords in front of an `@` are no part of it.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
}

const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_found_in_all_their_spellings() {
        let spellings = [
            "/a/../b",
            "/a/..",
            "/./a",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..%2fb",
            "/a\\..\\b",
            "/a/..;x/b",
            "/a/..%5Cb",
        ];
        for path in spellings {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "*", "/a/...", "/.well-known/x", "/a..b/c.", "/%2e%2e%2e", "/a%20b"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    /// The status of the refusal of a request with these headers.
    fn refused(request: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let (method, uri) = request.split_once(' ').expect("a method and a URI");
        let request =
            headers.iter().fold(Request::builder().method(method).uri(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        host(&request.body(()).expect("a request")).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_request_has_one_valid_host() {
        assert_eq!(refused("GET /", &[("host", "a.example:80")]), None);
        assert_eq!(refused("GET /", &[("host", "[::1]:80")]), None);
        assert_eq!(refused("GET /", &[]), Some(400));
        assert_eq!(refused("GET /", &[("host", "a"), ("host", "a")]), Some(400));
        assert_eq!(refused("GET /", &[("host", "me@a")]), Some(400));
        assert_eq!(refused("GET /", &[("host", "a\";for=b")]), Some(400));
        let request =
            Request::get("http://b.example/").header("host", "a.example").body(()).expect("a request");
        assert_eq!(host(&request).ok().flatten().expect("a host"), "b.example");
    }

    #[test]
    fn another_protocol_is_refused_and_h2c_is_ignored() {
        let upgrade = |protocol| refused("GET /", &[("host", "a"), ("upgrade", protocol)]);
        assert_eq!(upgrade("websocket"), Some(501));
        assert_eq!(upgrade("h2c, websocket"), Some(501));
        assert_eq!(upgrade("h2c"), None);
        assert_eq!(refused("CONNECT a:443", &[("host", "a:443")]), Some(405));
    }
}
