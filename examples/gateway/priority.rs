//! The priority of a request: that of its route, unless the client asks for another.

use axum::http::Request;
use serde::Deserialize;
use tower_reliability::{Priority, PrioritySource, http};

/// The effect of the header `Priority` (RFC 9218).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PriorityHeader {
    /// None.
    Ignore,
    /// Any client may make its request a low one.
    #[default]
    Lower,
    /// A trusted client may choose any priority.
    Trusted,
}

impl PriorityHeader {
    /// The priority of a request to a route of priority `base`.
    pub(crate) fn apply<B>(self, base: Priority, request: &Request<B>, trusted: bool) -> Priority {
        let header = http::PriorityHeader::new().base(|_: &Request<B>| base);
        match self {
            Self::Ignore => base,
            Self::Trusted if trusted => header.trusted().priority(request),
            // A client could make all of its requests critical.
            Self::Lower | Self::Trusted => header.priority(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_client_may_lower_and_only_a_trusted_one_may_raise() {
        use Priority::{Critical, High, Low, Normal};
        for (header, trusted, base, asked, expected) in [
            (PriorityHeader::Lower, false, High, "u=7", Low),
            (PriorityHeader::Lower, false, Normal, "u=0", Normal),
            (PriorityHeader::Lower, true, Normal, "u=0", Normal),
            (PriorityHeader::Trusted, false, Normal, "u=0", Normal),
            (PriorityHeader::Trusted, false, Normal, "u=5", Low),
            (PriorityHeader::Trusted, true, Normal, "u=0", Critical),
            (PriorityHeader::Trusted, true, Critical, "u=1", High),
            (PriorityHeader::Trusted, true, High, "i", High),
            (PriorityHeader::Ignore, true, High, "u=7", High),
        ] {
            let request = Request::get("/").header("priority", asked).body(()).expect("a request");
            let priority = header.apply(base, &request, trusted);
            assert_eq!(priority, expected, "{header:?}, trusted: {trusted}, {base:?}, {asked}");
        }
    }
}
