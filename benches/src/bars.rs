//! The limits that measured figures should keep.

use crate::measure::{Figures, Results, Spread};

/// What our row may add to its bare service, by what the other one adds.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// Our row.
    pub ours: &'static str,
    /// The other row.
    pub other: &'static str,
    /// The highest ratio.
    pub limit: f64,
}

/// The bars of calls that are pending once.
pub const PENDING: [Ratio; 20] = [
    at_most(0.7, "ours, stack of four", "assembly of four"),
    at_most(1.0, "ours, timeout", "tower, timeout"),
    at_most(0.6, "ours, retry", "tower, retry"),
    // A pending breaker of ours reads the clock, because it judges cut calls by the time that they had.
    at_most(0.8, "ours, breaker, count 100", "recloser async, count 100, reading the clock"),
    at_most(0.7, "ours, breaker, time 10 s", "failsafe async, rate 10 s"),
    at_most(0.3, "ours, hedge", "tower-resilience, hedge"),
    at_most(0.7, "ours, concurrency limit", "tower, concurrency limit"),
    at_most(0.25, "ours, concurrency limit, adaptive", "tower-resilience, AIMD"),
    at_most(1.3, "ours, concurrency limit, adaptive", "ours, concurrency limit"),
    at_most(1.3, "ours, rate limit", "governor, check and clock"),
    at_most(1.5, "ours, rate limit in a stack", "governor, check alone"),
    at_most(0.15, "ours, rate limit", "tower, rate limit behind a buffer"),
    at_most(1.1, "ours, keyed rate limit, 1 000 keys", "governor, keyed, 1 000 keys"),
    at_most(1.1, "ours, keyed rate limit, 100 000 keys", "governor, keyed, 100 000 keys"),
    at_most(0.4, "ours, least connections, 10 endpoints", "tower, pending requests, 10 endpoints"),
    at_most(0.25, "ours, peak EWMA, 10 endpoints", "tower, peak EWMA, 10 endpoints"),
    at_most(1.15, "ours, least connections, 1 000 endpoints", "ours, least connections, 10 endpoints"),
    at_most(1.5, "ours, least connections, 10 000 endpoints", "ours, least connections, 10 endpoints"),
    at_most(1.15, "ours, peak EWMA, 1 000 endpoints", "ours, peak EWMA, 10 endpoints"),
    at_most(1.5, "ours, peak EWMA, 10 000 endpoints", "ours, peak EWMA, 10 endpoints"),
];
/// The bars of calls that are ready at once.
pub const READY: [Ratio; 21] = [
    at_most(0.6, "ours, stack of four", "assembly of four"),
    at_most(0.7, "ours, timeout", "tower, timeout"),
    at_most(0.4, "ours, retry", "tower, retry"),
    at_most(0.7, "ours, breaker, count 100", "recloser async, count 100"),
    at_most(0.5, "ours, breaker, time 10 s", "failsafe async, rate 10 s"),
    at_most(1.0, "ours, open", "recloser async, open"),
    at_most(0.8, "ours, keyed, 1 000 keys", "recloser in a map, 1 000 keys"),
    at_most(1.0, "ours, fallback", "seatbelt, fallback"),
    at_most(1.0, "ours, fallback needed", "seatbelt, fallback needed"),
    at_most(0.1, "ours, hedge", "tower-resilience, hedge"),
    at_most(0.7, "ours, concurrency limit", "tower, concurrency limit"),
    at_most(0.25, "ours, concurrency limit, adaptive", "tower-resilience, AIMD"),
    at_most(1.3, "ours, concurrency limit, adaptive", "ours, concurrency limit"),
    at_most(0.25, "ours, axum, timeout and breaker", "tower-resilience, axum, time limiter and breaker"),
    at_most(1.0, "ours, axum, keyed rate limit", "tower_governor, axum"),
    at_most(0.4, "ours, least connections, 10 endpoints", "tower, pending requests, 10 endpoints"),
    at_most(0.25, "ours, peak EWMA, 10 endpoints", "tower, peak EWMA, 10 endpoints"),
    at_most(1.15, "ours, least connections, 1 000 endpoints", "ours, least connections, 10 endpoints"),
    at_most(1.5, "ours, least connections, 10 000 endpoints", "ours, least connections, 10 endpoints"),
    at_most(1.15, "ours, peak EWMA, 1 000 endpoints", "ours, peak EWMA, 10 endpoints"),
    at_most(1.5, "ours, peak EWMA, 10 000 endpoints", "ours, peak EWMA, 10 endpoints"),
];
/// Rows of ours that may allocate so often per call, beyond their bare service. All others may not allocate.
pub const ALLOCATING: [(&str, f64); 11] = [
    // Rejections: a box for the rejection keeps the path of admitted calls small.
    ("ours, open", 1.0),
    ("ours, half-open, places taken", 1.0),
    ("ours, ramping, a tenth admitted", 1.0),
    // A client hides its type: a box for the future.
    ("ours, stack of four, `service`", 1.0),
    // The history and the number of the attempt in the extensions, and the copy of these for a retry.
    ("ours, http stack of four, `ReplayLayer`, empty body", 6.0),
    ("ours, http stack of four, `client`, empty body", 7.0),
    ("ours, `http::standard()`, `client`, empty body", 7.0),
    // The boxed body, its recording, and the upload of each copy besides.
    ("ours, `http::standard()`, `client`, 64 bytes", 17.0),
    // The recording of the body, and the progress of the upload.
    ("ours, `ReplayLayer`, 64 bytes", 2.0),
    // axum's own, as in the row of a layer that does nothing.
    ("ours, axum, timeout and breaker", 2.0),
    ("ours, axum, keyed rate limit", 2.0),
];
/// Rows of ours that share no state, so that two threads say nothing about them.
pub const SHARING_NOTHING: [&str; 5] = [
    "ours, error wrapping alone",
    "ours, `RejectionLayer`",
    "ours, `BodyDeadlineLayer`",
    "ours, `ReplayLayer`, empty body",
    "ours, `ReplayLayer`, 64 bytes",
];
/// The lowest throughput of two threads by one thread, of each other row of ours.
pub const TWO_THREADS: f64 = 1.5;
/// The most bytes that our response future may have, the future of the backend included; and the other row beside it.
pub const BYTES: (&str, &str, f64) = ("ours, stack of four", "assembly of four", 320.0);
/// The highest ratio of a window with a million calls to one with ten.
pub const HELD: f64 = 1.1;

/// A limit and what was measured.
#[derive(Debug)]
pub struct Bar {
    /// What was measured.
    pub claim: String,
    /// In each run.
    pub measured: Spread,
    /// In words.
    pub limit: String,
    /// Whether the median keeps the limit.
    pub met: bool,
}

impl Bar {
    /// A bar with a highest value.
    #[must_use]
    pub fn at_most(limit: f64, claim: String, measured: Spread) -> Self {
        Self { claim, measured, limit: format!("≤ {limit}"), met: measured.median <= limit }
    }

    fn at_least(limit: f64, claim: String, measured: Spread) -> Self {
        Self { claim, measured, limit: format!("≥ {limit}"), met: measured.median >= limit }
    }
}

/// The bars of a table.
#[must_use]
pub fn judge(table: &str, results: &Results, ratios: &[Ratio]) -> Vec<Bar> {
    let mut bars: Vec<_> = ratios
        .iter()
        .filter_map(|Ratio { ours, other, limit }| {
            let measured = results.ratio(ours, other)?;
            Some(Bar::at_most(*limit, format!("{table}: {ours} ÷ {other}"), measured))
        })
        .collect();
    let ours = || results.figures.iter().filter(|figures| figures.name.starts_with("ours"));
    let scaling = ours().filter(|figures| !SHARING_NOTHING.contains(&figures.name)).filter_map(|figures| {
        let claim = format!("{table}: two threads ÷ one, {}", figures.name);
        Some(Bar::at_least(TWO_THREADS, claim, figures.scaling()?))
    });
    bars.extend(sum_up(&format!("{table}: two threads ÷ one"), scaling));
    let limit = |name| ALLOCATING.iter().find(|(row, _)| *row == name).map_or(0.0, |(_, limit)| *limit);
    let allocations = |figures: &Figures| {
        let claim = format!("{table}: allocations, {}", figures.name);
        Bar::at_most(limit(figures.name), claim, results.added_allocations(figures))
    };
    let (some, none): (Vec<_>, Vec<_>) = ours().map(allocations).partition(|bar| bar.limit != "≤ 0");
    bars.extend(sum_up(&format!("{table}: allocations"), none.into_iter()));
    bars.extend(some);
    bars
}

/// The bar of the pending future of the stack.
#[must_use]
pub fn judge_bytes(results: &Results) -> Option<Bar> {
    let (ours, other, limit) = BYTES;
    let bytes = |name| u32::try_from(results.find(name)?.future).ok();
    let claim = format!("pending: bytes of the future, {ours} ({other}: {})", bytes(other)?);
    Some(Bar::at_most(limit, claim, Spread::of(&[bytes(ours)?.into()])))
}

/// One line for each row that missed its bar, and one for all others, whose limits are the same.
fn sum_up(claim: &str, bars: impl Iterator<Item = Bar>) -> Vec<Bar> {
    let (met, mut lines): (Vec<_>, Vec<_>) = bars.partition(|bar| bar.met);
    if let Some(first) = met.first() {
        let others = if lines.is_empty() { "all" } else { "other" };
        let measured = Spread::of(&met.iter().map(|bar| bar.measured.median).collect::<Vec<_>>());
        let claim = format!("{claim}, {others} rows of ours ({})", met.len());
        lines.push(Bar { claim, measured, limit: first.limit.clone(), met: true });
    }
    lines
}

const fn at_most(limit: f64, ours: &'static str, other: &'static str) -> Ratio {
    Ratio { ours, other, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(measured: f64) -> Bar {
        Bar::at_most(1.0, format!("row with {measured}"), Spread::of(&[measured]))
    }

    #[test]
    fn a_missed_bar_has_a_line_of_its_own_and_all_others_share_one() {
        let lines = sum_up("allocations", [bar(0.5), bar(2.0), bar(0.25)].into_iter());
        let claims: Vec<_> = lines.iter().map(|line| (line.claim.as_str(), line.met)).collect();
        assert_eq!(claims, [("row with 2", false), ("allocations, other rows of ours (2)", true)]);
    }
}
