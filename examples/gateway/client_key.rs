//! The clients that share a limit: those of one address, or of one value of a header.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
};

use axum::http::{HeaderMap, HeaderName};
use serde::{Deserialize, Deserializer, de};

use crate::forwarded::{Peer, Trust};

/// The key by which limits tell clients apart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientKey {
    /// The address in front of all trusted proxies.
    #[default]
    Address,
    /// A header that trusted clients write, such as the name of a tenant. Other clients have their addresses.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
}

/// Makes the hashes of the clients. No client can choose the hash of another: without the secret, it would have to try as
/// many addresses or headers as there are hashes.
#[derive(Clone, Debug)]
pub(crate) struct ClientKeys {
    key: ClientKey,
    trust: Trust,
    /// `None`: all gateways make the same hash of a client.
    secret: Option<RandomState>,
}

impl ClientKeys {
    pub(crate) fn new(key: ClientKey, trust: Trust) -> Self {
        Self { key, trust, secret: Some(RandomState::new()) }
    }

    /// The same hashes in every gateway of this build, for limits that gateways keep together.
    pub(crate) fn shared(self) -> Self {
        Self { secret: None, ..self }
    }

    /// The hash of the client of a request.
    pub(crate) fn hash(&self, peer: &Peer, headers: &HeaderMap) -> u64 {
        let client = self.client(peer, headers);
        match &self.secret {
            Some(secret) => secret.hash_one(client),
            None => BuildHasherDefault::<DefaultHasher>::default().hash_one(client),
        }
    }

    fn client<'a>(&self, peer: &Peer, headers: &'a HeaderMap) -> Client<'a> {
        match &self.key {
            // Any other client could have a new value for each request.
            ClientKey::Header(name) if peer.is_trusted() => match headers.get(name) {
                Some(value) => Client::Header(value.as_bytes()),
                None => Client::Address(network(peer.client(headers, &self.trust))),
            },
            _ => Client::Address(network(peer.client(headers, &self.trust))),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Client<'a> {
    Address(IpAddr),
    Header(&'a [u8]),
}

/// An IPv4 address, or the network of an IPv6 address: a client has all 2^64 addresses of its network.
const fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("is not the name of a header: {text:?}")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The client of a request from this address, with these headers.
    fn client(key: ClientKey, address: &str, sent: &[(&'static str, &'static str)]) -> String {
        let trust = Trust::from_iter(["10.0.0.0/8", "2001:db8:1::/48"]);
        let peer = Peer::new(address.parse().expect("an address"), &trust);
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        match ClientKeys::new(key, trust).client(&peer, &sent.iter().map(pair).collect()) {
            Client::Address(address) => address.to_string(),
            Client::Header(value) => String::from_utf8_lossy(value).into_owned(),
        }
    }

    #[test]
    fn a_client_behind_trusted_proxies_is_found_by_the_address_in_front_of_them() {
        let address = |peer, list| client(ClientKey::Address, peer, &[("x-forwarded-for", list)]);
        // A lie of the client stands in front of its own address.
        assert_eq!(address("10.0.0.1:1", "1.1.1.1, 198.51.100.7, 10.2.3.4"), "198.51.100.7");
        assert_eq!(address("10.0.0.1:1", "198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(address("[2001:db8:1::1]:1", "[2001:db8:2::5]:80"), "2001:db8:2::");
        assert_eq!(address("192.0.2.1:1", "198.51.100.7"), "192.0.2.1", "the client is not trusted");
        assert_eq!(address("10.0.0.1:1", "198.51.100.7, unknown"), "10.0.0.1");
        assert_eq!(address("10.0.0.1:1", ""), "10.0.0.1");
        assert_eq!(address("10.0.0.1:1", "10.0.0.9, 10.0.0.8"), "10.0.0.9", "a trusted client of its own");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let address = |peer| client(ClientKey::Address, peer, &[]);
        assert_eq!(address("[2001:db8:2:3:4::5]:1"), address("[2001:db8:2:3::9]:1"));
        assert_ne!(address("[2001:db8:2:3::9]:1"), address("[2001:db8:2:4::9]:1"));
    }

    #[test]
    fn a_header_is_the_key_of_trusted_clients_only() {
        let key = || ClientKey::Header(HeaderName::from_static("x-tenant"));
        assert_eq!(client(key(), "10.0.0.1:1", &[("x-tenant", "shop")]), "shop");
        assert_eq!(client(key(), "192.0.2.1:1", &[("x-tenant", "shop")]), "192.0.2.1");
        assert_eq!(client(key(), "10.0.0.1:1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    }
}
