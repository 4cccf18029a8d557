//! Limits per client, by a header or an extension of its requests.

use std::{
    any, fmt,
    hash::{BuildHasher, Hash, RandomState},
    marker::PhantomData,
};

use ::http::{HeaderName, HeaderValue, Request};

use crate::{
    keyed::KeySource,
    rate_limit::{RateLimitConfig, RateLimitLayer, keyed::KeyedRateLimitLayer},
    stack::PerKey,
};

/// The key of a client: a hash of the value that names it, in one word, however long that value is.
///
/// Each [`ByHeader`] and [`ByExtension`] hashes with a secret of its own, so that no client can choose the key of another.
/// Among a million clients, two share a key, and thus a limit, with a probability of 1 in 37 million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(u64);

/// Tells clients apart by a header. Made by [`RateLimitLayer::per_header`].
///
/// Clones share the secret.
#[derive(Clone, Debug)]
pub struct ByHeader {
    name: HeaderName,
    hasher: RandomState,
}

/// Tells clients apart by a value in the extensions. Made by [`RateLimitLayer::per_extension`].
///
/// Clones share the secret.
pub struct ByExtension<T> {
    hasher: RandomState,
    of: PhantomData<fn() -> T>,
}

impl<P, D, Costs, C> RateLimitLayer<P, D, Costs, C> {
    /// Gives each value of a header a limit of its own, such as an API key. All requests without the header share one.
    ///
    /// Choose a header that the server has checked, or that a trusted proxy sets: a client that may send any value gets a
    /// new limit with each. See [`keyed`](Self::keyed).
    ///
    /// ```
    /// use ::http::HeaderName;
    /// use tower_reliability::rate_limit::RateLimitConfig;
    ///
    /// const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
    /// let layer = RateLimitConfig::per_second(10).build()?.per_header(API_KEY);
    /// # let _ = layer;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn per_header(self, name: HeaderName) -> KeyedRateLimitLayer<ClientKey, ByHeader, Costs> {
        self.keyed_by(ByHeader::new(name))
    }

    /// Gives each value of this type in the extensions a limit of its own, such as the user whom an outer layer has
    /// authenticated. All requests without one share a limit.
    ///
    /// For the address of a client, use [`keyed`](Self::keyed): a socket address includes the port, which differs by
    /// connection. A client may own all addresses of an IPv6 network, so take the first 64 bits of those.
    ///
    /// ```
    /// use tower_reliability::rate_limit::RateLimitConfig;
    ///
    /// #[derive(Clone, Hash)]
    /// struct User(String);
    /// let layer = RateLimitConfig::per_second(10).build()?.per_extension::<User>();
    /// # let _ = layer;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn per_extension<T: Hash + Send + Sync + 'static>(
        self,
    ) -> KeyedRateLimitLayer<ClientKey, ByExtension<T>, Costs> {
        self.keyed_by(ByExtension::new())
    }
}

impl RateLimitConfig {
    /// A stage of a stack with a limit for each value of a header. See [`RateLimitLayer::per_header`].
    #[must_use]
    pub fn per_header(self, name: HeaderName) -> PerKey<Self, ClientKey, ByHeader> {
        PerKey::new(self, ByHeader::new(name)).max_keys(MAX_KEYS)
    }

    /// A stage of a stack with a limit for each value of this type in the extensions. See
    /// [`RateLimitLayer::per_extension`].
    #[must_use]
    pub fn per_extension<T: Hash + Send + Sync + 'static>(self) -> PerKey<Self, ClientKey, ByExtension<T>> {
        PerKey::new(self, ByExtension::new()).max_keys(MAX_KEYS)
    }
}

impl ByHeader {
    fn new(name: HeaderName) -> Self {
        Self { name, hasher: RandomState::new() }
    }
}

impl<T> ByExtension<T> {
    fn new() -> Self {
        Self { hasher: RandomState::new(), of: PhantomData }
    }
}

impl<B> KeySource<Request<B>, ClientKey> for ByHeader {
    fn key(&self, request: &Request<B>) -> ClientKey {
        // The first of several values: a proxy that sets the header replaces them all.
        ClientKey(self.hasher.hash_one(request.headers().get(&self.name).map(HeaderValue::as_bytes)))
    }
}

impl<B, T: Hash + Send + Sync + 'static> KeySource<Request<B>, ClientKey> for ByExtension<T> {
    fn key(&self, request: &Request<B>) -> ClientKey {
        ClientKey(self.hasher.hash_one(request.extensions().get::<T>()))
    }
}

impl<T> Clone for ByExtension<T> {
    fn clone(&self) -> Self {
        Self { hasher: self.hasher.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for ByExtension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByExtension").field(&any::type_name::<T>()).finish()
    }
}

/// The default of [`KeyedRateLimitLayer::max_keys`].
const MAX_KEYS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_header_or_its_extension() {
        let by_header = ByHeader::new(HeaderName::from_static("client"));
        let of_header = |value: &[u8]| {
            by_header.key(&Request::get("/").header("client", value).body(()).expect("a request"))
        };
        let none = by_header.key(&Request::new(()));
        let long = vec![b'a'; 60_000];
        let keys = [of_header(b"a"), of_header(b"b"), of_header(b""), of_header(&long), none];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{keys:?}");
        }
        assert_eq!(
            of_header(b"a"),
            by_header.clone().key(&Request::get("/").header("client", "a").body("x").expect("a request"))
        );

        let by_extension = ByExtension::<u32>::new();
        let of_extension = |value: u32| {
            let mut request = Request::new(());
            request.extensions_mut().insert(value);
            by_extension.clone().key(&request)
        };
        assert_eq!(of_extension(1), of_extension(1));
        assert!(of_extension(1) != of_extension(2) && of_extension(1) != by_extension.key(&Request::new(())));
        assert_eq!(format!("{by_extension:?}"), "ByExtension(\"u32\")");
    }

    #[test]
    fn case_74_no_client_can_compute_the_key_of_another() {
        let key = || {
            let by_header = ByHeader::new(HeaderName::from_static("client"));
            by_header.key(&Request::get("/").header("client", "a").body(()).expect("a request"))
        };
        assert_ne!(key(), key(), "each layer has a secret of its own");
    }
}
