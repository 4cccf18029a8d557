//! The calls that a half-open circuit lets through, and the verdict they come to.

use std::time::Instant;

use super::config::{Abandoned, CircuitBreakerConfig};
use crate::algo::after;

/// The probes of one half-open phase.
///
/// A place is taken by an admitted call and given back by its outcome, by its drop, or by its deadline: it can
/// not be lost. A service that waits for its call may hold one too; until it is called it has no vote.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    out: Vec<Probe>,
    issued: u32,
    passed: u32,
    failed: u32,
    first: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u32,
    deadline: Instant,
    /// The peer has been asked.
    called: bool,
}

/// What the probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Healthy,
    Sick {
        failed: u32,
    },
    /// Too long without one.
    Overdue,
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
        self.out.push(Probe { id, deadline: after(now, config.probe_timeout), called: false });
        Some(id)
    }

    /// The call has come, and has all its time. If its place was taken back meanwhile and none is free, it has no vote.
    pub(super) fn begin(&mut self, id: u32, config: &CircuitBreakerConfig, now: Instant) {
        self.out.retain(|probe| probe.id != id);
        if self.has_place(config) {
            self.out.push(Probe { id, deadline: after(now, config.probe_timeout), called: true });
            self.first.get_or_insert(now);
        }
    }

    /// Whether a place is still held.
    pub(super) fn holds(&self, id: u32) -> bool {
        self.out.iter().any(|probe| probe.id == id)
    }

    /// A probe came back. A probe that lost its place has no vote any more; whether it had one is the answer.
    pub(super) fn settle(&mut self, id: u32, passed: Option<bool>) -> bool {
        let Some(at) = self.out.iter().position(|probe| probe.id == id) else {
            return false;
        };
        self.out.swap_remove(at);
        self.count(passed);
        if passed == Some(true) {
            // A peer that passes is not overdue; it may only lack callers.
            self.first = None;
        }
        true
    }

    /// Takes places back from probes that are out for too long, and gives the verdict, if there is one.
    pub(super) fn verdict(&mut self, config: &CircuitBreakerConfig, now: Instant) -> Option<Finding> {
        let vote = match config.abandoned {
            Abandoned::Failure => Some(false),
            Abandoned::Ignore => None,
        };
        let hanging = self.out.iter().filter(|probe| probe.called && now >= probe.deadline).count();
        self.out.retain(|probe| now < probe.deadline);
        (0..hanging).for_each(|_| self.count(vote));

        // Settled as soon as no probe that is still out could change it.
        let spare = config.half_open_probes - config.half_open_successes;
        if self.passed >= config.half_open_successes {
            Some(Finding::Healthy)
        } else if self.failed > spare {
            Some(Finding::Sick { failed: self.failed })
        } else if self.overdue_at(config).is_some_and(|at| now >= at) {
            Some(Finding::Overdue)
        } else {
            None
        }
    }

    pub(super) fn has_place(&self, config: &CircuitBreakerConfig) -> bool {
        let used = u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        self.passed.saturating_add(self.failed).saturating_add(used) < config.half_open_probes
    }

    /// When the next place is taken back, or the phase ends, by time alone.
    pub(super) fn next_timeout(&self, config: &CircuitBreakerConfig) -> Option<Instant> {
        self.out.iter().map(|probe| probe.deadline).chain(self.overdue_at(config)).min()
    }

    /// When the phase ends without a verdict: so long after the first call since a probe passed, or since it began. A
    /// service that is called less than once in that time would otherwise never see its circuit closed.
    fn overdue_at(&self, config: &CircuitBreakerConfig) -> Option<Instant> {
        self.first.map(|first| after(first, config.half_open_for))
    }

    fn count(&mut self, passed: Option<bool>) {
        match passed {
            Some(true) => self.passed += 1,
            Some(false) => self.failed += 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::clock::epoch;

    const CONFIG: CircuitBreakerConfig =
        CircuitBreakerConfig::new().half_open_probes(4).half_open_successes(3);

    fn after_votes(votes: &[bool]) -> Option<Finding> {
        let mut probes = Probes::default();
        for passed in votes {
            let id = probes.take(&CONFIG, epoch()).expect("there is a place");
            assert!(probes.settle(id, Some(*passed)));
        }
        probes.verdict(&CONFIG, epoch())
    }

    #[test]
    fn the_verdict_comes_as_soon_as_nothing_can_change_it() {
        assert_eq!(after_votes(&[true, true]), None);
        assert_eq!(after_votes(&[true, true, true]), Some(Finding::Healthy));
        assert_eq!(after_votes(&[false, true, true]), None);
        assert_eq!(after_votes(&[false, true, true, true]), Some(Finding::Healthy));
        assert_eq!(after_votes(&[true, false, false]), Some(Finding::Sick { failed: 2 }));
    }

    #[test]
    fn no_more_than_the_allowed_number_are_out() {
        let mut probes = Probes::default();
        let ids: Vec<u32> = std::iter::from_fn(|| probes.take(&CONFIG, epoch())).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert!(probes.settle(2, None));
        assert!(probes.take(&CONFIG, epoch()).is_some());
        assert!(!probes.has_place(&CONFIG));
    }

    #[test]
    fn a_probe_that_hangs_loses_its_place_and_its_vote() {
        let mut probes = Probes::default();
        let id = probes.take(&CONFIG, epoch()).expect("there is a place");
        let late = epoch() + CONFIG.probe_timeout;
        assert_eq!(probes.next_timeout(&CONFIG), Some(late));
        assert_eq!(probes.verdict(&CONFIG, late), None);
        assert_eq!(probes.failed, 1);
        assert!(!probes.settle(id, Some(true)));
        assert_eq!(probes.passed, 0);
    }

    #[test]
    fn a_place_that_nobody_used_is_taken_back_without_a_vote() {
        let mut probes = Probes::default();
        let id = probes.reserve(&CONFIG, epoch()).expect("there is a place");
        let late = epoch() + CONFIG.probe_timeout;
        assert_eq!(probes.verdict(&CONFIG, late), None);
        assert_eq!((probes.failed, probes.out.len()), (0, 0));
        let much_later = epoch() + 2 * CONFIG.half_open_for;
        assert_eq!(probes.verdict(&CONFIG, much_later), None, "nobody was asked");
        probes.begin(id, &CONFIG, much_later);
        assert!(probes.settle(id, Some(true)), "a place was free, so it is a probe after all");
    }

    #[test]
    fn a_reserved_call_has_all_its_time_from_the_call() {
        let mut probes = Probes::default();
        let id = probes.reserve(&CONFIG, epoch()).expect("there is a place");
        let called = epoch() + CONFIG.probe_timeout / 2;
        probes.begin(id, &CONFIG, called);
        probes.verdict(&CONFIG, epoch() + CONFIG.probe_timeout);
        assert!(probes.settle(id, Some(true)));
    }

    #[test]
    fn a_hanging_probe_can_be_left_uncounted() {
        let config = CONFIG.abandoned(Abandoned::Ignore);
        let mut probes = Probes::default();
        probes.take(&config, epoch());
        assert_eq!(probes.verdict(&config, epoch() + config.probe_timeout), None);
        assert_eq!((probes.failed, probes.has_place(&config)), (0, true));
        assert_eq!(probes.verdict(&config, epoch() + Duration::from_secs(60)), Some(Finding::Overdue));
    }
}
