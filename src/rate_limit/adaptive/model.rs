//! A naive model: it keeps every answer since the last decrease, and follows the curve from there each time.

use std::time::{Duration, Instant};

use super::{
    config::{AdaptiveRateConfig, Bounds, Recovery},
    state::{Demand, Ended},
};
use crate::call::{ErrorClass, Outcome};

pub(super) struct Model {
    config: AdaptiveRateConfig,
    bounds: Bounds,
    /// The rate before the last decrease, and when it was.
    lowered: Option<(f64, Instant)>,
    /// Since the last decrease.
    entries: Vec<Entry>,
    pauses: Vec<Instant>,
    /// The rate of the quota, and until when it holds.
    told: Option<(f64, Instant)>,
}

enum Entry {
    /// A good call ended, under the rate of a quota.
    Answer {
        at: Instant,
        demand: Demand,
        slow: bool,
        told: f64,
        paused: bool,
    },
    Pause,
}

impl Model {
    pub(super) fn new(config: AdaptiveRateConfig, bounds: Bounds) -> Self {
        Self { config, bounds, lowered: None, entries: Vec::new(), pauses: Vec::new(), told: None }
    }

    pub(super) fn record(&mut self, ended: Ended, demand: Demand, now: Instant) {
        if self.told.is_some_and(|(_, until)| until <= now) {
            self.told = None;
        }
        if let Some(quota) = ended.quota
            && let Some(reset) = quota.reset
            && reset > Duration::ZERO
        {
            match u32::try_from(quota.remaining).expect("the test tells few") {
                0 => self.pause(now + reset),
                some => self.told = Some((f64::from(some) / reset.as_secs_f64(), now + reset)),
            }
        }
        let rate = self.rate();
        let is_new = self.lowered.is_none_or(|(_, at)| ended.began > at);
        let slow = self.config.target_latency.is_some_and(|target| ended.latency > target);
        let (congested, hint) = match ended.outcome {
            Some(Outcome::Failure { class: ErrorClass::RateLimit, retry_after, .. }) => (true, retry_after),
            Some(Outcome::Failure { class, .. }) => (class == ErrorClass::Timeout, None),
            Some(_) => (self.answer(is_new, slow, demand, now), None),
            None => (slow && self.answer(is_new, slow, demand, now), None),
        };
        if congested && is_new {
            self.lowered = Some((rate, now));
            self.entries.clear();
        }
        if let Some(hint) = hint {
            self.pause(now + hint);
        }
    }

    /// Whether the last ten answers were slow.
    fn answer(&mut self, is_new: bool, slow: bool, demand: Demand, at: Instant) -> bool {
        if !is_new {
            return false;
        }
        let told = self.told.map_or(f64::INFINITY, |(told, _)| told);
        let paused = self.paused_until().is_some_and(|until| at < until);
        self.entries.push(Entry::Answer { at, demand, slow, told, paused });
        let slow = self.entries.iter().filter_map(|entry| match entry {
            Entry::Answer { slow, .. } => Some(*slow),
            Entry::Pause => None,
        });
        let slow: Vec<bool> = slow.collect();
        slow.len().is_multiple_of(10) && slow[slow.len() - 10..].iter().filter(|slow| **slow).count() > 5
    }

    fn pause(&mut self, until: Instant) {
        self.pauses.push(until);
        self.entries.push(Entry::Pause);
    }

    pub(super) fn rate(&self) -> f64 {
        let told = self.told.map_or(f64::INFINITY, |(told, _)| told);
        self.learnt().min(told).max(self.bounds.floor)
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.pauses.iter().max().copied()
    }

    fn learnt(&self) -> f64 {
        let mut used = if self.lowered.is_some() { 0.0 } else { 1.0 };
        let mut rate = self.curve(used);
        let mut look = None;
        for entry in &self.entries {
            let Entry::Answer { at, demand, told, paused: false, .. } = entry else {
                look = None;
                continue;
            };
            let Some((since, held_up)) = look else {
                look = Some((*at, demand.held_up));
                continue;
            };
            let time: Duration = *at - since;
            if time.as_millis() < 100 {
                continue;
            }
            look = Some((*at, demand.held_up));
            let is_bound = told.max(self.bounds.floor) < rate;
            if (demand.waiting || demand.held_up > held_up) && !is_bound {
                let longest = f64::max(1.0, 2.0 / rate);
                used += time.as_secs_f64().min(longest) / self.config.recover_within.as_secs_f64();
                rate = self.curve(used);
            }
        }
        rate
    }

    fn curve(&self, used: f64) -> f64 {
        let level = self.lowered.map_or(self.bounds.initial, |(level, _)| level);
        let gap = level - level * self.config.decrease_factor;
        let beyond = used - 1.0;
        let beyond = match self.config.recovery {
            Recovery::Cubic => beyond * beyond * beyond,
            Recovery::Additive => beyond,
        };
        (level + gap * beyond).max(self.bounds.floor).min(self.bounds.ceiling)
    }
}
