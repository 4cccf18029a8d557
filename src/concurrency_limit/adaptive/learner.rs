//! The machine: from the times of measured calls to the limit.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    config::AdaptiveLimitConfig,
    vote::{Ended, Vote},
    window::Window,
};
use crate::{algo::after, telemetry::EventKind};

/// Learns one limit. Times are in seconds.
#[derive(Debug)]
pub(in crate::concurrency_limit) struct Learner {
    bounds: Bounds,
    limit: f64,
    /// The time of a call while no call queues in the backend. Zero until it is known.
    baseline: f64,
    /// The median of the last window.
    latest: f64,
    window: Window,
    /// One call in 2 to this power is measured.
    sampling: u32,
    probe: Option<Probe>,
    /// Since the begin or the end of a probe, or since a congestion.
    epoch: Option<Epoch>,
    /// `None` until the first probe.
    next_probe: Option<Instant>,
    next_early_probe: Option<Instant>,
    /// How many windows in a row had long times or lowered the limit, so that the baseline may be wrong.
    doubts: u32,
    /// As in the last event.
    reported: f64,
    rng: SmallRng,
}

/// The numbers that the learner keeps to.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lowest: f64,
    highest: f64,
    window: Duration,
    probe_every: f64,
    /// Whether a lower limit lets fewer calls pass, so that a probe shows something.
    limits: bool,
}

/// A search for the time of a call without a queue.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit and the median before the probe.
    limit: f64,
    median: f64,
    /// The median at twice the present limit.
    former: f64,
    /// When the search is given up.
    expires: Instant,
}

/// The time of one limit. It begins where the calls of before would mislead.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// Calls that began before have no vote: they met another limit.
    begins: Instant,
    /// Calls that end before have no vote: the first to end are the fast ones.
    settles: Instant,
}

impl Learner {
    /// Learns from `first` on. The numbers have been checked. A `shadow` lets all calls pass.
    pub(in crate::concurrency_limit) fn new(
        config: &AdaptiveLimitConfig,
        first: u32,
        shadow: bool,
        seed: u64,
    ) -> Self {
        Self {
            bounds: Bounds::new(config, first, shadow),
            limit: f64::from(first),
            baseline: 0.0,
            latest: 0.0,
            window: Window::new(),
            sampling: 0,
            probe: None,
            epoch: None,
            next_probe: None,
            next_early_probe: None,
            doubts: 0,
            reported: f64::from(first),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Goes on with other numbers, from the limit and the baseline of before.
    pub(in crate::concurrency_limit) fn update(
        &mut self,
        config: &AdaptiveLimitConfig,
        first: u32,
        shadow: bool,
    ) {
        self.bounds = Bounds::new(config, first, shadow);
        if let Some(probe) = self.probe.take() {
            self.limit = probe.limit;
        }
        self.set(self.limit);
    }

    /// The limit in force.
    pub(in crate::concurrency_limit) fn limit(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within its bounds")]
        let limit = self.limit as u32;
        limit
    }

    /// The time of a call without a queue, once it is known.
    pub(in crate::concurrency_limit) fn baseline(&self) -> Option<Duration> {
        (self.baseline > 0.0).then(|| Duration::from_secs_f64(self.baseline))
    }

    /// One call in 2 to this power needs to be measured: enough for a median, and no more.
    pub(in crate::concurrency_limit) fn sampling(&self) -> u32 {
        self.sampling
    }

    /// A measured call has ended. Returns the event, if the limit has changed by much.
    pub(in crate::concurrency_limit) fn record(&mut self, call: Ended, now: Instant) -> Option<EventKind> {
        self.expire(now);
        let Ended { began, in_flight, vote } = call;
        if self.epoch.is_some_and(|Epoch { begins, settles }| began < begins || now < settles) {
            return None;
        }
        let took = now.saturating_duration_since(began);
        let took = match vote? {
            Vote::Answered => Some(took),
            Vote::AtLeast if self.baseline > 0.0 && took.as_secs_f64() >= self.baseline => Some(took),
            Vote::AtLeast => return None,
            Vote::Congested => None,
        };
        self.window.count(took, in_flight, now);
        let (ends, age) = (self.window.ends(), self.window.age(now));
        if self.probe.is_some() {
            if ends >= SURE || ends >= ENOUGH && age >= self.bounds.window {
                self.end_probe_window(now);
            }
        } else if ends >= ENOUGH && age >= self.bounds.window.max(seconds(2.0 * self.latest)) {
            self.end_window(now);
        }
        self.change()
    }

    /// Gives a probe up that lasts too long, because few calls end. Whether it did.
    pub(in crate::concurrency_limit) fn expire(&mut self, now: Instant) -> bool {
        let expired = self.probe.filter(|probe| now >= probe.expires);
        if let Some(probe) = expired {
            self.set(probe.limit);
            self.end_probe(now);
        }
        expired.is_some()
    }

    fn end_window(&mut self, now: Instant) {
        let (median, peak) = (self.window.median(), f64::from(self.window.peak));
        let (congested, ends) = (self.window.is_congested(), self.window.ends());
        self.sampling = (u64::from(ends) << self.sampling)
            .checked_div(WANTED)
            .map_or(0, |times| times.checked_ilog2().unwrap_or(0).min(MAX_SAMPLING));
        self.window.restart(now);
        if let Some(median) = median {
            self.learn(median);
        }
        let is_bound = peak >= BOUND * self.limit;
        if congested {
            self.set(CONGESTION * self.limit.min(2.0 * peak));
            // A burst is one event, however many windows it fills.
            self.begin_epoch(now);
        } else if median.is_some() && 2.0 * peak >= self.limit {
            self.step();
        }
        if is_bound && median.is_some() && self.is_probe_due(now) {
            let (limit, median) = (self.limit, self.latest);
            self.halve(Probe { limit, median, former: median, expires: now }, now);
        }
    }

    /// The median of a window. Its growth says that calls queue, or that the backend is slower: only a probe can tell.
    fn learn(&mut self, median: f64) {
        self.latest = median;
        if self.baseline <= 0.0 {
            self.baseline = median;
        } else if median < self.baseline {
            // In part: the lowest of many medians is low by chance.
            self.baseline -= (self.baseline - median) * LEARNT;
        }
    }

    /// The step of a window whose calls needed at least half of the limit.
    fn step(&mut self) {
        let (limit, unit) = (self.limit, unit(self.limit));
        let queue = limit * (1.0 - self.baseline / self.latest);
        let is_long = queue > FALLS * unit;
        // A limit that has fallen far enough lets few calls queue. If they still take long, the backend is slower.
        let is_doubted = is_long || self.latest >= DOUBTED * self.baseline;
        self.doubts = if is_doubted { self.doubts.saturating_add(1) } else { 0 };
        if queue <= unit {
            self.set(limit + unit);
        } else if queue < GROWS * unit {
            self.set(limit + unit / 2.0);
        } else if is_long {
            self.set(self.needed(limit, self.latest).max(limit * STEEPEST));
        }
    }

    /// The limit that serves as many calls with a short queue, by Little's law.
    fn needed(&self, limit: f64, median: f64) -> f64 {
        let busy = limit * self.baseline / median;
        busy + GROWS * unit(busy)
    }

    fn is_probe_due(&self, now: Instant) -> bool {
        let is_over = |at: Option<Instant>| at.is_none_or(|at| now >= at);
        let is_early = self.doubts >= EARLY && is_over(self.next_early_probe);
        self.bounds.limits && self.limit > self.bounds.lowest && (is_over(self.next_probe) || is_early)
    }

    /// Begins the next step of a probe.
    fn halve(&mut self, probe: Probe, now: Instant) {
        self.set(self.limit / 2.0);
        self.sampling = 0;
        let expires = after(now, seconds((8.0 * probe.former).max(1.0)));
        self.probe = Some(Probe { expires, ..probe });
        self.begin_epoch(now);
    }

    fn begin_epoch(&mut self, now: Instant) {
        let longest = self.probe.map_or(self.latest, |probe| probe.former);
        self.epoch = Some(Epoch { begins: now, settles: after(now, seconds(2.0 * longest)) });
        self.window.restart(now);
    }

    fn end_probe_window(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        let Some(median) = self.window.median() else {
            // Every call was congested.
            self.set(CONGESTION * probe.limit);
            return self.end_probe(now);
        };
        // Half the calls in about half the time: they still queue.
        if median <= QUEUES * probe.former && self.limit > self.bounds.lowest {
            return self.halve(Probe { former: median, ..probe }, now);
        }
        self.baseline = median;
        self.latest = median;
        self.set(probe.limit.min(self.needed(probe.limit, probe.median)));
        self.end_probe(now);
    }

    fn end_probe(&mut self, now: Instant) {
        self.probe = None;
        self.doubts = 0;
        let interval = self.bounds.probe_every.max(50.0 * self.latest);
        let jitter = 0.85 + 0.3 * self.rng.random::<f64>();
        self.next_probe = Some(after(now, seconds(interval * jitter)));
        self.next_early_probe = Some(after(now, seconds((interval / 15.0).max(20.0 * self.latest))));
        self.begin_epoch(now);
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.bounds.lowest, self.bounds.highest);
    }

    /// The event, if the limit is far from the one of the last event. The steps of a probe are no events.
    fn change(&mut self) -> Option<EventKind> {
        let (from, to) = (self.reported, self.limit);
        let is_far = from.max(to) >= REPORTED * from.min(to);
        if self.probe.is_some() || !is_far {
            return None;
        }
        self.reported = to;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within their bounds")]
        Some(EventKind::LimitChanged { from: from as u32, to: to as u32 })
    }
}

impl Bounds {
    fn new(config: &AdaptiveLimitConfig, first: u32, shadow: bool) -> Self {
        Self {
            lowest: config.lowest(first).into(),
            highest: config.highest(first).into(),
            window: config.shortest_window(),
            probe_every: config.probe_interval().as_secs_f64(),
            limits: !shadow,
        }
    }
}

/// A step of the limit. The calls in flight of a backend at its capacity vary by about the square root of their mean. A
/// twentieth keeps a large limit above the chance in its medians.
fn unit(limit: f64) -> f64 {
    (limit.sqrt() / 2.0).max(limit / 20.0).max(1.0)
}

/// A day bounds all times, so no time overflows.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(24.0 * 60.0 * 60.0))
}

/// The fewest ends of a window: the median of fewer is mostly chance.
const ENOUGH: u32 = 20;
/// With so many ends, a probe need not last as long as a window.
const SURE: u32 = 100;
/// How many ends a window should have.
const WANTED: u64 = 128;
/// At most, one call in 32 is measured. Measuring then costs a call about a nanosecond or two on average.
const MAX_SAMPLING: u32 = 5;
/// The share of the limit above which calls are held up by it, or nearly.
const BOUND: f64 = 0.9;
/// As in every AIMD: one window may be chance.
const CONGESTION: f64 = 0.9;
const LEARNT: f64 = 0.25;
/// Below so many units of a queue the limit rises.
const GROWS: f64 = 3.0;
/// Above so many units of a queue the limit falls.
const FALLS: f64 = 6.0;
/// The most that one window takes off. The baseline may be wrong.
const STEEPEST: f64 = 0.7;
/// With a median of so many baselines, half of the calls in flight queue.
const DOUBTED: f64 = 2.0;
/// After so many windows in doubt a probe comes early. One or two may be a burst.
const EARLY: u32 = 3;
/// A time without a queue does not fall with the limit, and that of a full queue is halved.
const QUEUES: f64 = 0.6;
/// A change by a quarter is an event.
const REPORTED: f64 = 1.25;
