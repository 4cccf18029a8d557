//! Keys of a file that take a name or a table with one key: `"exponential"` or `{ exponential = "50ms" }`.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};

/// Reads a value by its name, or from a table with one key.
///
/// The derive for an enum takes a name or a table, but never both for one variant, and its error does not say which.
/// `expected` completes the sentence "expected …".
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    named: fn(&str) -> Option<T>,
    expected: &'static str,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Choice { named, expected, table: PhantomData })
}

struct Choice<T> {
    named: fn(&str) -> Option<T>,
    expected: &'static str,
    table: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Choice<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        (self.named)(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<T, A::Error> {
        let value = T::deserialize(MapAccessDeserializer::new(&mut table))?;
        match table.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => {
                Err(A::Error::invalid_value(Unexpected::Other("a table with more than one key"), &self))
            }
        }
    }
}
