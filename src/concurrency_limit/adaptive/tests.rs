//! The rules of the learner, one by one.

use std::time::{Duration, Instant};

use super::{AdaptiveLimitConfig, Ended, Learner, Vote};
use crate::{rt::clock::epoch, telemetry::EventKind};

const MS: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
const BASELINE: Duration = Duration::from_millis(10);
/// Longer than two calls, and shorter than a probe may last.
const PAUSE: Duration = Duration::from_millis(400);

/// A learner, and the time of its next call.
struct Clocked {
    learner: Learner,
    now: Instant,
    events: Vec<EventKind>,
}

impl Clocked {
    fn new(first: u32) -> Self {
        Self::of(AdaptiveLimitConfig::new(), first)
    }

    fn of(config: AdaptiveLimitConfig, first: u32) -> Self {
        Self { learner: Learner::new(&config, first, false, 1), now: epoch(), events: Vec::new() }
    }

    /// A learner that knows its baseline, and has just probed.
    fn probed(first: u32) -> Self {
        let mut clocked = Self::new(first);
        clocked.window(BASELINE, first);
        clocked.end_probe(BASELINE);
        // A window without load, for the steps after the probe.
        clocked.set_limit(first);
        clocked
    }

    fn set_limit(&mut self, first: u32) {
        while self.limit() < first {
            self.window(BASELINE, self.limit());
        }
        // Growth ends above `first`; a ceiling takes the rest off.
        let capped = AdaptiveLimitConfig::new().ceiling(first);
        self.learner.update(&capped, first, false);
        self.learner.update(&AdaptiveLimitConfig::new(), first, false);
        assert_eq!(self.limit(), first);
    }

    fn limit(&self) -> u32 {
        self.learner.limit()
    }

    fn end(&mut self, took: Duration, in_flight: u32, vote: Option<Vote>) {
        let ended = Ended { began: self.now, in_flight, vote };
        let event = self.learner.record(ended, self.now + took);
        self.events.extend(event);
    }

    /// The twenty calls of a window, with this time. Returns the limit.
    fn window(&mut self, took: Duration, in_flight: u32) -> u32 {
        self.window_of(took, in_flight, Vote::Answered)
    }

    fn window_of(&mut self, took: Duration, in_flight: u32, vote: Vote) -> u32 {
        // After a probe, the first calls have no vote.
        self.now += PAUSE;
        (0..19).for_each(|_| self.end(took, in_flight, Some(vote)));
        self.now += WINDOW.max(4 * took);
        self.end(took, in_flight, Some(vote));
        self.now += took + MS;
        self.limit()
    }

    /// Ends a probe, if there is one: a hundred fresh calls with this time.
    fn end_probe(&mut self, took: Duration) {
        self.now += PAUSE;
        (0..100).for_each(|_| self.end(took, 1, Some(Vote::Answered)));
        self.now += took + MS;
    }
}

#[test]
fn the_first_window_gives_the_baseline_and_the_next_ones_follow_the_queue() {
    let mut clocked = Clocked::new(100);
    assert_eq!(clocked.learner.baseline(), None);
    clocked.window(BASELINE, 100);
    assert_eq!(clocked.learner.baseline(), Some(BASELINE));
    // Five calls are the unit of a limit of 100. The share of the time beyond the baseline is the share that queues.
    for (millis, limit) in
        [(10.0, 105), (10.5, 105), (11.5, 102), (12.5, 100), (14.2, 100), (15.0, 78), (80.0, 70)]
    {
        let mut clocked = Clocked::probed(100);
        assert_eq!(clocked.window(MS.mul_f64(millis), 100), limit, "{millis} ms");
    }
}

#[test]
fn case_35_a_limit_that_calls_do_not_need_does_not_change() {
    let mut clocked = Clocked::probed(100);
    for took in [BASELINE, 50 * MS] {
        assert_eq!(clocked.window(took, 49), 100);
    }
    assert_eq!(clocked.window(BASELINE, 50), 105);
}

#[test]
fn case_35_a_burst_of_congestion_lowers_the_limit_once() {
    let mut clocked = Clocked::probed(30);
    clocked.now += PAUSE;
    // All of them began before the limit fell.
    (0..1_000).for_each(|_| clocked.end(BASELINE, 30, Some(Vote::Congested)));
    assert_eq!(clocked.limit(), 27);
    clocked.now += SECOND;
    assert_eq!(clocked.window(BASELINE, 27), 29, "it recovers with the next window");
    assert_eq!(clocked.window_of(BASELINE, 30, Vote::Congested), 26);
}

#[test]
fn congestion_begins_at_the_calls_in_flight_and_not_at_an_unused_limit() {
    let mut clocked = Clocked::probed(100);
    assert_eq!(clocked.window_of(BASELINE, 10, Vote::Congested), 18);
}

#[test]
fn a_few_timeouts_among_many_calls_are_no_congestion() {
    for (congested, limit) in [(1, 102), (2, 90)] {
        let mut clocked = Clocked::probed(100);
        clocked.now += PAUSE;
        (0..congested).for_each(|_| clocked.end(BASELINE, 100, Some(Vote::Congested)));
        // The twentieth end closes the window.
        assert_eq!(clocked.window(11 * MS + MS / 2, 100), limit, "{congested}");
    }
}

#[test]
fn case_35_the_limit_stays_between_floor_and_ceiling() {
    let mut clocked = Clocked::of(AdaptiveLimitConfig::new().floor(15).ceiling(21), 20);
    for _ in 0..9 {
        clocked.window(BASELINE, 21);
        clocked.end_probe(BASELINE);
    }
    assert_eq!(clocked.limit(), 21);
    for _ in 0..9 {
        assert!(clocked.window_of(BASELINE, 21, Vote::Congested) >= 15);
    }
    assert_eq!(clocked.limit(), 15);
}

#[test]
fn a_probe_halves_the_limit_for_a_hundred_calls_and_renews_the_baseline() {
    let mut clocked = Clocked::new(64);
    clocked.window(BASELINE, 64);
    assert_eq!(clocked.limit(), 34, "the first window at the limit probes: half of 64 and its step");
    // A call of before the probe met another limit.
    let old = Ended { began: epoch(), in_flight: 64, vote: Some(Vote::Answered) };
    (0..500).for_each(|_| _ = clocked.learner.record(old, clocked.now + PAUSE));
    assert_eq!(clocked.limit(), 34);
    clocked.end_probe(9 * MS);
    assert_eq!(clocked.learner.baseline(), Some(9 * MS));
    assert!((64..=68).contains(&clocked.limit()), "{}", clocked.limit());
    for _ in 0..8 {
        clocked.window(9 * MS, clocked.limit());
    }
    assert!(clocked.limit() > 90, "no other probe within 6 s: {}", clocked.limit());
    let mut probes = 0;
    let end = clocked.now + 100 * SECOND;
    while clocked.now < end {
        let before = clocked.limit();
        if clocked.window(12 * MS, before) < before / 2 + 10 {
            probes += 1;
            clocked.end_probe(9 * MS);
        }
    }
    assert!((3..=4).contains(&probes), "{probes} in 100 s");
}

#[test]
fn a_probe_goes_on_while_half_the_calls_take_half_the_time() {
    // A backend for 20 calls, with a limit of 320.
    let mut clocked = Clocked::new(320);
    clocked.window(160 * MS, 320);
    for limit in [168, 84, 42, 21] {
        assert_eq!(clocked.limit(), limit);
        clocked.end_probe(MS * limit / 2);
    }
    assert_eq!((clocked.limit(), clocked.learner.baseline()), (10, Some(160 * MS)));
    clocked.end_probe(BASELINE);
    assert_eq!(clocked.learner.baseline(), Some(BASELINE));
    // 20 calls are busy, and three units queue.
    assert!((26..=28).contains(&clocked.limit()), "{}", clocked.limit());
}

#[test]
fn a_backend_that_became_slower_is_probed_early_and_keeps_its_limit() {
    let mut clocked = Clocked::probed(40);
    clocked.now += 3 * SECOND;
    let mut lowest = 40;
    for _ in 0..4 {
        lowest = clocked.window(80 * MS, clocked.limit()).min(lowest);
    }
    assert!(lowest < 10, "it probes: {lowest}");
    clocked.end_probe(80 * MS);
    assert_eq!(clocked.learner.baseline(), Some(80 * MS));
    assert!((13..=20).contains(&clocked.limit()), "{}", clocked.limit());
    for _ in 0..40 {
        clocked.window(80 * MS, clocked.limit());
        clocked.end_probe(80 * MS);
    }
    assert!(clocked.limit() >= 40, "{}", clocked.limit());
}

#[test]
fn a_probe_without_answers_is_given_up() {
    let mut clocked = Clocked::new(64);
    clocked.window(BASELINE, 64);
    let half = clocked.limit();
    assert!(!clocked.learner.expire(clocked.now));
    clocked.now += SECOND;
    clocked.end(BASELINE, 1, None);
    assert!(clocked.limit() >= 64 && half < 40);
    assert!(!clocked.learner.expire(clocked.now), "it has ended");
}

#[test]
fn a_probe_whose_calls_are_all_congested_lowers_the_limit() {
    let mut clocked = Clocked::new(64);
    clocked.window(BASELINE, 64);
    clocked.now += PAUSE;
    (0..100).for_each(|_| clocked.end(BASELINE, 1, Some(Vote::Congested)));
    assert!((57..=61).contains(&clocked.limit()), "{}", clocked.limit());
}

#[test]
fn in_shadow_mode_there_are_no_probes() {
    let mut learner = Learner::new(&AdaptiveLimitConfig::new(), 64, true, 1);
    let mut now = epoch();
    for _ in 0..10_000 {
        let ended = Ended { began: now, in_flight: 900, vote: Some(Vote::Answered) };
        now += BASELINE;
        learner.record(ended, now);
        assert!(learner.limit() >= 64);
    }
    assert_eq!(learner.limit(), 1_000);
}

#[test]
fn case_65_callers_in_a_hurry_move_neither_baseline_nor_limit() {
    let mut clocked = Clocked::probed(100);
    (0..10_000).for_each(|_| clocked.end(MS, 100, Some(Vote::AtLeast)));
    clocked.now += SECOND;
    assert_eq!(clocked.window(11 * MS + MS / 2, 100), 102);
    assert_eq!(clocked.learner.baseline(), Some(BASELINE));
}

#[test]
fn calls_that_are_cut_after_a_long_time_lower_the_limit() {
    let mut clocked = Clocked::probed(100);
    assert_eq!(clocked.window_of(100 * MS, 100, Vote::AtLeast), 70);
}

#[test]
fn outcomes_without_a_vote_are_no_samples() {
    let mut clocked = Clocked::probed(100);
    (0..10_000).for_each(|_| clocked.end(Duration::ZERO, 100, None));
    clocked.now += SECOND;
    assert_eq!(clocked.window(11 * MS + MS / 2, 100), 102);
}

#[test]
fn a_window_has_enough_measured_calls_and_not_many_more() {
    let mut clocked = Clocked::probed(100);
    for calls in [50, 200, 300, 1_000, 5_000, 1 << 17, 40] {
        let measured = |clocked: &Clocked| calls >> clocked.learner.sampling();
        for _ in 0..40 {
            let measured = measured(&clocked);
            for _ in 0..measured {
                clocked.end(BASELINE, 40, Some(Vote::Answered));
                clocked.now += WINDOW / measured;
            }
        }
        let (measured, sampling) = (measured(&clocked), clocked.learner.sampling());
        assert!(measured <= 256 || sampling == 5, "{measured} of {calls}");
        assert!(measured >= 64 || sampling == 0, "{measured} of {calls}");
    }
}

#[test]
fn only_changes_by_a_quarter_are_events() {
    let mut clocked = Clocked::probed(20);
    clocked.events.clear();
    while clocked.limit() < 60 {
        clocked.window(BASELINE, clocked.limit());
    }
    let changes = |clocked: &Clocked| {
        let change = |event: &EventKind| match *event {
            EventKind::LimitChanged { from, to } => (from, to),
            other => panic!("{other:?}"),
        };
        clocked.events.iter().map(change).collect::<Vec<_>>()
    };
    let seen = changes(&clocked);
    assert!((3..=6).contains(&seen.len()), "{seen:?}");
    assert!(seen.iter().all(|(from, to)| to * 4 >= from * 5), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].0), "{seen:?}");
}

#[test]
fn an_update_keeps_what_was_learnt() {
    let mut clocked = Clocked::probed(50);
    clocked.learner.update(&AdaptiveLimitConfig::new().ceiling(200), 20, false);
    assert_eq!((clocked.limit(), clocked.learner.baseline()), (50, Some(BASELINE)));
    clocked.learner.update(&AdaptiveLimitConfig::new().ceiling(30), 20, false);
    assert_eq!(clocked.limit(), 30);
    clocked.learner.update(&AdaptiveLimitConfig::new().floor(40), 40, false);
    assert_eq!(clocked.limit(), 40);
}

#[test]
fn an_update_ends_a_probe_and_restores_the_limit() {
    let mut clocked = Clocked::new(64);
    assert_eq!(clocked.window(BASELINE, 64), 34);
    clocked.learner.update(&AdaptiveLimitConfig::new(), 64, false);
    assert_eq!(clocked.limit(), 68);
}

#[test]
fn case_24_the_longest_and_the_strangest_times_are_survived() {
    let mut clocked = Clocked::new(20);
    for took in [Duration::ZERO, Duration::from_secs(1 << 33), MS, Duration::ZERO] {
        for vote in [Vote::Answered, Vote::AtLeast, Vote::Congested] {
            clocked.window_of(took, 20, vote);
            assert!((4..=1_000).contains(&clocked.limit()), "{took:?}");
        }
    }
    // An instant before the call began.
    let ended = Ended { began: clocked.now + SECOND, in_flight: u32::MAX, vote: Some(Vote::Answered) };
    (0..1_000).for_each(|_| _ = clocked.learner.record(ended, clocked.now));
    assert!((4..=1_000).contains(&clocked.limit()));
}
