//! The machine of one endpoint: results of checks become a status.

use super::{config::HealthCheckConfig, snapshot::HealthSnapshot};
use crate::telemetry::{CheckFailure, HealthStatus, HealthTransition};

/// The status of an endpoint, and the counts of its checks.
#[derive(Debug, Default)]
pub(super) struct State {
    status: HealthStatus,
    /// The latest results in a row that contradict the status.
    contrary: u32,
    passed: u64,
    failed: u64,
    timed_out: u64,
    panicked: u64,
    transitions: u64,
    last_failure: Option<String>,
}

/// The reason why a check failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: CheckFailure,
    pub(super) text: String,
}

impl State {
    /// Counts a result. Returns the transition, if the status changes.
    pub(super) fn record(
        &mut self,
        result: Result<(), Failure>,
        config: HealthCheckConfig,
    ) -> Option<HealthTransition> {
        let failure = result.as_ref().err().map(|failure| failure.kind);
        match result {
            Ok(()) => self.passed += 1,
            Err(Failure { kind, text }) => {
                *match kind {
                    CheckFailure::Failed => &mut self.failed,
                    CheckFailure::TimedOut => &mut self.timed_out,
                    CheckFailure::Panicked => &mut self.panicked,
                } += 1;
                self.last_failure = Some(text);
            }
        }
        let found = if failure.is_none() { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
        if found == self.status {
            self.contrary = 0;
            return None;
        }
        self.contrary = self.contrary.saturating_add(1);
        let needed = match self.status {
            // The first check decides, so that a new endpoint gets its calls without a delay.
            HealthStatus::Unknown => 1,
            HealthStatus::Healthy => config.fall,
            HealthStatus::Unhealthy => config.rise,
        };
        (self.contrary >= needed).then(|| self.enter(found, failure))
    }

    pub(super) fn snapshot(&self) -> HealthSnapshot {
        HealthSnapshot {
            status: self.status,
            passed: self.passed,
            failed: self.failed,
            timed_out: self.timed_out,
            panicked: self.panicked,
            transitions: self.transitions,
            last_failure: self.last_failure.clone(),
        }
    }

    fn enter(&mut self, to: HealthStatus, failure: Option<CheckFailure>) -> HealthTransition {
        let from = std::mem::replace(&mut self.status, to);
        self.contrary = 0;
        self.transitions += 1;
        HealthTransition { from, to, failure }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use HealthStatus::{Healthy, Unhealthy, Unknown};

    fn result(passes: bool, kind: CheckFailure) -> Result<(), Failure> {
        if passes { Ok(()) } else { Err(Failure { kind, text: kind.to_string() }) }
    }

    /// The status after each result of a script, in which `+` passes and `-` fails.
    fn statuses(script: &str, config: HealthCheckConfig) -> Vec<HealthStatus> {
        let mut state = State::default();
        let step = |mark| {
            state.record(result(mark == '+', CheckFailure::Failed), config);
            state.status
        };
        script.chars().map(step).collect()
    }

    #[test]
    fn the_first_check_decides() {
        let config = HealthCheckConfig::new().rise(5).fall(5);
        assert_eq!(State::default().status, Unknown);
        assert_eq!(statuses("+", config), [Healthy]);
        assert_eq!(statuses("-", config), [Unhealthy]);
    }

    #[test]
    fn an_endpoint_falls_and_rises_after_so_many_results_in_a_row() {
        let config = HealthCheckConfig::new().rise(2).fall(3);
        assert_eq!(statuses("+--+--", config), [Healthy; 6]);
        assert_eq!(statuses("+---", config)[2..], [Healthy, Unhealthy]);
        assert_eq!(statuses("-+-+-", config), [Unhealthy; 5]);
        assert_eq!(statuses("-+-++", config)[3..], [Unhealthy, Healthy]);
        assert_eq!(statuses("-++--+--", config)[2..], [Healthy; 6]);
    }

    #[test]
    fn a_transition_names_both_statuses_and_the_last_failure() {
        let mut state = State::default();
        let config = HealthCheckConfig::new().rise(1).fall(2);
        let mut record = |passes, kind| state.record(result(passes, kind), config);
        let healthy = record(true, CheckFailure::Failed);
        assert_eq!(healthy, Some(HealthTransition { from: Unknown, to: Healthy, failure: None }));
        assert_eq!(record(false, CheckFailure::Failed), None);
        let unhealthy = record(false, CheckFailure::TimedOut);
        let failure = Some(CheckFailure::TimedOut);
        assert_eq!(unhealthy, Some(HealthTransition { from: Healthy, to: Unhealthy, failure }));
        assert_eq!(state.snapshot().last_failure.as_deref(), Some("check timed out"));
    }

    #[test]
    fn other_thresholds_hold_from_the_next_result() {
        let mut state = State::default();
        let patient = HealthCheckConfig::new().fall(u32::MAX);
        state.record(Ok(()), patient);
        for _ in 0..10 {
            assert_eq!(state.record(result(false, CheckFailure::Failed), patient), None);
        }
        assert!(state.record(result(false, CheckFailure::Failed), patient.fall(11)).is_some());
    }

    /// Keeps every result since the last transition, and looks at the last ones.
    struct Naive {
        status: HealthStatus,
        results: Vec<bool>,
        transitions: u64,
    }

    impl Naive {
        fn record(&mut self, passes: bool, rise: u32, fall: u32) {
            self.results.push(passes);
            let last = |count: u32, wanted: bool| {
                let run = self.results.iter().rev().take_while(|it| **it == wanted).count();
                u32::try_from(run).expect("the script is short") >= count
            };
            let status = match self.status {
                Unknown if passes => Healthy,
                Unknown => Unhealthy,
                Healthy if last(fall, false) => Unhealthy,
                Unhealthy if last(rise, true) => Healthy,
                same => same,
            };
            if status != self.status {
                self.results.clear();
                self.transitions += 1;
                self.status = status;
            }
        }
    }

    #[test]
    fn the_machine_does_as_a_naive_one() {
        for seed in 0..300 {
            println!("seed {seed}");
            let mut random = StdRng::seed_from_u64(seed);
            let (rise, fall) = (random.random_range(1..5), random.random_range(1..5));
            let config = HealthCheckConfig::new().rise(rise).fall(fall);
            let passing = random.random_range(0.2..0.8);
            let mut naive = Naive { status: Unknown, results: Vec::new(), transitions: 0 };
            let mut state = State::default();
            let mut counts = [0; 4];
            for _ in 0..300 {
                let passes = random.random_bool(passing);
                let kind = random.random_range(0..3);
                counts[if passes { 3 } else { kind }] += 1;
                let kinds = [CheckFailure::Failed, CheckFailure::TimedOut, CheckFailure::Panicked];
                let before = state.status;
                let transition = state.record(result(passes, kinds[kind]), config);
                naive.record(passes, rise, fall);
                assert_eq!(state.status, naive.status);
                assert_eq!(transition.map(|it| (it.from, it.to)), {
                    (before != naive.status).then_some((before, naive.status))
                });
            }
            let it = state.snapshot();
            assert_eq!([it.failed, it.timed_out, it.panicked, it.passed], counts);
            assert_eq!((it.status, it.transitions), (naive.status, naive.transitions));
        }
    }
}
