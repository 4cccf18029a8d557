//! Fallbacks around the bare service.

use std::sync::Arc;

use tower::Layer;
use tower_reliability::fallback::{Fallback, FallbackConfig};

use crate::{
    drive::{Contender, drive},
    inner::{Bare, FAIL, OurError},
};

/// Ours with a value: where the service succeeds, and where it fails and the value is what it answers with.
#[must_use]
pub fn ready() -> Vec<Contender> {
    let mut needed = ours();
    vec![
        Contender::new("ours, fallback", ours()),
        Contender::step("ours, fallback needed", move || drive(&mut needed, FAIL)),
    ]
}

/// Ours with a value.
#[must_use]
pub fn ours() -> Fallback<Bare<OurError>, Arc<u64>> {
    let config = FallbackConfig::new().on_all_failures().build().expect("the defaults are in range");
    config.value(0).layer(Bare::new())
}
