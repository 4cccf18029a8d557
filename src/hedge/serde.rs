//! The file format of a hedge: `after = "quantile"` or `after = { fixed = "100ms" }`.

use serde::Deserializer;

use super::config::{After, HedgeConfig};
use crate::call::choice;

/// A name, or a table with the number.
pub(super) fn after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<After, D::Error> {
    let named = |name: &str| match name {
        "quantile" => Some(HedgeConfig::new().after),
        "on_failure" => Some(After::OnFailure),
        _ => None,
    };
    let expected =
        "\"quantile\" or \"on_failure\", or a table such as { quantile = 0.95 } or { fixed = \"100ms\" }";
    choice::deserialize(deserializer, named, expected)
}
