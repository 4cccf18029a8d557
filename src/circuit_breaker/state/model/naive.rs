//! The naive model: lists, loops, and no cleverness.

use std::time::{Duration, Instant};

use super::{Abandoned, CircuitBreakerConfig, Ending, Override, S, Window};
use crate::call::{ErrorClass, Outcome};

pub(super) struct Naive {
    config: CircuitBreakerConfig,
    pub(super) state: S,
    pub(super) generation: u32,
    pub(super) consecutive: u32,
    /// When an open circuit ends.
    pub(super) until: Option<Instant>,
    /// While set, a circuit that is no shadow would be open.
    quiet: Option<Instant>,
    entered: Instant,
    /// When the window was begun, and every sample since.
    begun: Instant,
    samples: Vec<Sample>,
    probes: Vec<Probe>,
    /// When the circuit first opened since it was closed.
    outage_since: Option<Instant>,
    openings: u32,
    healthy_since: Option<Instant>,
}

struct Sample {
    at: Instant,
    bad: bool,
    slow: bool,
}

#[derive(Clone, Copy)]
struct Probe {
    taken: Instant,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Out,
    Passed,
    Failed,
    NoVote,
}

#[derive(Clone, Copy)]
pub(super) struct Ticket {
    generation: u32,
    probe: usize,
}

impl Naive {
    pub(super) fn new(config: CircuitBreakerConfig, now: Instant) -> Self {
        Self {
            config,
            state: S::Closed,
            generation: 0,
            consecutive: 0,
            until: None,
            quiet: None,
            entered: now,
            begun: now,
            samples: Vec::new(),
            probes: Vec::new(),
            outage_since: None,
            openings: 0,
            healthy_since: None,
        }
    }

    /// Everything that falls due by `now`, each at its time.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some(due) = self.due().filter(|due| *due <= now) {
            match self.state {
                S::Open => self.enter(S::HalfOpen, due),
                S::Ramping => {
                    // The window and the consecutive failures go on.
                    self.state = S::Closed;
                    self.generation += 1;
                }
                S::HalfOpen => self.judge(due),
                _ => {
                    self.quiet = None;
                    (self.healthy_since, self.outage_since) = (Some(due), None);
                }
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        match self.state {
            S::Open => self.until,
            S::Ramping => Some(self.entered + self.config.ramp),
            S::HalfOpen => {
                let out = self.probes.iter().filter(|probe| probe.fate == Fate::Out);
                out.map(|probe| probe.taken + self.config.probe_timeout).min()
            }
            S::Shadow => self.quiet,
            _ => None,
        }
    }

    pub(super) fn admit(&mut self, draw: f64, now: Instant) -> Option<Ticket> {
        self.tick(now);
        let admitted = match self.state {
            S::Open | S::ForcedOpen => false,
            S::Ramping => {
                let ramped = (now - self.entered).as_secs_f64() / self.config.ramp.as_secs_f64();
                draw < 0.1 + 0.9 * ramped
            }
            S::HalfOpen => {
                let with = |fate| self.probes.iter().filter(|probe| probe.fate == fate).count();
                let left = (self.config.half_open_probes as usize)
                    .saturating_sub(with(Fate::Passed) + with(Fate::Failed));
                let places = if with(Fate::Passed) == 0 { 1 } else { left };
                with(Fate::Out) < places + with(Fate::NoVote).min(16)
            }
            _ => true,
        };
        let ticket = Ticket { generation: self.generation, probe: self.probes.len() };
        if admitted && self.state == S::HalfOpen {
            self.probes.push(Probe { taken: now, fate: Fate::Out });
        }
        admitted.then_some(ticket)
    }

    pub(super) fn end(&mut self, ticket: Ticket, ending: Ending, now: Instant) {
        self.tick(now);
        if ticket.generation != self.generation {
            return;
        }
        let Some((bad, slow)) = self.vote(ending) else {
            self.settle(ticket, Fate::NoVote, now);
            return;
        };
        if self.state == S::HalfOpen {
            self.settle(ticket, if bad || slow { Fate::Failed } else { Fate::Passed }, now);
            return;
        }
        let counts = matches!(self.state, S::Closed | S::Ramping | S::ForcedClosed | S::Shadow);
        if !counts || self.quiet.is_some() {
            return;
        }
        self.samples.push(Sample { at: now, bad, slow });
        match ending {
            Ending::Done { outcome: Outcome::Success, .. } => self.consecutive = 0,
            Ending::Done { outcome: Outcome::Failure { class, .. }, .. } => {
                self.consecutive += u32::from(bad && class != ErrorClass::RateLimit);
            }
            _ => self.consecutive += 1,
        }
        if self.suffices(now) && self.state != S::ForcedClosed {
            self.open(now);
        }
    }

    pub(super) fn take_over(&mut self, to: Override, now: Instant) {
        self.tick(now);
        let state = match to {
            Override::Automatic => S::Closed,
            Override::ForcedOpen => S::ForcedOpen,
            Override::ForcedClosed => S::ForcedClosed,
            Override::Disabled => S::Disabled,
            Override::Shadow => S::Shadow,
        };
        if to == Override::Automatic {
            (self.openings, self.healthy_since, self.outage_since) = (0, None, None);
        }
        self.enter(state, now);
    }

    /// Calls, failures and slow calls in the window.
    pub(super) fn tally(&self, now: Instant) -> (u32, u32, u32) {
        let kept: Vec<&Sample> = match self.config.window {
            Window::Calls(size) => {
                let skipped = self.samples.len().saturating_sub(size as usize);
                self.samples.iter().skip(skipped).collect()
            }
            Window::Time(span) => {
                let tenth = (span / 10).as_nanos();
                let bucket = |at: Instant| (at - self.begun).as_nanos() / tenth;
                self.samples.iter().filter(|sample| bucket(sample.at) + 10 > bucket(now)).collect()
            }
        };
        let count = |is: fn(&Sample) -> bool| kept.iter().map(|sample| u32::from(is(sample))).sum();
        (count(|_| true), count(|sample| sample.bad), count(|sample| sample.slow))
    }

    fn suffices(&self, now: Instant) -> bool {
        let config = &self.config;
        let (calls, bad, slow) = self.tally(now);
        let needed = match config.window {
            Window::Calls(size) => config.min_requests.min(size),
            Window::Time(_) => config.min_requests,
        };
        let reaches = |part: u32, rate: f64| calls >= needed && f64::from(part) >= rate * f64::from(calls);
        config.consecutive_failures.is_some_and(|limit| self.consecutive >= limit)
            || config.failure_rate.is_some_and(|rate| reaches(bad, rate))
            || config.slow_call.is_some_and(|limit| reaches(slow, limit.rate))
    }

    /// Whether it was bad, and slow; `None` without a vote.
    fn vote(&self, ending: Ending) -> Option<(bool, bool)> {
        match ending {
            Ending::Done { outcome: Outcome::Success, slow, .. } => Some((false, slow)),
            Ending::Done { outcome: Outcome::Failure { class, .. }, slow, .. } => {
                Some((!matches!(class, ErrorClass::Validation | ErrorClass::Authentication), slow))
            }
            Ending::Panicked => Some((true, false)),
            Ending::Dropped(_) if self.config.abandoned == Abandoned::Failure => Some((true, false)),
            _ => None,
        }
    }

    fn settle(&mut self, ticket: Ticket, fate: Fate, now: Instant) {
        if self.state == S::HalfOpen {
            let probe = &mut self.probes[ticket.probe];
            if probe.fate == Fate::Out {
                probe.fate = fate;
            }
            self.judge(now);
        }
    }

    /// Reclaims the places of probes that hang, and follows the result of the probes if there is one.
    fn judge(&mut self, now: Instant) {
        let config = self.config;
        let hanging = if config.abandoned == Abandoned::Ignore { Fate::NoVote } else { Fate::Failed };
        for probe in &mut self.probes {
            if probe.fate == Fate::Out && now >= probe.taken + config.probe_timeout {
                probe.fate = hanging;
            }
        }
        let voted = |vote| self.probes.iter().map(|probe| u32::from(probe.fate == vote)).sum::<u32>();
        let (passed, failed) = (voted(Fate::Passed), voted(Fate::Failed));
        if passed >= config.half_open_successes {
            (self.healthy_since, self.outage_since) = (Some(now), None);
            self.enter(if config.ramp.is_zero() { S::Closed } else { S::Ramping }, now);
        } else if config.half_open_probes.saturating_sub(failed) < config.half_open_successes
            || (failed > 0 && passed == 0)
        {
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        let config = &self.config;
        let mut healthy = match self.healthy_since.take() {
            Some(since) => now - since,
            None => Duration::ZERO,
        };
        while self.openings > 0 && healthy >= config.backoff_decay_every {
            self.openings -= 1;
            healthy -= config.backoff_decay_every;
        }
        let grown = (0..self.openings)
            .fold(config.open_for, |delay, _| delay.mul_f64(config.open_multiplier).min(config.max_open_for));
        let outage = now - *self.outage_since.get_or_insert(now);
        let grown = grown.max(outage.mul_f64(config.outage_ratio).min(config.max_open_for));
        self.openings += 1;
        if self.state == S::Shadow {
            self.quiet = Some(now + grown);
            self.forget(now);
        } else {
            self.enter(S::Open, now);
            self.until = Some(now + grown);
        }
    }

    fn enter(&mut self, state: S, now: Instant) {
        (self.state, self.entered) = (state, now);
        self.generation += 1;
        (self.until, self.quiet) = (None, None);
        self.probes.clear();
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        self.samples.clear();
        (self.consecutive, self.begun) = (0, now);
    }
}
