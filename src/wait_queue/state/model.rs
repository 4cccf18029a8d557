//! A naive model of the queue: one list in the order of arrival, which every question reads from the start.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Answer, Ended, Newcomer, Refusal, Ticket, Verdict, WaitQueue};
use crate::{call::Priority, rt::clock::epoch, wait_queue::config::WaitQueueConfig};

const CAPACITY: u32 = 12;
const PER_KEY: u32 = 4;
/// One place in a queue of twelve.
const RESERVED: usize = 1;
const SHARES: [(Priority, u64); 2] = [(Priority::Normal, 20), (Priority::Low, 10)];
const MAX_WAIT: Duration = Duration::from_millis(300);
const TARGET: Duration = Duration::from_millis(40);
const INTERVAL: Duration = Duration::from_millis(100);

const CONFIG: WaitQueueConfig = WaitQueueConfig::new()
    .capacity(CAPACITY)
    .per_key(PER_KEY)
    .minimum_share(Priority::High, 0.0)
    .minimum_share(Priority::Normal, 0.2)
    .minimum_share(Priority::Low, 0.1)
    .max_wait(MAX_WAIT)
    .shed_above(TARGET, INTERVAL);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u32,
    newcomer: Newcomer,
    since: Instant,
}

#[derive(Default)]
struct Model {
    waiting: Vec<Waiting>,
    /// Hundredths of a call, by priority.
    credits: [u64; 4],
    above_since: [Option<Instant>; 4],
    sheds: [bool; 4],
}

impl Model {
    fn of(&self, priority: Priority) -> Vec<Waiting> {
        self.waiting.iter().filter(|it| it.newcomer.priority == priority).copied().collect()
    }

    fn reserved(priority: Priority) -> usize {
        if SHARES.iter().any(|(shared, _)| *shared == priority) { RESERVED } else { 0 }
    }

    fn has_more_than_reserved(&self, priority: Priority) -> bool {
        self.of(priority).len() > Self::reserved(priority)
    }

    fn until(newcomer: &Newcomer, since: Instant) -> Instant {
        newcomer.deadline.map_or(since + MAX_WAIT, |deadline| deadline.min(since + MAX_WAIT))
    }

    fn expired(newcomer: &Newcomer, since: Instant) -> Refusal {
        if newcomer.deadline.is_some_and(|deadline| deadline <= since + MAX_WAIT) {
            Refusal::Deadline
        } else {
            Refusal::MaxWait
        }
    }

    fn end(&mut self, id: u32) {
        self.waiting.retain(|it| it.id != id);
        for class in
            Priority::ALL.into_iter().filter(|class| !self.has_more_than_reserved(*class)).collect::<Vec<_>>()
        {
            (self.sheds[class as usize], self.above_since[class as usize]) = (false, None);
        }
    }

    fn ask(&mut self, newcomer: &Newcomer, pace: Duration, now: Instant) -> Answer<u32> {
        let higher = |it: &&Waiting| it.newcomer.priority >= newcomer.priority;
        let by_rank: u64 = self.waiting.iter().filter(higher).map(|it| u64::from(it.newcomer.cost)).sum();
        let own: u64 = self.of(newcomer.priority).iter().map(|it| u64::from(it.newcomer.cost)).sum();
        let share = SHARES.iter().find(|(priority, _)| *priority == newcomer.priority);
        let ahead = share.map_or(by_rank, |(_, percent)| by_rank.min((own + 1) * 100 / percent));
        let start = now + pace * u32::try_from(ahead).expect("few");
        let until = Self::until(newcomer, now);
        if until <= now || until < start {
            return Answer::Refused(Self::expired(newcomer, now));
        }
        let newest_lowest = |among: Vec<Waiting>| {
            let lower = among.into_iter().filter(|it| it.newcomer.priority < newcomer.priority);
            lower.min_by_key(|it| (it.newcomer.priority, u32::MAX - it.id))
        };
        let own: Vec<_> = self.waiting.iter().filter(|it| it.newcomer.key == newcomer.key).copied().collect();
        let bounded = newcomer.key.is_some() && own.len() >= PER_KEY as usize;
        let of_key = newest_lowest(own);
        if bounded && of_key.is_none() {
            return Answer::Refused(Refusal::Full);
        }
        let of_key = of_key.filter(|_| bounded);
        let kept = Priority::ALL.into_iter().filter(|other| *other != newcomer.priority);
        let kept: usize = kept.map(|other| Self::reserved(other).saturating_sub(self.of(other).len())).sum();
        let unreserved = |it: &Waiting| self.has_more_than_reserved(it.newcomer.priority);
        let worst = if self.waiting.len() + kept < CAPACITY as usize {
            of_key
        } else {
            let all = self.waiting.iter().filter(|it| unreserved(it)).copied().collect();
            let Some(worst) = of_key.filter(unreserved).or_else(|| newest_lowest(all)) else {
                return Answer::Refused(Refusal::Full);
            };
            Some(worst)
        };
        let Some(worst) = worst else { return Answer::Join };
        self.end(worst.id);
        Answer::Displaced(worst.id)
    }

    fn next(&mut self, now: Instant, granted: u32) -> Option<Ended<u32>> {
        let refuse = |payload, refusal| Some(Ended { payload, verdict: Verdict::Refused(refusal) });
        let mut shed = None;
        for class in Priority::ALL.into_iter().rev() {
            let unreserved = if self.has_more_than_reserved(class) { self.of(class) } else { vec![] };
            let above = unreserved.iter().any(|it| now - it.since > TARGET);
            let (sheds, above_since) =
                (&mut self.sheds[class as usize], &mut self.above_since[class as usize]);
            if *sheds {
                *sheds = !unreserved.is_empty();
            } else if let Some(since) = *above_since {
                *sheds = above && now - since >= INTERVAL;
                if !above || *sheds {
                    *above_since = None;
                }
            } else if above {
                *above_since = Some(now);
            }
            if *sheds && above {
                let lower = self.waiting.iter().filter(|it| it.newcomer.priority <= class);
                let lower = lower.filter(|it| self.has_more_than_reserved(it.newcomer.priority));
                shed = lower.min_by_key(|it| (it.newcomer.priority, it.id)).map(|it| it.id);
            }
        }
        if let Some(worst) = shed {
            self.end(worst);
            return refuse(worst, Refusal::Shed);
        }
        let owed = Priority::ALL.into_iter().filter(|class| !self.of(*class).is_empty());
        let owed = owed.filter(|class| self.credits[*class as usize] >= 100);
        // The first of the highest credits is that of the highest class.
        let owed = owed.rev().max_by_key(|class| self.credits[*class as usize]);
        let class = owed.or_else(|| self.waiting.iter().map(|it| it.newcomer.priority).max())?;
        let first = self.of(class)[0];
        if Self::until(&first.newcomer, first.since) <= now {
            self.end(first.id);
            return refuse(first.id, Self::expired(&first.newcomer, first.since));
        }
        if first.newcomer.cost > granted {
            return None;
        }
        for (other, percent) in SHARES {
            if !self.of(other).is_empty() {
                self.credits[other as usize] = (self.credits[other as usize] + percent).min(200);
            }
        }
        self.credits[class as usize] = self.credits[class as usize].saturating_sub(100);
        self.end(first.id);
        Some(Ended { payload: first.id, verdict: Verdict::Served })
    }
}

fn newcomer(rng: &mut StdRng, now: Instant) -> Newcomer {
    Newcomer {
        priority: Priority::ALL[rng.random_range(0..4)],
        cost: rng.random_range(1..4),
        deadline: rng.random_bool(0.3).then(|| now + Duration::from_millis(rng.random_range(0..400))),
        key: rng.random_bool(0.7).then(|| rng.random_range(0..4)),
    }
}

/// Feeds both the same operations. Returns how often calls were cancelled while they waited.
fn drive(seed: u64, steps: u32) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut queue, mut model) = (WaitQueue::new(CONFIG), Model::default());
    let mut tickets: Vec<(u32, Ticket)> = Vec::new();
    let (mut now, mut cancels) = (epoch(), 0);
    for id in 1..=steps {
        match rng.random_range(0..10) {
            0..=3 => {
                let newcomer = newcomer(&mut rng, now);
                let pace = Duration::from_millis(rng.random_range(0..12));
                let answer = loop {
                    let answer = queue.ask(&newcomer, pace, now);
                    assert_eq!(answer, model.ask(&newcomer, pace, now), "seed {seed}, step {id}");
                    let Answer::Displaced(_) = answer else { break answer };
                };
                if answer == Answer::Join {
                    model.waiting.push(Waiting { id, newcomer, since: now });
                    tickets.push((id, queue.join(newcomer, id, now)));
                }
            }
            4..=5 => {
                let granted = rng.random_range(0..4);
                let ended = queue.next(now, |cost| cost <= granted);
                assert_eq!(ended, model.next(now, granted), "seed {seed}, step {id}");
            }
            6..=7 if !tickets.is_empty() => {
                let (id, ticket) = tickets.swap_remove(rng.random_range(0..tickets.len()));
                let waited = model.waiting.iter().find(|it| it.id == id).copied();
                assert_eq!(queue.verdict(&ticket).is_none(), waited.is_some(), "seed {seed}, call {id}");
                let verdict = queue.leave(ticket).verdict;
                if let Some(it) = waited {
                    cancels += 1;
                    assert_eq!(verdict, Verdict::Refused(Model::expired(&it.newcomer, it.since)));
                }
                model.end(id);
            }
            _ => now += Duration::from_millis(rng.random_range(0..25)),
        }
        assert_eq!(queue.len() as usize, model.waiting.len(), "seed {seed}, step {id}");
        for priority in Priority::ALL.into_iter().filter(|_| id % 16 == 0) {
            assert_eq!(queue.len_of(priority) as usize, model.of(priority).len(), "seed {seed}, step {id}");
        }
    }
    while let Some((_, ticket)) = tickets.pop() {
        queue.leave(ticket);
    }
    assert_eq!(queue.len(), 0, "seed {seed}");
    assert!(queue.holds_nothing(), "seed {seed}");
    cancels
}

#[test]
fn case_32_the_length_is_the_reality_after_ten_thousand_random_cancels() {
    let (mut cancels, mut seed) = (0, 0);
    while cancels < 10_000 {
        cancels += drive(seed, 5_000);
        seed += 1;
    }
    println!("{cancels} cancels, seeds 0 to {}", seed - 1);
}
