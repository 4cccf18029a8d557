//! A naive learner: it keeps all calls, and looks through them for each question.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{AdaptiveLimitConfig, Ended, Learner, Vote};
use crate::rt::clock::epoch;

/// The state of the naive learner.
#[derive(Debug)]
struct Model {
    limit: f64,
    baseline: Option<f64>,
    latest: f64,
    began: Option<Instant>,
    /// Since the last congestion: from when calls began, and from when they end.
    epoch: Option<(Instant, Instant)>,
    calls: Vec<(Option<f64>, u32)>,
}

#[test]
fn it_agrees_with_a_learner_that_keeps_every_call() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        // Without probes, whose time is drawn at random.
        let mut learner = Learner::new(&AdaptiveLimitConfig::new().floor(5), 50, true, seed);
        let mut model =
            Model { limit: 50.0, baseline: None, latest: 0.0, began: None, epoch: None, calls: Vec::new() };
        let mut now = epoch() + Duration::from_secs(60);
        for _ in 0..3_000 {
            now += Duration::from_micros(rng.random_range(0..20_000));
            let slow = if rng.random_bool(0.02) { 100.0 } else { 1.0 + model.limit / 40.0 };
            let took = Duration::from_secs_f64(0.01 * slow * rng.random::<f64>());
            let vote = match rng.random_range(0..20) {
                0 => Some(Vote::Congested),
                1..3 => Some(Vote::AtLeast),
                3..5 => None,
                _ => Some(Vote::Answered),
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            let in_flight = (model.limit * rng.random::<f64>()) as u32;
            let began = now.checked_sub(took).expect("the model begins later than a call takes");
            learner.record(Ended { began, in_flight, vote }, now);
            model.record(took, in_flight, vote, now);
            assert!((f64::from(learner.limit()) - model.limit.floor()).abs() < 1.5, "{model:?}");
            let baseline = learner.baseline().map(|it| it.as_secs_f64());
            let off = baseline.zip(model.baseline).map_or(0.0, |(one, other)| (one - other).abs());
            assert!(off < 1e-4 && baseline.is_some() == model.baseline.is_some(), "{baseline:?} {model:?}");
        }
    }
}

impl Model {
    fn record(&mut self, took: Duration, in_flight: u32, vote: Option<Vote>, now: Instant) {
        if self.epoch.is_some_and(|(from, until)| now < from + took || now < until) {
            return;
        }
        let took = took.as_secs_f64();
        let call = match vote {
            None => return,
            Some(Vote::AtLeast) if self.baseline.is_none_or(|baseline| took < baseline) => return,
            Some(Vote::Congested) => None,
            Some(_) => Some(took),
        };
        let began = *self.began.get_or_insert(now);
        self.calls.push((call, in_flight));
        let length = (2.0 * self.latest).max(0.25);
        if self.calls.len() >= 20 && now - began >= Duration::from_secs_f64(length) {
            self.end(now);
        }
    }

    fn end(&mut self, now: Instant) {
        let calls = std::mem::take(&mut self.calls);
        self.began = Some(now);
        let mut times: Vec<f64> = calls.iter().filter_map(|(took, _)| *took).collect();
        times.sort_unstable_by(f64::total_cmp);
        let peak = calls.iter().map(|(_, in_flight)| f64::from(*in_flight)).fold(0.0, f64::max);
        let median = times.get(times.len() / 2).map(|median| median.max(1e-6));
        if let Some(median) = median {
            self.latest = median;
            let baseline = self.baseline.unwrap_or(median);
            self.baseline = Some(baseline - (baseline - median).max(0.0) / 4.0);
        }
        let unit = (self.limit.sqrt() / 2.0).max(self.limit / 20.0).max(1.0);
        if (calls.len() - times.len()) * 10 >= calls.len() {
            self.limit = 0.9 * self.limit.min(2.0 * peak);
            self.epoch = Some((now, now + Duration::from_secs_f64(2.0 * self.latest)));
        } else if let Some(ratio) = self.baseline.map(|baseline| baseline / self.latest)
            && peak * 2.0 >= self.limit
        {
            let queue = self.limit - self.limit * ratio;
            let busy = self.limit * ratio;
            self.limit = if queue <= unit {
                self.limit + unit
            } else if queue < 3.0 * unit {
                self.limit + unit / 2.0
            } else if queue <= 6.0 * unit {
                self.limit
            } else {
                (busy + 3.0 * (busy.sqrt() / 2.0).max(busy / 20.0).max(1.0)).max(0.7 * self.limit)
            };
        }
        self.limit = self.limit.clamp(5.0, 1_000.0);
    }
}
