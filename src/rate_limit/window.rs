//! The sliding window: at most so many calls in any span of a length.

use std::{collections::VecDeque, mem, time::Duration};

use governor::nanos::Nanos;

/// The calls of one window.
///
/// Up to [`EXACT`] calls, the window is a log of every call. Above, the calls of a part of the window are one entry, which
/// counts until its last instant has left the window. So the window never admits more than its limit, and holds a call up
/// for at most one part too long. The memory grows with the calls in the window, up to 257
/// entries of 16 bytes. A counter that weights the former window by its overlap admits more: it takes the former calls
/// for evenly spread.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limit: u32,
    /// Nanoseconds.
    length: u64,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// The sum of the costs.
    used: u64,
}

/// The calls of one part of the window.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The last instant of the part.
    at: u64,
    cost: u64,
}

impl Window {
    pub(crate) fn new(limit: u32, length: Duration) -> Self {
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Self { limit, length, entries: VecDeque::new(), used: 0 }
    }

    /// Goes on with another limit and length. The calls in the window stay; a longer window misses those that have left.
    pub(crate) fn update(&mut self, limit: u32, length: Duration) {
        *self = Self { entries: mem::take(&mut self.entries), used: self.used, ..Self::new(limit, length) };
    }

    /// Takes the memory of all entries that it may get, so that no call allocates.
    pub(crate) fn reserve(&mut self) {
        self.entries.reserve_exact(self.most_entries().saturating_sub(self.entries.len()));
    }

    /// From when so many more calls have passed, if they pass as early as they can. `now` if there is room.
    pub(crate) fn free_at(&mut self, cost: u64, now: Nanos) -> Nanos {
        self.expire(now);
        let limit = u64::from(self.limit);
        // Each further `limit` calls wait for the ones before them to leave.
        let lengths = cost.saturating_sub(1) / limit;
        let cost = cost - lengths * limit;
        let mut over = (self.used + cost).saturating_sub(limit);
        let mut at = now.as_u64();
        for entry in &self.entries {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(entry.cost);
            at = entry.at.saturating_add(self.length);
        }
        Nanos::new(at.saturating_add(self.length.saturating_mul(lengths)))
    }

    /// Lets calls pass. [`free_at`](Self::free_at) has found room.
    pub(crate) fn take(&mut self, cost: u32, now: Nanos) {
        let part = if self.limit <= EXACT { 1 } else { (self.length / u64::from(EXACT)).max(1) };
        let at = now.as_u64();
        let at = (at - at % part).saturating_add(part - 1);
        let cost = u64::from(cost);
        self.used += cost;
        match self.entries.back_mut() {
            // A clock that is behind makes no entry older than the last one.
            Some(last) if last.at >= at => last.cost += cost,
            _ => {
                self.grow();
                self.entries.push_back(Entry { at, cost });
            }
        }
    }

    /// Whether a call that passed at this instant still counts.
    pub(super) fn counts(&self, at: Nanos, now: Nanos) -> bool {
        at.as_u64().saturating_add(self.length) > now.as_u64()
    }

    /// Returns the places of a call that did not use them.
    ///
    /// The oldest entries lose them: the younger ones hold up later calls for longer, and so the limit still holds.
    pub(crate) fn refund(&mut self, cost: u32) {
        let mut left = u64::from(cost).min(self.used);
        self.used -= left;
        while let Some(first) = self.entries.front_mut() {
            if first.cost > left {
                first.cost -= left;
                break;
            }
            left -= first.cost;
            self.entries.pop_front();
        }
    }

    /// How many calls would pass.
    pub(crate) fn left(&mut self, now: Nanos) -> u32 {
        self.expire(now);
        self.limit.saturating_sub(u32::try_from(self.used).unwrap_or(u32::MAX))
    }

    /// Doubles a full log, up to all entries that it may get. A limit per key has many windows with few calls.
    fn grow(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let rest = self.most_entries().saturating_sub(len);
            self.entries.reserve_exact(len.min(rest).max(1));
        }
    }

    fn most_entries(&self) -> usize {
        self.limit.min(EXACT) as usize + 1
    }

    fn expire(&mut self, now: Nanos) {
        while let Some(first) = self.entries.front()
            && first.at.saturating_add(self.length) <= now.as_u64()
        {
            self.used -= first.cost;
            self.entries.pop_front();
        }
    }
}

/// A log of so many calls takes 4 KB. It is also the number of parts of a larger window.
const EXACT: u32 = 256;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Lets a call pass, or says from when it will.
    fn ask(window: &mut Window, cost: u32, now: u64) -> Result<(), u64> {
        match window.free_at(cost.into(), Nanos::new(now)).as_u64() {
            at if at > now => Err(at),
            _ => {
                window.take(cost, Nanos::new(now));
                Ok(())
            }
        }
    }

    fn nanos(nanos: u64) -> Duration {
        Duration::from_nanos(nanos)
    }

    /// Every call that passed, with its time.
    struct Naive {
        limit: u32,
        length: u64,
        passed: Vec<(u64, u32)>,
    }

    impl Naive {
        /// The calls in the span of this length that ends now.
        fn used(&self, length: u64, now: u64) -> u32 {
            self.passed.iter().filter(|(at, _)| at + length > now).map(|(_, cost)| cost).sum()
        }

        fn free_at(&self, length: u64, cost: u32, now: u64) -> u64 {
            let later = self.passed.iter().map(|(at, _)| at + length);
            let fits = |at: &u64| *at >= now && self.used(length, *at) + cost <= self.limit;
            std::iter::once(now).chain(later).filter(fits).min().expect("an empty window has room")
        }
    }

    #[test]
    fn case_28_a_small_window_agrees_with_a_naive_log() {
        for seed in 0..100 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (limit, length) = (rng.random_range(3..20), rng.random_range(1..200));
            let (mut window, mut naive) =
                (Window::new(limit, nanos(length)), Naive { limit, length, passed: Vec::new() });
            let mut now = 0;
            for _ in 0..300 {
                now += rng.random_range(0..20);
                let cost = rng.random_range(1..4);
                let expected = match naive.free_at(length, cost, now) {
                    at if at > now => Err(at),
                    _ => {
                        naive.passed.push((now, cost));
                        Ok(())
                    }
                };
                assert_eq!(ask(&mut window, cost, now), expected, "seed {seed} at {now}");
                let left = limit - naive.used(naive.length, now);
                assert_eq!(window.left(Nanos::new(now)), left);
            }
        }
    }

    #[test]
    fn case_28_a_large_window_never_admits_more_and_is_at_most_one_part_late() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (limit, length) = (300, 256_000);
            let (mut window, mut naive) =
                (Window::new(limit, nanos(length)), Naive { limit, length, passed: Vec::new() });
            let mut now = 0;
            for _ in 0..4_000 {
                now += rng.random_range(0..1_500);
                let admitted = ask(&mut window, 1, now).is_ok();
                if admitted {
                    naive.passed.push((now, 1));
                    assert!(naive.used(length, now) <= limit, "seed {seed} at {now}");
                } else {
                    assert!(naive.used(length + length / 256, now) >= limit, "seed {seed} at {now}");
                }
            }
            assert!(window.entries.len() <= 257, "{}", window.entries.len());
        }
    }

    #[test]
    fn the_log_grows_with_its_calls_up_to_its_bound() {
        let mut window = Window::new(EXACT, nanos(1_000));
        let mut capacities = vec![window.entries.capacity()];
        for now in 0..3_000 {
            let _ = ask(&mut window, 1, now);
            capacities.push(window.entries.capacity());
        }
        capacities.dedup();
        assert_eq!(capacities, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]);
        window.update(1_000_000, nanos(3_000));
        window.reserve();
        assert_eq!(window.entries.capacity(), 257);
    }

    #[test]
    fn many_calls_ahead_wait_for_whole_windows() {
        let mut window = Window::new(2, nanos(100));
        assert_eq!([ask(&mut window, 1, 0), ask(&mut window, 1, 30)], [Ok(()), Ok(())]);
        let free_at = |window: &mut Window, cost| window.free_at(cost, Nanos::new(40)).as_u64();
        let waits = [1, 2, 3, 4, 5].map(|cost| free_at(&mut window, cost));
        assert_eq!(waits, [100, 130, 200, 230, 300]);
        assert!(free_at(&mut window, u64::MAX) > 1_000_000);
    }

    #[test]
    fn case_07_a_refund_makes_room_and_never_too_much() {
        let mut window = Window::new(3, nanos(100));
        for now in [0, 10, 20] {
            assert_eq!(ask(&mut window, 1, now), Ok(()));
        }
        window.refund(1);
        assert_eq!(ask(&mut window, 1, 30), Ok(()));
        assert_eq!(ask(&mut window, 1, 40), Err(110));
        window.refund(u32::MAX);
        assert_eq!((window.left(Nanos::new(40)), window.entries.len()), (3, 0));
    }

    #[test]
    fn case_64_a_new_window_keeps_its_calls() {
        let mut window = Window::new(5, nanos(100));
        for now in 0..5 {
            assert_eq!(ask(&mut window, 1, now), Ok(()));
        }
        window.update(3, nanos(200));
        assert_eq!((window.left(Nanos::new(5)), ask(&mut window, 1, 5)), (0, Err(202)));
        window.update(1_000_000, Duration::MAX);
        assert_eq!(ask(&mut window, 999_995, 5), Ok(()));
        assert_eq!(ask(&mut window, 1, 5), Err(u64::MAX));
    }

    #[test]
    fn case_24_a_clock_that_is_behind_does_no_harm() {
        let mut window = Window::new(2, nanos(100));
        assert_eq!([ask(&mut window, 1, 50), ask(&mut window, 1, 40)], [Ok(()), Ok(())]);
        assert_eq!(ask(&mut window, 1, 140), Err(150));
    }
}
