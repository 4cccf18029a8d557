//! The key: a host and a port.

use std::sync::atomic::{AtomicU64, Ordering};
use std::{
    error, fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use ::http::{Uri, uri};

/// The host and the port that a request goes to.
///
/// For `http` and `https` the port is always known: a URI without a port has 80 or 443. The case of the host does not
/// matter, and a user name in the URI is no part of it. `to_string()` gives `host:port`.
///
/// An `Authority` in the extensions of a request takes the place of the one in its URI. A host of more than 253 bytes,
/// which no DNS name has, counts as unknown.
///
/// ```
/// use tower_reliability::http::Authority;
///
/// let key: Authority = "Shop.example:443".parse()?;
/// assert_eq!(key, Authority::of_uri(&"https://user:secret@shop.example/tea".parse()?));
/// assert_eq!(key.to_string(), "Shop.example:443");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

enum Host {
    /// The host of a URI, without a copy.
    InUri(uri::Authority),
    Text(Arc<str>),
    /// A channel whose host is unknown outside of it.
    Channel(u64),
    Unknown,
}

impl Host {
    /// The name of the host. A dot at its end says that the name is complete, and names the same host.
    fn text(&self) -> Option<&str> {
        let text = match self {
            Self::InUri(authority) => authority.host(),
            Self::Text(text) => text,
            _ => return None,
        };
        Some(text.strip_suffix('.').unwrap_or(text))
    }
}

impl Authority {
    /// The host and the port of a URI.
    #[must_use]
    pub fn of_uri(uri: &Uri) -> Self {
        match uri.authority() {
            Some(authority) => Self::named(authority.clone(), uri.scheme_str().and_then(default_port)),
            None => Self::UNKNOWN,
        }
    }

    /// `default` is the port if the authority has none.
    pub(super) fn named(authority: uri::Authority, default: Option<u16>) -> Self {
        if authority.host().len() > LONGEST_HOST {
            return Self::UNKNOWN;
        }
        let port = authority.port_u16().or(default);
        Self { host: Host::InUri(authority), port }
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn of_host(host: &str, port: Option<u16>) -> Self {
        if host.len() > LONGEST_HOST { Self::UNKNOWN } else { Self { host: Host::Text(host.into()), port } }
    }

    /// A new channel: it differs from every other key.
    #[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "only gRPC has channels"))]
    pub(crate) fn new_channel() -> Self {
        static CHANNELS: AtomicU64 = AtomicU64::new(1);
        // Relaxed: the numbers only have to differ.
        Self { host: Host::Channel(CHANNELS.fetch_add(1, Ordering::Relaxed)), port: None }
    }

    /// The key of all requests that do not say where they go.
    pub(super) const UNKNOWN: Self = Self { host: Host::Unknown, port: None };

    pub(super) const fn is_known(&self) -> bool {
        !matches!(self.host, Host::Unknown)
    }
}

/// Parses `host` or `host:port`.
impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        text.parse().map(|authority| Self::named(authority, None)).map_err(InvalidAuthority)
    }
}

/// The clone holds a copy of the host alone. A part of the URI would keep the whole URI in memory, for as long as the
/// clone is the key of a circuit.
impl Clone for Authority {
    fn clone(&self) -> Self {
        let host = match &self.host {
            Host::InUri(authority) => Host::Text(authority.host().into()),
            Host::Text(text) => Host::Text(Arc::clone(text)),
            Host::Channel(number) => Host::Channel(*number),
            Host::Unknown => Host::Unknown,
        };
        Self { host, port: self.port }
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        let same_host = match (&self.host, &other.host) {
            (Host::Channel(one), Host::Channel(other)) => one == other,
            (Host::Unknown, Host::Unknown) => true,
            (one, other) => match (one.text(), other.text()) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                _ => false,
            },
        };
        same_host && self.port == other.port
    }
}

impl Eq for Authority {}

impl Hash for Authority {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Host::Channel(number) = self.host {
            number.hash(state);
        }
        for byte in self.host.text().unwrap_or_default().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        self.port.hash(state);
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Channel(number) => write!(f, "channel-{number}")?,
            host => f.write_str(host.text().unwrap_or("unknown"))?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Prints no user name and no password.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({self})")
    }
}

/// The text is no authority of a URI.
#[derive(Debug)]
pub struct InvalidAuthority(uri::InvalidUri);

impl fmt::Display for InvalidAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host or host:port")
    }
}

impl error::Error for InvalidAuthority {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// The longest name of DNS, in bytes.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn of(uri: &str) -> Authority {
        Authority::of_uri(&uri.parse().expect("a URI"))
    }

    #[test]
    fn equal_keys_have_equal_hashes() {
        let hasher = RandomState::new();
        for (one, other) in [
            ("http://shop.example/a", "http://SHOP.example:80/b?c"),
            ("https://shop.example", "https://user:secret@shop.example:443"),
            ("http://[::1]:81", "http://[::1]:81/x"),
            ("http://shop.example.", "http://shop.example"),
            ("/a", "/b"),
        ] {
            assert_eq!(of(one), of(other));
            assert_eq!(hasher.hash_one(of(one)), hasher.hash_one(of(other)), "{one} {other}");
        }
    }

    #[test]
    fn host_and_port_make_a_key() {
        for (one, other) in [
            ("http://shop.example", "https://shop.example"),
            ("http://shop.example", "http://shop.example:81"),
            ("http://shop.example", "http://tea.example"),
            ("http://unknown", "/"),
        ] {
            assert_ne!(of(one), of(other));
        }
    }

    #[test]
    fn a_clone_keeps_no_long_path_in_memory_and_a_long_host_is_unknown() {
        let key = of(&format!("http://shop.example/{}", "x".repeat(60_000)));
        assert!(matches!((&key.host, &key.clone().host), (Host::InUri(_), Host::Text(_))));
        assert_eq!(key, key.clone());
        assert_eq!(of(&format!("http://{}/", "x".repeat(254))), Authority::UNKNOWN);
    }

    #[test]
    fn case_74_a_password_is_in_no_name_and_no_log() {
        let key = of("http://user:secret@shop.example/");
        assert_eq!(
            (key.to_string(), format!("{key:?}")),
            ("shop.example:80".to_owned(), "Authority(shop.example:80)".to_owned())
        );
        assert_eq!(
            "no host".parse::<Authority>().expect_err("a space").to_string(),
            "not a host or host:port"
        );
    }
}
