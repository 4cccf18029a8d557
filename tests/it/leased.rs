//! A limit that several instances keep together: over memory, in paused time.

use std::{
    future::{Future, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, service_fn};
use tower_reliability::{
    BoxError, Error, Event, EventKind, Reason, Rejected,
    rate_limit::{
        RateLimitConfig,
        leased::{
            AfterGrace, Grant, LeasedRateLimitConfig, LeasedRateLimitLayer, Leases, MemoryQuota,
            QuotaRequest, QuotaSource,
        },
    },
};

type Answer = Result<(), Error<std::fmt::Error>>;

/// A call to an instance, which never waits.
fn call<L, C>(layer: &LeasedRateLimitLayer<L, C>, request: u32) -> Result<(), Rejected>
where
    L: Leases<u32> + Clone,
    C: tower_reliability::rate_limit::CostSource<u32> + Clone,
{
    let mut service = layer.layer(service_fn(|_: u32| ready(Ok(()) as Answer)));
    let future = service.call(request);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = std::pin::pin!(future).poll(&mut context) else {
        panic!("no call waits for the source")
    };
    answer.map_err(|error| match error {
        Error::Rejected(rejected) => rejected,
        other @ Error::Inner(_) => panic!("{other}"),
    })
}

/// A memory source behind a network of the test.
#[derive(Clone)]
struct Network {
    source: MemoryQuota,
    delay: Arc<AtomicU64>,
    fault: Arc<Mutex<Fault>>,
    asked: Arc<AtomicU32>,
    in_flight: Arc<AtomicU32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    No,
    Refuses,
    Hangs,
    Panics,
}

impl Network {
    fn new() -> Self {
        Self {
            source: MemoryQuota::new(),
            delay: Arc::new(AtomicU64::new(1)),
            fault: Arc::new(Mutex::new(Fault::No)),
            asked: Arc::default(),
            in_flight: Arc::default(),
        }
    }

    fn breaks(&self, fault: Fault) {
        *self.fault.lock().expect("not poisoned") = fault;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

struct Leaves<'a>(&'a AtomicU32);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QuotaSource for Network {
    async fn lease(&self, request: QuotaRequest) -> Result<Grant, BoxError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _leaves = Leaves(&self.in_flight);
        let fault = *self.fault.lock().expect("not poisoned");
        match fault {
            Fault::No => sleep(Duration::from_millis(self.delay.load(Ordering::Relaxed))).await,
            Fault::Refuses => return Err("connection refused".into()),
            Fault::Hangs => pending().await,
            Fault::Panics => panic!("a defect of the source"),
        }
        self.source.lease(request).await
    }
}

fn limit() -> LeasedRateLimitConfig {
    RateLimitConfig::per_second(1_000).leased()
}

fn instances(config: LeasedRateLimitConfig, source: &Network) -> [LeasedRateLimitLayer; 4] {
    std::array::from_fn(|_| config.build("api", source.clone()).expect("valid"))
}

/// Calls at all instances in turn, so many per millisecond, and counts those that pass.
async fn load(instances: &[LeasedRateLimitLayer], per_millisecond: u32, length: Duration) -> u32 {
    let (mut passed, end) = (0, Instant::now() + length);
    while Instant::now() < end {
        for _ in 0..per_millisecond {
            for layer in instances {
                passed += u32::from(call(layer, 0).is_ok());
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    passed
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn case_28_four_instances_keep_one_limit_and_use_it_up() {
    let source = Network::new();
    let instances = instances(limit(), &source);
    let passed = load(&instances, 1, 10 * SECOND).await;
    assert!((10_000..=11_000).contains(&passed), "{passed}");
    // In the next span of any length, there is no burst.
    let passed = load(&instances, 1, 10 * SECOND).await;
    assert!((9_900..=10_200).contains(&passed), "{passed}");
    assert!(source.asked() < 2_000, "{} questions for 20 000 calls", source.asked());
}

#[tokio::test(start_paused = true)]
async fn a_first_call_passes_at_once_and_an_empty_limit_says_when_to_come_again() {
    let source = Network::new();
    let layer = RateLimitConfig::per_second(10).burst(4).leased().instances(1).build("api", source.clone());
    let layer = layer.expect("valid");
    assert_eq!(source.asked(), 0, "nothing is asked before the first call");
    assert_eq!(call(&layer, 0), Ok(()));
    sleep(Duration::from_millis(5)).await;
    let mut passed = 1;
    let rejected = loop {
        match call(&layer, 0) {
            Ok(()) => passed += 1,
            Err(rejected) if rejected.retry_after() > Some(Duration::from_millis(20)) => break rejected,
            Err(_) => {}
        }
        sleep(Duration::from_millis(3)).await;
    };
    assert!(passed <= 4, "{passed}");
    assert_eq!((rejected.reason(), rejected.layer().as_str()), (Reason::RateLimited, "api"));
    let wait = rejected.retry_after().expect("known");
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
    advance(wait).await;
    assert_eq!(call(&layer, 0), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_cost_of_a_call_is_charged_and_a_cost_beyond_the_burst_never_passes() {
    let source = Network::new();
    let layer = RateLimitConfig::per_second(100).leased().build("api", source.clone()).expect("valid");
    let layer = layer.cost(|cost: &u32| *cost);
    assert_eq!(call(&layer, 0), Ok(()));
    assert_eq!(source.asked(), 0, "a call without a cost needs no unit");
    assert_eq!(call(&layer, 60), Ok(()), "on credit");
    let rejected = call(&layer, 101).expect_err("beyond the burst");
    assert_eq!(rejected.reason(), Reason::CostTooHigh { cost: 101, most: 100 });
    assert_eq!(rejected.retry_after(), None);
    sleep(Duration::from_millis(5)).await;
    // The source has 50 units for all, and is 10 below 0.
    let rejected = call(&layer, 1).expect_err("nothing is left");
    let wait = rejected.retry_after().expect("known");
    assert!((Duration::from_millis(80)..=Duration::from_millis(120)).contains(&wait), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own_at_all_instances() {
    let source = Network::new();
    let config = RateLimitConfig::per_second(10).burst(32).leased().instances(2);
    let keyed = || config.build("clients", source.clone()).expect("valid").keyed(|key: &u32| key % 2);
    let instances = [keyed(), keyed()];
    let mut passed = 0;
    for _ in 0..1_000 {
        for layer in &instances {
            passed += u32::from(call(layer, 0).is_ok());
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!((100..=132).contains(&passed), "{passed}");
    assert_eq!(call(&instances[0], 1), Ok(()), "another key has its own limit");
}

#[tokio::test(start_paused = true)]
async fn case_34_keys_without_room_share_one_limit_and_an_event_says_so() {
    let source = Network::new();
    let told = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&told);
    let layer = limit().build("clients", source.clone()).expect("valid");
    let layer = layer.keyed(|key: &u32| *key).max_keys(2).listen(move |event: &Event| {
        if matches!(event.kind, EventKind::KeysExhausted { max_keys: 2, .. }) {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    });
    // The first two keys owe the source, as long as it has not answered.
    let passed = (0..500).filter(|key| call(&layer, *key).is_ok()).count();
    assert_eq!(passed, 2 + 62, "one lease of the other keys");
    assert_eq!(told.load(Ordering::Relaxed), 1);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(call(&layer, 7_000), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_source_is_told_once_and_comes_back_by_itself() {
    for fault in [Fault::Refuses, Fault::Hangs, Fault::Panics] {
        let source = Network::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let layer = limit().grace(10 * SECOND).after_grace(AfterGrace::Closed);
        let layer = layer.build("api", source.clone()).expect("valid");
        let layer = layer.listen(move |event: &Event| heard.lock().expect("not poisoned").push(event.kind));
        let layers = [layer.clone()];
        load(&layers, 1, 8 * SECOND).await;
        source.breaks(fault);
        let asked = source.asked();
        // Half of the 1 000 per second that it had, and half of a quarter of the limit.
        let passed = load(&layers, 2, 10 * SECOND).await;
        assert!((5_900..=6_600).contains(&passed), "{passed}");
        assert!(source.asked() - asked <= 45, "{} questions", source.asked() - asked);
        let passed = load(&layers, 2, SECOND).await;
        assert!(passed <= 200, "the grace is over: {passed}");
        assert!(layer.handle().snapshot().lost_for.is_some());
        source.breaks(Fault::No);
        load(&layers, 2, SECOND).await;
        let passed = load(&layers, 2, 4 * SECOND).await;
        assert!((3_900..=4_100).contains(&passed), "{passed}");
        let events = events.lock().expect("not poisoned");
        let [EventKind::QuotaSourceLost, EventKind::QuotaSourceRecovered { lost_for, .. }] = events[..]
        else {
            panic!("{events:?}")
        };
        assert!(lost_for > 10 * SECOND && lost_for < 13 * SECOND, "{lost_for:?}");
        assert_eq!(layer.handle().snapshot().lost_for, None);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_an_open_limit_lets_every_call_pass() {
    let source = Network::new();
    source.breaks(Fault::Hangs);
    let layers = [limit().grace(Duration::ZERO).build("api", source.clone()).expect("valid")];
    load(&layers, 1, SECOND).await;
    assert_eq!(load(&layers, 20, SECOND).await, 20 * 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_holds_up_no_call() {
    let source = Network::new();
    source.delay.store(100, Ordering::Relaxed);
    let instances = instances(limit(), &source);
    load(&instances, 1, SECOND).await;
    let passed = load(&instances, 1, 10 * SECOND).await;
    assert!((9_500..=10_200).contains(&passed), "{passed}");
    assert!(instances[0].handle().snapshot().lost_for.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_layer_aborts_its_question() {
    let source = Network::new();
    source.breaks(Fault::Hangs);
    let layer = limit().build("api", source.clone()).expect("valid");
    assert_eq!(call(&layer, 0), Ok(()));
    tokio::task::yield_now().await;
    assert_eq!(source.in_flight.load(Ordering::Relaxed), 1);
    for _ in 0..100 {
        let _ = call(&layer, 0);
        tokio::task::yield_now().await;
    }
    assert_eq!(source.in_flight.load(Ordering::Relaxed), 1, "one question at a time");
    drop(layer);
    tokio::task::yield_now().await;
    assert_eq!(source.in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn case_68_without_a_runtime_an_instance_takes_its_share() {
    let layer = limit().build("api", Network::new()).expect("valid");
    let passed = (0..1_000).filter(|_| call(&layer, 0).is_ok()).count();
    assert!((62..=70).contains(&passed), "a lease on credit: {passed}");
    std::thread::sleep(Duration::from_millis(100));
    assert!(call(&layer, 0).is_ok(), "an eighth of the limit");
    assert_eq!(layer.handle().snapshot().asked, 0);
}

#[test]
fn case_68_a_runtime_that_was_shut_down_loses_nothing() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    };
    let source = Network::new();
    let layer = limit().build("api", source.clone()).expect("valid");
    let first = runtime();
    first.block_on(async {
        assert_eq!(call(&layer, 0), Ok(()));
        tokio::task::yield_now().await;
    });
    assert_eq!(source.in_flight.load(Ordering::Relaxed), 1);
    drop(first);
    assert_eq!(source.in_flight.load(Ordering::Relaxed), 0);
    let second = runtime();
    let passed = second.block_on(async { load(std::slice::from_ref(&layer), 2, 5 * SECOND).await });
    assert!(passed > 4_500, "{passed}");
    assert_eq!(layer.handle().snapshot().lost_for, None);
}

#[tokio::test(start_paused = true)]
async fn in_shadow_mode_every_call_passes_and_is_counted() {
    let config = RateLimitConfig::per_second(10).shadow(true).leased();
    let layer = config.build("api", Network::new()).expect("valid");
    let passed = load(std::slice::from_ref(&layer), 1, SECOND).await;
    let snapshot = layer.handle().snapshot();
    assert_eq!((passed, snapshot.rejected), (1_000, 0));
    assert!((950..1_000).contains(&snapshot.would_limit), "{snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn case_64_other_numbers_hold_without_a_new_burst() {
    let source = Network::new();
    let instances = instances(limit(), &source);
    load(&instances, 1, 2 * SECOND).await;
    let update = |rate| {
        for layer in &instances {
            let config = RateLimitConfig::per_second(rate).leased();
            layer.handle().update(config).expect("valid");
            assert_eq!(layer.handle().config(), config);
        }
    };
    update(100);
    let passed = load(&instances, 1, 4 * SECOND).await;
    // The leases of the old numbers are spent first.
    assert!((380..=400 + 250).contains(&passed), "{passed}");
    update(1_000);
    let passed = load(&instances, 1, 4 * SECOND).await;
    assert!((3_800..=4_000 + 600).contains(&passed), "{passed}");
    let error = instances[0].handle().update(limit().instances(0)).expect_err("out of range");
    assert_eq!(error.field(), "instances");
}

#[test]
fn case_28_threads_take_no_unit_twice() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    // An hour per unit: the burst of 4 000 is all there is.
    let config = RateLimitConfig::per(1, Duration::from_secs(3_600)).burst(4_000).leased().instances(1);
    let layer = config.build("api", MemoryQuota::new()).expect("valid");
    let (passed, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _inside = runtime.enter();
                while !is_over.load(Ordering::Relaxed) {
                    if call(&layer, 0).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
    });
    let passed = passed.load(Ordering::Relaxed);
    assert!((2_000..=4_000).contains(&passed), "{passed}");
}
