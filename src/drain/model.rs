//! A naive drain, fed the same random operations.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    DrainConfig, DrainReport,
    handle::{DrainHandle, Guard},
    snapshot::DrainPhase,
};
use crate::{rt::clock, telemetry::Emitter};

/// A drain that looks at the time on every step, and keeps a list of its calls.
struct Naive {
    config: DrainConfig,
    begun: Option<Instant>,
    in_flight: u64,
    finished: u64,
    rejected: u64,
}

impl Naive {
    fn is_closed(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now >= begun + self.config.delay)
    }

    fn enter(&mut self, now: Instant) -> bool {
        let admitted = !self.is_closed(now);
        self.in_flight += u64::from(admitted);
        self.rejected += u64::from(!admitted);
        admitted
    }

    fn leave(&mut self) {
        self.in_flight -= 1;
        self.finished += u64::from(self.begun.is_some());
    }
}

async fn run(seed: u64) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let millis = |random: &mut StdRng, most| Duration::from_millis(random.random_range(0..=most));
    let config = DrainConfig::new().delay(millis(&mut random, 20)).limit(Duration::from_millis(50));
    let handle = DrainHandle::new(config, Emitter::new("drain"));
    let mut naive = Naive { config, begun: None, in_flight: 0, finished: 0, rejected: 0 };
    let mut guards: Vec<Guard> = Vec::new();
    for _ in 0..200 {
        match random.random_range(0..10) {
            0..4 => {
                let entered = handle.shared.enter();
                assert_eq!(entered.is_ok(), naive.enter(clock::now()));
                guards.extend(entered);
            }
            4..7 if !guards.is_empty() => {
                let _ = guards.swap_remove(random.random_range(0..guards.len()));
                naive.leave();
            }
            7 if random.random_bool(0.2) => {
                handle.begin();
                naive.begun.get_or_insert(clock::now());
            }
            _ => tokio::time::advance(millis(&mut random, 3)).await,
        }
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.in_flight, snapshot.rejected), (naive.in_flight, naive.rejected));
        assert_eq!(handle.is_draining(), naive.begun.is_some());
        assert!(snapshot.phase != DrainPhase::Closed || naive.is_closed(clock::now()));
    }
    let begun = *naive.begun.get_or_insert(clock::now());
    let report = handle.drain().await;
    let DrainReport { finished, left, waited } = report;
    assert_eq!((finished, left), (naive.finished, naive.in_flight));
    // With calls left, the wait ends at the limit, or at once after it.
    assert_eq!(waited, clock::now() - begun);
    assert!(left == 0 || waited >= config.delay + config.longest_wait());
    drop(guards);
    assert_eq!((handle.snapshot().in_flight, handle.drain().await), (0, report));
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_as_a_naive_one() {
    for seed in 0..500 {
        run(seed).await;
    }
}
