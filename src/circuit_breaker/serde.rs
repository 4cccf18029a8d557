//! The file format of a rate that can be off: `failure_rate = "off"`.

use ::serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(crate = "::serde", untagged, expecting = "a rate above 0 and at most 1, or \"off\"")]
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
pub(super) fn serialize<S: Serializer>(rate: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map_or(Rate::Off(Off::Off), Rate::On).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Rate::deserialize(deserializer)? {
        Rate::On(rate) => Some(rate),
        Rate::Off(_) => None,
    })
}
