//! A host and a port.

use std::net::IpAddr;

use crate::call::ConfigError;

/// The host and the port that a user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    /// An address needs no lookup.
    Address(IpAddr),
}

impl Target {
    /// Reads `host:port`, with an IPv6 address in brackets.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::read(text).ok_or(ConfigError::new("target", "must be `host:port`, such as `api.internal:8080`"))
    }

    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bracketed, host.parse()) {
            (Some(address), _) => Host::Address(IpAddr::V6(address.parse().ok()?)),
            (None, Ok(address @ IpAddr::V4(_))) => Host::Address(address),
            (None, _) if is_name(host) => Host::Name(host.to_owned()),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// Whether a host can be a name. The resolver checks the rest: the lengths, and international letters.
fn is_name(host: &str) -> bool {
    let is_in_name = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    !host.is_empty() && host.len() <= MAX_NAME && host.chars().all(is_in_name)
}

/// A name of DNS has at most 253 letters, and a final dot.
const MAX_NAME: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_or_an_address_and_a_port() {
        let read = |text| Target::parse(text).map(|target| (target.host, target.port));
        assert_eq!(read("api.internal:8080"), Ok((Host::Name("api.internal".to_owned()), 8080)));
        assert_eq!(read("api.example.com.:1"), Ok((Host::Name("api.example.com.".to_owned()), 1)));
        let v4 = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(read("127.0.0.1:80"), Ok((Host::Address(v4), 80)));
        let v6 = "::1".parse().expect("an address");
        assert_eq!(read("[::1]:65535"), Ok((Host::Address(v6), 65535)));
    }

    #[test]
    fn a_target_in_another_form_is_refused_with_an_example() {
        let long = format!("{}:80", "a".repeat(255));
        for text in [
            "",
            ":",
            "host",
            "host:",
            "host:0",
            "host:65536",
            ":80",
            "::1",
            "::1:80",
            "[::1]",
            "[127.0.0.1]:80",
            "[host]:80",
            "http://host:80",
            "host/path:80",
            "a b:80",
            "a\n:80",
            "user@host:80",
            &long,
        ] {
            let error = Target::parse(text).expect_err(text);
            assert_eq!(error.to_string(), "target must be `host:port`, such as `api.internal:8080`");
        }
    }
}
