//! The file format of a breaker: `failure_rate = "off"` and `window = { time = "10s" }`.

use ::serde::Deserializer;

use super::config::Window;
use crate::call::choice;

/// For `#[serde(with = "…")]` at a rate that can be off.
pub(super) mod rate {
    use ::serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(crate = "::serde", untagged, expecting = "expected a rate above 0 and at most 1, or \"off\"")]
    enum Rate {
        On(f64),
        Off(Off),
    }

    #[derive(Serialize, Deserialize)]
    #[serde(crate = "::serde", rename_all = "snake_case")]
    enum Off {
        Off,
    }

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(in crate::circuit_breaker) fn serialize<S: Serializer>(
        rate: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        rate.map_or(Rate::Off(Off::Off), Rate::On).serialize(serializer)
    }

    pub(in crate::circuit_breaker) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Ok(match Rate::deserialize(deserializer)? {
            Rate::On(rate) => Some(rate),
            Rate::Off(_) => None,
        })
    }
}

/// A window has no default number for a name to stand for.
pub(super) fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
    choice::deserialize(deserializer, |_| None, "a table, { calls = 100 } or { time = \"10s\" }")
}
