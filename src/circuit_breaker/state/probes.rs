//! The probes of a half-open circuit, and the result that they come to.

use std::time::Instant;

use crate::{
    algo::after,
    circuit_breaker::config::{Abandoned, CircuitBreakerConfig},
};

/// The probes of one half-open phase.
///
/// A place is taken by an admitted call and given back by its outcome, by its drop, or by its deadline, so no place is
/// ever lost. A service that waits in `poll_ready` may hold a place too; it has no vote until it is called.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    out: Vec<Probe>,
    issued: u32,
    passed: u32,
    failed: u32,
    /// Calls that ended without a vote. Each admits one more at a time, so that callers that give up early cannot
    /// keep the others out.
    undecided: u32,
    /// The undecided calls whose callers had the patience that a silent backend is judged by.
    unanswered: u32,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u32,
    deadline: Instant,
    /// The backend has been asked.
    called: bool,
    /// The call has a body to send, and its caller may take its time.
    uploads: bool,
}

/// The result of a half-open phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    Healthy,
    Unhealthy { failed: u32, of: u32 },
}

impl Probes {
    /// Takes a place for a call, if there is one.
    pub(super) fn take(&mut self, config: &CircuitBreakerConfig, now: Instant) -> Option<u32> {
        let id = self.reserve(config, now)?;
        self.begin(id, config, now);
        Some(id)
    }

    /// Takes a place for a call that may come, if there is one.
    pub(super) fn reserve(&mut self, config: &CircuitBreakerConfig, now: Instant) -> Option<u32> {
        if !self.has_place(config) {
            return None;
        }
        let id = self.issued;
        self.issued = self.issued.wrapping_add(1);
        self.out.push(Probe {
            id,
            deadline: after(now, config.probe_timeout),
            called: false,
            uploads: false,
        });
        Some(id)
    }

    /// The call has come; its time begins now. If its place expired and none is free, the call has no vote.
    pub(super) fn begin(&mut self, id: u32, config: &CircuitBreakerConfig, now: Instant) {
        self.out.retain(|probe| probe.id != id);
        if self.has_place(config) {
            self.out.push(Probe {
                id,
                deadline: after(now, config.probe_timeout),
                called: true,
                uploads: false,
            });
        }
    }

    /// Whether a place is still held.
    pub(super) fn holds(&self, id: u32) -> bool {
        self.out.iter().any(|probe| probe.id == id)
    }

    /// The call of a probe has a body to send. One more call is admitted beside it, because its caller may take its time.
    pub(super) fn uploads(&mut self, id: u32) {
        self.out.iter_mut().filter(|probe| probe.id == id).for_each(|probe| probe.uploads = true);
    }

    /// A probe was cut, and its caller had the patience that a silent backend is judged by.
    pub(super) fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// A probe ended. Returns whether it still had its place; without one it has no vote.
    pub(super) fn settle(&mut self, id: u32, passed: Option<bool>) -> bool {
        let Some(at) = self.out.iter().position(|probe| probe.id == id) else { return false };
        if self.out.swap_remove(at).called {
            self.count(passed);
        }
        true
    }

    /// Takes back the places of probes whose time is over.
    pub(super) fn expire(&mut self, config: &CircuitBreakerConfig, now: Instant) {
        let vote = match config.abandoned {
            Abandoned::ByTime | Abandoned::Failure => Some(false),
            Abandoned::Ignore => None,
        };
        for probe in self
            .out
            .extract_if(.., |probe| now >= probe.deadline)
            .filter(|probe| probe.called)
            .collect::<Vec<_>>()
        {
            self.count(if probe.uploads { None } else { vote });
        }
    }

    /// The result, as soon as no probe that is still out could change it. `silent` says that the circuit is half-open for
    /// long, and that cut calls are evidence too.
    pub(super) fn result(&self, config: &CircuitBreakerConfig, silent: bool) -> Option<ProbeResult> {
        let (probes, successes) = config.probes();
        let tolerated = probes - successes;
        if self.passed >= successes {
            Some(ProbeResult::Healthy)
        } else if self.failed > tolerated || (self.failed > 0 && self.passed == 0) {
            Some(ProbeResult::Unhealthy { failed: self.failed, of: self.passed.saturating_add(self.failed) })
        } else if silent && self.passed == 0 && self.unanswered >= MIN_UNANSWERED {
            Some(ProbeResult::Unhealthy { failed: self.unanswered, of: self.unanswered })
        } else {
            None
        }
    }

    /// Whether another call may pass: one at a time until a probe has passed, then as many as may still count.
    pub(super) fn has_place(&self, config: &CircuitBreakerConfig) -> bool {
        let count = |probes: usize| u32::try_from(probes).unwrap_or(u32::MAX);
        let uploads = count(self.out.iter().filter(|probe| probe.uploads).count());
        let out = count(self.out.len()) - uploads.min(MAX_EXTRA);
        let places = match self.passed {
            0 => 1,
            _ => config.probes().0.saturating_sub(self.passed).saturating_sub(self.failed),
        };
        out < places.saturating_add(self.undecided.min(MAX_EXTRA))
    }

    /// When the next place expires.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.out.iter().map(|probe| probe.deadline).min()
    }

    fn count(&mut self, passed: Option<bool>) {
        let counter = match passed {
            Some(true) => &mut self.passed,
            Some(false) => &mut self.failed,
            None => &mut self.undecided,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Calls beside the probes that are admitted at a time, for probes that ended without a vote or that have a body to send.
const MAX_EXTRA: u32 = 16;
/// Cut probes without any answer that reopen a circuit.
const MIN_UNANSWERED: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const CONFIG: CircuitBreakerConfig =
        CircuitBreakerConfig::new().half_open_probes(4).half_open_successes(3);

    fn after_votes(votes: &[bool]) -> Option<ProbeResult> {
        let mut probes = Probes::default();
        for passed in votes {
            let id = probes.take(&CONFIG, epoch()).expect("a free place");
            assert!(probes.settle(id, Some(*passed)));
        }
        probes.result(&CONFIG, false)
    }

    fn places(probes: &mut Probes) -> usize {
        std::iter::from_fn(|| probes.take(&CONFIG, epoch())).count()
    }

    #[test]
    fn the_result_comes_as_soon_as_no_probe_can_change_it() {
        assert_eq!(after_votes(&[true, true]), None);
        assert_eq!(after_votes(&[true, true, true]), Some(ProbeResult::Healthy));
        assert_eq!(after_votes(&[true, false, true]), None);
        assert_eq!(after_votes(&[true, false, true, true]), Some(ProbeResult::Healthy));
        assert_eq!(after_votes(&[true, false, false]), Some(ProbeResult::Unhealthy { failed: 2, of: 3 }));
        assert_eq!(after_votes(&[false]), Some(ProbeResult::Unhealthy { failed: 1, of: 1 }));
    }

    #[test]
    fn one_probe_is_out_until_the_first_has_passed() {
        let mut probes = Probes::default();
        assert_eq!(places(&mut probes), 1);
        assert!(probes.settle(0, Some(true)));
        assert_eq!(places(&mut probes), 3);
        assert!(!probes.has_place(&CONFIG));
    }

    #[test]
    fn each_probe_without_a_vote_admits_one_more_at_a_time() {
        let mut probes = Probes::default();
        for out in 1..=5 {
            assert_eq!(places(&mut probes), out);
            for id in 0..probes.issued {
                probes.settle(id, None);
            }
            probes.undecided = u32::try_from(out).expect("a small number");
        }
        assert_eq!(probes.result(&CONFIG, false), None);
    }

    #[test]
    fn a_probe_that_hangs_loses_its_place_and_its_vote() {
        let mut probes = Probes::default();
        let id = probes.take(&CONFIG, epoch()).expect("a free place");
        let late = epoch() + CONFIG.probe_timeout;
        assert_eq!(probes.next_timeout(), Some(late));
        probes.expire(&CONFIG, late);
        assert_eq!(probes.failed, 1);
        assert!(!probes.settle(id, Some(true)));
        assert_eq!(probes.passed, 0);
    }

    #[test]
    fn a_reserved_place_that_is_not_used_expires_without_a_vote() {
        let mut probes = Probes::default();
        let id = probes.reserve(&CONFIG, epoch()).expect("a free place");
        let late = epoch() + CONFIG.probe_timeout;
        probes.expire(&CONFIG, late);
        assert_eq!((probes.failed, probes.undecided, probes.out.len()), (0, 0, 0));
        probes.begin(id, &CONFIG, late);
        assert!(probes.settle(id, Some(true)), "a place was free, so the call is a probe");
    }

    #[test]
    fn a_reserved_call_has_all_its_time_from_the_call() {
        let mut probes = Probes::default();
        let id = probes.reserve(&CONFIG, epoch()).expect("a free place");
        let called = epoch() + CONFIG.probe_timeout / 2;
        probes.begin(id, &CONFIG, called);
        probes.expire(&CONFIG, epoch() + CONFIG.probe_timeout);
        assert!(probes.settle(id, Some(true)));
    }

    #[test]
    fn a_hanging_probe_can_be_left_uncounted() {
        let config = CONFIG.abandoned(Abandoned::Ignore);
        let mut probes = Probes::default();
        probes.take(&config, epoch());
        probes.expire(&config, epoch() + config.probe_timeout);
        assert_eq!((probes.failed, probes.has_place(&config)), (0, true));
    }
}
