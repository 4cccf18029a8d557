//! Durations in files: `"30s"`, `"250ms"`, `"1m 30s"`.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// A duration that a file spells as a text, for lists and tables of them.
pub(crate) struct Spelled(pub(crate) Duration);

impl Serialize for Spelled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Spelled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Spelling)
    }
}

/// For `#[serde(with = "crate::call::duration")]`.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    Spelled(*duration).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Spelled::deserialize(deserializer).map(|Spelled(duration)| duration)
}

/// The same for a duration that may be missing.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, Spelled};

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Spelled).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(|Spelled(duration)| duration))
    }
}

struct Spelling;

impl Visitor<'_> for Spelling {
    type Value = Spelled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as \"10s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Spelled, E> {
        match humantime::parse_duration(text) {
            Ok(duration) => Ok(Spelled(duration)),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Duration, String> {
        let spelled: Result<Spelled, _> = serde_json::from_str(json);
        spelled.map(|Spelled(duration)| duration).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_is_a_text_with_a_unit() {
        assert_eq!(read("\"1m 30s\""), Ok(Duration::from_secs(90)));
        for (json, expected) in [
            ("\"soon\"", "invalid value: string \"soon\", expected a duration, such as \"10s\""),
            ("\"10\"", "invalid value: string \"10\", expected a duration, such as \"10s\""),
            ("\"\"", "invalid value: string \"\", expected a duration, such as \"10s\""),
            ("10", "invalid type: integer `10`, expected a duration, such as \"10s\""),
        ] {
            let refused = read(json).expect_err(json);
            assert!(refused.starts_with(expected), "{refused}");
        }
        assert!(read("\"999999999999999999y\"").is_err(), "a year too far is no panic");
    }

    #[test]
    fn every_duration_survives_a_round_trip() {
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(61_001)] {
            let json = serde_json::to_string(&Spelled(duration)).expect("it can be written");
            assert_eq!(read(&json), Ok(duration), "{json}");
        }
    }
}
