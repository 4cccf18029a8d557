//! The configs and acts that the tests of hedges share.

use std::time::Duration;

use tower_reliability::{
    ErrorClass, Protocol,
    hedge::{HedgeConfig, HedgeLayer},
};

use crate::scripted::{Act, Answer, ByPeer};

pub(crate) const DELAY: Duration = Duration::from_millis(100);
pub(crate) const FIXED: HedgeConfig = HedgeConfig::fixed(DELAY);

pub(crate) const fn fails(class: ErrorClass) -> Act {
    Act::now(Answer::Fail(class))
}

pub(crate) fn layer(config: HedgeConfig) -> HedgeLayer<Protocol<ByPeer>> {
    config.build().expect("it is valid").classify(ByPeer)
}
