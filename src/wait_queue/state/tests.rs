//! The promises of the queue, one by one. The model compares all of them under random operations.

use std::time::{Duration, Instant};

use super::{Arrival, Enqueued, Refusal, Ticket, Verdict, WaitQueue};
use crate::{call::Priority, rt::clock::epoch, wait_queue::config::WaitQueueConfig};

impl<T: Default> WaitQueue<T> {
    /// Whether no trace is left of the calls that waited.
    pub(super) fn holds_nothing(&self) -> bool {
        self.entries.is_empty() && self.keys.is_empty() && self.classes.iter().all(|class| class.cost == 0)
    }
}

const CALL: Arrival = Arrival { priority: Priority::Normal, cost: 1, deadline: None, key: None };
/// Without minimum shares and without shedding.
const STRICT: WaitQueueConfig = WaitQueueConfig::new()
    .minimum_share(Priority::High, 0.0)
    .minimum_share(Priority::Normal, 0.0)
    .minimum_share(Priority::Low, 0.0)
    .without_shedding();

fn at(millis: u64) -> Instant {
    epoch() + Duration::from_millis(millis)
}

fn of(priority: Priority) -> Arrival {
    Arrival { priority, ..CALL }
}

/// Waits in the queue of a fast limit. Returns the ticket, and the evicted call.
fn join(
    queue: &mut WaitQueue<u32>,
    arrival: Arrival,
    id: u32,
    now: Instant,
) -> Result<(Ticket, Option<u32>), Refusal> {
    let Enqueued { ticket, evicted } = queue.enqueue(arrival, id, Duration::ZERO, now)?;
    Ok((ticket, evicted))
}

/// The calls that are served at once, one after the other.
fn served(queue: &mut WaitQueue<u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| queue.dequeue(now, |_| true))
        .filter(|ended| ended.verdict == Verdict::Served)
        .map(|ended| ended.payload)
        .collect()
}

#[test]
fn case_29_and_30_the_order_is_by_class_and_then_by_age() {
    use Priority::{Critical, High, Low, Normal};
    let mut queue = WaitQueue::new(STRICT);
    let order = [Low, High, Normal, Critical, Low, Critical, Normal, High];
    for (id, priority) in (0..).zip(order) {
        assert!(join(&mut queue, of(priority), id, at(id.into())).is_ok());
    }
    assert_eq!(served(&mut queue, at(9)), [3, 5, 1, 7, 2, 6, 0, 4]);
}

#[test]
fn case_29_a_call_that_is_not_granted_keeps_its_turn() {
    let mut queue = WaitQueue::new(STRICT);
    let expensive = Arrival { cost: 5, ..CALL };
    assert!(join(&mut queue, expensive, 1, at(0)).is_ok());
    assert!(join(&mut queue, CALL, 2, at(0)).is_ok());
    assert_eq!(queue.dequeue(at(1), |cost| cost <= 4), None);
    assert_eq!((queue.ahead(Priority::Normal), queue.ahead(Priority::High)), (6, 0));
    assert_eq!(served(&mut queue, at(1)), [1, 2]);
}

#[test]
fn case_30_each_class_gets_its_share_under_critical_load() {
    let config = STRICT.minimum_share(Priority::Low, 0.01).minimum_share(Priority::High, 0.1);
    let mut queue = WaitQueue::new(config);
    let mut counts = [0_u32; 4];
    for _ in 0..10_000 {
        for (id, priority) in (0..).zip([Priority::Low, Priority::High, Priority::Critical]) {
            while queue.len_of(priority) < 2 {
                assert!(join(&mut queue, of(priority), id, at(0)).is_ok());
            }
        }
        let ended = queue.dequeue(at(0), |_| true).expect("calls wait");
        counts[ended.payload as usize] += 1;
    }
    let [low, high, critical, _] = counts;
    assert!((99..=100).contains(&low) && (999..=1_000).contains(&high), "{counts:?}");
    assert_eq!(critical, 10_000 - low - high);
}

#[test]
fn case_30_a_class_with_a_share_keeps_a_place_in_a_queue_full_of_higher_classes() {
    let mut queue = WaitQueue::new(STRICT.capacity(10).minimum_share(Priority::Low, 0.001));
    let critical = of(Priority::Critical);
    let joined = (0..20).filter(|id| join(&mut queue, critical, *id, at(0)).is_ok()).count();
    assert_eq!(joined, 9);
    assert!(join(&mut queue, of(Priority::Low), 20, at(0)).is_ok());
    assert_eq!(join(&mut queue, critical, 21, at(0)), Err(Refusal::Full));
    assert_eq!(join(&mut queue, of(Priority::Low), 22, at(0)), Err(Refusal::Full));
}

#[test]
fn case_32_in_a_full_queue_the_newest_call_of_the_lowest_class_goes() {
    use Priority::{Critical, High, Low, Normal};
    let mut queue = WaitQueue::new(STRICT.capacity(4));
    let mut tickets = Vec::new();
    for (id, priority) in (1..).zip([Low, Normal, Low, High]) {
        tickets.push(join(&mut queue, of(priority), id, at(0)).expect("there is a place").0);
    }
    for (priority, id, expected) in [
        (Low, 5, Err(Refusal::Full)),
        (Critical, 6, Ok(3)),
        (Critical, 7, Ok(1)),
        (Normal, 8, Err(Refusal::Full)),
        (Critical, 9, Ok(2)),
        (High, 10, Err(Refusal::Full)),
        (Critical, 11, Ok(4)),
        (Critical, 12, Err(Refusal::Full)),
    ] {
        let evicted = join(&mut queue, of(priority), id, at(0)).map(|(_, evicted)| evicted);
        assert_eq!(evicted, expected.map(Some), "call {id}");
    }
    for ticket in tickets {
        assert_eq!(queue.remove(ticket).verdict, Verdict::Refused(Refusal::Full));
    }
    assert_eq!(queue.len(), 4);
}

#[test]
fn case_32_one_key_cannot_fill_the_queue() {
    let mut queue = WaitQueue::new(STRICT.capacity(100).per_key(2));
    let of_key = |key, priority| Arrival { key: Some(key), ..of(priority) };
    let joined = (1..=50).filter(|id| join(&mut queue, of_key(1, Priority::Normal), *id, at(0)).is_ok());
    assert_eq!(joined.count(), 2);
    assert!(join(&mut queue, of_key(2, Priority::Low), 51, at(0)).is_ok());
    assert!(join(&mut queue, CALL, 52, at(0)).is_ok());
    // The key's own calls make room, and not those of other keys.
    assert!(
        join(&mut queue, of_key(1, Priority::High), 53, at(0)).is_ok_and(|(_, evicted)| evicted == Some(2))
    );
    assert_eq!(served(&mut queue, at(0)), [53, 1, 52, 51]);
    assert!(join(&mut queue, of_key(1, Priority::Normal), 54, at(0)).is_ok());
}

#[test]
fn case_32_a_key_at_its_bound_takes_no_place_of_another_key() {
    use Priority::{High, Low, Normal};
    // One place is reserved for each class below critical.
    let mut queue = WaitQueue::new(WaitQueueConfig::new().capacity(8).per_key(1).without_shedding());
    let of_key = |key, priority| Arrival { key: Some(key), ..of(priority) };
    assert!(join(&mut queue, of_key(1, Low), 1, at(0)).is_ok());
    for id in 2..=7 {
        assert!(join(&mut queue, of_key(u64::from(id), Normal), id, at(0)).is_ok());
    }
    assert!(join(&mut queue, of_key(8, High), 8, at(0)).is_ok());
    // The call that the key has in the queue leaves a place that is reserved for its class.
    assert_eq!(join(&mut queue, of_key(1, High), 9, at(0)).map(|(_, evicted)| evicted), Err(Refusal::Full));
    assert_eq!(queue.len(), 8);
}

#[test]
fn a_call_that_cannot_be_served_in_time_is_refused_at_once() {
    let mut queue = WaitQueue::new(STRICT.max_wait(Duration::from_millis(100)));
    let due = |millis| Arrival { deadline: Some(at(millis)), ..CALL };
    let pace = Duration::from_millis(10);
    for id in 0..5 {
        assert!(join(&mut queue, CALL, id, at(0)).is_ok());
    }
    for (arrival, pace, refusal) in [
        (due(49), pace, Some(Refusal::Deadline)),
        (due(50), pace, None),
        (Arrival { priority: Priority::High, ..due(1) }, pace, None),
        (CALL, pace * 2, None),
        (CALL, pace * 3, Some(Refusal::MaxWait)),
        (due(0), Duration::ZERO, Some(Refusal::Deadline)),
        (CALL, Duration::MAX, Some(Refusal::MaxWait)),
    ] {
        let enqueued = queue.enqueue(arrival, 9, pace, at(0));
        assert_eq!(enqueued.as_ref().err().copied(), refusal, "{arrival:?}");
        if let Ok(Enqueued { ticket, .. }) = enqueued {
            queue.remove(ticket);
        }
    }
}

#[test]
fn case_30_a_class_whose_calls_would_all_come_too_late_gets_its_share() {
    let mut queue = WaitQueue::new(STRICT.minimum_share(Priority::Low, 0.01));
    let pace = Duration::from_millis(10);
    let mut low = 0;
    for turn in 0..10_000 {
        let now = at(10 * turn);
        while queue.len_of(Priority::Critical) < 50 {
            assert!(join(&mut queue, of(Priority::Critical), 0, now).is_ok());
        }
        // Fifty calls wait for half a second, and this one has a fifth.
        let due = Arrival { deadline: Some(now + Duration::from_millis(200)), ..of(Priority::Low) };
        let _waits_or_refused = queue.enqueue(due, 1, pace, now);
        while let Some(ended) = queue.dequeue(now, |_| true) {
            low += u32::from(ended.verdict == Verdict::Served) * ended.payload;
            if ended.verdict == Verdict::Served {
                break;
            }
        }
    }
    println!("{low} of 10 000 served calls were low");
    assert!((95..=100).contains(&low), "{low}");
}

#[test]
fn an_expired_call_is_never_served() {
    let mut queue = WaitQueue::new(STRICT.max_wait(Duration::from_millis(100)));
    let ticket = join(&mut queue, CALL, 1, at(0)).expect("there is a place").0;
    let due = Arrival { deadline: Some(at(50)), ..CALL };
    assert!(join(&mut queue, due, 2, at(0)).is_ok());
    assert_eq!((queue.expires(&ticket), *queue.payload(&ticket)), (at(100), 1));
    assert!(join(&mut queue, CALL, 3, at(1)).is_ok());
    let ends = std::iter::from_fn(|| queue.dequeue(at(100), |_| true));
    let ends: Vec<_> = ends.map(|ended| (ended.payload, ended.verdict)).collect();
    let refused = Verdict::Refused;
    assert_eq!(ends, [(1, refused(Refusal::MaxWait)), (2, refused(Refusal::Deadline)), (3, Verdict::Served)]);
    assert_eq!(queue.verdict(&ticket), Some(refused(Refusal::MaxWait)));
}

#[test]
fn in_an_overload_the_lowest_class_is_shed_first() {
    use Priority::{Critical, Low, Normal};
    let config = STRICT.shed_above(Duration::from_millis(20), Duration::from_millis(100));
    let mut queue = WaitQueue::new(config);
    for id in 1..=3 {
        assert!(join(&mut queue, of(Normal), id, at(0)).is_ok());
    }
    // The first observation starts the interval.
    assert_eq!(queue.dequeue(at(30), |_| false), None);
    for (id, priority) in [(4, Low), (5, Critical), (6, Low)] {
        assert!(join(&mut queue, of(priority), id, at(120)).is_ok());
    }
    let ends: Vec<_> = std::iter::from_fn(|| queue.dequeue(at(130), |_| true))
        .map(|ended| (ended.payload, ended.verdict))
        .collect();
    let shed = |id| (id, Verdict::Refused(Refusal::Shed));
    assert_eq!(ends, [shed(4), shed(6), shed(1), shed(2), shed(3), (5, Verdict::Served)]);
}

#[test]
fn important_calls_may_wait_for_half_of_the_longest_wait() {
    use Priority::{Critical, High, Low, Normal};
    let millis = Duration::from_millis;
    for (target, max_wait, important) in [(20, 500, 250), (300, 500, 300)] {
        let config = STRICT.shed_above(millis(target), millis(1)).max_wait(millis(max_wait));
        for (class, target) in [(Low, target), (Normal, target), (High, important), (Critical, important)] {
            let mut queue = WaitQueue::new(config);
            assert!(join(&mut queue, of(class), 1, at(0)).is_ok());
            assert_eq!(queue.dequeue(at(target), |_| false), None);
            assert_eq!(queue.dequeue(at(target + 1), |_| false), None);
            let shed = queue.dequeue(at(target + 2), |_| false).map(|ended| ended.verdict);
            assert_eq!(shed, Some(Verdict::Refused(Refusal::Shed)), "{class:?}");
        }
    }
}

#[test]
fn an_overload_ends_with_its_last_call_and_a_later_burst_may_wait() {
    let config = STRICT.shed_above(Duration::from_millis(20), Duration::from_millis(100));
    let mut queue = WaitQueue::new(config);
    for id in 1..=2 {
        assert!(join(&mut queue, CALL, id, at(0)).is_ok());
    }
    assert_eq!(queue.dequeue(at(30), |_| false), None);
    assert!(queue.dequeue(at(130), |_| false).is_some_and(|ended| ended.payload == 1));
    assert_eq!(queue.shedding(), Some(Priority::Normal));
    assert!(queue.dequeue(at(130), |_| false).is_some_and(|ended| ended.payload == 2));
    assert_eq!(queue.shedding(), None);
    assert!(join(&mut queue, CALL, 3, at(9_000)).is_ok());
    assert_eq!(queue.dequeue(at(9_030), |_| false), None);
}

#[test]
fn case_64_a_smaller_queue_keeps_its_calls_and_takes_no_more() {
    let mut queue = WaitQueue::new(STRICT.capacity(4));
    for id in 1..=4 {
        assert!(join(&mut queue, CALL, id, at(0)).is_ok());
    }
    queue.update(STRICT.capacity(2));
    assert_eq!(join(&mut queue, CALL, 5, at(0)), Err(Refusal::Full));
    assert_eq!(queue.len(), 4);
    assert_eq!(served(&mut queue, at(0)), [1, 2, 3, 4]);
    assert!(join(&mut queue, CALL, 6, at(0)).is_ok());
}
