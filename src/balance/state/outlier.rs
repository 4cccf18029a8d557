//! Which endpoints are worse than all others together, beyond chance.
//!
//! Each endpoint is compared with the sum of all others, so that two bad ones of five do not hide each other. A success
//! rate must be worse by a least gap, and the confidence intervals of the two sides must not overlap. The z-score of
//! Envoy and gRPC has neither rule: among five endpoints, it ejects the one with 99.9 % from four with 100 %.

use crate::{balance::config::OutlierConfig, telemetry::EjectionCause};

/// The calls that an endpoint has ended. The counts only grow; a difference of two readings is an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::balance) struct Counts {
    pub(in crate::balance) succeeded: u64,
    pub(in crate::balance) failed: u64,
    /// The calls whose latency is known.
    pub(in crate::balance) timed: u64,
    /// The sum of the binary logarithms of their latencies, in 1024ths.
    pub(in crate::balance) log_latency: u64,
}

impl Counts {
    /// The binary logarithm of a latency, in 1024ths.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ‥ 65 536")]
    pub(in crate::balance) fn log_of(nanos: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a logarithm needs few bits")]
        let nanos = nanos.max(1) as f32;
        (nanos.log2() * STEPS) as u64
    }

    pub(in crate::balance) fn since(self, before: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_sub(before.succeeded),
            failed: self.failed.saturating_sub(before.failed),
            timed: self.timed.saturating_sub(before.timed),
            log_latency: self.log_latency.saturating_sub(before.log_latency),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
            timed: self.timed.saturating_add(other.timed),
            log_latency: self.log_latency.saturating_add(other.log_latency),
        }
    }

    const fn judged(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    fn success_rate(self) -> f64 {
        ratio(self.succeeded, self.judged())
    }
}

/// The outliers of one interval, the worst first.
pub(super) fn outliers(rules: &OutlierConfig, counts: &[Counts]) -> Vec<(usize, EjectionCause)> {
    let all = counts.iter().fold(Counts::default(), |all, own| all.plus(*own));
    let judged = counts.iter().enumerate().filter_map(|(at, own)| {
        let others = all.since(*own);
        if let Some(gap) = success_gap(rules, *own, others) {
            // Failures come before slowness.
            return Some((f64::MAX * gap, at, EjectionCause::SuccessRate));
        }
        latency_ratio(rules, *own, others).map(|ratio| (ratio, at, EjectionCause::Latency))
    });
    let mut found: Vec<_> = judged.collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, at, cause)| (at, cause)).collect()
}

/// By how much the success rate is lower than that of the others, if the difference is large and significant.
fn success_gap(rules: &OutlierConfig, own: Counts, others: Counts) -> Option<f64> {
    if rules.success_gap <= 0.0 || own.judged() == 0 || others.judged() == 0 {
        return None;
    }
    let gap = others.success_rate() - own.success_rate();
    let is_significant = wilson(own).1 < wilson(others).0;
    (gap >= rules.success_gap && is_significant).then_some(gap)
}

/// How many times the typical latency of the others the own one is, if it is too many times.
fn latency_ratio(rules: &OutlierConfig, own: Counts, others: Counts) -> Option<f64> {
    if rules.latency_ratio <= 0.0 || own.timed.min(others.timed) < LEAST_TIMED {
        return None;
    }
    let typical = |counts: Counts| ratio(counts.log_latency, counts.timed) / f64::from(STEPS);
    let ratio = (typical(own) - typical(others)).exp2();
    (ratio >= rules.latency_ratio).then_some(ratio)
}

/// The interval in which the true success rate lies with a confidence of 95 %, by Wilson's score.
fn wilson(counts: Counts) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
    let n = counts.judged() as f64;
    let rate = counts.success_rate();
    let square = Z * Z / n;
    let centre = rate + square / 2.0;
    let half = Z * (rate * (1.0 - rate) / n + square / (4.0 * n)).sqrt();
    ((centre - half) / (1.0 + square), (centre + half) / (1.0 + square))
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The quantile of the normal distribution for 95 %, two-sided.
const Z: f64 = 1.96;
const STEPS: f32 = 1_024.0;
/// Below so many latencies, a mean says little.
const LEAST_TIMED: u64 = 50;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::balance::pick::vectors::{numbers, vectors};

    /// Endpoints with so many calls each, at these success rates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    fn rates(rates: &[f64], calls: u32) -> Vec<Counts> {
        let of = |rate: &f64| {
            let succeeded = (rate * f64::from(calls)).round() as u64;
            Counts { succeeded, failed: u64::from(calls) - succeeded, ..Counts::default() }
        };
        rates.iter().map(of).collect()
    }

    fn found(counts: &[Counts]) -> Vec<usize> {
        let mut found: Vec<_> = outliers(&OutlierConfig::new(), counts).into_iter().map(|it| it.0).collect();
        found.sort_unstable();
        found
    }

    fn slow(nanos: &[u64], calls: u64) -> Vec<Counts> {
        let of = |nanos: &u64| Counts {
            succeeded: calls,
            timed: calls,
            log_latency: calls * Counts::log_of(*nanos),
            ..Counts::default()
        };
        nanos.iter().map(of).collect()
    }

    /// The vectors hold the decisions of Envoy and gRPC. Ours differ in the two that are wrong.
    #[test]
    fn lone_outliers_are_ejected_and_good_endpoints_are_not() {
        let expect = |name: &str, ours: &[usize]| {
            let given = numbers(&vectors("outlier.success_rate", name)["given"]["rates"]);
            for calls in [1_000, 10_000] {
                assert_eq!(found(&rates(&given, calls)), ours, "{name}, {calls} calls");
            }
        };
        expect("5 hosts, one at 50%", &[4]);
        expect("5 hosts, one at 99.9%", &[]);
        expect("5 hosts, two bad", &[3, 4]);
        expect("10 hosts mixed", &[9]);
    }

    #[test]
    fn few_calls_say_nothing_unless_the_difference_is_large() {
        assert_eq!(found(&rates(&[1.0, 1.0, 1.0, 0.9], 10)), [0; 0]);
        assert_eq!(found(&rates(&[1.0, 1.0, 1.0, 0.9], 400)), [3]);
        assert_eq!(found(&rates(&[1.0, 1.0, 1.0, 0.0], 10)), [3]);
        assert_eq!(found(&rates(&[1.0, 0.0], 0)), [0; 0], "no call");
        assert_eq!(found(&rates(&[0.0], 100)), [0; 0], "no other endpoint");
    }

    #[test]
    fn endpoints_that_all_fail_are_no_outliers() {
        assert_eq!(found(&rates(&[0.1; 5], 1_000)), [0; 0]);
    }

    #[test]
    fn the_slow_endpoint_is_found_and_failures_come_first() {
        let milli = 1_000_000;
        assert_eq!(found(&slow(&[10 * milli, 11 * milli, 12 * milli, 40 * milli], 100)), [3]);
        assert_eq!(found(&slow(&[10 * milli, 11 * milli, 12 * milli, 25 * milli], 100)), [0; 0]);
        assert_eq!(found(&slow(&[10 * milli, 11 * milli, 12 * milli, 40 * milli], 49)), [0; 0], "too few");
        let mut both = slow(&[10 * milli, 10 * milli, 10 * milli, 40 * milli, 10 * milli], 100);
        both[4] = Counts { succeeded: 20, failed: 80, ..both[4] };
        let causes = outliers(&OutlierConfig::new(), &both);
        assert_eq!(causes, [(4, EjectionCause::SuccessRate), (3, EjectionCause::Latency)]);
    }

    #[test]
    fn a_rule_that_is_off_finds_nothing() {
        let off = OutlierConfig::off();
        assert_eq!(outliers(&off, &rates(&[1.0, 1.0, 0.0], 1_000)), []);
        assert_eq!(outliers(&off, &slow(&[1_000, 1_000, 1_000_000], 1_000)), []);
    }
}
