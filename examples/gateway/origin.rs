//! The address of a server, as the config file spells it.

use std::fmt;

use axum::http::{HeaderValue, Uri, uri::Authority};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// The address of a server: `http://host:port`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Origin {
    authority: Authority,
    host: HeaderValue,
}

/// One server, or several equal ones: a URL, or a list of URLs.
#[derive(Clone, Debug)]
pub(crate) struct Origins(Vec<Origin>);

impl Origin {
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether both are one server. A missing port is 80.
    fn is_same(&self, other: &Self) -> bool {
        let server = |origin: &Self| {
            (origin.authority.host().to_ascii_lowercase(), origin.authority.port_u16().unwrap_or(80))
        };
        server(self) == server(other)
    }

    /// The value of the header `Host`.
    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}

impl Origins {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    pub(crate) fn first(&self) -> &Origin {
        self.0.first().expect("the config refuses an empty list")
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Origin> for Origins {
    fn from(origin: Origin) -> Self {
        Self(vec![origin])
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let uri: Uri = url.parse().map_err(|_| RULE)?;
        let bare = uri.path() == "/" && uri.query().is_none();
        match uri.authority() {
            // The text before an @ is a password, which does not belong in a file.
            Some(authority)
                if uri.scheme_str() == Some("http") && bare && !authority.as_str().contains('@') =>
            {
                let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RULE)?;
                Ok(Self { authority: authority.clone(), host })
            }
            _ => Err(RULE),
        }
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Origins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or a list of them")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<Origins, E> {
                Origin::try_from(url.to_string()).map(Origins::from).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Origins, A::Error> {
                let mut origins = Vec::new();
                while let Some(origin) = list.next_element::<Origin>()? {
                    // It would take two turns, and a retry would go to the server that has just failed.
                    if origins.iter().any(|known: &Origin| known.is_same(&origin)) {
                        let rule = format!("is given twice: http://{}", origin.authority);
                        return Err(de::Error::custom(rule));
                    }
                    origins.push(origin);
                }
                if origins.is_empty() {
                    return Err(de::Error::custom("must name at least one server"));
                }
                Ok(Origins(origins))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

const RULE: &str = "must be http://host or http://host:port";
