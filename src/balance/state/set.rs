//! The endpoints with their standing.

use std::time::{Duration, Instant};

use super::outlier::{Counts, outliers};
use crate::{
    algo::after,
    balance::config::{BalanceConfig, OutlierConfig},
    telemetry::EjectionCause,
};

/// The endpoints of a balancer. `E` is the part that calls use.
#[derive(Debug)]
pub(in crate::balance) struct State<K, E> {
    config: BalanceConfig,
    members: Vec<Member<K, E>>,
    next_interval: Instant,
}

#[derive(Debug)]
pub(in crate::balance) struct Member<K, E> {
    pub(in crate::balance) key: K,
    pub(in crate::balance) it: E,
    pub(in crate::balance) weight: u32,
    pub(in crate::balance) standing: Standing,
    /// Whether active checks say that it is down.
    pub(in crate::balance) is_down: bool,
    /// The checks in a row that contradict `is_down`.
    contradictions: u32,
    /// The counts at the end of the last interval.
    before: Counts,
    /// The ejections in a row, which set the time of the next one.
    ejections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::balance) enum Standing {
    Healthy,
    Ejected { until: Instant },
}

/// A change of an endpoint's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::balance) enum Change<K> {
    Ejected {
        key: K,
        cause: EjectionCause,
        time: Duration,
    },
    Returned {
        key: K,
    },
    /// Active checks say that the endpoint is down, or up again.
    Checked {
        key: K,
        is_down: bool,
    },
}

/// The endpoints that get calls.
#[derive(Debug)]
pub(in crate::balance) struct Eligible<'a, K, E> {
    pub(in crate::balance) members: Vec<&'a Member<K, E>>,
    /// Whether too few are healthy, so that all get calls.
    pub(in crate::balance) is_panic: bool,
    /// Whether there are endpoints at all.
    pub(in crate::balance) is_empty: bool,
}

impl<K: Clone + Eq, E> State<K, E> {
    pub(in crate::balance) fn new(config: BalanceConfig, now: Instant) -> Self {
        let next_interval = after(now, config.outliers.interval);
        Self { config, members: Vec::new(), next_interval }
    }

    pub(in crate::balance) const fn config(&self) -> &BalanceConfig {
        &self.config
    }

    pub(in crate::balance) fn update(&mut self, config: BalanceConfig, now: Instant) {
        self.next_interval = self.next_interval.min(after(now, config.outliers.interval));
        self.config = config;
    }

    pub(in crate::balance) fn members(&self) -> &[Member<K, E>] {
        &self.members
    }

    /// Makes room for so many endpoints, and not for more.
    pub(in crate::balance) fn reserve(&mut self, endpoints: usize) {
        self.members.reserve_exact(endpoints);
    }

    /// Adds an endpoint. Returns the former one with this key.
    pub(in crate::balance) fn insert(&mut self, key: K, it: E, weight: u32) -> Option<E> {
        let former = self.remove(&key);
        self.members.push(Member {
            key,
            it,
            weight,
            standing: Standing::Healthy,
            is_down: false,
            contradictions: 0,
            before: Counts::default(),
            ejections: 0,
        });
        former
    }

    pub(in crate::balance) fn remove(&mut self, key: &K) -> Option<E> {
        let at = self.find(key)?;
        Some(self.members.remove(at).it)
    }

    /// Removes the endpoints that do not pass. Returns them.
    pub(in crate::balance) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) -> Vec<E> {
        self.members.extract_if(.., |member| !keep(&member.key)).map(|member| member.it).collect()
    }

    /// Sets a weight; `false` without such an endpoint.
    pub(in crate::balance) fn weigh(&mut self, key: &K, weight: u32) -> bool {
        let found = self.find(key).map(|at| self.members[at].weight = weight);
        found.is_some()
    }

    /// An endpoint has broken a rule that needs no comparison. Ejects it, unless too many are.
    pub(in crate::balance) fn eject(
        &mut self,
        mut is_it: impl FnMut(&E) -> bool,
        cause: EjectionCause,
        now: Instant,
    ) -> Option<Change<K>> {
        let at = self.members.iter().position(|member| is_it(&member.it))?;
        self.eject_at(at, cause, now)
    }

    /// Counts the result of an active check. After `needed` results in a row that contradict its state, the endpoint
    /// changes it.
    pub(in crate::balance) fn checked(
        &mut self,
        mut is_it: impl FnMut(&E) -> bool,
        passed: bool,
        needed: impl FnOnce(bool) -> u32,
    ) -> Option<Change<K>> {
        let member = self.members.iter_mut().find(|member| is_it(&member.it))?;
        if passed != member.is_down {
            member.contradictions = 0;
            return None;
        }
        member.contradictions = member.contradictions.saturating_add(1);
        if member.contradictions < needed(passed) {
            return None;
        }
        (member.is_down, member.contradictions) = (!passed, 0);
        Some(Change::Checked { key: member.key.clone(), is_down: member.is_down })
    }

    /// Lets endpoints return whose time is over, and ends the interval if it is due.
    pub(in crate::balance) fn advance(
        &mut self,
        counts: impl Fn(&E) -> Counts,
        now: Instant,
    ) -> Vec<Change<K>> {
        let mut changes = Vec::new();
        for member in &mut self.members {
            if matches!(member.standing, Standing::Ejected { until } if until <= now) {
                member.standing = Standing::Healthy;
                // The interval did not see it.
                member.before = counts(&member.it);
                changes.push(Change::Returned { key: member.key.clone() });
            }
        }
        if self.needs_interval() && self.next_interval <= now {
            self.next_interval = after(now, self.config.outliers.interval);
            self.compare(counts, now, &mut changes);
        }
        changes
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(in crate::balance) fn next_timeout(&self) -> Option<Instant> {
        let returns = self.members.iter().filter_map(|member| match member.standing {
            Standing::Ejected { until } => Some(until),
            Standing::Healthy => None,
        });
        let interval = self.needs_interval().then_some(self.next_interval);
        returns.chain(interval).min()
    }

    /// The endpoints that get calls: the healthy ones, or all if too few are healthy. A weight of 0 gets none.
    pub(in crate::balance) fn eligible(&self) -> Eligible<'_, K, E> {
        let (all, healthy) = (self.weighted().count(), self.weighted().filter(|it| it.is_healthy()).count());
        let is_panic = is_below(healthy, all, self.config.panic_threshold);
        let members = self.weighted().filter(|it| is_panic || it.is_healthy()).collect();
        Eligible { members, is_panic, is_empty: all == 0 }
    }

    /// Whether the end of an interval changes something. If not, calls need not look at the clock.
    fn needs_interval(&self) -> bool {
        self.config.outliers.compares() || self.members.iter().any(|member| member.ejections > 0)
    }

    fn weighted(&self) -> impl Iterator<Item = &Member<K, E>> {
        self.members.iter().filter(|member| member.weight > 0)
    }

    fn find(&self, key: &K) -> Option<usize> {
        self.members.iter().position(|member| member.key == *key)
    }

    /// Ejects the outliers of the interval, and takes back one former ejection of all others.
    fn compare(&mut self, counts: impl Fn(&E) -> Counts, now: Instant, changes: &mut Vec<Change<K>>) {
        let mut compared = Vec::new();
        let mut intervals = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            let counts = counts(&member.it);
            if member.is_healthy() {
                compared.push(at);
                intervals.push(counts.since(member.before));
            }
            member.before = counts;
        }
        for (nth, cause) in outliers(&self.config.outliers, &intervals) {
            changes.extend(self.eject_at(compared[nth], cause, now));
        }
        for at in compared {
            let member = &mut self.members[at];
            if member.is_healthy() {
                member.ejections = member.ejections.saturating_sub(1);
            }
        }
    }

    fn eject_at(&mut self, at: usize, cause: EjectionCause, now: Instant) -> Option<Change<K>> {
        let rules = self.config.outliers;
        if !self.members[at].is_healthy() || !self.may_eject(&rules) {
            return None;
        }
        let member = &mut self.members[at];
        member.ejections = member.ejections.saturating_add(1);
        let time = ejection_time(&rules, member.ejections);
        member.standing = Standing::Ejected { until: after(now, time) };
        Some(Change::Ejected { key: member.key.clone(), cause, time })
    }

    /// Whether one more endpoint may be ejected. The last one always stays.
    fn may_eject(&self, rules: &OutlierConfig) -> bool {
        // A dead endpoint gets no calls, and so no results; it is no reason to keep a bad one.
        let alive = || self.weighted().filter(|it| !it.is_down);
        let (all, healthy) = (alive().count(), alive().filter(|it| it.is_healthy()).count());
        healthy > 1 && is_below(all - healthy, all, rules.max_ejected)
    }
}

impl<K, E> Member<K, E> {
    pub(in crate::balance) fn is_healthy(&self) -> bool {
        self.standing == Standing::Healthy && !self.is_down
    }
}

/// As long as the base for the first ejection, and so much longer for each further one in a row.
fn ejection_time(rules: &OutlierConfig, ejections: u32) -> Duration {
    rules.eject_for.saturating_mul(ejections).min(rules.max_eject_for)
}

/// Whether `part` is less than this share of `whole`, but for the rounding of the share.
#[expect(clippy::cast_precision_loss, reason = "lists are shorter than 2^53")]
fn is_below(part: usize, whole: usize, share: f64) -> bool {
    (part as f64) < share * whole as f64 - ROUNDING
}

const ROUNDING: f64 = 1e-9;

#[cfg(all(test, not(shuttle)))]
mod tests;
