//! The priority of a request: that of its route, unless the client asks for another.

use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use tower_reliability::Priority;

/// The effect of the header `Priority` (RFC 9218).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PriorityHeader {
    /// None.
    Ignore,
    /// Any client may lower the priority of its request.
    #[default]
    Lower,
    /// A trusted client may raise it too.
    Trusted,
}

impl PriorityHeader {
    /// The priority of a request to a route of priority `base`.
    pub(crate) fn apply(self, base: Priority, headers: &HeaderMap, trusted: bool) -> Priority {
        let asked = if self == Self::Ignore { None } else { urgency(headers).map(class) };
        match asked {
            Some(asked) if self == Self::Trusted && trusted => asked,
            // A client could make all of its requests critical.
            Some(asked) => asked.min(base),
            None => base,
        }
    }
}

/// The parameter `u` of the header, 0 to 7. The last one counts, as in every dictionary of structured fields (RFC 9651).
fn urgency(headers: &HeaderMap) -> Option<u8> {
    let lines = headers.get_all(PRIORITY).iter().filter_map(|line| line.to_str().ok());
    let mut members = lines.flat_map(|line| line.split(',')).filter_map(|member| {
        // `u=3;x` has a parameter of its own, which means nothing.
        let (key, value) = member.split(';').next()?.trim().split_once('=')?;
        (key == "u").then_some(value)
    });
    match members.next_back()?.as_bytes() {
        [digit @ b'0'..=b'7'] => Some(digit - b'0'),
        _ => None,
    }
}

/// A header without `u` stands for 3, and 7 is for background work.
const fn class(urgency: u8) -> Priority {
    match urgency {
        0 => Priority::Critical,
        1 | 2 => Priority::High,
        3 | 4 => Priority::Normal,
        _ => Priority::Low,
    }
}

const PRIORITY: HeaderName = HeaderName::from_static("priority");

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (PRIORITY, HeaderValue::from_str(line).expect("valid"))).collect()
    }

    #[test]
    fn the_urgency_is_read_from_every_valid_header() {
        for (lines, expected) in [
            (&["u=0"][..], Some(0)),
            (&["u=7, i"], Some(7)),
            (&["i,u=2;x=1"], Some(2)),
            (&["u=5", "u=1"], Some(1)),
            (&["i"], None),
            (&[], None),
            (&["u=8"], None),
            (&["u=-1"], None),
            (&["u=00"], None),
            (&["u"], None),
            (&["u=1, u=x"], None),
            (&["U=1"], None),
        ] {
            assert_eq!(urgency(&headers(lines)), expected, "{lines:?}");
        }
    }

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
            let priority = header.apply(base, &headers(&[asked]), trusted);
            assert_eq!(priority, expected, "{header:?}, trusted: {trusted}, {base:?}, {asked}");
        }
    }
}
