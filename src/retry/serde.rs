//! The delays of classes in a file: a table such as `class_delays = { rate_limit = "1s" }`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::call::{ErrorClass, PerClass};

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Delay(#[serde(with = "humantime_serde")] Duration);

pub(super) fn serialize<S: Serializer>(
    delays: &PerClass<Option<Duration>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(delays.iter().filter_map(|(class, delay)| Some((class, Delay((*delay)?)))))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PerClass<Option<Duration>>, D::Error> {
    let table = BTreeMap::<ErrorClass, Delay>::deserialize(deserializer)?;
    let delays = table
        .into_iter()
        .fold(PerClass::all(None), |delays, (class, Delay(delay))| delays.with(class, Some(delay)));
    Ok(delays)
}
