//! The file format of a retry: `backoff = "exponential"`, and tables such as `class_delays = { rate_limit = "1s" }`.
//! And the age of an attempt.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    backoff::{Backoff, Jitter},
    config::RetryConfig,
};
use crate::{
    call::{ErrorClass, PerClass, choice, duration::Spelled},
    rt::clock,
};

/// A name, which begins with the default delay, or a table with the first delay.
pub(super) fn backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backoff, D::Error> {
    let named = |name: &str| {
        let first = RetryConfig::new().first_delay();
        Some(match name {
            "fixed" => Backoff::Fixed(first),
            "linear" => Backoff::Linear(first),
            "exponential" => Backoff::Exponential(first),
            "fibonacci" => Backoff::Fibonacci(first),
            "adaptive" => Backoff::Adaptive(first),
            _ => return None,
        })
    };
    let expected = "\"fixed\", \"linear\", \"exponential\", \"fibonacci\" or \"adaptive\", or a table such as \
                    { exponential = \"50ms\" } or { schedule = [\"1s\", \"5s\"] }";
    choice::deserialize(deserializer, named, expected)
}

pub(super) fn jitter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Jitter, D::Error> {
    let named = |name: &str| {
        Some(match name {
            "none" => Jitter::None,
            "full" => Jitter::Full,
            "equal" => Jitter::Equal,
            "decorrelated" => Jitter::Decorrelated,
            _ => return None,
        })
    };
    let expected = "\"none\", \"full\", \"equal\" or \"decorrelated\", or a table such as { spread = 0.1 }";
    choice::deserialize(deserializer, named, expected)
}

/// For `#[serde(with = "…")]` at the delays of classes.
pub(super) mod class_delays {
    use super::{BTreeMap, Deserialize, Deserializer, Duration, ErrorClass, PerClass, Serializer, Spelled};

    pub(in crate::retry) fn serialize<S: Serializer>(
        delays: &PerClass<Option<Duration>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(delays.iter().filter_map(|(class, delay)| Some((class, Spelled((*delay)?)))))
    }

    pub(in crate::retry) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PerClass<Option<Duration>>, D::Error> {
        let table = BTreeMap::<ErrorClass, Spelled>::deserialize(deserializer)?;
        let delays = table
            .into_iter()
            .fold(PerClass::all(None), |delays, (class, Spelled(delay))| delays.with(class, Some(delay)));
        Ok(delays)
    }
}

/// An instant means nothing outside of the process, so it is written as the time since then.
pub(super) fn ago<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    Spelled(clock::now().saturating_duration_since(*at)).serialize(serializer)
}
