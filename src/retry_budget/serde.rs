//! The file format of a budget: `health_gate = "off"` or `health_gate = { between = [0.25, 0.5] }`.

use serde::Deserializer;

use super::config::HealthGate;
use crate::call::choice;

pub(super) fn health_gate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HealthGate, D::Error> {
    let named = |name: &str| (name == "off").then_some(HealthGate::Off);
    choice::deserialize(deserializer, named, "\"off\", or a table such as { between = [0.25, 0.5] }")
}
