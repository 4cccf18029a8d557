//! The headers that tell an upstream about the client: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

use std::net::{IpAddr, SocketAddr};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{Entry, FORWARDED},
};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// The networks whose proxies are believed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Trust(Vec<Network>);

#[derive(Clone, Debug)]
struct Network(IpNet);

/// A client's connection, as upstreams see it.
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Its `X-Forwarded-*` and `Forwarded` are believed.
    trusted: bool,
    /// The address as a header.
    written: HeaderValue,
    /// The element of `Forwarded`, up to its host.
    element: String,
}

impl Trust {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|Network(network)| network.contains(&address))
    }
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, trust: &Trust) -> Self {
        // An IPv4 client of an IPv6 socket.
        let address = address.ip().to_canonical();
        let written =
            HeaderValue::try_from(address.to_string()).expect("an address consists of visible ASCII");
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto=http"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto=http"),
        };
        Self { address, trusted: trust.contains(address), written, element }
    }

    /// Whether its headers about the client are believed.
    pub(crate) const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The address of the client in front of all trusted proxies, by `X-Forwarded-For`.
    ///
    /// Each proxy appends the address that it sees. So the list is read from its end, up to the first address that is not
    /// trusted: a client can write whatever it likes in front of that.
    pub(crate) fn client(&self, headers: &HeaderMap, trust: &Trust) -> IpAddr {
        if !self.trusted {
            return self.address;
        }
        let mut client = self.address;
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut list = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        while trust.contains(client) {
            let Some(address) = list.next().and_then(address) else { break };
            client = address;
        }
        client
    }

    /// The element that this gateway adds to `Forwarded`. The host consists of the characters of a host and a port.
    fn element(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let mut element = Vec::with_capacity(self.element.len() + host.map_or(0, |host| host.len() + 8));
        element.extend_from_slice(self.element.as_bytes());
        if let Some(host) = host {
            element.extend_from_slice(b";host=\"");
            element.extend_from_slice(host.as_bytes());
            element.push(b'"');
        }
        HeaderValue::try_from(element).expect("the parts are header values")
    }
}

/// Tells the upstream about the client and the host that it asked for.
///
/// A trusted client is a proxy, so this gateway adds to its lists and keeps its host and protocol. The headers of any
/// other client are replaced, because it could write into them whatever it likes.
pub(crate) fn forward(headers: &mut HeaderMap, peer: &Peer, host: Option<&HeaderValue>) {
    if !peer.trusted {
        let claims = headers.keys().filter(|name| is_claim(name)).cloned().collect::<Vec<_>>();
        for name in claims {
            headers.remove(name);
        }
    }
    append(headers, X_FORWARDED_FOR, peer.written.clone());
    append(headers, FORWARDED, peer.element(host));
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

/// An address in a list, which some proxies write with its port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let address = text.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Whether the header claims to know the client.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

/// Appends to a list that an earlier proxy may have begun.
fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value)),
        Entry::Occupied(mut entry) => {
            let list = entry.iter().chain([&value]).map(HeaderValue::as_bytes);
            let list = list.collect::<Vec<_>>().join(&b", "[..]);
            entry.insert(HeaderValue::try_from(list).expect("the values of the list are valid"));
        }
    }
}

#[cfg(test)]
impl FromIterator<&'static str> for Trust {
    fn from_iter<I: IntoIterator<Item = &'static str>>(networks: I) -> Self {
        Self(networks.into_iter().map(|text| Network(text.parse().expect("a network"))).collect())
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        network
            .map(Self)
            .map_err(|_| de::Error::custom("must be an address, or a network such as 10.0.0.0/8"))
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers that the upstream sees, for a client that sends these.
    fn seen(client: &str, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut headers = sent.iter().map(pair).collect();
        let trust = Trust::from_iter(["192.0.2.0/24"]);
        let peer = Peer::new(client.parse().expect("an address"), &trust);
        forward(&mut headers, &peer, Some(&HeaderValue::from_static("shop.example:80")));
        headers
    }

    const CLAIMS: [(&str, &str); 5] = [
        ("x-forwarded-for", "10.0.0.7"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=10.0.0.7;proto=https"),
    ];

    #[test]
    fn the_claims_of_an_unknown_client_are_replaced() {
        let headers = seen("198.51.100.1:4711", &CLAIMS);
        assert_eq!(headers["x-forwarded-for"], "198.51.100.1");
        assert_eq!(headers["x-forwarded-host"], "shop.example:80");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["forwarded"], "for=198.51.100.1;proto=http;host=\"shop.example:80\"");
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn the_claims_of_a_trusted_proxy_are_kept_and_continued() {
        for client in ["192.0.2.1:4711", "[::ffff:192.0.2.1]:4711"] {
            let headers = seen(client, &CLAIMS);
            assert_eq!(headers["x-forwarded-for"], "10.0.0.7, 192.0.2.1");
            assert_eq!(headers["x-forwarded-host"], "other.example");
            assert_eq!(headers["x-forwarded-proto"], "https");
            assert_eq!(headers["x-forwarded-port"], "443");
            let ours = "for=192.0.2.1;proto=http;host=\"shop.example:80\"";
            assert_eq!(headers["forwarded"], format!("for=10.0.0.7;proto=https, {ours}"));
        }
    }

    #[test]
    fn an_ipv6_address_is_quoted_in_forwarded() {
        let headers = seen("[2001:db8::1]:4711", &[]);
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=http;host=\"shop.example:80\"");
    }
}
